"""The grammar of recipes' names: ``qat_wi8_ai8`` is ``qat``, which trains, and then ``wi8_ai8``."""

# What trains a model before anything else is done to it; the table of `studylib.recipes` says how.
TRAINING = (
    "pruned_constant50",
    "pruned_polynomial80",
    "pruned_2by4",
    "clustered16",
    "pruned_clustered16",
    "qat",
    "pruned_qat",
    "clustered_qat",
    "pruned_clustered_qat",
    "pruned_channels50",
    "pruned_blocks",
    "distilled_half",
    "student_half",
)


def split_recipe(name: str) -> tuple[str | None, str]:
    """What trains first, if anything does, and what is done to its result: ``pruned_2by4_fp16`` is pruned_2by4, then fp16."""
    bases = [base for base in TRAINING if name == base or name.startswith(f"{base}_")]
    base = max(bases, key=len, default=None)
    return base, (name.removeprefix(base).removeprefix("_") or "fp32") if base else name
