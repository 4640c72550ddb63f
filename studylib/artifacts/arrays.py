"""Named arrays in a folder: names may hold anything, files are memory-mapped, nothing is pickled.

An array of objects, shape (n,), holds an array for each sample, of any shapes (see `studylib.quality.varying`).
"""

import json
from pathlib import Path

import numpy as np


def save(folder: Path, arrays: dict[str, np.ndarray], facts: dict | None = None) -> Path:
    """Write the arrays as ``0.npy``, ``1.npy`` … and their names, with ``facts`` beside them, as ``arrays.json``."""
    folder.mkdir(parents=True)
    shapes = {}
    for index, (name, values) in enumerate(arrays.items()):
        if values.dtype == object:  # an array for each sample: their values one after the other, and their shapes
            shapes[name] = [list(one.shape) for one in values]
            values = np.concatenate([np.ravel(one) for one in values])
        np.save(folder / f"{index}.npy", values, allow_pickle=False)
    content = {"names": list(arrays), "facts": facts or {}} | ({"shapes": shapes} if shapes else {})
    (folder / "arrays.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays by name, memory-mapped, and the facts."""
    content = json.loads((Path(folder) / "arrays.json").read_text(encoding="utf-8"))
    arrays = {name: np.load(Path(folder) / f"{index}.npy", mmap_mode="r") for index, name in enumerate(content["names"])}
    return arrays | {name: _cut(arrays[name], shapes) for name, shapes in content.get("shapes", {}).items()}, content["facts"]


def _cut(values: np.ndarray, shapes: list[list[int]]) -> np.ndarray:
    """The arrays of these shapes that lie in ``values`` one after the other, as an array of objects."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    found = np.empty(len(shapes), object)
    found[:] = [part.reshape(shape) for part, shape in zip(np.split(values, ends), shapes, strict=True)]
    return found
