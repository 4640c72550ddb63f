"""How good an artifact's outputs are, and whether they are still the same model's."""

from dataclasses import dataclass

import numpy as np

from studylib import stats


@dataclass(frozen=True)
class Tolerance:
    """The least that an artifact must reach against the source model on the same samples to be timed."""

    sqnr_db: float
    agreement: float


# Float conversions differ by rounding (seen: 110 to 140 dB), float16 by its mantissa (49 to 65 dB); int8 is allowed to
# lose much, since how much is what the study is about, and a wrong model (0 dB and below) still fails.
TOLERANCES = {"fp32": Tolerance(60, 0.99), "fp16": Tolerance(35, 0.98)}
QUANTIZED = Tolerance(8, 0.8)


def tolerance(precision: str) -> Tolerance:
    """The tolerance of a recipe by its name."""
    return TOLERANCES.get(precision, QUANTIZED)


def metrics(outputs: np.ndarray, reference: np.ndarray, labels: np.ndarray | None) -> dict:
    """Fidelity to the reference outputs and, where there are labels, which samples were right.

    Arrays are (samples, classes). Returns ``n``, ``output_mse``, ``sqnr`` (dB), ``agreeing`` and, with labels,
    ``correct`` (lists of booleans, one per sample, kept for paired tests).
    """
    outputs, reference = np.asarray(outputs, float), np.asarray(reference, float)
    if outputs.shape != reference.shape:
        raise ValueError(f"outputs have the shape {outputs.shape}, the source model's have {reference.shape}")
    found = {
        "n": len(outputs),
        "finite": bool(np.isfinite(outputs).all()),
        "output_mse": float(np.mean((outputs - reference) ** 2)),
        "sqnr": stats.sqnr_db(reference, outputs),
        "agreeing": (outputs.argmax(-1) == reference.argmax(-1)).tolist(),
    }
    if labels is not None:
        found["correct"] = (outputs.argmax(-1) == labels).tolist()
    return found


def why_not_same(found: dict, precision: str) -> str | None:
    """Why an artifact with these `metrics` is out of tolerance, or None when it passes the parity gate."""
    if not found["finite"]:
        return "parity: outputs hold NaN or infinity"
    limit = tolerance(precision)
    agreement = float(np.mean(found["agreeing"]))
    if not found["sqnr"] >= limit.sqnr_db:
        return f"parity: SQNR {found['sqnr']:.1f} dB against the source model; {precision} needs {limit.sqnr_db:g} dB"
    if agreement < limit.agreement:
        return f"parity: top-1 agreement {agreement:.3f} with the source model; {precision} needs {limit.agreement:g}"
    return None
