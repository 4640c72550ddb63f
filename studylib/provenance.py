"""What software a study ran: the commit and the versions of the packages that decide its results."""

import importlib.metadata
import subprocess

from studylib.params import root

_PACKAGES = (
    "tensorflow", "keras", "ai-edge-litert", "onnxruntime", "onnx", "tf2onnx", "openvino", "numpy", "scipy", "pandas", "papermill", "nbval",
    "jupyterlab", "seaborn", "tensorflow-model-optimization", "tf-keras", "mlcommons-loadgen",
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
    """Versions of the packages that decide results."""
    installed = {}
    for name in _PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
