"""What a conversion to ONNX costs: tf2onnx' plain call against `studylib.recipes.convert.to_onnx`, each in a process of its own."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from studylib.errors import TrialError
from studylib.params.paths import root

_LIMIT = 1 / 3
_OPSET = 18
# What tf2onnx' own call took for BERT-base (seen: 17.7 GB).
_PLAIN_BYTES = 19e9


@dataclass(frozen=True)
class Cost:
    """One conversion, the import of its frameworks included: seconds, and the most memory its process ever held."""

    seconds: float
    peak_bytes: int

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, peak memory {self.peak_bytes / 1e9:.2f} GB"


def run(saved_model: Path, write=print) -> dict[str, Cost]:
    """Convert ``saved_model`` the plain way, then ours, one after the other; print and return both costs.

    Raises `TrialError` when a conversion fails or its process is killed, for want of memory for one.
    """
    costs = {}
    for way in WAYS:
        costs[way] = measure(way, saved_model)
        write(f"{way}: {costs[way]}")
    ratio = costs["ours"].seconds / costs["plain"].seconds
    held = "holds" if ratio <= _LIMIT else "DOES NOT HOLD"
    write(f"ours / plain = {ratio:.3f} of the seconds, {costs['ours'].peak_bytes / costs['plain'].peak_bytes:.2f} of the memory")
    write(f"at most 1/3 of the seconds: {held}")
    return costs


def run_on_zoo(model: str = "bert_base", write=print) -> dict[str, Cost] | None:
    """`run` on a model of the zoo; None, and why, where the plain way would not fit into this machine's memory."""
    import psutil

    from studylib.study.opening import open_study

    free = psutil.virtual_memory().available
    if free < _PLAIN_BYTES:
        write(
            f"conversion of {model}: not measured, the plain way needs about {_PLAIN_BYTES / 1e9:.0f} GB and {free / 1e9:.0f} GB are free"
        )
        return None
    study = open_study("cpu", "smoke", models=(model,), recipes=("fp32",), write=write)
    # A folder of its own: the plan and results of the last study stay as they are. Artifacts are shared.
    study = replace(study, folder=study.folder.parent / ".bench" / "conversion")
    write(f"conversion of {model} to ONNX, one way after the other, each in a fresh process:")
    return run(study.make(model, "saved_model").path, write)


def measure(way: str, saved_model: Path) -> Cost:
    """The cost of one way (``plain`` or ``ours``), in a fresh interpreter; what it writes is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "studylib.bench.conversion_cost", way, str(Path(saved_model).resolve()), folder]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root())
    if done.returncode:
        raise TrialError(f"The {way} conversion of {saved_model} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def _plain(saved_model: Path, folder: Path) -> None:
    from studylib.recipes.convert import to_onnx

    to_onnx.convert_plainly(saved_model, folder, _OPSET)


def _ours(saved_model: Path, folder: Path) -> None:
    from studylib.recipes.convert import to_onnx

    to_onnx.convert(saved_model, folder, _OPSET)


WAYS = {"plain": _plain, "ours": _ours}

if __name__ == "__main__":
    start = time.perf_counter()
    WAYS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    seconds = time.perf_counter() - start
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}))
