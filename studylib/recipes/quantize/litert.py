"""Post-training quantization to LiteRT. Source: the TensorFlow converter's optimizations, starting from the SavedModel."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError
from studylib.formats import quantized
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe
from studylib.recipes.convert.to_litert import SIGNATURE, convert, require_signature
from studylib.recipes.quantize import calibration_check


@dataclass(frozen=True)
class _LiteRTRecipe(Recipe):
    target: ClassVar[str] = "tflite"
    source_format: ClassVar[str] = "saved_model"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "ai-edge-litert")
    operators: ClassVar[tuple[str, ...]] = quantized.LITERT_OPERATORS

    def write(self, source: Path, folder: Path, samples: Samples | None) -> tuple[Path, dict]:
        import tensorflow as tf

        def configured(converter) -> None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            self.configure(converter, samples)

        checked = self.check(source, samples)
        samples = samples and samples.under(calibration_check.saved_model_inputs(source, SIGNATURE))
        content, notes = convert(source, folder, configured)
        quantized.require_operators(content, source.name, self.operators)
        weights = quantized.litert_weights(content)
        self.require_change(source, weights)
        path = folder / "model.tflite"
        path.write_bytes(content)
        return path, checked | notes | {"weights": quantized.told(weights)}

    def require_change(self, source: Path, weights: dict[str, int]) -> None:
        """Raise `RefusedError` when the converter left every one of the ``weights`` as it was."""
        if not set(weights) - {"float32", "int32", "int64"}:
            raise RefusedError(
                f"the converter quantized none of the {sum(weights.values())} weights of {source.name}: it leaves those of less than "
                "1024 values in float. Use weight_only_wi8_afp32, or keep so small a model in float"
            )

    def check(self, source: Path, samples: Samples | None) -> dict:
        """Notes about the samples. Raises `RefusedError` for what the converter would not survive."""
        return {}

    @abstractmethod
    def configure(self, converter, samples: Samples | None) -> None:
        """Set what makes this recipe on a converter that already optimizes."""


@dataclass(frozen=True)
class Float16(_LiteRTRecipe):
    """Weights stored as float16, computed in float32 where the processor has no float16."""

    name: ClassVar[str] = "fp16"
    operators: ClassVar[tuple[str, ...]] = ()

    def configure(self, converter, samples: Samples | None) -> None:
        import tensorflow as tf

        converter.target_spec.supported_types = [tf.float16]


@dataclass(frozen=True)
class DynamicRange(_LiteRTRecipe):
    """Weights int8; activations stay float and are scaled while running."""

    name: ClassVar[str] = "dynamic_wi8_afp32"

    def configure(self, converter, samples: Samples | None) -> None:
        """The converter's default optimization without calibration is dynamic range."""


@dataclass(frozen=True)
class _Static(_LiteRTRecipe):
    learns_from: ClassVar[str] = "calibration"

    def check(self, source: Path, samples: Samples | None) -> dict:
        require_signature(source)
        notes = calibration_check.check(samples, calibration_check.saved_model_inputs(source, SIGNATURE))
        _require_no_loop(source)
        return notes

    def configure(self, converter, samples: Samples | None) -> None:
        # The converter reads one query at a time and keeps the extremes only.
        converter.representative_dataset = lambda: (samples.batch(index, 1) for index in range(len(samples)))


@dataclass(frozen=True)
class StaticInt8(_Static):
    """Weights and activations int8, scales from calibration samples; inputs and outputs int8, or float (``…_float_io``)."""

    int8_io: bool = True

    @property
    def name(self) -> str:
        return "static_wi8_ai8" if self.int8_io else "static_wi8_ai8_float_io"

    def configure(self, converter, samples: Samples | None) -> None:
        import tensorflow as tf

        super().configure(converter, samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if self.int8_io:
            converter.inference_input_type = converter.inference_output_type = tf.int8


@dataclass(frozen=True)
class StaticInt16(_Static):
    """Weights int8, activations int16 around zero, inputs and outputs float: for models that 8 bits of activation harm."""

    name: ClassVar[str] = "static_wi8_ai16"

    def configure(self, converter, samples: Samples | None) -> None:
        import tensorflow as tf

        super().configure(converter, samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]


def _require_no_loop(source: Path) -> None:
    """Raise `RefusedError` when what is served loops: calibrating a loop ends the converter's whole process, without a word."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((source / "saved_model.pb").read_bytes())
    loops = [node.name for node in _served(model.meta_graphs[0]) if node.op in ("While", "StatelessWhile")]
    if loops:
        raise RefusedError(
            f"the model loops ({len(loops)} × While, the first is {loops[0]}), and TensorFlow's converter crashes when it calibrates "
            "a loop. Build the recurrent layer with unroll=True, or use a recipe without calibration: dynamic_wi8_afp32"
        )


def _served(graph) -> Iterator:
    """The nodes that answer the signature: of its functions, and of those that they call."""
    library = {function.signature.name: function for function in graph.graph_def.library.function}
    ends = {output.name.split(":")[0] for output in graph.signature_def[SIGNATURE].outputs.values()}
    waiting = [node for node in graph.graph_def.node if node.name in ends]
    seen = set()
    while waiting:
        node = waiting.pop()
        yield node
        called = {one.name for value in node.attr.values() for one in (value.func, *value.list.func)} & set(library)
        waiting.extend(inner for name in sorted(called - seen) for inner in library[name].node_def)
        seen |= called
