"""How good an artifact's outputs are, and whether they are still the same model's."""

from dataclasses import dataclass

import numpy as np

from studylib import stats
from studylib.results.sure import counted, is_by_band

Outputs = dict[str, np.ndarray]

# What the last axis of the first output means, by task: scores of which the largest is the answer.
SCORED_TASKS = ("classification", "question_answering", "speech_recognition")


@dataclass(frozen=True)
class Tolerance:
    """The least that an artifact must reach against the source model on the same samples to be timed."""

    sqnr_db: float
    agreement: float


# Float conversions differ by rounding (seen: 110 to 140 dB), float16 by its mantissa (49 to 65 dB); int8 is allowed to
# lose much, since how much is what the study is about, and a wrong model (0 dB and below) still fails.
TOLERANCES = {"fp32": Tolerance(60, 0.99), "fp16": Tolerance(35, 0.98)}
QUANTIZED = Tolerance(8, 0.8)
# A source that was quantized before it came is held against itself: its conversions compute the same whole numbers, and differ where
# kernels round at another place (seen: 25 dB and more, also between the kernels of one runtime; docs/decisions/0029).
TOLERANCES |= {"float16": Tolerance(35, 0.98), "bfloat16": Tolerance(25, 0.95), "int16": Tolerance(30, 0.95)}
TOLERANCES |= dict.fromkeys(("int8", "int8 dynamic", "int8 weights", "int4 weights", "int2 weights"), Tolerance(20, 0.9))


def tolerance(precision: str) -> Tolerance:
    """The tolerance of a recipe by its name."""
    return TOLERANCES.get(precision, QUANTIZED)


def metrics(outputs: Outputs, reference: Outputs, labels: np.ndarray | None, task: str = "classification") -> dict:
    """Fidelity to the reference outputs and, where there are labels, which samples were right.

    Arrays have the sample as first axis. Returns ``n`` (samples), ``outputs`` (one dict of `fidelity` each), over all
    outputs the worst ``sqnr`` (dB), ``max_abs_error``, ``max_rel_error``, ``cosine`` and ``output_mse``; for tasks with
    scores ``agreeing``, and with labels ``correct`` (lists of booleans, kept for paired tests); for a classifier its ``confidence`` in
    each answer. Raises `ValueError` when names or shapes do not match.
    """
    pairs = matched(outputs, reference)
    each = [{"name": name} | fidelity(found, wanted) | _share(found, wanted, task) for name, found, wanted in pairs]
    found = {
        "n": len(pairs[0][2]),
        "finite": all(one["finite"] for one in each),
        "outputs": each,
        "sqnr": min(one["sqnr"] for one in each),
        "cosine": min(one["cosine"] for one in each),
        **{name: max(one[name] for one in each) for name in ("output_mse", "max_abs_error", "max_rel_error")},
    }
    if task in SCORED_TASKS:
        found["agreeing"] = _agreeing(pairs, task)
    if task == "classification":
        found["confidence"] = confidence(pairs[0][2]).round(4).tolist()
    if labels is not None and task == "classification":
        found["correct"] = (answers(pairs[0][1]) == labels).tolist()
    return found


def worst_sample(outputs: Outputs, reference: Outputs) -> int:
    """The number of the sample whose outputs are farthest from the reference, relative to their size. Arguments as in `metrics`."""
    worst = 0.0
    for _, found, wanted in matched(outputs, reference):
        found, wanted = (values.reshape(len(values), -1).astype(np.float64) for values in (found, wanted))
        with np.errstate(invalid="ignore"):
            apart = np.linalg.norm(found - wanted, axis=1) / (np.linalg.norm(wanted, axis=1) + np.finfo(np.float32).tiny)
        worst = np.maximum(worst, np.where(np.isnan(apart), np.inf, apart))
    return int(np.argmax(worst))


def _share(outputs: np.ndarray, reference: np.ndarray, task: str) -> dict:
    """Top-1 agreement of one output along its last axis, where outputs are scores."""
    if task not in SCORED_TASKS:
        return {"agreement": None}
    agreeing = answers(outputs) == answers(reference) if task == "classification" else decided(outputs) == decided(reference)
    return {"agreement": float(np.mean(agreeing))}


def _agreeing(pairs: list, task: str) -> list[bool]:
    """Whether answers agree: one a sample for a classifier, one for each output of a reader and each frame of a recogniser."""
    if task == "classification":
        return (answers(pairs[0][1]) == answers(pairs[0][2])).tolist()
    scored = pairs if task == "question_answering" else pairs[:1]
    return np.concatenate([(decided(found) == decided(wanted)).ravel() for _, found, wanted in scored]).tolist()


def matched(outputs: Outputs, reference: Outputs) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(name, outputs, reference) of every output, by name or, where a format renamed them, by their order."""
    if len(outputs) != len(reference):
        raise ValueError(f"{len(outputs)} outputs ({', '.join(outputs)}); the source model has {len(reference)} ({', '.join(reference)})")
    renamed = dict(zip(reference, outputs, strict=True)) if set(outputs) != set(reference) else {name: name for name in reference}
    pairs = []
    for name, wanted in reference.items():
        if np.asarray(outputs[renamed[name]]).dtype == object:
            raise ValueError(f"outputs '{name}' have another shape for another sample, the source model's have {wanted.shape[1:]}")
        found, wanted = np.asarray(outputs[renamed[name]], float), np.asarray(wanted, float)
        if found.shape != wanted.shape:
            raise ValueError(f"outputs '{name}' have the shape {found.shape}, the source model's have {wanted.shape}")
        pairs.append((name, found, wanted))
    return pairs


def fidelity(outputs: np.ndarray, reference: np.ndarray) -> dict:
    """How near ``outputs`` are: SQNR in dB, largest error, the same relative to the largest reference value, cosine."""
    if not np.isfinite(outputs).all():
        worst = {"sqnr": -np.inf, "cosine": -1.0, "output_mse": np.inf, "max_abs_error": np.inf, "max_rel_error": np.inf}
        return worst | {"finite": False}
    error, largest = np.abs(outputs - reference), float(np.abs(reference).max(initial=0))
    most = float(error.max(initial=0))
    lengths = float(np.linalg.norm(outputs) * np.linalg.norm(reference))
    return {
        "finite": True,
        "sqnr": stats.sqnr_db(reference, outputs),
        "cosine": float(np.vdot(outputs, reference)) / lengths if lengths else float(most == 0),
        "output_mse": float(np.mean(error**2)),
        "max_abs_error": most,
        "max_rel_error": most / largest if largest else (0.0 if most == 0 else np.inf),
    }


def answers(scores: np.ndarray) -> np.ndarray:
    """The class of each sample, shape (n,); scores are (n, classes), (n, 1, classes) or those with axes of one after them."""
    return decided(scores.reshape(len(scores), -1))


def confidence(scores: np.ndarray) -> np.ndarray:
    """The probability of each sample's answer, shape (n,); scores as in `answers`. What is no probabilities is taken for logits."""
    flat = scores.reshape(len(scores), -1)
    if flat.shape[1] == 1:
        is_share = ((flat >= 0) & (flat <= 1)).all()
        yes = flat[:, 0] if is_share else 1 / (1 + np.exp(-np.clip(flat[:, 0], -500, 500)))
        return np.maximum(yes, 1 - yes)
    if (flat >= 0).all() and np.allclose(flat.sum(axis=1), 1, atol=0.02):
        return flat.max(axis=1)
    return 1 / np.exp(flat - flat.max(axis=1, keepdims=True)).sum(axis=1)


def decided(scores: np.ndarray) -> np.ndarray:
    """The index of the highest score along the last axis; a single score is the probability of class 1 of two."""
    return scores.argmax(-1) if scores.shape[-1] > 1 else (scores[..., 0] > 0.5).astype(int)


def why_not_same(found: dict, precision: str) -> str | None:
    """Why an artifact with these `metrics` is out of tolerance, or None when it passes the parity gate."""
    if not found["finite"]:
        return "parity: outputs hold NaN or infinity"
    limit = tolerance(precision)
    if not found["sqnr"] >= limit.sqnr_db:
        worst = min(found["outputs"], key=lambda one: one["sqnr"])
        which = f" of output '{worst['name']}'" if len(found["outputs"]) > 1 else ""
        return f"parity: SQNR {worst['sqnr']:.1f} dB{which} against the source model; {precision} needs {limit.sqnr_db:g} dB"
    if "agreeing" in found and np.mean(counted(found)) < limit.agreement:
        share, where = float(np.mean(counted(found))), " where it is sure" if is_by_band(found) else ""
        return f"parity: top-1 agreement {share:.3f} with the source model{where}; {precision} needs {limit.agreement:g}"
    return None
