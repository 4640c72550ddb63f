"""TensorFlow itself, running a SavedModel: the baseline of every comparison."""

import re
import threading
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError
from studylib.formats.input_names import as_known
from studylib.machine.hardware import Host, why_no_nvidia_gpu
from studylib.runtimes.base import Inputs, Options, Outputs, Runtime, Session
from studylib.runtimes.signature import Signature, TensorSpec

# Batches that wait in TensorFlow's kernel at most; requests more wait before it.
_ENQUEUED = 256


class TensorFlow(Runtime):
    """The serving signature of a SavedModel, or of the newest version in a serving folder. Source: ``tf.saved_model.load``.

    Settings: ``xla`` (whether the signature is compiled as a whole), ``inter_threads`` (operators that run beside each other;
    by default as many as threads).
    """

    name: ClassVar[str] = "tensorflow"
    format: ClassVar[str] = "saved_model"
    package: ClassVar[str] = "tensorflow"
    providers: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    settings: ClassVar[dict[str, tuple[str, ...]]] = {"xla": ("off", "on"), "inter_threads": ("all", "1", "2", "4", "8")}
    answering: ClassVar[frozenset[str]] = frozenset(("xla",))

    def why_not(self, provider: str, host: Host) -> str | None:
        reason = why_no_nvidia_gpu(host) if provider == "cuda" else None
        return reason or super().why_not(provider, host)

    def activate(self, options: Options) -> None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        between = self.setting(options, "inter_threads")
        tf.config.threading.set_inter_op_parallelism_threads(options.threads if between == "all" else int(between))
        if options.provider == "cpu":
            tf.config.set_visible_devices([], "GPU")

    def _load(self, path: Path, options: Options) -> Session:
        import tensorflow as tf

        if options.provider == "cuda" and not tf.config.get_visible_devices("GPU"):
            raise RefusedError("cuda was asked for and this TensorFlow sees no GPU; install tensorflow[and-cuda]")
        return _Session(path, self.setting(options, "xla") == "on")

    def batching(self, path: Path, options: Options, samples: int, wait_s: float) -> "BatchingSession":
        """A session that many threads may ask at once: TensorFlow's own kernel puts their queries together, up to ``samples``.

        ``wait_s``: how long the first waits for company. Source: ``tf.nondifferentiable_batch_function``, whose parameters are those of
        TensorFlow Serving's batching file; it is not TensorFlow Serving.
        """
        return BatchingSession(path, self.setting(options, "xla") == "on", samples, wait_s)


class _Session(Session):
    def __init__(self, path: Path, xla: bool):
        import tensorflow as tf

        self._constant = tf.constant
        versions = sorted(
            (f for f in path.glob("[0-9]*") if f.name.isdigit() and (f / "saved_model.pb").exists()), key=lambda f: int(f.name)
        )
        self._model = tf.saved_model.load(str(versions[-1] if versions else path))
        signature = serving_signature(self._model)
        self._serve = tf.function(lambda **inputs: signature(**inputs), jit_compile=True) if xla else signature
        self._given = signature.structured_input_signature[1]
        self._names = self._given.keys()
        self._answered = signature.structured_outputs
        # A SavedModel keeps no order of its outputs, and TensorFlow gives them in another one in another process.
        self._outputs = sorted(signature.structured_outputs, key=_natural)
        self._device = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"

    def run(self, inputs: Inputs) -> Outputs:
        if inputs.keys() != self._names:
            inputs = as_known(inputs, self._names)
        outputs = self._serve(**{name: self._constant(values) for name, values in inputs.items()})
        return {name: outputs[name].numpy() for name in self._outputs}

    def placement(self) -> str:
        return self._device

    def signature(self) -> Signature:
        inputs = tuple(_spec(name, spec) for name, spec in self._given.items())
        return Signature(inputs, tuple(_spec(name, self._answered[name]) for name in self._outputs))


def _spec(name: str, spec) -> TensorSpec:
    return TensorSpec(name, spec.dtype.name, () if spec.shape.rank is None else tuple(spec.shape.as_list()))


class BatchingSession(_Session):
    """``batch``: of the query that this thread asked last, how many samples ran together."""

    def __init__(self, path: Path, xla: bool, samples: int, wait_s: float):
        super().__init__(path, xla)
        import tensorflow as tf

        names, serve, outputs = list(self._given), self._serve, self._outputs
        kernel = {"num_batch_threads": 1, "max_batch_size": samples, "batch_timeout_micros": round(wait_s * 1e6)}

        @tf.nondifferentiable_batch_function(**kernel, max_enqueued_batches=_ENQUEUED, autograph=False)
        def together(*values):
            answered, size = serve(**dict(zip(names, values, strict=True))), tf.shape(values[0])[0]
            return [*(answered[name] for name in outputs), tf.fill([size], size)]

        # Called with fixed shapes, the kernel would build the size of the first query in.
        free = [tf.TensorSpec([None, *spec.shape[1:]], spec.dtype) for spec in self._given.values()]
        self._together, self._own = tf.function(together, input_signature=free), threading.local()

    @property
    def batch(self) -> int:
        return self._own.batch

    def run(self, inputs: Inputs) -> Outputs:
        *answered, sizes = self._together(*(self._constant(inputs[name]) for name in self._given))
        self._own.batch = int(sizes[0])
        return {name: values.numpy() for name, values in zip(self._outputs, answered, strict=True)}


def _natural(name: str) -> list:
    """A key that sorts ``output_10`` behind ``output_2``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def serving_signature(model):
    """The signature ``serving_default`` of a loaded SavedModel, or its only one. Raises `RefusedError` naming what is there."""
    signatures = model.signatures
    if "serving_default" in signatures:
        return signatures["serving_default"]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    found = ", ".join(sorted(signatures)) or "none"
    raise RefusedError(f"the SavedModel has no signature 'serving_default' (found: {found}); export it with one")
