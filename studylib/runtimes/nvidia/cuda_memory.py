"""Memory of an NVIDIA GPU, and copies to it and back. Source: the CUDA runtime by way of ``cuda.bindings.runtime``."""

import weakref
from dataclasses import dataclass

import numpy as np

from studylib.errors import TrialError


@dataclass(frozen=True)
class Gpu:
    """The GPU that this process computes on. ``capability``: its compute capability, such as 8.7."""

    name: str
    capability: str


def gpu() -> Gpu:
    """The current GPU. Raises `TrialError` when CUDA finds none."""
    cuda = _cuda()
    found = called(cuda.cudaGetDeviceProperties, called(cuda.cudaGetDevice))
    name = found.name.decode() if isinstance(found.name, bytes) else found.name
    return Gpu(name.rstrip("\0"), f"{found.major}.{found.minor}")


class DeviceArray:
    """Room for one tensor in the GPU's memory, given back with the object. ``address`` is the GPU's own."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype):
        cuda = _cuda()
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.size_bytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self.address = int(called(cuda.cudaMalloc, max(1, self.size_bytes)))
        _release_with(self, cuda.cudaFree, self.address)


class Stream:
    """What the GPU is asked to do, one after the other. Nothing of it is done for certain before `wait` returns."""

    def __init__(self):
        self._cuda = _cuda()
        self._stream = called(self._cuda.cudaStreamCreate)
        self._in, self._out = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice, self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _release_with(self, self._cuda.cudaStreamDestroy, self._stream)

    @property
    def handle(self) -> int:
        """What TensorRT knows the stream by."""
        return int(self._stream)

    def upload(self, values: np.ndarray, target: DeviceArray) -> None:
        """Ask for a copy to the GPU. ``values``: contiguous, of the target's shape and type, and kept until `wait`."""
        called(self._cuda.cudaMemcpyAsync, target.address, values.ctypes.data, target.size_bytes, self._in, self._stream)

    def download(self, source: DeviceArray) -> np.ndarray:
        """Ask for a copy from the GPU into a new array, which holds nothing before `wait`."""
        values = np.empty(source.shape, source.dtype)
        called(self._cuda.cudaMemcpyAsync, values.ctypes.data, source.address, source.size_bytes, self._out, self._stream)
        return values

    def wait(self) -> None:
        """Return when everything that was asked for is done; an error of the GPU is raised here."""
        called(self._cuda.cudaStreamSynchronize, self._stream)


def called(function, *arguments):
    """What a function of the CUDA runtime gives back, if anything.

    Raises `TrialError` with CUDA's own words when it fails, and `MemoryError` when the GPU's memory is used up.
    """
    code, *found = function(*arguments)
    if int(code) == 0:
        return found[0] if found else None
    told = _cuda().cudaGetErrorString(code)[1]
    words = f"CUDA: {function.__name__} failed: {told.decode() if isinstance(told, bytes) else told} ({code.name})"
    if code.name == "cudaErrorMemoryAllocation":
        raise MemoryError(f"{words}. Take a smaller batch, or end what else uses the GPU (nvidia-smi lists it)")
    raise TrialError(f"{words}. See whether the driver works (nvidia-smi; on a Jetson, tegrastats) and is new enough for this CUDA")


def _release_with(owner, function, handle) -> None:
    """Give back what CUDA lent when ``owner`` is gone; at the end of the process CUDA does it, and may be gone itself."""
    weakref.finalize(owner, called, function, handle).atexit = False


def _cuda():
    from cuda.bindings import runtime

    return runtime
