"""ONNX to SavedModel by onnx2tf, which lives in an environment of its own: it pins a TensorFlow, numpy and protobuf that are not ours."""

import functools
import importlib.metadata
import json
import os
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.artifacts.store import derived_key
from studylib.errors import RefusedError, TrialError
from studylib.formats.input_names import identifier
from studylib.models.zoo import Samples
from studylib.params.paths import root
from studylib.recipes.base import Recipe
from studylib.recipes.quantize.calibration_check import onnx_inputs

# Where the environment is, if not beside that of the study.
ENVIRONMENT = "STUDYLIB_ONNX2TF"
_REMEDY = "`make converters` brings it, in an environment of its own"
_PACKAGES = ("onnx2tf", "tensorflow", "onnx", "onnxruntime")
_SCRIPT = Path(__file__).with_name("onnx2tf_process.py")
_RUN_BY_NAME = tuple(f"{__package__}.{name}" for name in ("onnx2tf_process", "onnx2tf_reference"))


@dataclass(frozen=True)
class OnnxToSavedModel(Recipe):
    """A float ONNX file to a SavedModel: axes of inputs and outputs as in ONNX, and its names where TensorFlow allows them.

    Held against ONNX Runtime on invented values before it is written. A dynamic batch stays so where the result still
    answers the same; otherwise it is fixed at 1 and the notes say why, as they name inputs that had to be renamed.
    Raises `RefusedError` with the operator that onnx2tf does not know and its node, `TrialError` when its process dies.
    ``timeout_s``: of one conversion. Source: ``onnx2tf.convert``.
    """

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "saved_model"
    source_format: ClassVar[str] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnx",)
    modules: ClassVar[tuple[str, ...]] = _RUN_BY_NAME

    timeout_s: ClassVar[float] = 3600.0

    def missing(self) -> str | None:
        """What must be installed first, or None."""
        if (environment() / ".complete").is_file() and interpreter().exists():
            return None
        told = os.environ.get(ENVIRONMENT)
        return f"no path out of ONNX yet: onnx2tf is not installed{f' at {ENVIRONMENT}={told}' if told else ''}; {_REMEDY}"

    def key(self, parent: str, lessons: str | None = None) -> str:
        """Also of the versions that lie in the other environment."""
        return derived_key(self._made_by, versions(environment()), (super().key(parent, lessons),), "")

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> tuple[Path, dict]:
        reason = self.missing()
        if reason:
            raise RefusedError(reason)
        path = folder / "model"
        source = source / "model.onnx" if source.is_dir() else source
        names = _names(source)
        with tempfile.TemporaryDirectory(prefix="studylib-onnx2tf-") as scratch:
            answer = Path(scratch) / "answer.json"
            last = _run([source.resolve(), path.resolve(), answer, json.dumps(names)], self.timeout_s)
            if not answer.exists():
                raise TrialError(f"onnx2tf's process ended without an answer: {last}")
            found = json.loads(answer.read_text(encoding="utf-8"))
        if "refused" in found:
            raise RefusedError(found["refused"])
        return path, found["notes"]


def _names(source: Path) -> dict[str, str]:
    """Each input's name as a signature of TensorFlow can have it. Raises `RefusedError` when two would have one."""
    names = {name: identifier(name) for name in onnx_inputs(source)}
    twice = sorted(name for name, new in names.items() if list(names.values()).count(new) > 1)
    if twice:
        raise RefusedError(f"TensorFlow cannot tell the inputs {twice} apart, which it would all call '{names[twice[0]]}'; rename one")
    return names


def environment() -> Path:
    """The folder of onnx2tf's environment, whether it is there or not."""
    return Path(os.environ.get(ENVIRONMENT) or root() / ".venv-onnx2tf")


def interpreter() -> Path:
    return environment() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@functools.cache
def versions(folder: Path) -> dict[str, str]:
    """The version of each package in that environment which decides a result."""
    places = [str(place) for place in (*folder.glob("lib/python3.*/site-packages"), *folder.glob("Lib/site-packages"))]
    found = {one.metadata["Name"].lower(): one.version for one in importlib.metadata.distributions(path=places)}
    return {name: found.get(name, "") for name in _PACKAGES}


def _run(arguments: list[Path | str], timeout_s: float) -> str:
    """Run the script in the other environment, hand its progress on, and return its last other words. Raises `TrialError`."""
    # Isolated: the script's own folder holds modules with the names of packages. In this session, so that it ends with the job.
    process = subprocess.Popen(
        [interpreter(), "-I", _SCRIPT, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_surroundings(),
    )
    late = threading.Event()
    watch = threading.Timer(timeout_s, lambda: (late.set(), process.kill()))
    watch.daemon = True
    watch.start()
    last = "it said nothing"
    try:
        for line in process.stdout:
            if line.startswith('{"stage": '):
                print(line.strip(), flush=True)
            elif line.strip():
                last = line.strip()[:300]
        process.wait()
    finally:
        watch.cancel()
        process.kill()  # whatever made us leave; one that has ended is not hurt
        process.stdout.close()
    if late.is_set():
        raise TrialError(f"timeout: onnx2tf did not end within {timeout_s:g} s; its process was killed")
    return last


def _surroundings() -> dict[str, str]:
    """Variables of the process: quiet, on the CPU, Keras 2 (which onnx2tf builds with), and no way into a network."""
    here = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and not name.startswith("PYTHON")}
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return here | nowhere | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_USE_LEGACY_KERAS": "1"}
