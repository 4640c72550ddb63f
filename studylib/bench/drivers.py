"""What it changes who issues the queries: MLPerf LoadGen against the tight loop, on the same session, interleaved."""

from dataclasses import dataclass, replace

import numpy as np

from studylib import stats
from studylib.artifacts.store import Artifact
from studylib.models.zoo import Samples
from studylib.params.defaults import SEED
from studylib.params.paths import outputs_root
from studylib.runtimes import RUNTIMES, Options, Session
from studylib.scenarios import Load, RunLength, loadgen, loop
from studylib.study.opening import open_study

# Models with the queries of a round: one answers in microseconds, one in milliseconds.
MODELS = {"mnist_cnn": 500, "efficientnet_lite0": 64}


@dataclass(frozen=True)
class Drivers:
    """``session``: LoadGen / loop of what our clock saw around the session; ``outside``: of what LoadGen's clock saw. p50 in ns."""

    session: stats.Comparison
    outside: stats.Comparison
    loop_ns: float
    loadgen_ns: float


def run(rounds: int = 15, write=print) -> dict[str, Drivers]:
    """Compare both drivers of ``single_stream`` on the ONNX file of each model; print and return by model."""
    reason = loadgen.why_not()
    if reason:
        write(f"LoadGen against the loop: not measured, since {reason}")
        return {}
    found = {}
    for model, queries in MODELS.items():
        session, samples = opened(model, write)
        found[model] = compare(session, samples, queries, rounds)
        _tell(model, found[model], queries, write)
    return found


def compare(session: Session, samples: Samples, queries: int, rounds: int) -> Drivers:
    """Both drivers on one session, in a seeded random order each round."""
    length = RunLength(queries, 0.0, 60.0)
    warm = loop.drive(session, samples, Load("single_stream", 1, length))
    load = Load("single_stream", 1, length, typical_ns=max(1, int(np.median(warm.values_ns))))
    medians: dict[str, list[float]] = {"loop": [], "loadgen": [], "outside": []}
    order = np.random.default_rng(SEED)
    for number in range(rounds):
        for name in order.permutation(["loop", "loadgen"]):
            driven = (loop if name == "loop" else loadgen).drive(session, samples, replace(load, seed=number))
            medians[name].append(float(np.median(driven.values_ns)))
            if name == "loadgen":
                medians["outside"].append(driven.facts.crosscheck["loadgen_ns"])
    arrays = {name: np.array(values) for name, values in medians.items()}
    typical = {name: float(np.median(values)) for name, values in arrays.items()}
    return Drivers(
        stats.compare(arrays["loadgen"], arrays["loop"]),
        stats.compare(arrays["outside"], arrays["loop"]),
        typical["loop"],
        typical["loadgen"],
    )


def _tell(model: str, found: Drivers, queries: int, write) -> None:
    write(f"{model}, ONNX Runtime, single_stream, {found.session.n} interleaved rounds of {queries} queries:")
    write(f"  p50 {found.loop_ns / 1000:.2f} µs by the loop, {found.loadgen_ns / 1000:.2f} µs when LoadGen drives (both our clock)")
    for name, ratio in (("our clock", found.session), ("LoadGen's clock, with its callbacks", found.outside)):
        extra = (ratio.ratio - 1) * found.loop_ns / 1000
        write(f"  LoadGen / loop by {name}: {ratio.ratio:.4f} [{ratio.low:.4f}, {ratio.high:.4f}], {extra:+.2f} µs a query")


def opened(model: str, write=print) -> tuple[Session, Samples]:
    """A session of ONNX Runtime on a model's fp32 file, and its test samples."""
    found, samples, threads = artifact(model, "onnx", write)
    return RUNTIMES["onnxruntime"].open(found.path, Options(threads=threads)), samples


def artifact(model: str, format: str, write=print) -> tuple[Artifact, Samples, int]:
    """A model's fp32 file in a format, its test samples, and the threads of a study here. Made once, shared with all studies."""
    study = open_study("cpu", "smoke", models=(model,), runtimes=("litert", "onnxruntime"), recipes=("fp32",), sweeps=(), write=write)
    # A folder of its own: the plan and results of the last study stay as they are.
    study = replace(study, folder=outputs_root() / ".bench" / "cpu")
    study.convert(matrix=False)
    trial = next(trial for trial in study.trials if trial.format == format)
    samples = Samples.load(study.artifact(study.plan.origins[model].samples).path)
    return study.artifact(trial.artifact_key), samples, study.threads
