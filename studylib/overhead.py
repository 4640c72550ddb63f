"""What the harness costs: the p50 that studylib measures against a bare loop on the same session."""

import gc
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np

from studylib import stats
from studylib.opening import open_study
from studylib.params import SEED, outputs_root, root
from studylib.runtimes import RUNTIMES, Options
from studylib.scenarios import Budget, issue_queries
from studylib.zoo import Samples

_QUERIES = 500
_LIMIT = 1.05


def run(rounds: int = 30, write=print) -> stats.Comparison:
    """Interleave both loops in one process, on one session of the mnist_cnn ONNX model; print and return harness / bare."""
    study = open_study("cpu", "smoke", models=("mnist_cnn",), runtimes=("onnxruntime",), recipes=("fp32",), write=write)
    # A folder of its own: the plan and results of the last study stay as they are. Artifacts are shared.
    study = replace(study, folder=outputs_root() / ".bench" / "cpu")
    study.convert()
    trial = study.trials[0]
    samples = Samples.load(study.artifact(study.plan.origins["mnist_cnn"]["samples"]).path)
    session = RUNTIMES["onnxruntime"].open(study.artifact(trial.artifact_key).path, Options(threads=study.threads))
    batches = [samples.batch(index, 1) for index in range(16)]
    loops = {"bare": lambda: bare(session._session, batches), "harness": lambda: issue_queries(session, batches, Budget(_QUERIES, 0, 60))}
    medians = {name: [] for name in loops}
    order = np.random.default_rng(SEED)
    for name in loops:
        loops[name]()
    for _ in range(rounds):
        for name in order.permutation(list(loops)):
            medians[name].append(float(np.median(loops[name]())))
    found = stats.compare(np.array(medians["harness"]), np.array(medians["bare"]))
    import_time(write)
    for name, values in medians.items():
        write(f"{name}: p50 {np.median(values) / 1000:.2f} µs (median of {rounds} rounds of {_QUERIES} queries)")
    held = "holds" if found.ratio <= _LIMIT else "DOES NOT HOLD"
    write(f"harness / bare = {found.ratio:.4f} [{found.low:.4f}, {found.high:.4f}], n = {rounds} rounds; at most {_LIMIT}: {held}")
    return found


def import_time(write=print, repetitions: int = 10) -> float:
    """Median seconds of ``import studylib`` in fresh interpreters, the interpreter's own start apart; printed and returned."""
    code = "import time; start = time.perf_counter(); import studylib; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", code]
    seconds = [float(subprocess.check_output(command, cwd=root())) for _ in range(repetitions)]
    write(f"import studylib: {np.median(seconds) * 1000:.1f} ms (median of {repetitions} fresh interpreters); at most 300 ms")
    return float(np.median(seconds))


def bare(session, batches: list) -> np.ndarray:
    """The shortest honest loop on ONNX Runtime's own session: clock, run, clock."""
    values, clock = [], time.perf_counter_ns
    gc.disable()
    for index in range(_QUERIES):
        batch = batches[index % len(batches)]
        start = clock()
        session.run(None, batch)
        values.append(clock() - start)
    gc.enable()
    return np.array(values)
