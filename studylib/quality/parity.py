"""Whether an artifact is still the same model: its outputs held against the source's, wherever they were computed.

A phone's tool reads and writes raw bytes: `pack` writes its queries and `judge` reads its answers, each as a job of the worker.
"""

from hashlib import sha256
from pathlib import Path

from studylib.artifacts import arrays
from studylib.models.zoo import Samples
from studylib.quality import batch_check, integer_parity, metrics, varying
from studylib.quality.answers import answered


def judged(job: dict, outputs: metrics.Outputs, labels, placement: str, nodes: dict, elsewhere: str | None) -> dict:
    """The evaluation of ``outputs``, of the job's first ``n`` samples or of all: quality, and whether this is the same model.

    ``elsewhere``: why the provider that was asked for did not compute them.
    """
    common = {name: job[name] for name in ("independent", "task", "data")} | {"placement": placement, "nodes": nodes}

    def of(version: str) -> metrics.Outputs:
        return {name: values[: job.get("n")] for name, values in arrays.load(job[version])[0].items()}

    wanted, grids = of("version"), arrays.load(job["version"])[1].get("grids", {})
    reference = of("reference")
    why = varying.why_not_comparable(outputs, reference)
    if why:
        return common | _not_comparable(job, outputs, reference, wanted, why, elsewhere)
    outputs = integer_parity.real(outputs, grids, list(wanted))
    try:
        found = metrics.metrics(outputs, reference, labels, job["task"])
    except ValueError as error:
        return common | {"status": "failed", "reason": f"parity: {error}"}
    # A retrained model may answer otherwise than the source model: that is its quality. Its own conversions may not.
    same = found if job["version"] == job["reference"] else metrics.metrics(outputs, of("version"), None, job["task"])
    steps = integer_parity.steps(metrics.matched(outputs, wanted), grids)
    found |= {"steps": steps} if steps else {}
    reason = metrics.why_not_same(same, job["precision"]) or integer_parity.why_not_same(steps)
    if reason:
        # There a search for the layer can see the difference; on another sample it may lie in values that count for nothing.
        common["worst_sample"] = metrics.worst_sample(outputs, of("version"))
    status = "failed" if reason else "invalid" if elsewhere else "ok"
    return found | common | {"status": status, "reason": reason or elsewhere or ""}


def _not_comparable(job: dict, outputs: metrics.Outputs, reference, version, why: str, elsewhere: str | None) -> dict:
    """The evaluation where the number of answers depends on the input: no number of fidelity, and why there is none."""
    reason = varying.why_not_same(outputs, version, job["precision"])
    status = "failed" if reason else "invalid" if elsewhere else "ok"
    words = f"{why}; sample by sample, {varying.told(outputs, version)}"
    return {"comparable": False, "why_not_comparable": words, "status": status, "reason": reason or elsewhere or ""}


def pack(job: dict) -> dict:
    """Write the first ``n`` queries of LiteRT's artifact into ``folder``: a file of raw bytes for each input, named by its hash."""
    from studylib.runtimes.litert import RawTensors

    samples, size = Samples.load(Path(job["samples"])), job["batch_size"]
    tensors, queries = RawTensors(Path(job["artifact"]), samples.batch(0, size)), []
    for number in range(min(job["n"], len(samples))):
        contents = tensors.packed(samples.batch(number * size, size))
        queries.append([sha256(content).hexdigest() for content in contents])
        for name, content in zip(queries[-1], contents, strict=True):
            (Path(job["folder"]) / name).write_bytes(content)
    return {"shapes": tensors.shapes, "queries": queries}


def judge(job: dict) -> dict:
    """Hold a phone's answers to the first ``n`` samples (raw bytes, in the files 0, 1 … of ``answers``) against the source."""
    from studylib.runtimes.litert import RawTensors

    samples = Samples.load(Path(job["samples"])).taken(range(job["n"]))
    tensors = RawTensors(Path(job["artifact"]), samples.batch(0, 1))
    answers = iter([tensors.answer((Path(job["answers"]) / str(number)).read_bytes()) for number in range(job["n"])])
    outputs = answered(lambda query: next(answers), samples)
    return judged(job, outputs, samples.labels, job["placement"], {}, job["elsewhere"])


def judge_batch(job: dict) -> dict:
    """The finding (`studylib.quality.batch_check`) of a batch of ``size`` that a phone answered, in the file ``batch`` of ``answers``.

    Beside it, named by their number, lie the answers to those of its samples in ``places``, each asked alone.
    """
    from studylib.runtimes.litert import RawTensors

    samples, folder, artifact = Samples.load(Path(job["samples"])), Path(job["answers"]), Path(job["artifact"])
    alone = RawTensors(artifact, samples.batch(0, 1))
    singles = {place: alone.answer((folder / str(place)).read_bytes()) for place in job["places"]}
    together = RawTensors(artifact, samples.batch(0, job["size"])).answer((folder / "batch").read_bytes())
    return batch_check.held_once(together, singles, job["size"], job["precision"])
