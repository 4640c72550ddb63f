"""The kinds of reasons of earlier versions, whose records (form 0 and 1) hold words alone. The one place that looks into words."""

import re

from studylib.errors import Kind, Reason

DECIDES_NOTHING = "words"

# How those versions began their words, alone or after what failed ("batch 8: crash: …"); the first that fits counts.
_BEGAN = (
    (r"(^|: )crash\b", Kind.CRASH),
    (r"(^|: )timeout\b", Kind.TIMEOUT),
    (r"(^|: )(out of memory|MemoryError)\b|^needs more than the declared", Kind.OUT_OF_MEMORY),
    (r"(^|: )(the phone refused|\S+ did not arrive on the phone)\b", Kind.DEVICE),
    (r"^the training process was killed by signal", Kind.INTERRUPTED),
    (r"^parity: ", Kind.PARITY),
    (r"^batch \d+: ", Kind.BATCH),
)


_KINDS = frozenset(Kind)


def kind(words: str, status: str = "failed") -> Kind:
    """The kind of a reason by its ``words``; of an ``invalid`` record, that it was disturbed."""
    if status == "invalid":
        return Kind.DISTURBED
    return next((known for pattern, known in _BEGAN if re.search(pattern, words)), Kind.ERROR)


def typed(record: dict) -> dict:
    """The record with the ``kind`` of its reason, where it has a reason and an earlier version wrote it, or names a kind nobody knows."""
    words = record.get("reason")
    if not isinstance(words, str) or not words or record.get("kind") in _KINDS:
        return record
    return record | {"kind": kind(words, record.get("status", "failed"))}


def reason(facts: dict | str) -> Reason:
    """A reason as ``run.json`` holds it: words alone, or with their kind."""
    facts = typed({"reason": facts} if isinstance(facts, str) else facts)
    return Reason(Kind(facts["kind"]), facts["reason"])
