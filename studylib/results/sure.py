"""On which samples a source model is sure of its answer. Where it is not, a variant that answers otherwise need not be worse."""

# A top-1 probability above this: no other answer can be as likely.
SURE = 0.5
# Fewer samples than this say too little: then all of them count.
FEWEST_SURE = 30


def is_by_band(evaluation: dict) -> bool:
    """Whether the agreement of an evaluation is judged where the source model is sure alone."""
    return sum(_sure(evaluation)) >= FEWEST_SURE


def counted(evaluation: dict) -> list[bool]:
    """Of the answers to samples without labels, whether they agree with the source model's: where it is sure, otherwise everywhere."""
    return band(evaluation, sure=True) if is_by_band(evaluation) else evaluation["agreeing"]


def judged(evaluation: dict) -> dict:
    """An evaluation, of answers without labels those alone that count."""
    if "correct" in evaluation or not is_by_band(evaluation):
        return evaluation
    answers = counted(evaluation)
    return evaluation | {"agreeing": answers, "n": len(answers)}


def band(evaluation: dict, sure: bool) -> list[bool]:
    """Whether answers agree, of the samples on which the source model is ``sure``, or is not."""
    return [agrees for agrees, one in zip(evaluation["agreeing"], _sure(evaluation), strict=True) if one == sure]


def _sure(evaluation: dict) -> list[bool]:
    return [value > SURE for value in evaluation.get("confidence", ())]
