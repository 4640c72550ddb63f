"""Whether a folder can be written to, told before any work."""

import contextlib
import os
from pathlib import Path

from studylib.artifacts.store import output_error

DECIDES_NOTHING = "where files lie"


def require_writable(folder: Path) -> None:
    """Raise `OutputError` when ``folder`` cannot be made, or takes no file."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0" * 65536)
    except OSError as error:
        raise output_error(folder, error) from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
