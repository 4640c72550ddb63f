import sys

import pytest

from studylib.artifacts import environments
from studylib.artifacts.environments import Environment, EnvironmentFailedError, foreign, run


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A checkout of its own, from which no package index is reached."""
    monkeypatch.setattr(environments, "root", lambda: tmp_path)
    monkeypatch.setenv("UV_OFFLINE", "1")
    return tmp_path


def test_it_is_made_once_for_its_packages(elsewhere):
    one, lines = Environment("nothing", ()), []
    assert not one.is_here
    # Without packages nothing has to be fetched; uv would refuse to install none.
    one.folder.mkdir(parents=True)
    (one.folder / ".complete").touch()
    one.install(lines.append)
    assert one.is_here
    assert not lines
    assert one.folder == Environment("another name", ()).folder
    assert one.folder != Environment("nothing", ("six==1.17.0",)).folder


def test_one_that_cannot_be_installed_says_so_and_is_not_taken_for_one(elsewhere):
    one, lines = Environment("nobody's", ("nobody-has-written-this==1.0",)), []
    with pytest.raises(EnvironmentFailedError, match=r"^nobody's ended with \d+: .*; it could not be installed and is left out\. Once"):
        one.install(lines.append)
    assert lines == ["nobody's: installing nobody-has-written-this==1.0"]
    assert one.python.exists()
    assert not one.is_here


def test_what_fails_says_its_last_words():
    with pytest.raises(EnvironmentFailedError, match=r"^it ended with 3: second \| third \| fourth$"):
        run("it", [sys.executable, "-c", "import sys; print('first\\nsecond\\nthird\\nfourth', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(EnvironmentFailedError, match=r"^it: .*nowhere"):
        run("it", ["/nowhere/python"])


def test_what_runs_elsewhere_does_not_find_our_packages(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("VIRTUAL_ENV", "/ours")
    assert not {"PYTHONPATH", "VIRTUAL_ENV"} & set(foreign())
    assert "PATH" in foreign()
