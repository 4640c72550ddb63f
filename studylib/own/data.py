"""Samples for a user's model: from the user's arrays or pictures, or seeded where there are none."""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from studylib.errors import ArtifactError, InputError
from studylib.own.card import Card, InputCard
from studylib.zoo import Samples

LABELS = ("labels", "label", "y")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
# A fifth trains and calibrates; of a large set all that evaluation does not need.
_TRAIN_SHARE, _TRAIN_MOST, _TEST_MOST = 0.2, 4000, 1000
# Sizes to try for a dynamic axis that nobody told us, in this order: the first that the model answers is taken.
_SIZES = (128, 224, 512, 256, 64, 32, 16, 8, 1)


def check_path(path: Path) -> None:
    """Refuse a DATA that cannot be data. Raises `InputError`."""
    if not path.exists():
        raise InputError(f"DATA {path}: no such file or folder. Give a .npz file, or a folder of .npy files or pictures.")
    if path.is_file() and path.suffix.lower() != ".npz":
        raise InputError(f"DATA {path}: the ending '{path.suffix}' is not known. Give a .npz file, or a folder of .npy files or pictures.")
    if path.is_dir() and not _arrays_in(path) and not _pictures_in(path):
        raise InputError(f"DATA {path}: the folder holds no .npy file and no picture ({', '.join(_PICTURES)}).")


def has_labels(path: Path) -> bool:
    """Whether the data carries labels: an array of that name, or pictures in one folder for each class."""
    if path.is_dir() and not _arrays_in(path):
        return any(picture.parent != path for picture in _pictures_in(path))
    return any(name in LABELS for name in (_arrays_in(path) if path.is_dir() else _names(path)))


def samples(
    tensors: list[dict], card: Card, path: Path | None, split: str, n: int, seed: int, works: Callable[[dict], str | None]
) -> tuple[Samples, dict]:
    """At most ``n`` samples that fit the inputs ``tensors`` (name, shape with None, dtype), and notes on what was assumed."""
    unknown = sorted(set(card.inputs) - {tensor["name"] for tensor in tensors})
    if unknown:
        raise ArtifactError(f"the card names the input '{unknown[0]}'; the model has {', '.join(t['name'] for t in tensors)}")
    for tensor in tensors:
        _check(tensor)
    axes = batch_axes(tensors, card)
    if path is None:
        return _seeded(tensors, card, axes, split, n, seed, works)
    if path.is_dir() and not _arrays_in(path):
        return _pictures(path, tensors, card, axes, split, n)
    arrays, labels = _read(path, tensors)
    whole = [t["name"] for t in tensors if axes[t["name"]] is None and list(arrays[t["name"]].shape) == t["shape"]]
    total = _count({name: values for name, values in arrays.items() if name not in whole} or arrays, labels)
    inputs = {tensor["name"]: _fitted(tensor, arrays[tensor["name"]], axes[tensor["name"]], total) for tensor in tensors}
    chosen = _chosen(total, split, n)
    return Samples({name: values[chosen] for name, values in inputs.items()}, None if labels is None else labels[chosen], axes), {}


def _check(tensor: dict) -> None:
    """Refuse an input that no sample can be made for."""
    if tensor["shape"] is None:
        raise ArtifactError(f"the input '{tensor['name']}' declares no shape, not even how many axes it has; export the model with one")
    try:
        kind = np.dtype(tensor["dtype"]).kind
    except TypeError:
        kind = ""
    if kind not in ("f", "i", "u", "b"):
        raise ArtifactError(f"the input '{tensor['name']}' takes {tensor['dtype']}; only numbers and booleans can be measured here")


def batch_axes(tensors: list[dict], card: Card) -> dict[str, int | None]:
    """Where the batch lies in each input: a dynamic first axis; where that is fixed, the only dynamic one; or nowhere."""
    first = any(tensor["shape"] and tensor["shape"][0] is None for tensor in tensors)
    axes = {}
    for tensor in tensors:
        dynamic = [axis for axis, size in enumerate(tensor["shape"]) if size is None]
        told = card.inputs.get(tensor["name"], InputCard()).batch_axis
        if told is not None and told >= len(tensor["shape"]):
            raise ArtifactError(f"the card puts the batch of '{tensor['name']}' on axis {told}; it has {len(tensor['shape'])} axes")
        only = dynamic[0] if len(dynamic) == 1 else None
        axes[tensor["name"]] = told if told is not None else (0 if 0 in dynamic else only) if first else None
    return axes


def _seeded(tensors, card, axes, split, n, seed, works) -> tuple[Samples, dict]:
    rng = np.random.default_rng([seed, split == "train"])
    reason = ""
    for size in _SIZES:
        inputs, notes = {}, []
        for tensor in tensors:
            name = tensor["name"]
            values = _invented(tensor, card.inputs.get(name, InputCard()), axes[name], n, size, rng, notes)
            # Where others have a batch, an input without one (a sampling rate) holds for every sample of a query.
            shared = axes[name] is None and any(axis is not None for axis in axes.values())
            inputs[name] = np.repeat(values[:1], n, axis=0) if shared else values
        made = Samples(inputs, None, axes)
        reason = works(made.batch(0, 1))
        if not reason:
            return made, {"assumed": [*notes, "no DATA was given: inputs are seeded noise, so there is fidelity and speed and no accuracy"]}
        if not any(None in _sample_shape(tensor, axes) for tensor in tensors):
            break
    raise ArtifactError(
        f"the model refuses seeded inputs of the shape its file declares: {reason}. Give real ones with DATA=file.npz, "
        "or say shapes and ranges in a card beside the model"
    )


def _sample_shape(tensor: dict, axes: dict) -> list:
    """The shape of one sample: without the batch axis."""
    axis = axes[tensor["name"]]
    return [size for index, size in enumerate(tensor["shape"]) if index != axis]


def _invented(tensor, card: InputCard, axis, n, size, rng, notes: list[str]) -> np.ndarray:
    name, dtype = tensor["name"], np.dtype(tensor["dtype"])
    shape = list(card.shape) if card.shape is not None else _sample_shape(tensor, {name: axis})
    if None in shape:
        shape = [size if extent is None else extent for extent in shape]
        notes.append(f"'{name}': dynamic axes are {size} long, so a sample has the shape {shape}")
    if dtype.kind == "b":
        return rng.random((n, *shape)) < 0.5
    if dtype.kind in "iu":
        low, high = card.range or (0, 2)
        if card.range is None:
            notes.append(f"'{name}': whole numbers 0 and 1, since nothing says how large they may be")
        return rng.integers(int(low), int(high), (n, *shape)).astype(dtype)
    if card.range is None:
        notes.append(f"'{name}': standard normal values")
        return rng.standard_normal((n, *shape)).astype(dtype)
    return rng.uniform(*card.range, (n, *shape)).astype(dtype)


def _read(path: Path, tensors) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Arrays by input name, and labels."""
    found = {name: _load(file) for name, file in _arrays_in(path).items()} if path.is_dir() else _members(path)
    labels = next((found.pop(name) for name in LABELS if name in found), None)
    names = [tensor["name"] for tensor in tensors]
    if len(names) == len(found) == 1:
        found = {names[0]: next(iter(found.values()))}
    missing, extra = sorted(set(names) - set(found)), sorted(set(found) - set(names))
    if missing or extra:
        raise ArtifactError(
            f"DATA {path.name} holds {', '.join(sorted(found)) or 'nothing'}; the model takes {', '.join(names)}"
            f"{'; missing: ' + ', '.join(missing) if missing else ''}. Name each array after its input, and the labels 'labels'"
        )
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        raise ArtifactError(f"labels are {labels.dtype} of shape {labels.shape}; give one whole number for each sample, shape (n,)")
    return found, labels


def _count(arrays: dict, labels) -> int:
    """How many samples there are. Raises `ArtifactError` when arrays or labels differ in that."""
    counts = {name: len(values) if values.ndim else 1 for name, values in arrays.items()}
    total = max(counts.values())
    if labels is not None and len(labels) != total:
        raise ArtifactError(f"{len(labels)} labels for {total} samples; give one for each")
    if total == 0:
        raise ArtifactError("DATA holds no sample")
    return total


def _fitted(tensor: dict, values: np.ndarray, axis: int | None, total: int) -> np.ndarray:
    """The array of one input with the sample as first axis, its shape and type checked."""
    name, wanted = tensor["name"], _sample_shape(tensor, {tensor["name"]: axis})
    if axis is None and list(values.shape) == wanted:
        values = np.repeat(values[None], total, axis=0)
    shown = [total, *(size if size is not None else "any" for size in wanted)]
    if values.ndim != len(wanted) + 1 or any(size not in (None, given) for size, given in zip(wanted, values.shape[1:], strict=True)):
        raise ArtifactError(f"DATA for '{name}' has the shape {list(values.shape)}; the model takes {shown}, the sample first")
    if len(values) != total:
        raise ArtifactError(f"DATA for '{name}' has {len(values)} samples and another input {total}; give as many of each")
    dtype = np.dtype(tensor["dtype"])
    if not np.can_cast(values.dtype, dtype, "same_kind"):
        raise ArtifactError(f"DATA for '{name}' is {values.dtype}; the model takes {dtype}. Convert it, since rounding would change it")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ArtifactError(f"DATA for '{name}' holds NaN or infinity")
    return _cast(name, values, dtype)


def _cast(name: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The values in the type that the model takes; floats may be rounded, nothing else may change. Raises `ArtifactError`."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(dtype)
        changed = ~np.isfinite(cast) if values.dtype.kind == "f" else cast.astype(values.dtype) != values
    if changed.any():
        first = values[changed].ravel()[0]
        raise ArtifactError(f"DATA for '{name}' is {values.dtype} and holds {first}, which {dtype} cannot hold; the model takes {dtype}")
    return cast


def _chosen(total: int, split: str, n: int) -> np.ndarray:
    """Indices of a split: a fifth, or all but 1000, trains and calibrates, the rest evaluates; never the same sample in both."""
    order = np.random.default_rng(0).permutation(total)
    cut = min(_TRAIN_MOST, max(1, int(total * _TRAIN_SHARE), total - _TEST_MOST)) if total > 1 else 0
    chosen = order[:cut] if split == "train" else order[cut:]
    if not len(chosen):
        raise ArtifactError("DATA holds one sample, which evaluation needs; calibration needs others. Give more samples")
    return chosen[:n]


def _pictures(path: Path, tensors, card: Card, axes, split: str, n: int) -> tuple[Samples, dict]:
    """Pictures of a split, resized to the model's input and, for float inputs, scaled as the card says."""
    if len(tensors) != 1 or len(tensors[0]["shape"]) != 4:
        raise ArtifactError(f"DATA {path.name} holds pictures; a model with one input of rank 4 takes those. Give a .npz file")
    tensor, told = tensors[0], card.inputs.get(tensors[0]["name"], InputCard())
    shape = list(told.shape) if told.shape else tensor["shape"][1:]
    first = shape[0] in (1, 3)
    channels, height, width = (shape[0], *shape[1:]) if first else (shape[2], *shape[:2])
    if np.dtype(tensor["dtype"]) not in (np.uint8, np.int16, np.int32, np.int64) and np.dtype(tensor["dtype"]).kind != "f":
        raise ArtifactError(
            f"the input '{tensor['name']}' takes {tensor['dtype']}, which cannot hold the values of pictures. Give a .npz file"
        )
    size, every = (width or 224, height or 224), _pictures_in(path)
    classes = _classes(path, every, card)
    files = [every[index] for index in _chosen(len(every), split, n)]
    scaled = np.dtype(tensor["dtype"]).kind == "f"
    pixels = np.stack([_picture(file, size, channels, told if scaled else None) for file in files])
    values = (pixels.transpose(0, 3, 1, 2) if first else pixels).astype(np.dtype(tensor["dtype"]))
    labels = np.array([classes.index(file.parent.name) for file in files], np.int64) if classes else None
    how = f" and scaled by {told.scale:.4g}, mean {told.mean}, std {told.std}" if scaled else ""
    inputs = {tensor["name"]: values if axes[tensor["name"]] is not None else values[:, None]}
    return Samples(inputs, labels, axes), {"assumed": [f"pictures are resized to {size[0]}x{size[1]}{how}"]}


def _picture(file: Path, size: tuple[int, int], channels: int | None, scaling: InputCard | None) -> np.ndarray:
    """One picture, (height, width, channels), float32."""
    from PIL import Image

    try:
        image = Image.open(file).convert("L" if channels == 1 else "RGB").resize(size)
    except OSError as error:
        raise ArtifactError(f"DATA {file.name} cannot be read as a picture: {error}") from None
    values = np.asarray(image, np.float32).reshape(size[1], size[0], -1)
    return values if scaling is None else (values * np.float32(scaling.scale) - np.float32(scaling.mean)) / np.float32(scaling.std)


def _classes(path: Path, files: list[Path], card: Card) -> list[str]:
    """The class names in order, from the card or the sorted folders; empty when pictures lie in no folder of their own."""
    folders = sorted({file.parent.name for file in files if file.parent != path})
    if not folders:
        return []
    classes = list(card.labels or folders)
    unknown = sorted(set(folders) - set(classes))
    if unknown or len(folders) != len({file.parent for file in files}):
        raise ArtifactError(
            f"DATA {path.name}: the folder '{(unknown or ['.'])[0]}' is no label of the card; put each picture under its class"
        )
    return classes


def _arrays_in(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted(folder.glob("*.npy"))}


def _pictures_in(folder: Path) -> list[Path]:
    return sorted(file for file in [*folder.glob("*"), *folder.glob("*/*")] if file.suffix.lower() in _PICTURES)


def _names(path: Path) -> list[str]:
    """The names of the arrays in a ``.npz``, none of them read. Raises `InputError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [Path(name).name.removesuffix(".npy") for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"DATA {path}: is no .npz archive, or cut off: {error}. Save it again with np.savez.") from None


def _members(path: Path) -> dict[str, np.ndarray]:
    names = _names(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
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
