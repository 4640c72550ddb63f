"""What TensorRT made of a file, kept for the next process: a build takes minutes, and every repetition is a process of its own.

It lies in ``outputs/.engines`` under the hash of everything that made it, beside the hash of its bytes. All of it may be deleted.
"""

import hashlib
import logging
from pathlib import Path

from studylib.artifacts.store import write_bytes, write_text
from studylib.params.paths import outputs_root

log = logging.getLogger(__name__)


def folder() -> Path:
    """Where engines are kept, for all hardware sets."""
    return outputs_root() / ".engines"


def kept(key: str) -> bytes | None:
    """What was kept under ``key``, or None. What does not match its own hash is not used, and that is said."""
    try:
        content, told = (folder() / key).read_bytes(), _hash_of(key).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None  # never made, or its maker was killed before it wrote the hash
    except (OSError, UnicodeDecodeError) as error:
        damage = f"it cannot be read ({error})"
    else:
        if hashlib.sha256(content).hexdigest() == told:
            return content
        damage = "its bytes do not match its hash"
    log.warning("engine %s is damaged: %s. It is built again.", key[:12], damage)
    return None


def keep(key: str, content: bytes) -> None:
    """Keep ``content`` under ``key``, whole or not at all. Raises `OutputError` when the disk refuses."""
    write_bytes(folder() / key, content)
    write_text(_hash_of(key), hashlib.sha256(content).hexdigest())


def _hash_of(key: str) -> Path:
    return folder() / f"{key}.sha256"
