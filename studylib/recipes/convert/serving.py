"""A SavedModel in the folder layout of TensorFlow Serving, with real requests that warm it up before the first client comes."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe

_SIGNATURE = "serving_default"
WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"


@dataclass(frozen=True)
class ToServing(Recipe):
    """``<model>/<version>/`` with the SavedModel and `WARMUP`: real samples, one per request, as TensorFlow Serving replays them.

    ``model``: the name that clients ask for; it names the folder. ``requests``: how many, at most 1000 by the server's rule.
    Takes samples (``learns_from``) only to warm up with: the weights stay as they are. Raises `RefusedError` when the samples
    do not fit the signature. Source: TensorFlow Serving, "SavedModel Warmup"; a TFRecord of ``PredictionLog``.
    """

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "serving"
    source_format: ClassVar[str] = "saved_model"
    learns_from: ClassVar[str] = "calibration"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "tensorflow-serving-api")

    model: str = "model"
    version: int = 1
    requests: int = 4

    def write(self, source: Path, folder: Path, calibration: Samples) -> Path:
        import tensorflow as tf

        inputs = _inputs(source)
        calibration = calibration.under(inputs)
        _require_fitting(source, inputs, calibration)
        written = folder / self.model / str(self.version)
        shutil.copytree(source, written)
        (written / WARMUP).parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(written / WARMUP)) as writer:
            for index in range(min(self.requests, len(calibration))):
                writer.write(self._request(calibration, index).SerializeToString())
        return folder / self.model

    def _request(self, samples: Samples, index: int):
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_log_pb2

        log = prediction_log_pb2.PredictionLog()
        request = log.predict_log.request
        request.model_spec.name = self.model
        request.model_spec.signature_name = _SIGNATURE
        for name, values in samples.batch(index, 1).items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        return log


def _inputs(source: Path) -> dict:
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((source / "saved_model.pb").read_bytes())
    return next((dict(graph.signature_def[_SIGNATURE].inputs) for graph in model.meta_graphs if _SIGNATURE in graph.signature_def), {})


def _require_fitting(source: Path, inputs: dict, samples: Samples) -> None:
    """Raise `RefusedError` unless the samples have the names and types of the signature: the server only logs a failed warm-up."""
    import tensorflow as tf

    wanted = {name: tf.as_dtype(tensor.dtype).name for name, tensor in sorted(inputs.items())}
    given = {name: tf.as_dtype(values.dtype).name for name, values in sorted(samples.inputs.items())}
    if given != wanted:
        raise RefusedError(f"the signature {_SIGNATURE} of {source.name} takes {wanted}, and the warm-up samples are {given}")
