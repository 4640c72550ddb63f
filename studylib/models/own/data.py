"""Samples for a user's model: from the user's arrays or pictures, or seeded where there are none."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib.errors import ArtifactError, InputError
from studylib.models import zoo
from studylib.models.own import array_files
from studylib.models.own.axes import Ask, Axes, normalised, of_two_samples, read_axes
from studylib.models.own.card import Card
from studylib.models.own.invented import invent
from studylib.models.own.picture_folder import PICTURES, PictureFolder, classes_of, picture_folder
from studylib.models.own.pictures import Layout, layout_of, picture_samples, require_whole, turned_layout
from studylib.models.zoo import Samples

# A fifth trains and calibrates; of a large set all that evaluation does not need.
_TRAIN_SHARE, _TRAIN_MOST, _TEST_MOST = 0.2, 4000, 1000
# Pictures that are looked at beside those of the split: of a larger set only what is used.
_MOST_LOOKED_AT = 2000


def check_path(path: Path) -> None:
    """Refuse a DATA that cannot be data. Raises `InputError`."""
    if not path.exists():
        raise InputError(f"DATA {path}: no such file or folder. Give a .npz file, or a folder of .npy files or pictures.")
    if path.is_file() and path.suffix.lower() != ".npz":
        raise InputError(f"DATA {path}: the ending '{path.suffix}' is not known. Give a .npz file, or a folder of .npy files or pictures.")
    if not path.is_dir() or array_files.arrays_in(path):
        return
    found = picture_folder(path)
    if not found.files and found.deeper:
        first = found.deeper[0]
        raise InputError(
            f"DATA {path}: its {len(found.deeper)} pictures lie deeper than one folder ({found.shown(first)} for one), so their classes "
            f"are not plain. Give the folder that holds the class folders, {first.parent.parent} for one."
        )
    if not found.files:
        raise InputError(f"DATA {path}: the folder holds no .npy file and no picture ({', '.join(PICTURES)}).")


def has_labels(path: Path, inputs: Callable[[], list[str] | None] = lambda: None) -> bool:
    """Whether the data carries labels: an array of that name, or pictures in one folder for each class.

    ``inputs``: gives the names of the model's inputs, or None; asked only where an array is called as labels are.
    """
    if path.is_dir() and not array_files.arrays_in(path):
        return bool(picture_folder(path).folders)
    names = array_files.array_names(path)
    return array_files.labels_name(names, None) is not None and array_files.labels_name(names, inputs()) is not None


@dataclass(frozen=True)
class Selection:
    """At most ``n`` samples of a ``split`` (train or test); what is invented depends on ``seed``."""

    split: str
    n: int
    seed: int


def samples(
    tensors: list[dict], card: Card, path: Path | None, selection: Selection, ask: Ask, certain: bool = False
) -> tuple[Samples, dict]:
    """Samples that fit the inputs ``tensors`` (name, shape with None, dtype, names of axes), and notes.

    Notes are lists of sentences: ``assumed`` of whatever nobody told, ``accuracy`` of what decides one, ``warnings`` of what may
    make one false, ``single`` of inputs that are left one value long. ``certain``: the first axis is the batch by the file's format.
    """
    unknown = sorted(set(card.inputs) - {tensor["name"] for tensor in tensors})
    if unknown:
        raise ArtifactError(f"the card names the input '{unknown[0]}'; the model has {', '.join(t['name'] for t in tensors)}")
    for tensor in tensors:
        _check(tensor)
    tensors = normalised(tensors)
    axes = read_axes(tensors, card, certain)
    if path is None:
        return invent(tensors, card, axes, selection.split, selection.n, selection.seed, ask)
    if path.is_dir() and not array_files.arrays_in(path):
        made, notes = _pictures(path, tensors, card, axes, selection, ask)
    else:
        made, notes = _arrays(path, tensors, axes, selection, ask)
    return made, {kind: told for kind, told in notes.items() if told}


def _check(tensor: dict) -> None:
    """Refuse an input that no sample can be made for."""
    if tensor["shape"] is None:
        raise ArtifactError(f"the input '{tensor['name']}' declares no shape, not even how many axes it has; export the model with one")
    try:
        kind = np.dtype(tensor["dtype"]).kind
    except TypeError:
        kind = ""
    if kind not in ("f", "i", "u", "b"):
        raise ArtifactError(
            f"the input '{tensor['name']}' takes {tensor['dtype']}; only numbers and booleans can be measured here. "
            "Export the part of the model after the text has become numbers, and give those as data"
        )


def _arrays(path: Path, tensors: list[dict], axes: Axes, selection: Selection, ask: Ask) -> tuple[Samples, dict]:
    arrays, labels, decides = array_files.read(path, tensors)
    axes, seen = _seen(tensors, arrays, axes)
    whole = [t["name"] for t in tensors if axes.of[t["name"]] is None and list(arrays[t["name"]].shape) == t["shape"]]
    total = array_files.count({name: values for name, values in arrays.items() if name not in whole} or arrays, labels)
    inputs = {t["name"]: array_files.fitted(t, arrays[t["name"]], axes.of[t["name"]], total) for t in tensors}
    chosen = chosen_samples(total, selection.split, selection.n)
    made = Samples({name: values[chosen] for name, values in inputs.items()}, None if labels is None else labels[chosen], axes.of)
    beside = picture_folder(path).files if path.is_dir() else []
    left = [f"{len(beside)} pictures lie beside the arrays and are not read"] if beside else []
    notes = {"assumed": [*axes.how, *seen, *left, *array_files.contradictions(tensors, made.inputs)], "accuracy": decides}
    return made, notes | _asked(made, arrays, axes, ask)


def _seen(tensors: list[dict], arrays: dict, axes: Axes) -> tuple[Axes, list[str]]:
    """The axes with what the arrays' numbers of axes say of doubtful inputs: one more than the input has is a length and no batch."""
    lengths = [t["name"] for t in tensors if t["name"] in axes.doubtful and arrays[t["name"]].ndim == len(t["shape"]) + 1]
    of = axes.of | dict.fromkeys(lengths)
    told = [f"'{name}': DATA holds one more axis than the input, so its first axis is no batch" for name in lengths]
    return Axes(of, axes.how, tuple(name for name in axes.doubtful if name not in lengths)), told


def _asked(made: Samples, arrays: dict, axes: Axes, ask: Ask) -> dict:
    """What the model says of a first axis that only the data's shape calls a batch.

    Raises `ArtifactError` where the values of one signal were given as samples.
    """
    if not axes.doubtful or len(made) < 2 or of_two_samples(made, ask) != "mixed":
        return {}
    signal = next((name for name in axes.doubtful if arrays[name].ndim == 1), None)
    if signal is not None:
        size = len(arrays[signal])
        raise ArtifactError(
            f"DATA for '{signal}' has the shape [{size}], and the model does not answer its values one by one as it does together: "
            f"its axis is a length. Give signals as samples by length, [1, {size}] for this one, or say `batch_axis: 0` in the card"
        )
    names = ", ".join(f"'{name}'" for name in axes.doubtful)
    return {
        "warnings": [
            f"the first axis of {names} is the batch by DATA's shape, and the model does not answer two samples as each alone; "
            "if that axis is a length, give DATA with one more axis, the sample first"
        ]
    }


def chosen_samples(total: int, split: str, n: int) -> np.ndarray:
    """Indices of a split: a fifth, or all but 1000, trains and calibrates, the rest evaluates; never the same sample in both."""
    order = np.random.default_rng(0).permutation(total)
    cut = min(_TRAIN_MOST, max(1, int(total * _TRAIN_SHARE), total - _TEST_MOST)) if total > 1 else 0
    chosen = order[:cut] if split == "train" else order[cut:]
    if not len(chosen):
        raise ArtifactError("DATA holds one sample, which evaluation needs; calibration needs others. Give more samples")
    return chosen[:n]


def _pictures(path: Path, tensors: list[dict], card: Card, axes: Axes, selection: Selection, ask: Ask) -> tuple[Samples, dict]:
    """Pictures of a split, as the model takes them, with the class of their folder."""
    layout, folder = layout_of(tensors, card, path.name), picture_folder(path)
    (tensor,) = tensors
    # Pictures come one a sample: an open axis before height, width and channels is their batch.
    axis = 0 if tensor["name"] in axes.doubtful else axes.of[tensor["name"]]

    def made(layout: Layout, files: list, labels=None):
        return picture_samples(folder, files, tensor, card, axis, layout, labels)

    chosen = chosen_samples(len(folder.files), selection.split, selection.n)
    files = [folder.files[index] for index in chosen]
    # A picture that is cut off is told whichever split it falls into: otherwise another recipe would meet it later.
    require_whole(folder, [folder.files[index] for index in sorted(set(range(min(len(folder.files), _MOST_LOOKED_AT))) - set(chosen))])
    layout, turned = turned_layout(layout, lambda one: made(one, files[:1])[0], ask)
    classes, how, warnings = classes_of(folder, card.labels, _classes(made(layout, files[:1])[0], ask)) if folder.folders else ({}, [], [])
    labels = np.array([classes[file.parent.name] for file in files], np.int64) if classes else None
    found, done, decides = made(layout, files, labels)
    left = _left_out(folder)
    if classes:
        return found, {"assumed": list(axes.how), "accuracy": [*how, *decides, *turned, *done], "warnings": [*warnings, *left]}
    return found, {"assumed": [*axes.how, *decides, *turned, *done, *left]}


def _left_out(folder: PictureFolder) -> list[str]:
    if not folder.deeper:
        return []
    return [f"{len(folder.deeper)} pictures lie deeper than one folder ({folder.shown(folder.deeper[0])} for one) and are not read"]


def _classes(made: Samples, ask: Ask) -> int | None:
    """How many classes the model tells apart, where its first output is a row of scores; None where it refuses or answers otherwise."""
    outputs, _ = ask(made.batch(0, 1))
    scores = np.asarray(next(iter(outputs.values()))) if outputs else np.zeros(0)
    if scores.dtype.kind != "f" or not scores.size:
        return None
    classes = zoo.classes_of(scores)
    return classes if max(scores.shape) in (classes, 1) else None
