"""Arrays that a user brings, ``.npz`` or a folder of ``.npy``: read without running code, named after inputs, fitted to them."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from studylib.errors import ArtifactError, InputError
from studylib.models.own.hidden import is_hidden
from studylib.models.own.invented import sample_shape
from studylib.models.own.roles import partner, role

LABELS = ("labels", "label", "y")
# Names that say nothing, so that a single array under one of them may belong to a single input of any name.
NEUTRAL = ("arr_0", "x", "data", "input", "inputs", "samples")


def arrays_in(folder: Path) -> dict[str, Path]:
    """The ``.npy`` files of a folder by the names of their arrays."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".npy" and not is_hidden(file.name))
    return {file.stem: file for file in files}


def array_names(path: Path) -> list[str]:
    """The names of the arrays in a ``.npz`` or a folder, none of them read. Raises `InputError`."""
    if path.is_dir():
        return list(arrays_in(path))
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if not any(map(is_hidden, name.split("/")))]
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"DATA {path}: is no .npz archive, or cut off: {error}. Save it again with np.savez.") from None


def labels_name(names: list[str], inputs: list[str] | None) -> str | None:
    """Which array holds the labels: one that is called so and that no input is called after. ``inputs``: None where they are not known."""
    return next((name for name in LABELS if name in names and name not in (inputs or ())), None)


def read(path: Path, tensors: list[dict]) -> tuple[dict[str, np.ndarray], np.ndarray | None, list[str]]:
    """Arrays by input name, class indices or None, and notes on the labels. Raises `ArtifactError` or `InputError`."""
    found = {name: _load(file) for name, file in arrays_in(path).items()} if path.is_dir() else _members(path)
    inputs = [tensor["name"] for tensor in tensors]
    called = labels_name(list(found), inputs)
    raw = found.pop(called) if called else None
    if len(inputs) == len(found) == 1 and next(iter(found)).lower() in NEUTRAL:
        found = {inputs[0]: next(iter(found.values()))}
    missing, extra = sorted(set(inputs) - set(found)), sorted(set(found) - set(inputs))
    if missing or extra:
        raise ArtifactError(
            f"DATA {path.name} holds {', '.join(sorted(found)) or 'nothing'}; the model takes {', '.join(inputs)}"
            f"{'; missing: ' + ', '.join(missing) if missing else ''}. Name each array after its input, and the labels 'labels'"
        )
    labels, notes = (None, []) if raw is None else _as_classes(called, raw)
    return found, labels, notes


def count(arrays: dict, labels) -> int:
    """How many samples there are. Raises `ArtifactError` when arrays or labels differ in that."""
    counts = {name: len(values) if values.ndim else 1 for name, values in arrays.items()}
    total = max(counts.values())
    if labels is not None and len(labels) != total:
        raise ArtifactError(f"{len(labels)} labels for {total} samples; give one for each")
    if total == 0:
        raise ArtifactError("DATA holds no sample")
    return total


def fitted(tensor: dict, values: np.ndarray, axis: int | None, total: int) -> np.ndarray:
    """The array of one input with the sample as first axis, its shape and type checked."""
    name, wanted = tensor["name"], sample_shape(tensor, {tensor["name"]: axis})
    if axis is None and list(values.shape) == wanted:
        values = np.repeat(values[None], total, axis=0)
    elif axis is None and wanted[:1] == [1] and values.ndim == len(wanted) and values.ndim > 0:
        values = values[:, None]  # the file's own batch of one, which samples need not repeat
    shown = [total, *(size if size is not None else "any" for size in wanted)]
    if values.ndim != len(wanted) + 1 or any(size not in (None, given) for size, given in zip(wanted, values.shape[1:], strict=True)):
        length = axis is None and tensor["shape"][:1] == [None] and values.ndim == len(wanted)
        why = "; its first axis is a length and no batch, which `batch_axis: 0` in the card can say otherwise" if length else ""
        raise ArtifactError(f"DATA for '{name}' has the shape {list(values.shape)}; the model takes {shown}, the sample first{why}")
    if len(values) != total:
        raise ArtifactError(f"DATA for '{name}' has {len(values)} samples and another input {total}; give as many of each")
    dtype = np.dtype(tensor["dtype"])
    if not np.can_cast(values.dtype, dtype, "same_kind"):
        raise ArtifactError(f"DATA for '{name}' is {values.dtype}; the model takes {dtype}. Convert it, since rounding would change it")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ArtifactError(f"DATA for '{name}' holds NaN or infinity")
    return _cast(name, values, dtype)


def contradictions(tensors: list[dict], inputs: dict[str, np.ndarray]) -> list[str]:
    """Lengths beyond the input they are the length of, and samples that a mask hides wholly, in words; samples first."""
    found = []
    for tensor in tensors:
        about, what, values = partner(tensor, tensors), role(tensor), inputs[tensor["name"]]
        if about is None:
            continue
        longest = max(inputs[about["name"]].shape[1:], default=1)
        if what == "length" and values.dtype.kind in "iu" and values.max() > longest:
            found.append(f"DATA's '{tensor['name']}' goes up to {values.max()}, and no axis of '{about['name']}' is longer than {longest}")
        if what == "mask":
            empty = int((values.reshape(len(values), -1) == 0).all(1).sum())
            found += [f"DATA's '{tensor['name']}' is zero for the whole of {empty} of {len(values)} samples"] if empty else []
    return found


def _as_classes(name: str, labels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """One whole number a sample, shape (n,), from what labels look like: a column, one-hot rows, whole floats, yes and no."""
    notes, given = [], f"{labels.dtype} of shape {labels.shape}"
    if labels.ndim > 1 and labels.size == len(labels):
        labels = labels.reshape(-1)
        notes.append(f"'{name}' has the shape {given.split(' of shape ')[1]} and is read as one label a sample")
    if labels.ndim == 2 and labels.dtype.kind in "biuf" and _is_one_hot(labels):
        notes.append(f"'{name}' is one-hot over {labels.shape[1]} classes; the class is where the one stands")
        labels = labels.argmax(1)
    if labels.ndim == 1 and labels.dtype.kind == "b":
        notes.append(f"'{name}' holds yes and no: classes 1 and 0")
        labels = labels.astype(np.int64)
    if labels.ndim == 1 and labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.round(labels)).all():
        notes.append(f"'{name}' is {labels.dtype} and holds whole numbers, read as classes")
        labels = labels.astype(np.int64)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ArtifactError(f"labels are {given}; give one whole number for each sample, shape (n,)")
    return labels, notes


def _is_one_hot(labels: np.ndarray) -> bool:
    values = labels.astype(float)
    return labels.shape[1] > 1 and bool(np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all())


def _cast(name: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The values in the type that the model takes; floats may be rounded, nothing else may change. Raises `ArtifactError`."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(dtype)
        changed = ~np.isfinite(cast) if values.dtype.kind == "f" else cast.astype(values.dtype) != values
    if changed.any():
        first = values[changed].ravel()[0]
        raise ArtifactError(f"DATA for '{name}' is {values.dtype} and holds {first}, which {dtype} cannot hold; the model takes {dtype}")
    return cast


def _members(path: Path) -> dict[str, np.ndarray]:
    names = array_names(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files if name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"DATA {path}: damaged or cut off: {error}. Save it again with np.savez.") from None
    except MemoryError:
        raise InputError(
            f"DATA {path}: its arrays ({', '.join(names)}) do not fit into this machine's memory. Give fewer samples."
        ) from None
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"DATA {path}: cannot be read as .npz without running code: {error}. Save plain arrays with np.savez.") from None
    strange = next((name for name, values in found.items() if not isinstance(values, np.ndarray)), None)
    if strange is not None:
        raise InputError(f"DATA {path}: '{strange}' in it is no array. Save plain arrays with np.savez.")
    return found


def _load(file: Path) -> np.ndarray:
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"DATA {file}: cannot be read as an array without running code: {error}.") from None
