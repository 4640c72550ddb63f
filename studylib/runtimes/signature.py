"""What a session takes and gives: names, types and shapes of its inputs and outputs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: ``dtype`` as numpy names it (``float32``), ``shape`` with None where a size is free."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a session, in the file's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def takes_batches(self) -> bool:
        """Whether the first size of every input is free, so that queries can be put together."""
        return all(spec.shape and spec.shape[0] is None for spec in self.inputs)
