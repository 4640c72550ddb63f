"""Our figures against those of the runtimes' own benchmarks, where their wheels ship one: fresh processes, interleaved."""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib import stats
from studylib.artifacts.store import Store
from studylib.bench.drivers import artifact
from studylib.build.jobs import MeasureJob
from studylib.executors import Executor, LocalExecutor
from studylib.executors.child import environment
from studylib.params.defaults import SEED
from studylib.scenarios import Load, RunLength

# A model of milliseconds: LiteRT's tool rounds to hundredths of one.
MODEL = "efficientnet_lite0"
_QUERIES, _WARMUP = 60, 10
_AVERAGE = re.compile(r"avg latency: ([\d.]+) ms")


@dataclass(frozen=True)
class EntryPoint:
    """A runtime's own benchmark: its module, the command's arguments, its number in ns, and the same number of our values.

    ``threads`` as our session must be told to run like it: ONNX Runtime's tool leaves them to the library, 0.
    """

    runtime: str
    format: str
    module: str
    statistic: str
    threads: int | None
    read: Callable[[Path, int], float]
    ours: Callable[[np.ndarray], float]

    def why_not(self) -> str | None:
        """Why it cannot be run, or None."""
        try:
            found = importlib.util.find_spec(self.module)
        except ModuleNotFoundError:
            found = None
        return None if found else f"looked for {self.module}: absent, so this build of {self.runtime} ships no benchmark of its own"


@dataclass(frozen=True)
class Agreement:
    """Our number over theirs, and ours over ours again: the noise floor that the first is judged by."""

    against: stats.Comparison
    control: stats.Comparison

    @property
    def within_noise(self) -> bool:
        """Whether our number is as near to theirs as two of ours are to each other: the intervals overlap."""
        return self.against.low <= self.control.high and self.control.low <= self.against.high


def run(rounds: int = 10, write=print) -> dict[str, Agreement]:
    """Compare with each entry point that ships; print and return by runtime. What ships none is printed as absent."""
    found = {}
    for entry in ENTRY_POINTS:
        reason = entry.why_not()
        if reason:
            write(f"{entry.runtime}: {reason}")
            continue
        found[entry.runtime] = compare(entry, rounds, write)
        _tell(entry, found[entry.runtime], write)
    return found


def compare(entry: EntryPoint, rounds: int, write=print) -> Agreement:
    """Theirs, ours, and ours again, each in a fresh process, in a seeded random order each round."""
    file, samples, threads = artifact(MODEL, entry.format, write)
    order, taken = np.random.default_rng(SEED), {"theirs": [], "ours": [], "again": []}
    with tempfile.TemporaryDirectory(prefix="studylib-entry-points-") as folder:
        store = Store(Path(folder) / "artifacts")
        keys = store.put(file.path).key, store.put(samples.save(Path(folder))).key
        with LocalExecutor(threads, store) as executor:
            for _ in range(rounds):
                for name in order.permutation(list(taken)):
                    value = entry.read(file.path, threads) if name == "theirs" else _ours(entry, executor, *keys, threads)
                    taken[name].append(value)
    arrays = {name: np.array(values) for name, values in taken.items()}
    return Agreement(stats.compare(arrays["ours"], arrays["theirs"]), stats.compare(arrays["ours"], arrays["again"]))


def _ours(entry: EntryPoint, executor: Executor, artifact: str, samples: str, threads: int) -> float:
    """The same number from one repetition of ours, in ns. ``artifact`` and ``samples`` are keys."""
    # No shortest duration: as many queries as theirs.
    load = Load("single_stream", 1, RunLength(_QUERIES, 0.0, 60.0))
    told = threads if entry.threads is None else entry.threads
    opened = {"artifact": artifact, "samples": samples, "runtime": entry.runtime, "provider": "cpu", "threads": told}
    found = executor.run(MeasureJob(**opened, load=load, warmup_s=0.2), 300)
    return float(entry.ours(np.array(found["values_ns"])))


def _onnxruntime(path: Path, threads: int) -> float:
    """The mean latency that ``onnxruntime_test`` prints, in ns."""
    told = _run("onnxruntime.tools.onnxruntime_test", str(path), str(_QUERIES), threads=threads)
    return float(_AVERAGE.search(told)[1]) * 1e6


def _litert(path: Path, threads: int) -> float:
    """The median latency that ``litert-benchmark`` writes, in ns."""
    with tempfile.TemporaryDirectory(prefix="studylib-") as folder:
        result = Path(folder) / "result.json"
        counts = (f"--num_runs={_QUERIES}", f"--warmup_runs={_WARMUP}", f"--num_threads={threads}", f"--result_json={result}")
        _run("ai_edge_litert.tools.benchmark_litert_model", f"--model={path}", *counts, threads=threads)
        return json.loads(result.read_text())["latency"]["median_ms"] * 1e6


def _run(module: str, *arguments: str, threads: int) -> str:
    command = [sys.executable, "-m", module, *arguments]
    told = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env=environment(threads))
    return told.stdout


ENTRY_POINTS = (
    EntryPoint("onnxruntime", "onnx", "onnxruntime.tools.onnxruntime_test", "mean", 0, _onnxruntime, np.mean),
    EntryPoint("litert", "tflite", "ai_edge_litert.tools.benchmark_litert_model", "p50", None, _litert, np.median),
)


def _tell(entry: EntryPoint, found: Agreement, write) -> None:
    ratio, control = found.against, found.control
    held = "within the noise floor" if found.within_noise else "BEYOND the noise floor"
    write(
        f"{entry.runtime}, {MODEL}, {entry.statistic} of {_QUERIES} queries: ours / {entry.module} = {ratio.ratio:.3f} "
        f"[{ratio.low:.3f}, {ratio.high:.3f}], ours / ours = {control.ratio:.3f} [{control.low:.3f}, {control.high:.3f}], "
        f"n = {ratio.n} rounds of fresh processes: {held}"
    )
