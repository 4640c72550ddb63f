"""Whether an artifact is still the same model: its outputs held against the source's, wherever they were computed.

A phone's tool reads and writes raw bytes: `pack` writes its queries, `phone_answers` and `judge_batch` read its answers.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from studylib.artifacts import arrays
from studylib.errors import Kind
from studylib.models.zoo import Samples
from studylib.quality import batch_check, integer_parity, metrics, varying
from studylib.quality.answers import answered
from studylib.quality.criteria import Criteria


@dataclass(frozen=True)
class Ran:
    """Where outputs were computed; ``elsewhere``: why not by the provider that was asked for."""

    placement: str
    nodes: dict
    elsewhere: str | None


@dataclass(frozen=True)
class Wanted:
    """Files of outputs to hold others against: the model's own (``reference``), and those of the ``version`` that was trained of it.

    ``n``: how many samples count; None for all.
    """

    reference: Path
    version: Path
    n: int | None = None

    def outputs(self, path: Path) -> metrics.Outputs:
        return {name: values[: self.n] for name, values in arrays.load(path)[0].items()}


def judged(outputs: metrics.Outputs, labels, wanted: Wanted, criteria: Criteria, ran: Ran) -> dict:
    """The evaluation of ``outputs``: quality, and whether this is the same model."""
    common = {"independent": criteria.independent, "task": criteria.task, "data": criteria.data}
    common |= {"placement": ran.placement, "nodes": ran.nodes}
    version, grids = wanted.outputs(wanted.version), arrays.load(wanted.version)[1].get("grids", {})
    reference = wanted.outputs(wanted.reference)
    why = varying.why_not_comparable(outputs, reference)
    if why:
        reason = varying.why_not_same(outputs, version, criteria.precision)
        words = f"{why}; sample by sample, {varying.told(outputs, version)}"
        return common | {"comparable": False, "why_not_comparable": words} | _standing(reason, ran)
    outputs = integer_parity.real(outputs, grids, list(version))
    try:
        found = metrics.metrics(outputs, reference, labels, criteria.task)
    except ValueError as error:
        return common | {"status": "failed", "reason": f"parity: {error}", "kind": Kind.PARITY}
    # A retrained model may answer otherwise than the source model: that is its quality. Its own conversions may not.
    is_source = wanted.version == wanted.reference
    same = found if is_source else metrics.metrics(outputs, version, None, criteria.task)
    steps = integer_parity.steps(metrics.matched(outputs, version), grids)
    found |= {"steps": steps} if steps else {}
    reason = metrics.why_not_same(same, criteria.precision) or integer_parity.why_not_same(steps)
    if reason:
        # There a search for the layer can see the difference; on another sample it may lie in values that count for nothing.
        common["worst_sample"] = metrics.worst_sample(outputs, version)
    return found | common | _standing(reason, ran)


def _standing(reason: str, ran: Ran) -> dict:
    status = "failed" if reason else "invalid" if ran.elsewhere else "ok"
    kind = Kind.PARITY if reason else Kind.FELL_BACK if ran.elsewhere else ""
    return {"status": status, "reason": reason or ran.elsewhere or "", "kind": kind}


def pack(artifact: Path, samples: Samples, n: int, size: int, folder: Path) -> dict:
    """Write the first ``n`` queries of LiteRT's artifact into ``folder``: a file of raw bytes for each input, named by its hash."""
    from studylib.runtimes.litert import RawTensors

    tensors, queries = RawTensors(artifact, samples.batch(0, size)), []
    for number in range(min(n, len(samples))):
        contents = tensors.packed(samples.batch(number * size, size))
        queries.append([sha256(content).hexdigest() for content in contents])
        for name, content in zip(queries[-1], contents, strict=True):
            (folder / name).write_bytes(content)
    return {"shapes": tensors.shapes, "queries": queries}


def phone_answers(artifact: Path, samples: Samples, folder: Path) -> metrics.Outputs:
    """What a phone answered to ``samples`` one by one: raw bytes, in the files 0, 1 … of ``folder``."""
    from studylib.runtimes.litert import RawTensors

    tensors = RawTensors(artifact, samples.batch(0, 1))
    answers = iter([tensors.answer((folder / str(number)).read_bytes()) for number in range(len(samples))])
    return answered(lambda query: next(answers), samples)


def judge_batch(artifact: Path, samples: Samples, folder: Path, size: int, places: tuple[int, ...], precision: str) -> dict:
    """The finding (`studylib.quality.batch_check`) of a batch of ``size`` that a phone answered, in the file ``batch`` of ``folder``.

    Beside it, named by their number, lie the answers to those of its samples in ``places``, each asked alone.
    """
    from studylib.runtimes.litert import RawTensors

    alone = RawTensors(artifact, samples.batch(0, 1))
    singles = {place: alone.answer((folder / str(place)).read_bytes()) for place in places}
    together = RawTensors(artifact, samples.batch(0, size)).answer((folder / "batch").read_bytes())
    return batch_check.held_once(together, singles, size, precision)
