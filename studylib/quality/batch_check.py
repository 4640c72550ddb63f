"""Whether a query of several samples is answered as its samples are one by one.

Looked at before such a query is timed: a file with a batch built in may answer the first sample alone, in a quarter of the time. A
finding is plain JSON: ``batch_size``, ``status`` (ok or failed), ``reason`` with its ``kind`` (`studylib.errors.Kind`), ``queries`` (how
many were asked), ``distinct`` (samples in them that differ), ``sqnr`` (dB over the worst output, infinite for equal answers), ``remark``
(what a reader must know of an ok).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from studylib import stats
from studylib.errors import Kind, StudyError, kind_of, told
from studylib.models.zoo import Samples
from studylib.quality.metrics import Outputs, tolerance

# Queries of one size, as long as they hold no more samples than this in all; one where they would.
_QUERIES, _SAMPLES = 3, 48
# So many samples that differ show an exchange among them.
_DISTINCT = 8
# Below this, answers differ by more than rounding (other kernels for another size): then it is said, or looked at more closely.
_ROUNDING_DB = {"fp32": 90.0}
_ROUNDING_OTHERS_DB = 50.0
# A sample alone may be this much worse than all samples together.
_ALONE_DB = 10.0
# Errors this far below the mean answer are rounding, however small the sample's own answer is.
_NOTHING_DB = 100.0
# Errors as a share of how much samples differ from each other, of all samples and of one: another sample's answer gives 2.
_SHARE, _SHARE_ALONE = 0.5, 1.0
_REMEDY = "export the model with a dynamic batch axis and in inference mode, or measure BATCH=1 alone"


class Unlike(Exception):
    """A batch is answered otherwise than its samples, in words."""


def check(run: Callable[[dict], Outputs], samples: Samples, size: int, precision: str, known: Sequence[Outputs] = ()) -> dict:
    """The finding about queries of ``size`` samples, each held against single answers with the tolerance of the recipe ``precision``.

    ``known``: single answers that were asked before, of the first samples. Whatever ``run`` raises at a batch is the finding.
    """
    queries = max(1, min(_QUERIES, _SAMPLES // size))
    facts = {"batch_size": size, "queries": queries, "distinct": 0}
    try:
        if all(samples.batch_axes.get(name, 0) is None for name in samples.inputs):
            raise Unlike(f"no input of the model has a batch axis: it answers one sample a query, not {size}")
        asked, positions, singles = _alone(run, samples, size, queries * size, known)
        facts["distinct"] = distinct = len({asked.content(at) for at in singles})
        worst = np.inf
        for start in range(0, len(positions), size):
            query = positions[start : start + size]
            worst = min(worst, held(run(asked.gathered(query)), {place: singles[at] for place, at in enumerate(query)}, size, precision))
    except Unlike as error:
        return facts | unlike(size, f"{error}; {_REMEDY}")
    except StudyError as error:
        return facts | unlike(size, f"{error}; {_REMEDY}")
    except Exception as error:  # a framework may raise anything at a size it does not like: that is the finding
        return facts | unlike(size, told(error), kind_of(error))
    return facts | {"status": "ok", "reason": "", "sqnr": worst, "remark": _remark(worst, distinct, precision)}


def unlike(size: int, reason: str, kind: Kind = Kind.BATCH) -> dict:
    """The part of a finding that says why queries of ``size`` samples must not be timed."""
    return {"batch_size": size, "status": "failed", "reason": f"batch {size}: {reason}", "kind": kind, "sqnr": None, "remark": ""}


def held_once(together: Outputs, singles: Mapping[int, Outputs], size: int, precision: str) -> dict:
    """The finding of one query, of which ``singles`` of the samples were asked alone as well. Arguments as of `held`."""
    facts = {"batch_size": size, "queries": 1, "distinct": len(singles)}
    try:
        worst = held(together, singles, size, precision)
    except Unlike as error:
        return facts | unlike(size, f"{error}; {_REMEDY}")
    remark = "; ".join(filter(None, (f"{len(singles)} of its samples were asked alone as well", _remark(worst, len(singles), precision))))
    return facts | {"status": "ok", "reason": "", "sqnr": worst, "remark": remark}


def held(together: Outputs, singles: Mapping[int, Outputs], size: int, precision: str) -> float:
    """The SQNR in dB of the worst output of a batch of ``size`` against the ``singles``: answers to its samples, by their place in it.

    Raises `Unlike` in words.
    """
    places, first = list(singles), next(iter(singles.values()))
    if set(together) != set(first):
        raise Unlike(f"the outputs are {', '.join(together)}, those of one sample {', '.join(first)}")
    worst, follows = np.inf, False
    for name, values in together.items():
        wanted = [np.asarray(one[name]) for one in singles.values()]
        if len({one.shape for one in wanted}) > 1:
            shapes = sorted({one.shape for one in wanted})
            raise Unlike(
                f"the output '{name}' has another shape for another sample ({shapes[0]}, {shapes[-1]}), so which part of a batch's "
                "answer belongs to which sample is not known"
            )
        parts = _parts(name, np.asarray(values), wanted, size)
        follows |= parts is not None
        worst = min(worst, _near(name, np.stack(wanted), parts[places], precision) if parts is not None else np.inf)
    if not follows:
        raise Unlike(f"{size} samples were asked and one answer came")
    return worst


def _alone(run, samples: Samples, size: int, count: int, known: Sequence[Outputs]) -> tuple[Samples, list[int], dict[int, Outputs]]:
    """Samples to ask, the ``count`` positions that fill the queries one after the other, and the single answers by position.

    Where too few differ to see an exchange, they are asked with their values moved along too: what is looked at is not whether an
    answer is good, but whether a sample has the same one alone and among others.
    """
    firsts: dict[bytes, int] = {}
    for position in range(len(samples)):
        firsts.setdefault(hashlib.blake2b(samples.content(position)).digest(), position)
        if len(firsts) == count:
            break
    chosen = list(firsts.values())
    if len(chosen) < min(size, _DISTINCT):
        moved = _moved(samples, [(chosen[place % len(chosen)], place // len(chosen)) for place in range(min(size, _DISTINCT))])
        try:
            singles = {at: run(moved.batch(at, 1)) for at in range(len(moved))}
        except Exception:  # a model may refuse values at another place: its samples are asked as they are
            singles = {}
        if singles and all(np.isfinite(np.asarray(values, float)).all() for one in singles.values() for values in one.values()):
            return moved, [place % len(moved) for place in range(count)], singles
    positions = [chosen[place % len(chosen)] for place in range(count)]
    return samples, positions, {at: known[at] if at < len(known) else run(samples.batch(at, 1)) for at in dict.fromkeys(positions)}


def _moved(samples: Samples, pairs: list[tuple[int, int]]) -> Samples:
    """The samples at these positions, the values of each moved by so many places."""
    inputs = {
        name: values[[at for at, _ in pairs]]
        if samples.batch_axes.get(name, 0) is None
        else np.stack([np.roll(np.ravel(values[at]), places).reshape(values[at].shape) for at, places in pairs])
        for name, values in samples.inputs.items()
    }
    return Samples(inputs, None, samples.batch_axes)


def _parts(name: str, values: np.ndarray, wanted: list[np.ndarray], size: int) -> np.ndarray | None:
    """What belongs to each sample, shape (size, *shape of one answer); None where one answer is rightly all samples'. Raises `Unlike`."""
    single = wanted[0].shape
    if values.shape == (size, *single):
        return values
    apart = [axis for axis in range(values.ndim) if values.ndim == len(single) and values.shape[axis] != single[axis]]
    if len(apart) == 1 and values.shape[apart[0]] == size * single[apart[0]]:
        return np.stack(np.split(values, size, axis=apart[0]))
    shown = f"output '{name}' of shape {list(values.shape)}, for one sample {list(single)}"
    if values.shape == single:
        if all(np.array_equal(one, values, equal_nan=values.dtype.kind == "f") for one in wanted):
            return None
        raise Unlike(f"{size} samples were asked and one answer came ({shown}): a batch of one is built into the file")
    if len(apart) == 1 and single[apart[0]] == 1:
        raise Unlike(f"{size} samples were asked and {values.shape[apart[0]]} answers came ({shown})")
    raise Unlike(f"{size} samples were asked, and the answer does not fall into as many ({shown})")


def _near(name: str, wanted: np.ndarray, found: np.ndarray, precision: str) -> float:
    """SQNR in dB of ``found`` against ``wanted``, both (samples, …). Raises `Unlike` when they are not the same answers."""
    wanted, found = (values.reshape(len(values), -1).astype(np.float64) for values in (wanted, found))
    if not np.isfinite(found).all() and np.isfinite(wanted).all():
        raise Unlike(f"the output '{name}' holds NaN or infinity, and that of single samples does not")
    whole, limit = stats.sqnr_db(wanted, found), tolerance(precision).sqnr_db
    errors, powers = np.sum((found - wanted) ** 2, axis=1), np.sum(wanted**2, axis=1)
    alone = 10 * np.log10(np.maximum(powers, 1e-300) / np.maximum(errors, 1e-300))
    wrong = (alone < limit - _ALONE_DB) & (errors > powers.mean() * 10 ** (-_NOTHING_DB / 10))
    # Samples whose answers hardly differ can be exchanged within any tolerance in dB: the error is held against that difference too.
    spread = float(np.mean(np.sum((wanted - wanted.mean(axis=0)) ** 2, axis=1)))
    beyond = alone < _ROUNDING_DB.get(precision, _ROUNDING_OTHERS_DB)
    mixed = beyond & (errors > _SHARE_ALONE * spread)
    blurred = beyond.any() and errors.mean() > _SHARE * spread
    if whole < limit or wrong.any() or (spread > 0 and (mixed.any() or blurred)):
        worst = int(np.argmax(errors / np.maximum(powers, powers.mean() * 1e-10 + 1e-300)))
        raise Unlike(
            f"samples are answered otherwise than one by one: {_how(wanted, found)}; output '{name}', worst in sample {worst} of the "
            f"query: {alone[worst]:.1f} dB, {whole:.1f} dB over all; {precision} needs {limit:g} dB"
        )
    return whole


def _how(wanted: np.ndarray, found: np.ndarray) -> str:
    """What seems to have happened, from the answers (samples, values) alone and in the batch."""
    apart = np.linalg.norm(found[:, None] - wanted[None], axis=2)
    nearest, own = apart.argmin(axis=1), np.arange(len(wanted))
    clear = apart[own, nearest] < 0.1 * apart[own, own]
    if len(wanted) > 1 and np.linalg.norm(found - found[0]) <= 1e-6 * np.linalg.norm(found):
        return "every sample has the same answer"
    if clear.any() and set(nearest[clear]) - set(own[~clear & (nearest == own)]) and clear.sum() > 1:
        return "answers are exchanged among the samples"
    if clear.any():
        return f"{int(clear.sum())} of {len(wanted)} have another sample's answer"
    return "what a sample gets depends on the others in its query"


def _remark(worst: float, distinct: int, precision: str) -> str:
    told = []
    if worst < _ROUNDING_DB.get(precision, _ROUNDING_OTHERS_DB):
        why = ", as where activations are scaled over the whole query" if precision not in _ROUNDING_DB else ""
        told.append(f"answers differ from single ones by more than rounding ({worst:.1f} dB){why}")
    if distinct < 2:
        told.append("the samples are all the same, so an exchange among them would not be seen")
    return "; ".join(told)
