"""Core ML, Apple's runtime: on a Mac, which rehearses a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.errors import ArtifactError, RefusedError
from studylib.machine.hardware import Host
from studylib.runtimes.base import Inputs, Options, Outputs, Runtime, Session

# The compute units that are allowed, and the name of what is meant by them: Core ML always keeps the CPU beside an accelerator.
_UNITS = {"cpu": "CPU_ONLY", "gpu": "CPU_AND_GPU", "ane": "CPU_AND_NE"}
_NAMES = {"cpu": "CPU", "gpu": "GPU", "ane": "Neural Engine"}
_CLASSES = {"MLCPUComputeDevice": "cpu", "MLGPUComputeDevice": "gpu", "MLNeuralEngineComputeDevice": "ane"}


class CoreML(Runtime):
    """An ``.mlpackage`` on the CPU, the GPU or the Neural Engine (``ane``). Source: ``coremltools.models.MLModel``.

    What is asked for is a limit and no promise: the compute plan says which device Core ML prefers for each operation, and an
    accelerator without one is refused. Core ML takes as many threads as it likes; it cannot be told.
    """

    name: ClassVar[str] = "coreml"
    format: ClassVar[str] = "coreml"
    package: ClassVar[str] = "coremltools"
    providers: ClassVar[tuple[str, ...]] = tuple(_UNITS)
    heeds_threads: ClassVar[bool] = False

    def why_not(self, provider: str, host: Host) -> str | None:
        if provider in self.providers and host.system != "Darwin":
            return f"only macOS runs Core ML, and this is {host.system}; the file can be timed on a Mac (make study HW=ios there)"
        return super().why_not(provider, host)

    def activate(self, options: Options) -> None:
        import coremltools  # noqa: F401

    def _load(self, path: Path, options: Options) -> Session:
        return _Session(path, options.provider)


class _Session(Session):
    def __init__(self, path: Path, provider: str):
        import coremltools

        self._provider, self._units = provider, getattr(coremltools.ComputeUnit, _UNITS[provider])
        self._model = coremltools.models.MLModel(str(path), compute_units=self._units)
        description = self._model.get_spec().description
        self._inputs, self._outputs = ([value.name for value in end] for end in (description.input, description.output))

    def run(self, inputs: Inputs) -> Outputs:
        if set(inputs) != set(self._inputs):
            raise ArtifactError(f"the file has the inputs {sorted(self._inputs)}, and {sorted(inputs)} were given")
        answered = self._model.predict({name: _taken(values) for name, values in inputs.items()})
        return {name: _real(answered[name]) for name in self._outputs}

    def placement(self) -> str:
        return _NAMES[self._provider]

    def nodes(self) -> dict[str, dict[str, int]]:
        if self._provider == "cpu":
            return {}  # nothing else is allowed, so there is nothing to find out
        plan = self._plan()
        found: dict[str, dict[str, int]] = {}
        for operation in _operations(plan.model_structure.program.functions["main"].block):
            usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
            if usage is not None:  # constants run nowhere
                device = type(usage.preferred_compute_device).__name__
                kinds = found.setdefault(_NAMES.get(_CLASSES.get(device), device), {})
                kind = operation.operator_name.rpartition(".")[2]  # ios17.conv is the conv of that operator set
                kinds[kind] = kinds.get(kind, 0) + 1
        if not found:
            raise RefusedError(f"Core ML's plan names no device for any operation, so nobody knows what runs on the {self.placement()}")
        return found

    def _plan(self):
        """Core ML's plan of this model. Raises `RefusedError` where there is none: who computes would only be believed."""
        try:
            from coremltools.models.compute_plan import MLComputePlan

            plan = MLComputePlan.load_from_path(self._model.get_compiled_model_path(), compute_units=self._units)
        except (ImportError, ValueError, RuntimeError) as error:  # an older coremltools, an older macOS
            raise RefusedError(
                f"Core ML does not tell here what runs on the {self.placement()} ({type(error).__name__}: {error}); "
                "coremltools 8 and macOS 14.4 or newer do"
            ) from None
        if plan.model_structure.program is None:
            raise RefusedError("Core ML tells of ML programs only what runs where, and this file is an older neural network")
        return plan


def _operations(block) -> Iterator:
    """Every operation of a block, those inside loops and branches as well."""
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _operations(inner)


def _taken(values: np.ndarray) -> np.ndarray:
    """Core ML has whole numbers of 32 bits only."""
    return values.astype(np.int32) if values.dtype == np.int64 else values


def _real(values) -> np.ndarray:
    """An array of the caller's own, float32 where the file computes in less."""
    values = np.array(values)
    return values.astype(np.float32) if values.dtype == np.float16 else values
