"""One list of packages: pyproject, lock, conda file and installer agree, and the installer speaks clearly."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from studylib.artifacts.store import package_version
from tests import ROOT

LOCK = (ROOT / "requirements" / "lock.txt").read_text()
NVIDIA = (ROOT / "requirements" / "nvidia.txt").read_text()
ONNX2TF, TORCH = ((ROOT / "requirements" / name).read_text() for name in ("onnx2tf.txt", "torch.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def install():
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _locked(lock: str = LOCK) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ ;\\]+)", lock, re.MULTILINE))


def test_every_dependency_is_locked():
    extras = [extra for name, group in PROJECT["optional-dependencies"].items() if name != "torch" for extra in group]
    wanted = {re.match(r"[A-Za-z0-9.-]+", requirement)[0] for requirement in [*PROJECT["dependencies"], *extras]}
    assert wanted <= set(_locked())


@pytest.mark.parametrize(("lock", "least"), [(LOCK, 100), (NVIDIA, 10), (ONNX2TF, 50), (TORCH, 10)])
def test_every_locked_package_has_hashes_and_no_address(lock, least):
    assert lock.count("==") >= least
    blocks = re.split(r"\n(?=[a-z])", lock.strip())
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in lock
    assert "index-url" not in lock


def test_nvidias_builds_go_with_the_lock():
    """ONNX Runtime of the same version, or of the one before where NVIDIA's build is not out yet; what both name is one version."""
    theirs, ours = _locked(NVIDIA), _locked()
    (major, minor), (ahead, newest) = [map(int, version.split(".")[:2]) for version in (theirs["onnxruntime-gpu"], ours["onnxruntime"])]
    assert (major, 0 <= newest - minor <= 1) == (ahead, True)
    assert {name: version for name, version in theirs.items() if name in ours and ours[name] != version} == {}


def test_torch_is_never_in_the_default_lock():
    assert "torch" not in _locked()


def test_what_goes_with_torch_takes_nothing_of_the_lock_away():
    """It is installed without dependencies into the study's own environment: nothing in it may be in the lock in another version."""
    assert {name: version for name, version in _locked(TORCH).items() if _locked().get(name, version) != version} == {}
    named = {re.match(r"[a-z0-9-]+", requirement)[0] for requirement in PROJECT["optional-dependencies"]["torch"]}
    assert named <= {*_locked(TORCH), "torch"}


@pytest.mark.slow
def test_the_converters_say_what_is_missing(tmp_path):
    """The real installer: no environment of the study yet; then an index that does not answer."""
    command, venv = [sys.executable, str(ROOT / "requirements" / "install.py"), "--converters"], tmp_path / "venv"
    environment = _unreachable(tmp_path) | {"STUDYLIB_ONNX2TF": str(tmp_path / "onnx2tf")}
    early = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (early.returncode, early.stderr) == (2, "error: venv is not there yet; run `make install` first\n")
    venv.mkdir()
    (venv / ".complete").write_text("some lock")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "the package index cannot be reached" in done.stderr
    assert not (tmp_path / "onnx2tf").exists()


def test_the_conda_file_refers_to_the_same_lock_and_python():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict)]
    assert pip == ["--require-hashes", "-r requirements/lock.txt"]
    (python,) = [entry for entry in content["dependencies"] if str(entry).startswith("python=")]
    assert python.removeprefix("python=") in {"3.11", "3.12"}
    assert PROJECT["requires-python"] == ">=3.11,<3.13"


def test_what_is_installed_is_what_is_locked():
    import importlib.metadata

    assert importlib.metadata.version("tensorflow") == _locked()["tensorflow"]
    # After `make nvidia` it is the other build.
    assert package_version("onnxruntime").split()[0] in (_locked()["onnxruntime"], _locked(NVIDIA)["onnxruntime-gpu"])


def test_no_setting_of_uv_stands_where_an_installation_reads_it():
    """Whoever types `uv pip install --require-hashes -r requirements/lock.txt` here must not meet constraints without hashes."""
    assert "uv" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full. Free some space"),
        ("ERROR: No matching distribution found for tensorflow==2.21.0", "has no build for this platform or Python"),
        ("WARNING: connection broken by NewConnectionError\nERROR: No matching distribution found for numpy", "index cannot be reached"),
        ("Temporary failure in name resolution", "the package index cannot be reached. Check the network, a proxy"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. the hashes do not match", "does not match the lock's hash"),
        ("The virtual environment was not created because ensurepip is not available", "apt-get install python3-venv"),
        ("something else", "a step failed"),
    ],
)
def test_a_failed_step_is_explained(install, output, words):
    assert words in install.explain(output)


def test_a_missing_python_is_explained(install, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(install, "find_python", lambda: None)
    monkeypatch.setenv("STUDYLIB_VENV", str(tmp_path / "venv"))
    assert install.main() == 2
    assert "Python 3.11 or 3.12 is needed and none was found" in capsys.readouterr().err


def test_a_full_disk_is_said_before_anything_is_built(install, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(install.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**8}))
    monkeypatch.setenv("STUDYLIB_VENV", str(tmp_path / "venv"))
    assert install.main() == 2
    assert "0.1 GB free and the environment needs about 4 GB" in capsys.readouterr().err
    assert not (tmp_path / "venv").exists()


def _unreachable(tmp_path) -> dict[str, str]:
    """Variables of an environment whose package index does not answer."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    return found | {
        "STUDYLIB_VENV": str(tmp_path / "venv"), "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "UV_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "UV_NO_CACHE": "1", "UV_OFFLINE": "0",
    }  # fmt: skip


@pytest.mark.slow
def test_an_unreachable_index_is_explained(tmp_path):
    """The real installer against an index that does not answer."""
    command = [sys.executable, str(ROOT / "requirements" / "install.py")]
    done = subprocess.run(command, env=_unreachable(tmp_path), capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "the package index cannot be reached" in done.stderr
    assert not (tmp_path / "venv" / ".complete").exists()


@pytest.mark.slow
def test_nvidias_builds_that_cannot_be_fetched_are_explained(tmp_path):
    """The real installer, into an environment of its own, against an index that does not answer."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
    command = [sys.executable, str(ROOT / "requirements" / "install.py"), "--nvidia"]
    environment = _unreachable(tmp_path)
    early = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (early.returncode, early.stderr) == (2, "error: venv is not there yet; run `make install` first\n")
    (venv / ".complete").write_text("some lock")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "the package index cannot be reached" in done.stderr
    assert "`rm -r venv` and the next `make` goes back" in done.stderr
    assert not (venv / ".nvidia").exists()


def test_the_installer_parses_under_an_old_python():
    """So that an old Python can say that it is too old: no syntax newer than 3.6."""
    import ast

    for path in (ROOT / "requirements").glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 6))


@pytest.mark.slow
def test_what_needs_no_framework_is_all_but_the_notebooks():
    """``make test FAST=1`` leaves out the notebooks and nothing else, whatever the order in which files are dealt out."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "notebooks", "tests/study/test_study.py"]
    names = [
        {
            line
            for line in subprocess.run([*command, "--fast", fast], capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
            if "::" in line
        }
        for fast in "01"
    ]
    everything, fast = names
    assert fast == {name for name in everything if ".ipynb" not in name}
    assert len(everything) > len(fast) > 10


def test_the_package_and_its_version_agree():
    import tomllib

    import studylib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert studylib.__version__ == declared
    assert f"version: {declared}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
