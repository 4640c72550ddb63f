"""SavedModel to a Core ML package, on any system; only macOS can run the result."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe

_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class ToCoreML(Recipe):
    """SavedModel to an ``.mlpackage`` in float32, a batch of 1 to ``largest_batch``, names kept. Source: ``coremltools.convert``.

    coremltools 9 was tested by its makers up to TensorFlow 2.12; the signature's own function still converts, loops (LSTM,
    GRU) do not. Outside macOS its answers cannot be compared with the source model's. Raises `RefusedError` with the reason.
    """

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "coreml"
    source_format: ClassVar[str] = "saved_model"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "coremltools")

    largest_batch: int = 64

    def missing(self) -> str | None:
        """What must be installed first, or None."""
        if importlib.util.find_spec("coremltools") is None:
            return "the package coremltools is not installed (pip install coremltools)"
        return None

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> tuple[Path, dict]:
        reason = self.missing()
        if reason:
            raise RefusedError(reason)
        import tensorflow as tf

        loaded = tf.saved_model.load(str(source))  # owns the variables, so it must outlive the conversion
        serving = loaded.signatures[_SIGNATURE]
        model = self._converted(serving)
        path = folder / "model.mlpackage"
        _name_outputs(model, serving, path)
        return path, {"batch": f"1 to {self.largest_batch}", "parity": "can be measured on macOS only"}

    def _converted(self, serving):
        import coremltools

        _register_erfc()
        batch = coremltools.RangeDim(1, self.largest_batch, default=1)
        inputs = [
            coremltools.TensorType(name=name, shape=_shape(spec, batch), dtype=spec.dtype.as_numpy_dtype)
            for name, spec in serving.structured_input_signature[1].items()
        ]
        try:
            return coremltools.convert(
                [serving],
                source="tensorflow",
                inputs=inputs,
                convert_to="mlprogram",
                compute_precision=coremltools.precision.FLOAT32,
                minimum_deployment_target=coremltools.target.iOS17,
            )
        # What coremltools raises where it meets an operator or a graph that it was not written for.
        except (NotImplementedError, LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            detail = " ".join(str(error).split())[:200]
            raise RefusedError(
                f"coremltools {coremltools.__version__} does not convert this model ({type(error).__name__}: {detail}). "
                "Loops (LSTM, GRU, SimpleRNN) are among what it cannot read from TensorFlow 2.21: unroll=True avoids them"
            ) from None


def _shape(spec, batch) -> list:
    """The first dynamic axis is the batch. Raises `RefusedError` for others: Core ML wants bounds, and nobody knows them here."""
    if spec.shape.rank is None or any(length is None for length in spec.shape[1:]):
        raise RefusedError(
            f"the input {spec.name} has dynamic axes besides the batch {tuple(spec.shape)}; Core ML wants fixed lengths there"
        )
    return [batch if length is None else length for length in spec.shape]


def _register_erfc() -> None:
    """Exact GELU comes as ``Erfc``, which coremltools does not know; it is 1 - erf."""
    from coremltools.converters.mil import Builder, register_tf_op

    def erfc(context, node):
        context.add(node.name, Builder.sub(x=1.0, y=Builder.erf(x=context[node.inputs[0]]), name=node.name))

    erfc.__name__ = "Erfc"
    register_tf_op(erfc, override=True)


def _name_outputs(model, serving, path: Path) -> None:
    """Save with the signature's output names instead of ``Identity``; a signature keeps its outputs in the order of their names."""
    import coremltools

    spec = model.get_spec()
    made = [output.op.name for output in serving.outputs]
    for old, new in zip(made, sorted(serving.structured_outputs), strict=True):
        coremltools.utils.rename_feature(spec, old, new, rename_inputs=False)
    coremltools.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True).save(str(path))
