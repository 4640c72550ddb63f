"""Build ``.venv`` from ``requirements/lock.txt``, once for each lock. Standard library only; any Python 3 can start it.

    python3 requirements/install.py          build what is missing
    python3 requirements/install.py --check  say whether it is up to date, build nothing
    python3 requirements/install.py --nvidia put NVIDIA's builds into it (nvidia.txt, and TensorRT), once for each lock
    python3 requirements/install.py --converters   onnx2tf in an environment of its own, torch and litert-torch in this one

Uses uv where it is installed, otherwise venv and pip. Everything, the Jupyter kernel too, stays inside ``.venv``.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "lock.txt"
TEST_MODELS = ROOT / "requirements" / "test-models.txt"
NVIDIA = ROOT / "requirements" / "nvidia.txt"
# What this ONNX Runtime's provider was built for, and new enough for TensorRT by itself. Its wheels are on NVIDIA's own index.
TENSORRT = "tensorrt-cu13==10.*"
SUPPORTED = ((3, 11), (3, 12))
NEEDED_BYTES = 4 * 10**9
NVIDIA_BYTES = 12 * 10**9
CANDIDATES = ("python3.11", "python3.12", "python3", "python")


def main():
    venv = Path(os.environ.get("STUDYLIB_VENV", ROOT / ".venv"))
    if "--nvidia" in sys.argv:
        return nvidia(venv)
    if "--converters" in sys.argv:
        return with_converters(venv)
    stamp = venv / ".complete"
    if stamp.exists() and stamp.read_text() == lock_hash() and works(python_in(venv)):
        return 0
    if "--check" in sys.argv:
        print("environment: {} is missing or belongs to another lock; run `make install`".format(venv.name))
        return 1
    python = find_python()
    if python is None:
        return stop(
            "Python 3.11 or 3.12 is needed and none was found. This is Python {}.{} at {}. "
            "Install one (Debian: apt-get install python3.11 python3.11-venv; macOS: brew install python@3.12; "
            "conda: conda env create -f environment.yml), then run the same command again.".format(
                sys.version_info[0], sys.version_info[1], sys.executable
            )
        )
    free = shutil.disk_usage(str(ROOT)).free
    if free < NEEDED_BYTES:
        return stop(
            "the disk of {} has {:.1f} GB free and the environment needs about {:.0f} GB. "
            "Free some space, then run the same command again.".format(ROOT, free / 1e9, NEEDED_BYTES / 1e9)
        )
    print("environment: building {} with {}; this happens once and takes a few minutes".format(venv.name, python))
    sys.stdout.flush()
    with only_one(venv):
        # Another `make` may have built it while this one waited.
        failure = None if stamp.exists() and stamp.read_text() == lock_hash() else build(python, venv)
        if failure:
            return stop(failure)
        stamp.write_text(lock_hash())
    print("environment: {} is ready".format(venv.name))
    return 0


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


def build(python, venv):
    """Create the environment and install the lock; returns what went wrong, in words, or None."""
    stamp = venv / ".complete"
    if stamp.exists():
        stamp.unlink()
    uv = shutil.which("uv")
    pip = [python_in(venv), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    if uv:
        steps = [
            [uv, "venv", "--quiet", "--clear", "--python", python, str(venv)],
            [uv, "pip", "install", "--quiet", "--python", python_in(venv), "--require-hashes", "-r", str(LOCK)],
            [uv, "pip", "install", "--quiet", "--python", python_in(venv), "--no-deps", "--require-hashes", "-r", str(TEST_MODELS)],
        ]
    else:
        steps = [
            [python, "-m", "venv", "--clear", str(venv)],
            [*pip, "-r", str(LOCK)],
            [*pip, "--no-deps", "-r", str(TEST_MODELS)],
        ]
    failure = run(steps)
    if failure:
        return failure
    # The sources themselves, importable from anywhere in this environment: a path file instead of a build.
    purelib = subprocess.check_output([python_in(venv), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"])
    (Path(purelib.decode().strip()) / "studylib.pth").write_text("{}\n".format(ROOT))
    kernel = [python_in(venv), "-m", "ipykernel", "install", "--prefix", str(venv), "--name", "python3", "--display-name", "Python 3"]
    return run([kernel])


def run(steps):
    """Run commands one after the other; what went wrong with the first that fails, in words, or None."""
    for step in steps:
        done = subprocess.run(step, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            return explain(done.stdout.decode(errors="replace"))
    return None


def nvidia(venv):
    """NVIDIA's builds in place of the lock's: ONNX Runtime with CUDA and its libraries; then TensorRT, which can be done without."""
    stamp, wanted = venv / ".nvidia", hashlib.sha256(NVIDIA.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    if not (venv / ".complete").exists():
        return stop("{} is not there yet; run `make install` first".format(venv.name))
    free = shutil.disk_usage(str(venv)).free
    if free < NVIDIA_BYTES:
        return stop("the disk has {:.1f} GB free and NVIDIA's libraries need about {:.0f} GB".format(free / 1e9, NVIDIA_BYTES / 1e9))
    print("environment: putting NVIDIA's builds into {}; a download of several GB".format(venv.name))
    sys.stdout.flush()
    uv, python = shutil.which("uv"), python_in(venv)
    pip = [uv, "pip"] if uv else [python, "-m", "pip", "--disable-pip-version-check"]
    into = ["--quiet", "--python", python] if uv else ["--quiet"]
    with only_one(venv):
        # Both builds write into one folder: the second would be broken by taking the first away later.
        gone = [*pip, "uninstall", *into, *([] if uv else ["-y"]), "onnxruntime"]
        failure = run([gone, [*pip, "install", *into, "--no-deps", "--require-hashes", "-r", str(NVIDIA)]])
        if failure:
            return stop(
                "{}\n`rm -r {}` and the next `make` goes back to the environment without NVIDIA's builds".format(failure, venv.name)
            )
        failure = run([[*pip, "install", *into, TENSORRT]])
        if failure:
            print("environment: TensorRT could not be installed, and its rows will say so. {}".format(failure))
            print("Its wheels come from NVIDIA's own package index, which must be reachable too; `make nvidia` tries again.")
        else:
            stamp.write_text(wanted)
    print("environment: {} computes on NVIDIA's GPUs".format(venv.name))
    return 0


def with_converters(venv):
    """What `converters` builds, beside this environment and into it."""
    sys.path.insert(0, str(ROOT / "requirements"))
    import converters

    return converters.converters(venv, sys.modules[__name__])


def explain(output):
    """The likely cause of a failed step, what to do, and the last lines it printed."""
    lowered = output.lower()
    if "no space left" in lowered:
        cause = "the disk is full. Free some space, then run the same command again"
    elif "ensurepip" in lowered:
        cause = "this Python has no venv module. Debian: apt-get install python3-venv; then run the same command again"
    elif "hashes" in lowered and "do not match" in lowered:
        cause = "a downloaded package does not match the lock's hash. Do not install it by hand; check the package index you use"
    elif any(sign in lowered for sign in UNREACHABLE) or "(from versions: none)" in lowered:
        cause = "the package index cannot be reached. Check the network, a proxy (HTTPS_PROXY) or your pip configuration, then try again"
    elif "no matching distribution found" in lowered:
        cause = "a package of the lock has no build for this platform or Python. Linux and macOS on x86-64 and arm64 are supported"
    else:
        cause = "a step failed"
    return "{}. Its last words:\n  {}".format(cause, "\n  ".join(output.strip().splitlines()[-6:]))


UNREACHABLE = (
    "connection refused",
    "connection broken",
    "connectionerror",
    "newconnectionerror",
    "connecttimeout",
    "network is unreachable",
    "name resolution",
    "failed to fetch",
    "error sending request",
    "timed out",
    "proxyerror",
)


def find_python():
    """The first supported Python: the one in $PYTHON, then those on the PATH, then the one running this."""
    for name in (os.environ.get("PYTHON"), *CANDIDATES, sys.executable):
        path = shutil.which(name) if name else None
        if path and version_of(path) in SUPPORTED:
            return path
    return None


def version_of(path):
    try:
        output = subprocess.check_output([path, "-c", "import sys; print(*sys.version_info[:2])"], stderr=subprocess.DEVNULL)
        return tuple(int(part) for part in output.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def works(python):
    return version_of(python) in SUPPORTED


def python_in(venv):
    return str(venv / ("Scripts" if os.name == "nt" else "bin") / "python")


def lock_hash():
    """What the environment depends on: the locks, this script, and the folder, since its scripts hold absolute paths."""
    return hashlib.sha256(LOCK.read_bytes() + TEST_MODELS.read_bytes() + Path(__file__).read_bytes() + str(ROOT).encode()).hexdigest()


def stop(message):
    print("error: {}".format(message), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
