"""The installer itself, run as `make` runs it, on a small lock: with pip alone, with uv on the path; renamed, linked, in use."""

import base64
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import ROOT

pytestmark = pytest.mark.slow

_SCRIPT = "#!python\nimport sys, studylib\nprint(sys.prefix)\nprint(studylib.__file__)\n"
# What made every installation with uv fail: uv reads this where it runs, and refuses it beside hashes.
_SETTINGS = '[project]\nname = "p"\nversion = "1"\n[tool.uv]\nconstraint-dependencies = ["small<9"]\n'
_both = pytest.mark.parametrize("world", ["pip", "uv"], indirect=True)


def _wheel(folder: Path, name: str) -> str:
    """A package of one script, and the line that locks it."""
    stem, dist = f"{name}-1.0", f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "",
        f"{stem}.data/scripts/{name}-tells": _SCRIPT,
        f"{dist}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{dist}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode() for path, text in files.items()}
    listed = "".join(f"{path},sha256={hashes[path]},{len(text)}\n" for path, text in files.items()) + f"{dist}/RECORD,,\n"
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in (files | {f"{dist}/RECORD": listed}).items():
            member = zipfile.ZipInfo(path)
            member.external_attr = 0o100755 << 16  # a script stays one
            archive.writestr(member, text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def _checkout(folder: Path, lock: str, tests: str) -> Path:
    """A clone with the real installer and a small lock."""
    (folder / "requirements").mkdir(parents=True)
    for name in ("install.py", "environment.py", "moving.py", "nvidia.txt"):
        shutil.copyfile(ROOT / "requirements" / name, folder / "requirements" / name)
    (folder / "requirements" / "lock.txt").write_text(lock)
    (folder / "requirements" / "test-models.txt").write_text(tests)
    (folder / "pyproject.toml").write_text(_SETTINGS)
    (folder / "studylib").mkdir()
    (folder / "studylib" / "__init__.py").write_text("")
    return folder


@pytest.fixture
def world(request, tmp_path):
    """Two clones of one project, and how an installation runs in each: with uv on the path (quicker), or with pip alone."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    lock, tests = _wheel(wheels, "small"), _wheel(wheels, "tiny")
    return World(tmp_path, getattr(request, "param", "uv"), lock, tests)


class World:
    def __init__(self, folder: Path, library: str, lock: str, tests: str):
        self.folder, self.library, self.lock, self.tests = folder, library, lock, tests
        self.first = _checkout(folder / "first", lock, tests)
        tools = folder / "tools"
        tools.mkdir()
        (tools / "python3").symlink_to(Path(sys.executable).resolve())
        if library == "uv":
            uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
            assert uv, "uv is in the extra dev, so that this is tested"
            (tools / "uv").symlink_to(uv)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "STUDYLIB_", "VIRTUAL_ENV", "PYTHON"))
        }
        self.environment = kept | {
            "PATH": f"{tools}:/usr/bin:/bin", "HOME": str(folder), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder / "wheels"),
            "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(folder / "wheels"), "UV_CACHE_DIR": str(folder / "cache"),
            "PYTHON": str(Path(sys.executable).resolve()), "PIP_CONFIG_FILE": os.devnull,
        }  # fmt: skip

    def second(self) -> Path:
        return _checkout(self.folder / "second", self.lock, self.tests)

    def install(self, checkout: Path, *more: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(checkout / "requirements" / "install.py"), *more]
        done = subprocess.run(command, env=self.environment | environment, cwd=checkout, capture_output=True, text=True, timeout=300)
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def tells(self, venv: Path, name: str = "small") -> tuple[Path, Path]:
        """Of a script in an environment: the environment that it runs in, and the checkout whose sources it imports."""
        done = subprocess.run([venv / "bin" / f"{name}-tells"], env=self.environment, capture_output=True, text=True, cwd="/", timeout=60)
        assert done.returncode == 0, done.stderr
        prefix, sources = map(Path, done.stdout.splitlines())
        return prefix, sources.parent.parent


def _print(folder: Path) -> dict[str, tuple]:
    """What a folder holds: names, when each was changed, and which file it is."""
    found = {path: path.lstat() for path in [folder, *folder.rglob("*")] if "__pycache__" not in path.parts}
    return {str(path): (facts.st_ino, facts.st_mtime_ns if path.is_file() else 0) for path, facts in found.items()}


@_both
def test_a_fresh_clone_is_installed_once(world):
    done = world.install(world.first)
    venv = world.first / ".venv"
    assert "environment: building .venv" in done.stdout
    assert world.tells(venv) == world.tells(venv, "tiny") == (venv, world.first)
    assert ("uv = " in (venv / "pyvenv.cfg").read_text()) is (world.library == "uv")
    # Nothing tells of the folder that it was built in, and nothing is left of it.
    assert not [path for path in world.first.iterdir() if path.name in (".venv.building", ".venv.old")]
    texts = [path for path in (*(venv / "bin").iterdir(), venv / "pyvenv.cfg") if path.is_file() and not path.is_symlink()]
    assert [path.name for path in texts if b".venv.building" in path.read_bytes()] == []
    shell = subprocess.run(["sh", "-c", f". {venv}/bin/activate && echo $VIRTUAL_ENV"], capture_output=True, text=True, timeout=60)
    assert shell.stdout.strip() == str(venv)
    before = _print(venv)
    assert world.install(world.first).stdout == ""
    assert _print(venv) == before


@_both
def test_a_new_lock_is_built_beside_and_takes_the_place(world):
    world.install(world.first)
    (world.first / "requirements" / "lock.txt").write_text(world.lock + "# another\n")
    assert world.install(world.first, "--check", status=1).stdout.startswith("environment: .venv is missing or belongs to another lock")
    world.install(world.first)
    assert world.tells(world.first / ".venv") == (world.first / ".venv", world.first)
    # One that cannot be built leaves what was there.
    before = _print(world.first / ".venv")
    (world.first / "requirements" / "lock.txt").write_text(world.lock.replace("small==1.0", "small==2.0"))
    assert "error: " in world.install(world.first, status=2).stderr
    assert _print(world.first / ".venv") == before


@_both
@pytest.mark.parametrize("name", ["renamed", "team's two words/here", "long" * 40])
def test_a_renamed_checkout_is_repaired_and_not_built_again(world, name):
    world.install(world.first)
    module = next((world.first / ".venv" / "lib").glob("*/site-packages")) / "small.py"
    built = module.stat().st_ino, module.stat().st_mtime_ns
    moved = world.folder / name
    moved.parent.mkdir(exist_ok=True)
    world.first.rename(moved)
    done = world.install(moved, PIP_FIND_LINKS="/nowhere", UV_FIND_LINKS="/nowhere")
    assert "came from another folder; its paths were repaired" in done.stdout
    assert "building" not in done.stdout
    assert world.tells(moved / ".venv") == (moved / ".venv", moved)
    again = next((moved / ".venv" / "lib").glob("*/site-packages")) / "small.py"
    assert (again.stat().st_ino, again.stat().st_mtime_ns) == built
    assert str(world.first) + "/" not in (moved / ".venv" / "bin" / "activate").read_text()
    assert world.install(moved).stdout == ""
    # And back: the form that a long name or a blank needs is read again.
    moved.rename(world.first)
    world.install(world.first)
    assert world.tells(world.first / ".venv") == (world.first / ".venv", world.first)


def test_a_copied_checkout_is_repaired_and_the_first_stays_as_it_is(world):
    world.install(world.first)
    before = _print(world.first)
    shutil.copytree(world.first, world.folder / "copy", symlinks=True)
    world.install(world.folder / "copy")
    assert world.tells(world.folder / "copy" / ".venv") == (world.folder / "copy" / ".venv", world.folder / "copy")
    assert _print(world.first) == before


def test_a_linked_environment_is_used_as_it_is_and_imports_the_checkout_that_links_it(world):
    world.install(world.first)
    second = world.second()
    (second / ".venv").symlink_to(world.first / ".venv")
    before = _print(world.first)
    assert world.install(second).stdout == ""
    python = second / ".venv" / "bin" / "python"
    asked = [python, "-c", "import studylib; print(studylib.__file__)"]
    told = subprocess.run(asked, env=world.environment, capture_output=True, text=True, cwd="/", timeout=60)
    assert told.stdout.strip() == str(second / "studylib" / "__init__.py")
    assert _print(world.first) == before


@pytest.mark.parametrize("dangling", [False, True])
def test_a_linked_environment_of_another_lock_is_never_emptied(world, dangling):
    world.install(world.first)
    second = world.second()
    (second / "requirements" / "lock.txt").write_text(world.lock + "# another\n")
    (second / ".venv").symlink_to(world.first / (".gone" if dangling else ".venv"))
    before = _print(world.first)
    world.install(second, "--nvidia", status=2)
    done = world.install(second, status=2)
    assert f"{second / '.venv'} is a link to {world.first}" in done.stderr
    assert f"`rm {second / '.venv'}` takes the link away and run the same command again" in done.stderr
    assert (f"Run `make install` in {world.first}" in done.stderr) is not dangling
    assert _print(world.first) == before
    # What it says helps.
    (second / ".venv").unlink()
    world.install(second)
    assert world.tells(second / ".venv") == (second / ".venv", second)
    assert _print(world.first) == before


def test_an_environment_of_another_checkout_is_used_or_left_alone(world):
    """Named by STUDYLIB_VENV instead of a link."""
    world.install(world.first)
    second, venv = world.second(), str(world.first / ".venv")
    before = _print(world.first)
    assert world.install(second, STUDYLIB_VENV=venv).stdout == ""
    (second / "requirements" / "lock.txt").write_text(world.lock + "# another\n")
    assert f"{venv} is the environment of {world.first}" in world.install(second, STUDYLIB_VENV=venv, status=2).stderr
    assert "belongs to another checkout" in world.install(second, "--nvidia", STUDYLIB_VENV=venv, status=2).stderr
    assert _print(world.first) == before


@pytest.mark.parametrize("name", ["home", "first/studylib", "first"])
def test_a_folder_that_is_no_environment_of_ours_is_never_replaced(world, name):
    folder = world.folder / name
    folder.mkdir(exist_ok=True)
    (folder / "precious.txt").write_text("all my work")
    done = world.install(world.first, STUDYLIB_VENV=str(folder), status=2)
    assert f"{folder} is there and was not built from here. It is left as it is" in done.stderr
    assert (folder / "precious.txt").read_text() == "all my work"


@pytest.mark.parametrize("lock", [".venv/.complete", "outputs/.lock"])
def test_nothing_is_replaced_under_a_running_study(world, lock):
    world.install(world.first)
    (world.first / "requirements" / "lock.txt").write_text(world.lock + "# another\n")
    (world.first / "outputs").mkdir()
    (world.first / lock).open("a").close()
    before = _print(world.first / ".venv")
    with (world.first / lock).open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        done = world.install(world.first, status=2)
        assert "a study is running with it. Wait for the study, or stop it" in done.stderr
        assert _print(world.first / ".venv") == before
    world.install(world.first)
    assert world.tells(world.first / ".venv")[1] == world.first


def test_a_study_that_begins_while_one_is_built_keeps_its_environment(world):
    """The finished one waits beside, and the next run puts it in place without building it again."""
    world.install(world.first)
    (world.first / "requirements" / "lock.txt").write_text(world.lock + "# another\n")
    before = _print(world.first / ".venv")
    holder = world.first / "requirements" / "install.py"
    text = holder.read_text()
    planted = "    import fcntl\n    held = open(str(venv / '.complete'))\n    fcntl.flock(held, fcntl.LOCK_SH)\n    old = venv.with_name"
    assert text.count("    old = venv.with_name") == 1
    holder.write_text(text.replace("    old = venv.with_name", planted))
    assert "a study is running with it" in world.install(world.first, status=2).stderr
    assert _print(world.first / ".venv") == before
    holder.write_text(text)
    assert "building" not in world.install(world.first, PIP_FIND_LINKS="/nowhere", UV_FIND_LINKS="/nowhere").stdout
    assert world.tells(world.first / ".venv") == (world.first / ".venv", world.first)


def test_a_study_holds_its_environment(tmp_path, monkeypatch):
    """The lock that the installer looks for is the one that a study takes."""
    from studylib.cli.console import only_one

    sys.path.insert(0, str(ROOT / "requirements"))
    import environment

    sys.path.remove(str(ROOT / "requirements"))
    (tmp_path / ".complete").write_text("a lock")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(tmp_path / "elsewhere"))
    assert not environment.is_used(tmp_path)
    with only_one(tmp_path / "out"), only_one(tmp_path / "beside it"):
        assert environment.is_used(tmp_path)
    assert not environment.is_used(tmp_path)
