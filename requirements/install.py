"""Build ``.venv`` from ``requirements/lock.txt``, once for each lock. Standard library only; any Python 3 can start it.

    python3 requirements/install.py          build what is missing
    python3 requirements/install.py --check  say whether it is up to date, build nothing
    python3 requirements/install.py --nvidia put NVIDIA's builds into it (nvidia.txt, and TensorRT), once for each lock
    python3 requirements/install.py --converters   onnx2tf in an environment of its own, torch and litert-torch in this one

Uses uv where it is installed, otherwise venv and pip. Everything, the Jupyter kernel too, stays inside ``.venv`` (or ``$STUDYLIB_VENV``).
A new one is built beside the old one and takes its place when it is whole. One that another checkout built is used and never changed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import moving
from environment import (
    LOCK,
    ROOT,
    SUPPORTED,
    TEST_MODELS,
    checkout_of,
    is_current,
    is_lent,
    is_settled,
    is_used,
    location,
    lock_hash,
    only_one,
    python_in,
    stamped,
    version_of,
)

NVIDIA = ROOT / "requirements" / "nvidia.txt"
# What this ONNX Runtime's provider was built for, and new enough for TensorRT by itself. Its wheels are on NVIDIA's own index.
TENSORRT = "tensorrt-cu13==10.*"
NEEDED_BYTES = 4 * 10**9
NVIDIA_BYTES = 12 * 10**9
CANDIDATES = ("python3.11", "python3.12", "python3", "python")


def main():
    venv = location()
    if "--nvidia" in sys.argv:
        return nvidia(venv)
    if "--converters" in sys.argv:
        return with_converters(venv)
    if is_settled(venv) or (is_lent(venv) and is_current(venv)):
        return 0
    if "--check" in sys.argv:
        print("environment: {} is missing or belongs to another lock or folder; run `make install`".format(venv.name))
        return 1
    refusal = why_not(venv)
    if refusal:
        return stop(refusal)
    venv.parent.mkdir(parents=True, exist_ok=True)
    with only_one(venv):
        # Another `make` may have built it while this one waited.
        failure = None if is_settled(venv) else settle(venv)
    if failure:
        return stop(failure)
    print("environment: {} is ready".format(venv.name))
    return 0


def settle(venv):
    """Repair, or build beside and swap; returns what went wrong, in words, or None."""
    new = venv.with_name(venv.name + ".building")
    if is_current(venv):
        count = moving.move(venv, (stamped(venv) + [str(venv)] * 3)[2], venv)
        finish(venv, venv)
        print("environment: {} came from another folder; its paths were repaired ({} files)".format(venv.name, count))
        return None
    if not is_settled(new, venv):
        python = find_python()
        if python is None:
            return (
                "Python 3.11 or 3.12 is needed and none was found. This is Python {}.{} at {}. "
                "Install one (Debian: apt-get install python3.11 python3.11-venv; macOS: brew install python@3.12; "
                "conda: conda env create -f environment.yml), then run the same command again.".format(
                    sys.version_info[0], sys.version_info[1], sys.executable
                )
            )
        free = shutil.disk_usage(str(venv.parent)).free
        if free < NEEDED_BYTES:
            return (
                "the disk of {} has {:.1f} GB free and the environment needs about {:.0f} GB. "
                "Free some space, then run the same command again.".format(venv.parent, free / 1e9, NEEDED_BYTES / 1e9)
            )
        print("environment: building {} with {}; this happens once and takes a few minutes".format(venv.name, python))
        sys.stdout.flush()
        failure = build(python, new, venv)
        if failure:
            return failure
    return swap(new, venv)


def build(python, new, venv):
    """Create in ``new`` what will stand at ``venv``, and install the lock; returns what went wrong, in words, or None."""
    remove(new)
    uv = shutil.which("uv")
    pip = [python_in(new), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    if uv:
        into = [uv, "pip", "install", "--quiet", "--python", python_in(new), "--require-hashes"]
        steps = [
            [uv, "venv", "--quiet", "--prompt", venv.name, "--python", os.path.abspath(python), str(new)],
            [*into, "-r", str(LOCK)],
            [*into, "--no-deps", "-r", str(TEST_MODELS)],
        ]
    else:
        steps = [
            [python, "-m", "venv", "--prompt", venv.name, str(new)],
            [*pip, "-r", str(LOCK)],
            [*pip, "--no-deps", "-r", str(TEST_MODELS)],
        ]
    failure = run(steps)
    if failure:
        return failure
    moving.move(new, new, venv)
    finish(new, venv)
    return None


def finish(new, venv):
    """The sources themselves, importable in this environment: a path file instead of a build. Then the stamp.

    The path leads from folder to folder: it is right after both were renamed together, and seen through a link it leads to the
    checkout that holds the link.
    """
    question = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    purelib = Path(subprocess.check_output([python_in(new), "-c", question]).decode().strip())
    at = os.path.join(str(venv), os.path.relpath(str(purelib), str(new)))
    (purelib / "studylib.pth").write_text("{}\n".format(os.path.relpath(str(ROOT), at)))
    (new / ".complete").write_text("\n".join([lock_hash(), str(ROOT), str(venv)]) + "\n")


def swap(new, venv):
    """``new`` takes the place of ``venv``, which a running study keeps; returns what stands in the way, in words, or None."""
    old = venv.with_name(venv.name + ".old")
    remove(old)
    if is_used(venv):
        return why_used(venv)
    if venv.exists():
        venv.rename(old)
    new.rename(venv)
    remove(old)
    return None


def remove(folder):
    """Take a folder away; of a link the link alone."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(str(folder))


def why_not(venv):
    """Why nothing may be built or repaired at ``venv``, in words, or None."""
    if is_lent(venv):
        owner = checkout_of(venv)
        named = "a link to {}".format(os.path.realpath(str(venv))) if venv.is_symlink() else "the environment of {}".format(owner)
        own = "`rm {}` takes the link away" if venv.is_symlink() else "STUDYLIB_VENV names another place than {}"
        return (
            "{} is {}, and what it leads to was built from another lock or does not work. It is left as it is. {}"
            "To have an environment of its own here, {} and run the same command again.".format(
                venv, named, "Run `make install` in {} if the two should share it. ".format(owner) if owner else "", own.format(venv)
            )
        )
    if not stamped(venv) and venv.exists() and (not venv.is_dir() or any(venv.iterdir())) and not is_replaceable(venv):
        return (
            "{} is there and was not built from here. It is left as it is: let STUDYLIB_VENV name a folder that is not there yet.".format(
                venv
            )
        )
    return why_used(venv) if is_used(venv) else None


def is_replaceable(venv):
    """Whether an environment without a stamp may go: one in this checkout, where an installation before may have stopped half-way."""
    return ROOT in venv.parents and (venv / "pyvenv.cfg").exists()


def why_used(venv):
    return (
        "{} must be built again or repaired, and a study is running with it. "
        "Wait for the study, or stop it (it can be resumed), then run the same command again.".format(venv.name)
    )


def run(steps):
    """Run commands one after the other; what went wrong with the first that fails, in words, or None.

    uv reads the settings of the project in whose folder it runs, and of those around it: it runs where there is none.
    """
    for step in steps:
        where = os.path.abspath(os.sep) if Path(step[0]).stem == "uv" else None
        done = subprocess.run(step, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=where)
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
    if is_lent(venv):
        return stop("{} belongs to another checkout ({}); run `make nvidia` there".format(venv, checkout_of(venv) or "unknown"))
    if is_used(venv):
        return stop("a study is running with {}; wait for it, or stop it, then run the same command again".format(venv.name))
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


def stop(message):
    print("error: {}".format(message), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
