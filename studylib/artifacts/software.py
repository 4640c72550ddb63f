"""What software a study ran: the commit, the versions of the packages that decide its results, hashes of our own sources."""

import hashlib
import json
import subprocess
from pathlib import Path

from studylib.artifacts.store import package_version
from studylib.machine import nvml
from studylib.params.paths import root

_PACKAGES = (
    "tensorflow", "keras", "ai-edge-litert", "onnxruntime", "onnx", "tf2onnx", "openvino", "numpy", "scipy", "pandas", "papermill", "nbval",
    "jupyterlab", "seaborn", "tensorflow-model-optimization", "tf-keras", "mlcommons-loadgen", "tensorrt",
)  # fmt: skip


def git_state() -> dict:
    """Commit and whether tracked files differ from it; empty outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root()), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide results, and of the driver of an NVIDIA GPU."""
    installed = {}
    for name in _PACKAGES:
        try:
            installed[name] = package_version(name)
        except ModuleNotFoundError:
            continue
    return installed | ({"NVIDIA driver": nvml.driver()} if nvml.driver() else {})


def sources_hash(names: tuple[str, ...]) -> str:
    """Hash of files and folders of studylib, by name and content."""
    base, found = Path(__file__).parents[1], hashlib.sha256()
    for name in names:
        files = sorted((base / name).rglob("*.py")) if (base / name).is_dir() else [base / name]
        for file in files:
            found.update(file.relative_to(base).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def digest(facts) -> str:
    """SHA-256 of plain JSON."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
