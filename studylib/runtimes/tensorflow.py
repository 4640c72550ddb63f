"""TensorFlow itself, running a SavedModel: the baseline of every comparison."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.errors import RefusedError
from studylib.hardware import Host
from studylib.runtimes.base import Inputs, Options, Runtime, Session


class TensorFlow(Runtime):
    """The signature ``serving_default`` of a SavedModel. Source: ``tf.saved_model.load``."""

    name: ClassVar[str] = "tensorflow"
    format: ClassVar[str] = "saved_model"
    package: ClassVar[str] = "tensorflow"
    providers: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

    def why_not(self, provider: str, host: Host) -> str | None:
        if provider == "cuda" and not host.nvidia_gpu:
            return "no NVIDIA GPU is visible"
        return super().why_not(provider, host)

    def activate(self, options: Options) -> None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(options.threads)
        if options.provider == "cpu":
            tf.config.set_visible_devices([], "GPU")

    def load(self, path: Path, options: Options) -> Session:
        import tensorflow as tf

        if options.provider == "cuda" and not tf.config.get_visible_devices("GPU"):
            raise RefusedError("cuda was asked for and this TensorFlow sees no GPU; install tensorflow[and-cuda]")
        return _Session(path)


class _Session(Session):
    def __init__(self, path: Path):
        import tensorflow as tf

        self._constant = tf.constant
        self._model = tf.saved_model.load(str(path))
        self._serve = self._model.signatures["serving_default"]
        self._outputs = sorted(self._serve.structured_outputs)
        self._device = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"

    def run(self, inputs: Inputs) -> list[np.ndarray]:
        outputs = self._serve(**{name: self._constant(values) for name, values in inputs.items()})
        return [outputs[name].numpy() for name in self._outputs]

    def placement(self) -> str:
        return self._device
