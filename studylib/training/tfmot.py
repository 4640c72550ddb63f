"""Pruning, clustering and quantization-aware training, alone or in this order, with tensorflow-model-optimization."""

import contextlib
import io
from dataclasses import replace

from studylib.models.zoo import Samples
from studylib.training import clustering, evidence, lessons, pruning, quantization_aware, statistics_matching
from studylib.training.job import Job, say
from studylib.training.legacy_keras import Twin, translate
from studylib.training.reading import read_model
from studylib.training.resuming import reseed
from studylib.training.schooling import Schooling, samples_to_look_at

# On so many samples the legacy model must answer as the source does before anything is changed.
_COMPARED = 8


def run(job: Job) -> dict:
    """Change and teach the model as ``job.options`` say; returns notes with the evidence of what was reached.

    Options: those of `pruning.prune` and `clustering.cluster`, None where that stage is left out; ``quantize``: whether
    quantization-aware training follows; ``learning_rate`` and ``most_unlabelled`` (see `Schooling`), ``epochs`` (of each
    stage), ``batch``. Writes ``model.keras`` (Keras 3), or for ``quantize`` the folder ``saved_model``. Raises `RefusedError`.
    """
    import keras
    import tensorflow as tf
    import tf_keras

    keras.utils.set_random_seed(job.seed)
    tf_keras.utils.set_random_seed(job.seed)
    tf.config.experimental.enable_op_determinism()
    source, samples = read_model(job.source), Samples.load(job.samples)
    inputs = lessons.inputs_of(source, samples)
    say("translating to legacy Keras")
    twin = translate(source, [values[:_COMPARED] for values in inputs])
    if job.options["quantize"]:
        quantization_aware.refuse_unknown(twin.model)
    taught = lessons.lessons(tf_keras, twin.model, samples)
    options = job.options
    moments = statistics_matching.observed(twin.model, samples_to_look_at(taught, job.seed))
    pace = (options[name] for name in ("learning_rate", "epochs", "batch"))
    schooling = Schooling(taught, *pace, job.seed, job.unfinished, moments, options["most_unlabelled"])
    model, stages = _changed(twin.model, options, schooling)
    losses = [loss for stage in stages.values() for loss in stage["loss_by_epoch"]]
    notes = {"taught": taught.taught, "loss_by_epoch": losses} | stages
    if options["quantize"]:
        _export(model, source, samples, job)
        return notes | {"sparsity": stages["quantization_aware_training"]["sparsity"]}
    twin.take_back(model)
    source.save(job.target / "model.keras")
    return notes | _evidence(twin)


def _changed(model, options: dict, schooling: Schooling) -> tuple[object, dict]:
    """The model after every stage that ``options`` ask for, and the notes of each."""
    import tf_keras

    notes = {}
    if clustering.keeps_zeros(options):
        model, notes["pruning"] = pruning.prune(model, options, schooling)
        if schooling.relearns:  # what was learned anew is what the next stages keep
            moments = statistics_matching.observed(model, samples_to_look_at(schooling.lessons, schooling.seed))
            schooling = replace(schooling, moments=moments)
    if options.get("clusters"):
        # The first centroids are drawn, and after a kill an earlier stage is read, not repeated.
        reseed(tf_keras, model, schooling.seed, *b"clustering")
        model, notes["clustering"] = clustering.cluster(model, options, schooling.gentle())
    if options["quantize"]:
        # Ranges of activations are learned for batch normalization as it is.
        model, notes["quantization_aware_training"] = quantization_aware.quantize(model, options, replace(schooling.gentle(), moments={}))
    return model, notes


def _evidence(twin: Twin) -> dict:
    """Zeros and distinct values of the kernels that are written, as Keras 3 holds them."""
    layers = [(layer, weight) for layer in twin.layers.values() for weight in layer.weights if len(weight.shape) > 1]
    kernels = {f"{layer.name}/{weight.name}": weight.numpy() for layer, weight in layers}
    return {"sparsity": round(evidence.sparsity(kernels), 4), "kernels": evidence.of_each(kernels)}


def _export(model, source, samples: Samples, job: Job) -> None:
    names = [tensor.name.split(":")[0] for tensor in source.inputs]
    names = list(samples.inputs) if len(names) == 1 else names
    kept = source.output if isinstance(source.output, dict) else [f"output_{index}" for index in range(len(source.outputs))]
    with contextlib.redirect_stdout(io.StringIO()):
        quantization_aware.export(model, names, sorted(kept) if isinstance(kept, dict) else kept, job.target / "saved_model")
