"""Folders as Linux shows them in ``/proc`` and ``/sys``."""

from pathlib import Path


def plant(root: Path, files: dict[str, str]) -> Path:
    """Write small files as ``/proc`` and ``/sys`` show them, below ``root``."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root
