"""Whether processes that take turns read what one process alone reads: the same file asked both ways, in alternation."""

from dataclasses import replace

import numpy as np

from studylib import stats
from studylib.bench.entry_points import Agreement
from studylib.build.executor import Executor
from studylib.build.jobs import MeasureJob
from studylib.errors import TrialError
from studylib.measure.cohorts import cohort_results
from studylib.params.defaults import SEED
from studylib.params.paths import outputs_root
from studylib.scenarios import Load, RunLength
from studylib.study.opening import open_study
from studylib.wording import ratio_text

# Models whose query takes some 25 µs, 10 ms and 300 ms on two cores, and the runtime that each is asked in.
MODELS = {"mnist_cnn": "litert", "efficientnet_lite0": "onnxruntime", "bert_base": "onnxruntime"}
_TOGETHER = 4
_LOAD = Load("single_stream", 1, RunLength(40, 0.5, 8.0))


def run(models: tuple[str, ...] | None = None, rounds: int = 8, write=print) -> dict[str, Agreement]:
    """Compare both ways for every model; print and return by model."""
    found = {}
    for model in models or MODELS:
        runtime = MODELS.get(model, "onnxruntime")
        choice = {"models": (model,), "runtimes": (runtime,), "recipes": ("fp32",), "batch_sizes": (1,), "sweeps": ()}
        study = replace(open_study("cpu", "smoke", write=write, **choice), folder=outputs_root() / ".bench" / "blocks")
        study.evaluate(("fp32",), matrix=False)
        trial, samples = study.timed[0], study.plan.origins[model].samples
        opened = {"artifact": trial.artifact_key, "samples": samples, "runtime": runtime, "provider": "cpu", "threads": trial.threads}
        found[model] = one = read(study.executor, MeasureJob(**opened, load=_LOAD, warmup_s=0.2), rounds)
        held = "within the noise floor" if one.within_noise else "BEYOND the noise floor"
        write(
            f"{model} in {runtime}: one process alone / {_TOGETHER} that take turns = {ratio_text(one.against)}, alone / alone again = "
            f"{ratio_text(one.control)}, n = {one.against.n} rounds: {held}"
        )
    return found


def read(executor: Executor, job: MeasureJob, rounds: int) -> Agreement:
    """The median latency alone by that in blocks, and alone by alone again, in a seeded random order each round."""
    order, taken = np.random.default_rng(SEED), {"alone": [], "again": [], "blocks": []}
    for number in range(rounds):
        for name in order.permutation(list(taken)):
            taken[name].append(_blocks(executor, job, number) if name == "blocks" else _median(executor.run(job, 300)))
    arrays = {name: np.array(values) for name, values in taken.items()}
    return Agreement(stats.compare(arrays["alone"], arrays["blocks"]), stats.compare(arrays["alone"], arrays["again"]))


def _blocks(executor: Executor, job: MeasureJob, number: int) -> float:
    """The geometric mean of the medians of processes that take turns, in ns."""
    found = cohort_results(executor, [job] * _TOGETHER, 300, f"blocks-{number}")
    if found is None:
        raise TrialError(f"memory does not hold {_TOGETHER} processes of this model at once; close other programs")
    for one in found:
        if isinstance(one, TrialError):
            raise one
    return float(np.exp(np.mean([np.log(_median(one)) for one in found])))


def _median(found: dict) -> float:
    return float(np.median(found["values_ns"]))
