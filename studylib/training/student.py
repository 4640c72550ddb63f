"""A student: the teacher's architecture with every channel count that may change scaled by one factor, and fresh weights."""

from studylib.errors import RefusedError
from studylib.training.channels import find_channels
from studylib.training.choice import evidence, narrowed
from studylib.training.costs import find_costs
from studylib.training.graph import find_graph
from studylib.training.surgery import cut


def build_student(teacher, width: float, shapes: dict[str, tuple], seed: int) -> tuple:
    """A narrower, untrained copy of ``teacher`` and notes; the same weights for the same ``seed``.

    ``width``: the share of channels that stays; ``shapes``: of one sample by input. Raises `RefusedError` when no layer
    may be narrowed.
    """
    import keras

    if not 0 < width < 1:
        raise RefusedError(f"width is {width}; give the part of the channels that a student keeps, between 0 and 1")
    channels = find_channels(find_graph(teacher, shapes))
    if not channels.free.any():
        raise RefusedError(f"no layer of {teacher.name} can be made narrower: {'; '.join(channels.reasons[:3])}")
    choice = narrowed(channels, find_costs(channels), width)
    keras.utils.set_random_seed(seed)
    student = cut(teacher, channels, choice.kept, weights=False)
    return student, evidence(teacher, student, channels, choice)
