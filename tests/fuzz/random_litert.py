"""LiteRT files made from drawn Keras models, float and quantized, with and without their signature."""

from pathlib import Path

import numpy as np

from tests.fuzz import random_keras
from tests.fuzz.drawn import Drawn, chance, one_of

_KINDS = ("float32", "float16", "dynamic", "int8, float ends", "int8", "uint8")


def draw(rng: np.random.Generator, folder: Path) -> Drawn:
    """A ``.tflite`` file in ``folder``; models that the converter does not take are drawn again."""
    for _ in range(20):
        model, words = random_keras.build(rng)
        kind = one_of(rng, _KINDS)
        content = _converted(rng, model, kind, folder)
        if content:
            break
    else:
        raise RuntimeError("the converter took none of 20 models")
    unsigned = chance(rng, 0.3)
    path = folder / "model.tflite"
    path.write_bytes(without_signature(content) if unsigned else content)
    return Drawn(path, "litert", f"{kind}{', no signature' if unsigned else ''}: {words}")


def _converted(rng, model, kind: str, folder: Path) -> bytes | None:
    import tensorflow as tf

    model.export(folder / "exported", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "exported"))
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if "int8" in kind:  # of uint8 too
        converter.representative_dataset = lambda: (_query(rng, model) for _ in range(8))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if kind in ("int8", "uint8"):
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    try:
        return converter.convert()
    except Exception:  # what TensorFlow's converter does not take is no LiteRT file that anybody has
        return None


def _query(rng, model) -> list[np.ndarray]:
    shapes = [(1, *tensor.shape[1:]) for tensor in model.inputs]
    types = [np.dtype(tensor.dtype) for tensor in model.inputs]
    return [
        (rng.normal(size=shape) if dtype.kind == "f" else rng.integers(0, 2, shape)).astype(dtype)
        for shape, dtype in zip(shapes, types, strict=True)
    ]


def without_signature(content: bytes) -> bytes:
    """The file as makers before 2021, and MediaPipe, wrote it."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
