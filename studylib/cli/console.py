"""What the command line needs of a terminal and of the disk: lines for people, and one study at a time."""

import fcntl
import shutil
import sys
from pathlib import Path

from studylib.artifacts.store import output_error
from studylib.errors import OutputError


class Console:
    """Lines for people: one line that changes on a terminal, plain lines in a log."""

    def __init__(self, stream=sys.stdout):
        self._stream, self._live, self._open = stream, stream.isatty(), False

    def line(self, text: str, keep: bool = False) -> None:
        """Show ``text``; on a terminal the next line replaces it unless ``keep``."""
        if not self._live:
            print(text, file=self._stream, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\033[K{text if keep else text[:width]}" + ("\n" if keep else ""))
        self._stream.flush()
        self._open = not keep

    def close(self) -> None:
        """End the changing line."""
        if self._open:
            self._stream.write("\r\033[K")
            self._stream.flush()
            self._open = False


class only_one:
    """Refuses a second study in the same outputs folder: two at once would measure each other."""

    def __init__(self, folder: Path):
        self.path = folder / ".lock"

    def __enter__(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("w")
        except OSError as error:
            raise output_error(self.path, error) from None
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.file.close()
            raise OutputError(f"another study is running in {self.path.parent}. Wait for it, or stop it; it can be resumed.") from None
        self.environment = _environment_in_use()

    def __exit__(self, *_) -> None:
        self.file.close()
        if self.environment:
            self.environment.close()


def _environment_in_use():
    """The stamp of this process' environment, locked together with others that use it: requirements/install.py replaces none of those."""
    try:
        stamp = (Path(sys.prefix) / ".complete").open()
        fcntl.flock(stamp, fcntl.LOCK_SH)
    except OSError:
        return None  # not made by that script, or on a disk that knows no locks
    return stamp
