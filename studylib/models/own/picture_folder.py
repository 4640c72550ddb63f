"""Pictures in a folder, or in one folder for each class: which count, and which class each folder is."""

import re
from dataclasses import dataclass
from pathlib import Path

from studylib.errors import ArtifactError
from studylib.models.own.hidden import is_hidden

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True)
class PictureFolder:
    """What lies in a folder of pictures.

    ``files``: pictures in it and in its folders, numbers in order; ``deeper``: those that lie further down. ``folders``: the class
    folders that hold pictures; ``empty``: those that hold none.
    """

    path: Path
    files: list[Path]
    deeper: list[Path]
    folders: list[str]
    empty: list[str]

    def shown(self, file: Path) -> str:
        """The file with its folders, as the user sees it from DATA."""
        return file.relative_to(self.path).as_posix()

    def why_not(self) -> str | None:
        """Why its folders cannot be classes, in words, or None. Pictures in no folder are no classes at all, and fine."""
        loose = [file for file in self.files if file.parent == self.path]
        if loose and self.folders:
            return (
                f"{len(loose)} pictures lie beside the class folders ({_some(self.folders)}), first {loose[0].name}; "
                "put each picture under its class, or all into one folder"
            )
        return None


def picture_folder(path: Path) -> PictureFolder:
    """Look into ``path``; hidden files and folders are passed over."""
    folders = [inner for inner in _visible(path) if inner.is_dir()]
    within = {folder: _visible(folder) for folder in folders}
    files = [file for inner in (_visible(path), *within.values()) for file in inner if _is_picture(file)]
    lower = [inner for files_of in within.values() for inner in files_of if inner.is_dir()]
    deeper = [file for inner in lower for file in sorted(inner.rglob("*"), key=_natural) if _is_picture(file) and not _hides(file, path)]
    full = {file.parent for file in files}
    return PictureFolder(
        path,
        files,
        deeper,
        in_order([folder.name for folder in folders if folder in full]),
        in_order([folder.name for folder in folders if folder not in full]),
    )


def _visible(folder: Path) -> list[Path]:
    return sorted((inner for inner in folder.iterdir() if not is_hidden(inner.name)), key=_natural)


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURES and file.is_file()


def _hides(file: Path, path: Path) -> bool:
    return any(map(is_hidden, file.relative_to(path).parts))


def in_order(names: list[str]) -> list[str]:
    """Names in the order of their classes: as numbers where all are whole numbers, otherwise as text."""
    return sorted(names, key=lambda name: (int(name), name)) if _are_numbers(names) else sorted(names)


def classes_of(found: PictureFolder, labels: tuple[str, ...] | None, classes: int | None) -> tuple[dict[str, int], list[str], list[str]]:
    """(class of each folder; how that came; what may be wrong with it, so that an accuracy must say it).

    ``labels``: the card's, in the order of the model's classes. ``classes``: how many the model has, where that is known.
    Raises `ArtifactError` when the folders cannot be the model's classes.
    """
    name, folders = found.path.name, found.folders
    if found.why_not():
        raise ArtifactError(f"DATA {name}: {found.why_not()}")
    if labels is not None:
        unknown = [folder for folder in folders if folder not in labels]
        if unknown:
            raise ArtifactError(
                f"DATA {name}: the folder '{unknown[0]}' is no label of the card ({_some(labels)}); put each picture under its class"
            )
        if classes is not None and len(labels) > classes:
            raise ArtifactError(
                f"the card has {len(labels)} labels, and the model {classes} classes; give one label for each class in order"
            )
        few = [f"the card has {len(labels)} labels for a model of {classes} classes"] if classes and len(labels) < classes else []
        return {folder: labels.index(folder) for folder in folders}, ["classes are the card's labels in their order"], few
    if found.empty:
        raise ArtifactError(
            f"DATA {name}: the folder '{found.empty[0]}' holds no picture, and the order of the others as classes depends on it; "
            "take it away, fill it, or give `labels` in a card beside the model"
        )
    if classes is not None and len(folders) > classes:
        raise ArtifactError(
            f"DATA {name} has {len(folders)} class folders ({_some(folders)}), and the model {classes} classes; "
            "take away what is no class, or say TASK=other"
        )
    return _assumed(folders, classes)


def _assumed(folders: list[str], classes: int | None) -> tuple[dict[str, int], list[str], list[str]]:
    """Classes by the folders' names alone."""
    few = classes is not None and len(folders) < classes
    numbers = [int(folder) for folder in folders] if _are_numbers(folders) else []
    # Some of the digits, say: there the number itself is the class.
    itself = bool(few and numbers and len(set(numbers)) == len(numbers) and max(numbers) < classes)
    found = {folder: int(folder) if itself else index for index, folder in enumerate(folders)}
    told = ", ".join(f"{folder} is class {index}" for folder, index in list(found.items())[:20]) + (", …" if len(found) > 20 else "")
    order = (
        "the number of each folder" if itself else "the folders' names in order of number" if numbers else "the folders' names by alphabet"
    )
    how = [f"classes are {order}: {told}; `labels` in a card beside the model can say otherwise"]
    warning = (
        f"{len(folders)} class folders for a model of {classes} classes and no `labels` in a card: {told}. "
        "If that is wrong, so is the accuracy"
    )
    return found, how, [warning] if few else []


def _some(names) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _are_numbers(names: list[str]) -> bool:
    return bool(names) and all(re.fullmatch(r"[0-9]+", name) for name in names)


def _natural(path: Path) -> list:
    """Sorts 2.png before 10.png."""
    parts = [re.split(r"([0-9]+)", name) for name in path.parts]
    return [[(int(text), "") if number % 2 else (0, text) for number, text in enumerate(found)] for found in parts]
