"""Knowledge distillation: a narrower student of the same architecture, taught by the trained model, or alone for comparison.

Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), by ``keras.distillation``.
"""

from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.training.job import Job, say
from studylib.training.lessons import Lessons, lessons, one_or_all
from studylib.training.normalising import renormalise
from studylib.training.resuming import fit, optimizer
from studylib.training.student import build_student
from studylib.training.teaching import pace, shapes_of, source_model, stage_of, taught

# Keeps the logarithm of a probability finite.
_TINY = 1e-7


def run(job: Job) -> dict:
    """Write ``model.keras``, a student of ``options["width"]``, and notes on how it was taught.

    Options: ``width``, ``teacher`` (whether the source model teaches), ``temperature``, ``label_weight``, ``epochs``,
    ``batch``, ``learning_rate``. Raises `RefusedError` when no layer may be narrowed, or nothing is there to learn from.
    """
    import keras

    options = job.options
    model, samples = source_model(job.source), Samples.load(job.samples)
    lesson = lessons(keras, model, samples)
    if not (lesson.labelled or options["teacher"]):
        raise RefusedError(_alone(model, samples))
    student, notes = build_student(model, options["width"], shapes_of(samples), job.seed)
    if options["teacher"]:
        weight = options["label_weight"] if lesson.labelled else 0.0
        say(f"a student of {notes['parameters_after']} parameters learns from {model.name}")
        losses = _distilled(keras, model, student, lesson, job, weight)
        notes |= {"taught": _lesson_in_words(lesson, weight, options["temperature"]), "label_weight": weight}
    else:
        say(f"a student of {notes['parameters_after']} parameters learns alone")
        losses = taught(student, lesson, job, "student alone")
        notes |= {"taught": lesson.taught}
    student.save(job.target / "model.keras")
    return notes | {"loss_by_epoch": losses}


def _distilled(keras, teacher, student, lesson: Lessons, job: Job, label_weight: float) -> list[float]:
    """Teach ``student`` in place by what ``teacher`` answers; the loss of every epoch."""
    distiller = keras.distillation.Distiller(
        teacher=_scores(keras, teacher, lesson),
        student=_scores(keras, student, lesson),
        distillation_losses=_losses(keras, lesson, job.options["temperature"]),
        distillation_loss_weights=lesson.weights,
        student_loss_weight=label_weight,
    )
    distiller.compile(optimizer=optimizer(keras, **pace(job, lesson)), loss=_label_loss(keras, lesson))
    losses = fit(keras, distiller, lesson.inputs, lesson.answers, stage_of(job, "distillation"))
    renormalise(student, lesson, job.seed)
    return losses


def _scores(keras, model, lesson: Lessons):
    """``model`` with its taught outputs as scores: probabilities by their logarithm, which a softmax turns back into them."""

    def logarithm(probabilities):
        return keras.ops.log(probabilities + _TINY)

    outputs = [model.outputs[index] for index in lesson.outputs]
    scores = [
        keras.layers.Activation(logarithm, name=f"scores-of-output-{index}")(output) if _over_classes(name) and not raw else output
        for index, (output, name, raw) in enumerate(zip(outputs, lesson.losses, lesson.from_scores, strict=True))
    ]
    return keras.Model(one_or_all(model.inputs), one_or_all(scores))


def _losses(keras, lesson: Lessons, temperature: float) -> list:
    """Keras' losses between teacher and student, one for each taught output: softened classes, or squared errors of numbers."""
    found = []
    for position, name in enumerate(lesson.losses):
        # Named "kl_divergence", its default, Keras 3.15 takes the divergence of the scores themselves, without any softmax.
        kind = keras.losses.KLDivergence() if _over_classes(name) else "mse"
        only = one_or_all([kind if index == position else None for index in range(len(lesson.losses))])
        soft = keras.distillation.LogitsDistillation(temperature, loss=only) if _over_classes(name) else None
        found.append(soft or keras.distillation.FeatureDistillation(loss=only))
    return found


def _over_classes(loss: str) -> bool:
    """Whether an output with this loss is one of several classes that exclude each other."""
    return loss in ("KLDivergence", "SparseCategoricalCrossentropy")


def _label_loss(keras, lesson: Lessons):
    """The loss of labels on scores; without labels it is asked for and weighs nothing."""
    if lesson.losses[0] == "SparseCategoricalCrossentropy":
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if lesson.losses[0] == "BinaryCrossentropy":
        return keras.losses.BinaryCrossentropy(from_logits=lesson.from_scores[0])
    return one_or_all(["mse"] * len(lesson.losses))


def _lesson_in_words(lesson: Lessons, label_weight: float, temperature: float) -> str:
    softened = f" at temperature {temperature:g}" if any(map(_over_classes, lesson.losses)) else ""
    labels = f"; {lesson.taught}, count {label_weight:g} of the loss" if label_weight else ""
    return f"the source model's answers to {len(lesson)} samples{softened}{labels}"


def _alone(model, samples: Samples) -> str:
    have = "have no labels" if samples.labels is None else f"have labels of shape {samples.labels.shape}, no class for each answer"
    return (
        f"the training samples of {model.name} {have}: a student alone has nothing to learn from; "
        "give labelled samples, or let the source model teach it (distilled_half)"
    )
