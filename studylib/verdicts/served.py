"""What servers add, what more clients and batches bring, and what the article on serving claims: from the results alone.

*Runtimes behind the same front* (``own/onnxruntime`` against ``own/tensorflow``) and *products*, each with its own front, are never held
against each other in one number.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from studylib import stats
from studylib.results.records import SERVING, Measurement, Trial
from studylib.stats import Verdict
from studylib.verdicts.compare import SpeedUp, speed_up
from studylib.verdicts.findings import Findings, once

# The article compares these two; behind the same front they are these.
PRODUCT = "tensorflow_serving/tensorflow"
_ONNX, _TENSORFLOW = "onnxruntime", "tensorflow"
_FRONT = "own"


class Standing(StrEnum):
    """How a claim stands here."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "cannot tell"
    UNTESTED = "not testable here"


@dataclass(frozen=True)
class Claim:
    """A sentence of the article. ``published``: its numbers as they stand there; ``model``: of the zoo, empty for any."""

    id: str
    sentence: str
    published: str
    model: str = ""


# Source: the article on serving, requirements K1 to K7.
CLAIMS = (
    Claim("K1", "ONNX Runtime serves ResNet-50 faster than TensorFlow Serving", "285.3 to 342.7 QPS, +20.1 %", "resnet50"),
    Claim("K2", "ONNX Runtime serves BERT-base faster than TensorFlow Serving", "156.8 to 215.4 QPS, +37.4 %", "bert_base"),
    Claim("K3", "ONNX Runtime serves DeepSpeech faster than TensorFlow Serving", "98.2 to 142.6 QPS, +45.2 %", "deepspeech"),
    Claim("K4", "it needs less resident memory", "156.2 to 89.4 MB RSS, -42.8 %"),
    Claim("K5", "it needs less virtual memory", "892.7 to 342.1 MB VMS, -61.7 %"),
    Claim("K6", "it starts faster", "no number"),
    Claim("K7", "its lead grows with the number of clients", "no number"),
)


@dataclass(frozen=True)
class Judged:
    """A claim of one model. ``ratio``: by how many times the claim's side is better, None where it was not measured."""

    claim: Claim
    model: str
    standing: Standing
    ratio: stats.Comparison | None
    why: str = ""


@once
def served(findings: Findings) -> list[Trial]:
    """Every trial that asks a server, and those without one that stand beside them."""
    return [trial for trial in findings.results.distinct() if trial.sweep == SERVING]


def settings(trial: Trial) -> dict[str, str]:
    """The settings of a trial by name."""
    return dict(part.split("=", 1) for part in trial.options.split(",")) if trial.options else {}


def clients(trial: Trial) -> int:
    """How many clients ask at once."""
    return int(settings(trial).get("clients", 1))


def is_remote(trial: Trial) -> bool:
    return "/" in trial.runtime


@once
def direct_of(findings: Findings, trial: Trial) -> Trial | None:
    """The same model in the same runtime and threads without a server."""
    runtime = trial.runtime.partition("/")[2]
    return next((one for one in served(findings) if not is_remote(one) and (one.model, one.runtime) == (trial.model, runtime)), None)


@once
def added(findings: Findings, trial: Trial) -> SpeedUp | None:
    """The direct session over the served one: how much of its speed is left behind the server. None where nothing stands beside it."""
    direct = direct_of(findings, trial)
    if direct is None or not (findings.state(direct).ok and findings.state(trial).ok):
        return None
    return speed_up(direct, trial, findings.results)


def parts_ms(findings: Findings, trial: Trial) -> dict[str, float]:
    """The medians of what a query was spent on: ``queue``, ``compute``, ``wire``, over repetitions; empty where the server tells none."""
    told = [m.scenario_facts.get("served", {}) for m in findings.results.measurements(trial.id)]
    names = [name for name in ("queue", "compute", "wire") if told and all(f"{name}_ns" in one for one in told)]
    return {name: float(np.median([one[f"{name}_ns"] for one in told])) / 1e6 for name in names}


def wire(findings: Findings, trial: Trial) -> str:
    """The wire that its queries took, as the record of a repetition has it; empty without one."""
    return next((m.scenario_facts.get("served", {}).get("wire", "") for m in findings.results.measurements(trial.id)), "")


def batches(findings: Findings, trial: Trial) -> dict[int, int]:
    """How many requests ran in a batch of each size."""
    found: dict[int, int] = {}
    for measurement in findings.results.measurements(trial.id):
        for size, count in measurement.scenario_facts.get("served", {}).get("batches", {}).items():
            found[int(size)] = found.get(int(size), 0) + count
    return dict(sorted(found.items()))


def rates(findings: Findings, trial: Trial) -> dict[tuple[int, int], float]:
    """Answers a second by campaign and repetition."""
    told = {_place(m): m.scenario_facts.get("completed_samples_per_s") for m in findings.results.measurements(trial.id)}
    return {place: rate for place, rate in told.items() if rate}


def more(before: dict[tuple[int, int], float], after: dict[tuple[int, int], float]) -> stats.Comparison | None:
    """By how many times the second is more than the first, over the repetitions that both have; None where there is none."""
    shared = sorted(before.keys() & after.keys())
    if not shared:
        return None
    return stats.compare(np.array([after[place] for place in shared]), np.array([before[place] for place in shared]))


@once
def batching(findings: Findings, trial: Trial) -> stats.Comparison | None:
    """Answers a second with requests put together over those without, for as many clients; None for a trial without batching."""
    if "batch" not in settings(trial) or not findings.state(trial).ok:
        return None
    plain = _without_batching(findings, trial)
    return None if plain is None else more(rates(findings, plain), rates(findings, trial))


def _without_batching(findings: Findings, trial: Trial) -> Trial | None:
    """The same server asked by as many clients, request by request; None where that has no numbers."""
    for one in served(findings):
        alike = (one.model, one.runtime, one.scenario, clients(one)) == (trial.model, trial.runtime, trial.scenario, clients(trial))
        if alike and not {"batch", "wire"} & settings(one).keys() and findings.state(one).ok:
            return one
    return None


def why_so(findings: Findings, trial: Trial) -> str:
    """What batches change, in words: how much faster a sample computes, and how much of the server's time that is; empty if unknown."""
    plain, formed = _without_batching(findings, trial), batches(findings, trial)
    if plain is None or not formed:
        return ""
    alone, together = (parts_ms(findings, one).get("compute") for one in (plain, trial))
    spent = [m.scenario_facts["served"].get("server_cpu_s_per_query") for m in findings.results.measurements(plain.id)]
    if not (alone and together and all(spent)):
        return ""
    # By batches and not by requests: a batch is computed once for all of its requests.
    size = sum(formed.values()) / sum(count / one for one, count in formed.items())
    share = min(1.0, alone / (1000 * float(np.mean(spent))))
    faster = f"a sample computes {alone * size / together:.2g} times as fast in batches of {size:.2g}"
    return f"{faster}, and computing is {share:.0%} of the server's time"


def pays(comparison: stats.Comparison) -> str:
    """What a comparison of batching says, in words."""
    words = {Verdict.FASTER: "pays", Verdict.SLOWER: "does not pay here", Verdict.CANNOT_TELL: "makes no difference that can be told"}
    return words[comparison.verdict]


@once
def claims(findings: Findings) -> list[Judged]:
    """Each claim for each model that was served, by the runtimes behind the same front."""
    models = dict.fromkeys(trial.model for trial in served(findings) if is_remote(trial))
    return [_judged(findings, claim, model) for model in models for claim in CLAIMS if claim.model in ("", model)]


def _judged(findings: Findings, claim: Claim, model: str) -> Judged:
    pair = [_asked(findings, model, f"{_FRONT}/{name}") for name in (_TENSORFLOW, _ONNX)]
    if not all(pair):
        missing = [f"{_FRONT}/{name}" for name, found in zip((_TENSORFLOW, _ONNX), pair, strict=True) if not found]
        why = f"{' and '.join(missing)} was not measured here; SERVE={_FRONT}/{_ONNX},{_FRONT}/{_TENSORFLOW} does that"
        return Judged(claim, model, Standing.UNTESTED, None, why)
    tensorflow, onnx = pair
    ratio = _MEASURES[claim.id](findings, tensorflow, onnx)
    if ratio is None:
        return Judged(claim, model, Standing.UNTESTED, None, "no repetition holds both")
    standing = {Verdict.FASTER: Standing.HOLDS, Verdict.SLOWER: Standing.FAILS, Verdict.CANNOT_TELL: Standing.OPEN}[ratio.verdict]
    return Judged(claim, model, standing, ratio)


def _asked(findings: Findings, model: str, runtime: str) -> dict[int, Trial]:
    """The trials of one server without batching and with its usual wire, by how many clients ask."""
    return {
        clients(trial): trial
        for trial in served(findings)
        if (trial.model, trial.runtime) == (model, runtime)
        and trial.scenario in ("single_stream", "concurrency")
        and not {"batch", "wire"} & settings(trial).keys()
        and findings.state(trial).ok
    }


def _throughput(findings: Findings, tensorflow: dict[int, Trial], onnx: dict[int, Trial]) -> stats.Comparison | None:
    """Answers a second with the most clients that both were asked by."""
    most = max(tensorflow.keys() & onnx.keys(), default=None)
    return None if most is None else more(rates(findings, tensorflow[most]), rates(findings, onnx[most]))


def _less(name: str, group: str):
    """How many times less ONNX Runtime's server needs of something that each repetition tells."""

    def measured(findings: Findings, tensorflow: dict[int, Trial], onnx: dict[int, Trial]) -> stats.Comparison | None:
        def told(trials: dict[int, Trial]) -> dict[tuple[int, int], float]:
            return {_place(m): getattr(m, group)[name] for m in findings.results.measurements(trials[min(trials)].id)}

        return more(told(onnx), told(tensorflow))

    return measured


def _growth(findings: Findings, tensorflow: dict[int, Trial], onnx: dict[int, Trial]) -> stats.Comparison | None:
    """The lead with the most clients over the lead with one."""
    shared = sorted(tensorflow.keys() & onnx.keys())
    if len(shared) < 2:
        return None

    def lead(count: int) -> dict[tuple[int, int], float]:
        behind, ahead = rates(findings, tensorflow[count]), rates(findings, onnx[count])
        return {place: ahead[place] / behind[place] for place in ahead.keys() & behind.keys()}

    return more(lead(shared[0]), lead(shared[-1]))


_MEASURES = dict.fromkeys(("K1", "K2", "K3"), _throughput) | {
    "K4": _less("rss_after_first", "memory_bytes"),
    "K5": _less("vms_after_first", "memory_bytes"),
    "K6": _less("load", "cold_start_ns"),
    "K7": _growth,
}


def _place(measurement: Measurement) -> tuple[int, int]:
    return measurement.campaign, measurement.repetition
