"""Magnitude pruning: the smallest weights become zero, step by step, while the model is taught. Source: tfmot's sparsity API."""

from studylib.errors import RefusedError
from studylib.training import evidence
from studylib.training.schooling import Schooling

# How often a training decides anew which weights are zero.
_DECISIONS = 20


def prune(model, options: dict, schooling: Schooling) -> tuple[object, dict]:
    """``model`` (tf_keras) with zeros, without wrappers, and notes.

    ``options``: ``sparsity`` (share of zeros in each pruned kernel), ``schedule`` (``constant``: from the first step on;
    ``polynomial``: from 0 to it over half of the training), ``pattern`` ([m, n]: m zeros in every n input channels,
    instead of a share). Raises `RefusedError` when there is nothing to prune.
    """
    import tensorflow_model_optimization as tfmot
    import tf_keras

    arguments = _arguments(options, schooling.steps)
    wrapped: list[str] = []

    def wrap(layer):
        changed = _wrapped(layer, arguments)
        wrapped.extend([layer.name] if changed else [])
        return changed or layer

    pruned = tf_keras.models.clone_model(model, clone_function=wrap)
    if not wrapped:
        raise RefusedError("no layer of the model can be pruned; tensorflow-model-optimization prunes Dense, Conv, Embedding and such")
    _begin(pruned)
    losses = schooling.teach(pruned, "pruning", [tfmot.sparsity.keras.UpdatePruningStep()], schooling.relearns)
    stripped = tfmot.sparsity.keras.strip_pruning(pruned)
    if schooling.relearns:
        schooling.renew_statistics(stripped)
    kernels = kernels_of(stripped, wrapped)
    notes = {
        "loss_by_epoch": losses,
        "batch_normalization": schooling.normalization(schooling.relearns),
        "sparsity_of_pruned_kernels": round(evidence.sparsity(kernels), 4),
        "not_pruned": others(stripped, wrapped),
    }
    if options.get("pattern"):
        notes["groups_that_hold"] = evidence.groups_that_hold(kernels, *options["pattern"])
    return stripped, notes


def _begin(pruned) -> None:
    """Make the zeros that the schedules want at the very first step, so that statistics can be matched before it.

    tfmot decides at steps that ``frequency`` divides, and about patterns at step 1.
    """
    from tensorflow_model_optimization.python.core.sparsity.keras.pruning_wrapper import collect_prunable_layers

    for layer in collect_prunable_layers(pruned):
        unbegun = layer.pruning_step.numpy()
        for step in (0, 1):
            layer.pruning_step.assign(step)
            layer.pruning_obj.conditional_mask_update()
        layer.pruning_obj.weight_mask_op()
        layer.pruning_step.assign(unbegun)


def _arguments(options: dict, steps: int) -> dict:
    from tensorflow_model_optimization.sparsity import keras as sparsity

    every = max(1, steps // _DECISIONS)
    if options.get("pattern"):
        zeros, of = options["pattern"]
        constant = sparsity.ConstantSparsity(zeros / of, begin_step=0, frequency=every)
        return {"pruning_schedule": constant, "sparsity_m_by_n": (zeros, of)}
    if options["schedule"] == "constant":
        return {"pruning_schedule": sparsity.ConstantSparsity(options["sparsity"], begin_step=0, frequency=every)}
    # The last decision falls on the end, otherwise the share is not reached.
    end = max(every, steps // 2 // every * every)
    return {"pruning_schedule": sparsity.PolynomialDecay(0.0, options["sparsity"], begin_step=0, end_step=end, frequency=every)}


def _wrapped(layer, arguments: dict):
    """The layer with a pruning wrapper, or None when tfmot prunes nothing in it."""
    import tensorflow_model_optimization as tfmot

    try:
        wrapper = tfmot.sparsity.keras.prune_low_magnitude(layer, **arguments)
        kernels = wrapper.layer.get_prunable_weights()
    except (ValueError, AttributeError):
        return None
    ranks = (2, 4) if "sparsity_m_by_n" in arguments else range(1, 9)
    return wrapper if kernels and all(len(kernel.shape) in ranks for kernel in kernels) else None


def kernels_of(model, layers: list[str] | None = None) -> dict:
    """Weights of at least two axes as arrays, by the names of layer and weight; of all layers or of the named ones."""
    chosen = [layer for layer in model.layers if layers is None or layer.name in layers]
    found = [(layer, weight) for layer in chosen for weight in layer.weights if len(weight.shape) > 1]
    return {f"{layer.name}/{weight.name.split('/')[-1].split(':')[0]}": weight.numpy() for layer, weight in found}


def others(model, layers: list[str]) -> list[str]:
    """Names of layers with kernels that are not among ``layers``, with their kinds."""
    return [
        f"{layer.name} ({type(layer).__name__})"
        for layer in model.layers
        if layer.name not in layers and any(len(weight.shape) > 1 for weight in layer.weights)
    ]
