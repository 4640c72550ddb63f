"""Named arrays in a folder: names may hold anything, files are memory-mapped, nothing is pickled."""

import json
from pathlib import Path

import numpy as np


def save(folder: Path, arrays: dict[str, np.ndarray], facts: dict | None = None) -> Path:
    """Write the arrays as ``0.npy``, ``1.npy`` … and their names, with ``facts`` beside them, as ``arrays.json``."""
    folder.mkdir(parents=True)
    for index, values in enumerate(arrays.values()):
        np.save(folder / f"{index}.npy", values, allow_pickle=False)
    content = {"names": list(arrays), "facts": facts or {}}
    (folder / "arrays.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays by name, memory-mapped, and the facts."""
    content = json.loads((Path(folder) / "arrays.json").read_text(encoding="utf-8"))
    arrays = {name: np.load(Path(folder) / f"{index}.npy", mmap_mode="r") for index, name in enumerate(content["names"])}
    return arrays, content["facts"]
