"""What became of a trial or a conversion, and why: one order of precedence over everything that is on record."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from studylib.errors import Kind, Reason

DECIDES_NOTHING = "words"

_AGAIN = "run `make study` again to go on"


class Status(StrEnum):
    """``written`` and ``no path`` are of conversions alone."""

    OK = "ok"
    WRITTEN = "written"
    NO_PATH = "no path"
    SKIPPED = "skipped"
    FAILED = "failed"
    INVALID = "invalid"
    PENDING = "pending"


@dataclass(frozen=True)
class State:
    """A status; and the ``reason``, for every status but ok."""

    status: Status
    reason: Reason | None = None

    @property
    def ok(self) -> bool:
        return self.status is Status.OK

    @property
    def why(self) -> str:
        """The reason in words; empty without one."""
        return "" if self.reason is None else str(self.reason)

    def __str__(self) -> str:
        return f"{self.status}: {self.why}" if self.reason else str(self.status)


def reason_of(record) -> Reason | None:
    """The reason that a record (a `Measurement`, or a dict of an evaluation, a finding, a look, a cause) carries; None without one."""
    facts = record if isinstance(record, Mapping) else vars(record)
    return Reason(Kind(facts["kind"]), facts["reason"]) if facts.get("reason") else None


def failed(reason: Reason) -> dict[str, str]:
    """The fields of a record that carries ``reason``."""
    return {"reason": str(reason), "kind": reason.kind}


def of_trial(results, trial) -> State:
    """What became of a trial of ``results`` (`studylib.results.results.Results`)."""
    if trial.reason:
        return State(Status.SKIPPED, Reason(Kind.REFUSED, trial.reason))
    before = _not_made(results, [trial.artifact_key]) or _not_same(results.evaluation(trial.evaluation_id))
    if before:
        return before
    unlike = results.why_unlike(trial)
    if unlike:
        return State(Status.FAILED, unlike)
    attempts = results.attempts(trial.id)
    # What failed in an earlier run may have been tried again: the last attempt at a repetition counts.
    last = {attempt.repetition: attempt for attempt in attempts}
    broken = next((attempt for attempt in last.values() if attempt.status == "failed"), None)
    if broken:
        return State(Status.FAILED, reason_of(broken))
    if any(attempt.status == "ok" for attempt in attempts):
        return State(Status.OK)
    if attempts:
        return State(Status.INVALID, reason_of(attempts[-1]))
    return State(Status.PENDING, Reason(Kind.PENDING, "not measured yet", _AGAIN))


def of_conversion(results, cell) -> State:
    """What became of a cell of the matrix of formats."""
    if cell.reason:
        return State(Status.NO_PATH, Reason(Kind.REFUSED, cell.reason))
    before = _not_made(results, cell.keys)
    if before:
        return before
    if cell.keys[-1] not in results.artifacts():
        return State(Status.PENDING, Reason(Kind.PENDING, "not made yet", _AGAIN))
    if cell.trial is None:
        words = f"no runtime here opens {cell.target}, so whether it is the same model is not known"
        return State(Status.WRITTEN, Reason(Kind.REFUSED, words))
    evaluation = results.evaluation(cell.trial.evaluation_id)
    if evaluation is None:
        return State(Status.PENDING, Reason(Kind.PENDING, "not evaluated yet", _AGAIN))
    return State(Status.OK) if evaluation["status"] == "ok" else State(Status.FAILED, reason_of(evaluation))


def _not_made(results, keys) -> State | None:
    failures = results.failures()
    return next((State(Status.FAILED, failures[key]) for key in keys if key in failures), None)


def _not_same(evaluation: dict | None) -> State | None:
    status = (evaluation or {}).get("status", "ok")
    return None if status == "ok" else State(Status(status), reason_of(evaluation))
