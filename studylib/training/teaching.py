"""What structured pruning and distillation share: reading the source model, and teaching a smaller one."""

from pathlib import Path

from studylib.models.zoo import Samples
from studylib.training.graph import functional
from studylib.training.job import Job
from studylib.training.lessons import Lessons
from studylib.training.normalising import renormalise
from studylib.training.reading import read_model
from studylib.training.resuming import Stage, fit, optimizer


def source_model(path: Path):
    """The Keras model in a file, as a graph of layers. Raises `RefusedError` when it cannot be read or is none."""
    return functional(read_model(path))


def shapes_of(samples: Samples) -> dict[str, tuple]:
    """The shape of one sample by input, for axes that a model leaves open."""
    return {name: tuple(values.shape[1:]) for name, values in samples.inputs.items()}


def taught(model, lesson: Lessons, job: Job, stage: str) -> list[float]:
    """Teach ``model`` in place and return the loss of every epoch; a killed training goes on where it was."""
    import keras

    compiled = lesson.compiled(keras, model, optimizer(keras, **pace(job, lesson)))
    losses = fit(keras, compiled, lesson.inputs, lesson.answers, stage_of(job, stage))
    renormalise(model, lesson, job.seed)
    return losses


def pace(job: Job, lesson: Lessons) -> dict:
    """How fast a training goes, for `resuming.optimizer`."""
    return {name: job.options[name] for name in ("learning_rate", "epochs", "batch")} | {"samples": len(lesson)}


def stage_of(job: Job, name: str) -> Stage:
    """How long, from what seed and with which checkpoints a training goes."""
    return Stage(name, job.options["epochs"], job.options["batch"], job.seed, job.unfinished)
