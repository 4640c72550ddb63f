"""What `make converters` builds: onnx2tf in an environment of its own, and torch with litert-torch beside the study's packages."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ONNX2TF = ROOT / "requirements" / "onnx2tf.txt"
TORCH = ROOT / "requirements" / "torch.txt"
# On this platform the plain build brings 3 GB of CUDA libraries and does not start without them.
BUILD = "torch==2.13.0+cpu" if (platform.system(), platform.machine()) == ("Linux", "x86_64") else "torch==2.13.0"
NEEDED_BYTES = 6 * 10**9


def converters(venv, install):
    """Both, once for each lock. ``venv``: the study's environment; ``install``: the installer's functions. Returns an exit status."""
    folder = Path(os.environ.get("STUDYLIB_ONNX2TF") or ROOT / ".venv-onnx2tf")
    if not (venv / ".complete").exists():
        return install.stop(f"{venv.name} is not there yet; run `make install` first")
    free = shutil.disk_usage(str(ROOT)).free
    if free < NEEDED_BYTES and not _is_current(folder, ONNX2TF):
        return install.stop(f"the disk of {ROOT} has {free / 1e9:.1f} GB free and the converters need about {NEEDED_BYTES / 1e9:.0f} GB")
    with install.only_one(folder):
        failure = None if _is_current(folder, ONNX2TF) else _onnx2tf(folder, install)
    if failure:
        return install.stop(failure)
    print(f"environment: onnx2tf is ready in {folder.name}: ONNX models also become SavedModel and LiteRT")
    sys.stdout.flush()
    with install.only_one(venv):
        failure = _torch(venv, install)
    if failure:
        print(f"environment: torch could not be installed, and conversions of PyTorch programs will say so. {failure}")
        print(f"PyTorch's build without CUDA ({BUILD}) comes from PyTorch's own package index, which must be among pip's:")
        print("set PIP_EXTRA_INDEX_URL to the address that pytorch.org gives for CPU; then `make converters` tries again.")
    else:
        print(f"environment: torch and litert-torch are ready in {venv.name}: PyTorch programs (.pt2) become ONNX and LiteRT")
    return 0


def _is_current(folder, lock):
    stamp = folder / ".complete"
    return stamp.exists() and stamp.read_text() == _hash(lock)


def _hash(lock):
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _onnx2tf(folder, install):
    """Build beside, then swap; what went wrong, in words, or None."""
    python = install.find_python()
    if python is None:
        return "Python 3.11 or 3.12 is needed for onnx2tf and none was found"
    print(f"environment: building {folder.name} with {python}; about 2.5 GB")
    sys.stdout.flush()
    new, uv = folder.with_name(folder.name + ".building"), shutil.which("uv")
    _remove(new)
    own = install.python_in(new)
    if uv:
        steps = [[uv, "venv", "--quiet", "--python", python, str(new)], [uv, "pip", "install", "--quiet", "--python", own]]
    else:
        steps = [[python, "-m", "venv", str(new)], [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]]
    # Without dependencies: the lock leaves out onnxsim, which would have to be compiled and is not used.
    failure = install.run([steps[0], [*steps[1], "--no-deps", "--require-hashes", "-r", str(ONNX2TF)]])
    if failure:
        return failure
    (new / ".complete").write_text(_hash(ONNX2TF))
    _remove(folder)
    new.rename(folder)
    return None


def _torch(venv, install):
    """torch, litert-torch and what they need, without touching what the lock has; what went wrong, in words, or None."""
    python, uv = install.python_in(venv), shutil.which("uv")
    if _is_installed(python):
        return None
    print(f"environment: putting torch and litert-torch into {venv.name}; about 1.4 GB")
    sys.stdout.flush()
    pip = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install", "--disable-pip-version-check"]
    # torch first: without it the others are of no use.
    return install.run([[*pip, "--quiet", "--no-deps", BUILD], [*pip, "--quiet", "--no-deps", "--require-hashes", "-r", str(TORCH)]])


def _is_installed(python):
    question = (
        "import importlib.util as u; raise SystemExit(any(u.find_spec(n) is None for n in ('torch', 'litert_torch', 'onnxscript', 'jax')))"
    )
    return subprocess.call([python, "-c", question]) == 0


def _remove(folder):
    """Take a folder away; of a link the link alone."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(str(folder))
