"""Quantization-aware training: the model is taught while weights and activations are rounded as int8 will round them.

Source: tfmot's quantization API. What pruning and clustering did before is kept by its pruning- and cluster-preserving schemes.
"""

from contextlib import contextmanager

import numpy as np

from studylib.errors import RefusedError
from studylib.training import evidence, quantization_ranges
from studylib.training.clustering import keeps_zeros
from studylib.training.schooling import Schooling

_ADVICE = "quantize this model after training instead (static_wi8_ai8)"


def quantize(model, options: dict, schooling: Schooling) -> tuple[object, dict]:
    """``model`` (tf_keras) with fake-quantization of weights and activations, taught; and notes.

    Raises `RefusedError` with the name of the layer that tfmot cannot quantize.
    """
    import tensorflow_model_optimization as tfmot

    refuse_unknown(model)
    kept = {layer.name for layer in model.layers}
    with _refusals(), tfmot.quantization.keras.quantize_scope():
        annotated = tfmot.quantization.keras.quantize_annotate_model(model)
        quantized = tfmot.quantization.keras.quantize_apply(annotated, _scheme(options))
        quantization_ranges.begin(quantized, model, schooling.lessons.inputs, schooling.batch)
    losses = schooling.teach(quantized, "quantization-aware training")
    kernels = quantized_kernels(quantized)
    notes = {"loss_by_epoch": losses, "sparsity": round(evidence.sparsity(kernels), 4)}
    if options.get("clusters"):
        notes["distinct_values_of_a_channel"] = {name: evidence.most_values_of_a_channel(values) for name, values in kernels.items()}
    return quantized, notes | {"quantized_layers": len(kept & {_inner(layer) for layer in quantized.layers})}


def refuse_unknown(model) -> None:
    """Raise `RefusedError` for the first layer that tfmot has no quantization for."""
    import tf_keras
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_registry as registry

    known = registry.Default8BitQuantizeRegistry()
    for layer in model.layers:
        # What these become is decided together with their neighbours.
        fused = isinstance(layer, tf_keras.layers.BatchNormalization | tf_keras.layers.InputLayer)
        if not fused and not known.supports(layer) and type(layer).__name__ not in ("SeparableConv1D", "SeparableConv2D"):
            raise RefusedError(
                f"layer {layer.name} ({type(layer).__name__}) cannot be trained for quantization: "
                f"tensorflow-model-optimization has no quantization for it; {_ADVICE}"
            )


@contextmanager
def _refusals():
    """What tfmot raises for models it cannot wrap, as a refusal in its own words, which name the layer."""
    try:
        yield
    except (ValueError, RuntimeError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        detail = " ".join(str(error).split())[:300]
        raise RefusedError(f"tensorflow-model-optimization cannot quantize the model: {detail}; {_ADVICE}") from None


def _scheme(options: dict):
    from tensorflow_model_optimization import experimental
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_scheme

    if options.get("clusters"):
        return experimental.combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=keeps_zeros(options))
    if keeps_zeros(options):
        return experimental.combine.Default8BitPrunePreserveQuantizeScheme()
    return default_8bit_quantize_scheme.Default8BitQuantizeScheme()


def quantized_kernels(model) -> dict[str, np.ndarray]:
    """Every kernel as it is used: rounded, in real units; by the name of its layer."""
    found = {}
    for layer in model.layers:
        for weight, quantizer, limits in getattr(layer, "_weight_vars", ()):
            found[_inner(layer)] = np.asarray(quantizer(weight, False, weights=limits))
    return found


def _inner(layer) -> str:
    return layer.layer.name if hasattr(layer, "layer") else layer.name


def export(model, names: list[str], outputs: list[str], folder) -> None:
    """Write the taught ``model`` as a SavedModel whose signature ``serving_default`` has these names, with a dynamic batch."""
    import tensorflow as tf

    module = tf.Module()
    module.kept = list(model.variables)

    @tf.function
    def serve(**inputs):
        given = [inputs[name] for name in names]
        answers = model(given[0] if len(given) == 1 else tuple(given), training=False)
        return dict(zip(outputs, tf.nest.flatten(answers), strict=True))

    signature = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in zip(names, model.inputs, strict=True)}
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve.get_concrete_function(**signature)})
