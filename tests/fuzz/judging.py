"""One drawn model through the study, as a user's would go: planned, converted, evaluated, its batches checked; then held against
what the frameworks say themselves.

Jobs run in this process instead of one each, so that hundreds of models take minutes; nothing else differs.
"""

import re
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tests.fuzz import independent
from tests.fuzz.drawn import Drawn
from tests.in_process import study_of
from tests.outputs import conversion_status_of, status_of

RECIPES = ("fp32", "fp16", "dynamic_wi8_afp32", "static_wi8_ai8", "weight_only_wi8_afp32")
BATCHES = (1, 4)
# Where the study's own figure and ours are rounded or computed by other kernels, they may differ by so much, in dB.
_SLACK_DB = 3.0
# Beyond this, a difference is rounding of float32 and no kernel is like another.
_ROUNDING_DB = 80.0
# A library's words in a reason that nobody translated: the type of an exception, a place in its sources, a temporary file.
_RAW = re.compile(
    r"Traceback|\(\w*(?:Error|Exception|Fail|InvalidArgument|NotImplemented|InvalidGraph|RuntimeException|EPFail)\)"
    r"|^\w*(?:Error|Exception):|\[ONNXRuntimeError\]|site-packages|/tmp/|\n|0x[0-9a-f]{6}"
)


@dataclass
class Verdict:
    """What became of one model. ``states``: how many rows ended how; ``wrong``: what must not be, in words."""

    seed: int
    words: str
    states: Counter = field(default_factory=Counter)
    confirmed: int = 0
    batches: int = 0
    wrong: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def judge(seed: int, drawn: Drawn, outputs: Path, recipes=RECIPES, batches=BATCHES, isolated: bool = False) -> Verdict:
    """Everything that the study says of a model, and whether it is so. ``isolated``: each job in a process of its own, as for users."""
    from studylib.errors import StudyError

    verdict, begun = Verdict(seed, f"{drawn.kind}: {drawn.words}"), time.monotonic()
    try:
        study = study_of(outputs, drawn.path, recipes=recipes, batch_sizes=batches, sweeps=())
    except StudyError as error:
        verdict.states["refused at the door"] += 1
        _look_at(verdict, "refused", "the model", str(error))
        verdict.seconds = time.monotonic() - begun
        return verdict
    if isolated:
        study = replace(study, given_executor=None)
    study.evaluate()
    _judge_words(verdict, study)
    _confirm(verdict, study, drawn)
    verdict.seconds = time.monotonic() - begun
    return verdict


def _passed(study) -> list:
    """Trials that would be timed: the same model, in batches too."""
    return [trial for trial in study.same if not study.results.why_unlike(trial)]


def _judge_words(verdict: Verdict, study) -> None:
    good = {trial.id for trial in _passed(study)}
    for trial in study.trials:
        # Nothing is timed here: what passed the gate and waits for its turn is "pending".
        status, reason = status_of(study.results, trial)
        verdict.states["ok" if trial.id in good else status] += 1
        if trial.id not in good:
            _look_at(verdict, status, trial.label, reason)
    for cell in study.results.conversions():
        status, reason = conversion_status_of(study.results, cell)
        if status != "ok":
            _look_at(verdict, status, f"{cell.source} to {cell.target}", reason)


def _look_at(verdict: Verdict, status: str, what: str, reason: str) -> None:
    """Keep why a row is not ok, each reason once, and whether these are words."""
    if status not in ("skipped", "no path"):
        verdict.reasons.setdefault(reason, f"{what} {status}")
    if not reason or _RAW.search(reason):
        verdict.wrong.append(f"{what} {status}, raw words: {reason or 'none'}")


def _confirm(verdict: Verdict, study, drawn: Drawn) -> None:
    """Hold every ``ok`` against the frameworks' own answers."""
    from studylib.models.zoo import Samples
    from studylib.params.recipe_names import split_recipe

    wanted, asked = None, set()
    for trial in _passed(study):
        if (trial.evaluation_id, trial.batch_size) in asked or trial.format not in ("onnx", "tflite", "openvino", "saved_model"):
            continue
        asked.add((trial.evaluation_id, trial.batch_size))
        (model,) = study.plan.models
        samples = Samples.load(study.artifact(study.plan.origins[model].samples).path)
        count = min(len(samples), 8)
        singles = [{name: np.array(values) for name, values in samples.batch(index, 1).items()} for index in range(count)]
        if wanted is None:
            wanted = _answers(independent.source(drawn.path, drawn.kind), singles)
        path = study.artifact(trial.artifact_key).path
        run = independent.artifact(path, trial.format, raw=any(values.dtype.kind in "iu" for values in wanted[0]))
        evaluation = study.results.evaluation(trial.evaluation_id)
        precision = trial.source or split_recipe(trial.recipe)[1]
        if trial.batch_size > 1:
            _confirm_batch(verdict, trial, run, samples, precision)
            continue
        found = _answers(run, singles)
        if evaluation.get("comparable", True) is False:
            continue
        ours = independent.sqnr_db(*(_together(answers) for answers in (wanted, found)))
        least = _least_db(precision)
        if ours < least - _SLACK_DB:
            verdict.wrong.append(f"{trial.label}: ok at {evaluation.get('sqnr')} dB, and its framework says {ours:.1f} dB")
        verdict.confirmed += 1


def _answers(answer: independent.Answer, queries: list[dict]) -> list[list[np.ndarray]]:
    return [answer(query) for query in queries]


def _confirm_batch(verdict: Verdict, trial, run, samples, precision: str) -> None:
    from studylib.errors import RefusedError

    size = trial.batch_size
    try:
        query = samples.batch(0, size)
    except RefusedError as error:
        verdict.wrong.append(f"{trial.label}: batch {size} is ok, and {error}")
        return
    try:
        together = run({name: np.array(values) for name, values in query.items()})
    except Exception as error:  # each framework refuses with an exception of its own
        verdict.wrong.append(f"{trial.label}: batch {size} is ok, and its framework refuses it: {error}")
        return
    alone = [run({name: np.array(values) for name, values in samples.batch(index, 1).items()}) for index in range(size)]
    pairs = [(np.concatenate([one[number] for one in alone]), found) for number, found in enumerate(together)]
    checked: list[np.ndarray] = []
    for one, found in pairs:
        if one.shape != found.shape and one.size == found.size:
            # The batch may stand on another axis of an answer, side by side.
            axis = next((axis for axis in range(found.ndim) if found.shape[axis] != alone[0][0].shape[axis]), 0)
            one = np.concatenate([single[len(checked)] for single in alone], axis=axis)
        checked.append(one)
        if one.shape != found.shape or independent.sqnr_db([one], [found]) < _least_db(precision) - _SLACK_DB:
            verdict.wrong.append(f"{trial.label}: batch {size} is ok, and its framework answers {found.shape}, one by one {one.shape}")
    verdict.batches += 1


def _together(answers: list[list[np.ndarray]]) -> list[np.ndarray]:
    return [np.stack([one[number] for one in answers]) for number in range(len(answers[0]))]


def _least_db(precision: str) -> float:
    return {"fp32": 60.0, "fp16": 35.0}.get(precision, 8.0)
