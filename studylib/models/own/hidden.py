"""Files and folders that people do not see and did not mean: what systems, editors and archivers leave behind."""

_LEFT_BEHIND = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "__pycache__"}


def is_hidden(name: str) -> bool:
    """Whether a file's or folder's own name says that it is no data: ``.DS_Store``, ``._a.png``, ``__MACOSX``, ``Thumbs.db``."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND
