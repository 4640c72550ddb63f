"""Read the tensors of a PyTorch checkpoint of the legacy format (before 1.6) without torch and without running its code.

The file is five pickles (magic number, protocol, system facts, the object, the storage keys) and then, for each key,
the number of elements (int64) and the raw elements. Format: torch/serialization.py, ``_legacy_save``.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from studylib.errors import ArtifactError

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _StorageType:
    def __init__(self, dtype: np.dtype):
        self.dtype = dtype


class _Tensor:
    """A tensor whose elements are still to be read."""

    def __init__(self, storage, offset, size, stride, *_):
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def read(self, elements: dict[str, np.ndarray]) -> np.ndarray:
        flat = elements[self.storage]
        highest = self.offset + sum((extent - 1) * step for extent, step in zip(self.size, self.stride, strict=True))
        if min((self.offset, *self.size, *self.stride), default=0) < 0 or highest >= len(flat):
            raise ArtifactError(f"checkpoint: a tensor of shape {self.size} reaches beyond its {len(flat)} elements")
        strides = tuple(step * flat.itemsize for step in self.stride)
        return np.lib.stride_tricks.as_strided(flat[self.offset :], self.size, strides).copy()


class _TensorUnpickler(pickle.Unpickler):
    """Knows four names and refuses every other: nothing in the file can run code."""

    allowed = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
        **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGES.items()},
    }

    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.storages: dict[str, tuple[np.dtype, int]] = {}

    def find_class(self, module: str, name: str):
        try:
            return self.allowed[module, name]
        except KeyError:
            raise ArtifactError(
                f"checkpoint: it asks for {module}.{name}, which is not data. Only tensors of float32 and int64 are read."
            ) from None

    def persistent_load(self, reference) -> str:
        kind, storage_type, key, _, elements, view = reference
        if kind != "storage" or view is not None:
            raise ArtifactError(f"checkpoint: unknown reference {kind!r}; only plain storages are read")
        self.storages[key] = storage_type.dtype, elements
        return key


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """The state dict of a legacy checkpoint: name to array. Raises `ArtifactError` on anything but plain tensors."""
    try:
        with Path(path).open("rb") as file:
            if _TensorUnpickler(file).load() != _MAGIC:
                raise ArtifactError("checkpoint: not a PyTorch file of the legacy format (before 1.6)")
            _TensorUnpickler(file).load(), _TensorUnpickler(file).load()
            reader = _TensorUnpickler(file)
            state = reader.load()
            keys = _TensorUnpickler(file).load()
            elements = {key: _read_storage(file, *reader.storages[key]) for key in keys}
        return {name: tensor.read(elements) for name, tensor in state.items()}
    except (pickle.UnpicklingError, EOFError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise ArtifactError(f"checkpoint {Path(path).name}: truncated or not a PyTorch file ({error})") from None


def _read_storage(file: BinaryIO, dtype: np.dtype, expected: int) -> np.ndarray:
    (stored,) = np.frombuffer(file.read(8), "<i8")
    if stored != expected:
        raise ArtifactError(f"checkpoint: a storage holds {stored} elements and should hold {expected}")
    return np.frombuffer(file.read(expected * dtype.itemsize), dtype, count=expected)
