"""An environment as it lies on disk: where it is, what it was built from, whose it is, whether somebody uses it.

Standard library only, any Python 3.
"""

import contextlib
import hashlib
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "lock.txt"
TEST_MODELS = ROOT / "requirements" / "test-models.txt"
SUPPORTED = ((3, 11), (3, 12))
# How `install.build` makes an environment: another number where one built before would not do any more.
BUILT = b"2"


def location():
    """Where the environment lies. A link stays a link: what it leads to is somebody else's."""
    return Path(os.path.abspath(str(ROOT / (os.environ.get("STUDYLIB_VENV") or ".venv"))))


def is_current(venv):
    """Whether an environment was built from this lock and answers."""
    return stamped(venv)[:1] == [lock_hash()] and version_of(python_in(venv)) in SUPPORTED


def is_settled(venv, at=None):
    """Whether it is current, and its paths are those of this checkout and of where it stands (or will stand: ``at``)."""
    return is_current(venv) and stamped(venv)[1:] == [str(ROOT), str(at or venv)]


def stamped(venv):
    """What a finished environment says of itself: the hash of its lock, the checkout that built it, where it was put."""
    try:
        return (venv / ".complete").read_text().splitlines()
    except OSError:
        return []


def checkout_of(venv):
    """The checkout that built an environment, where that is known and still there; otherwise empty."""
    built_by = (stamped(venv) + ["", ""])[1]
    return built_by if built_by and (Path(built_by) / "requirements" / "install.py").exists() else ""


def is_lent(venv):
    """Whether it is not this checkout's own: seen through a link, or outside of this checkout and built by another."""
    return venv.is_symlink() or (ROOT not in venv.parents and checkout_of(venv) not in ("", str(ROOT)))


def is_used(venv):
    """Whether a study is running: it holds the stamp of its environment, and the lock of its results."""
    outputs = Path(os.environ.get("STUDYLIB_OUTPUTS") or str(ROOT / "outputs"))
    return any(is_locked(path) for path in (venv / ".complete", outputs / ".lock"))


def is_locked(path):
    """Whether another process holds the file's lock."""
    try:
        import fcntl

        with open(str(path), "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        pass  # no such lock on Windows; no such file; none that we may write
    return False


@contextlib.contextmanager
def only_one(venv):
    """Two first commands in two terminals: the second waits for the first."""
    path = venv.parent / ".{}.lock".format(venv.name.lstrip("."))
    with open(str(path), "w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except ImportError:
            pass  # no such lock on Windows
        yield


def version_of(path):
    try:
        output = subprocess.check_output([path, "-c", "import sys; print(*sys.version_info[:2])"], stderr=subprocess.DEVNULL)
        return tuple(int(part) for part in output.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def scripts(venv):
    return venv / ("Scripts" if os.name == "nt" else "bin")


def python_in(venv):
    return str(scripts(venv) / "python")


def lock_hash():
    """What the environment depends on. Not the folder: that is repaired."""
    return hashlib.sha256(LOCK.read_bytes() + TEST_MODELS.read_bytes() + BUILT).hexdigest()
