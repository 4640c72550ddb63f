"""Published weights: fetched once when somebody asks for it, kept in a cache, trusted by their hash.

The cache is ``$STUDYLIB_CACHE``, otherwise ``~/.cache/studylib``. ``STUDYLIB_OFFLINE=1`` never touches the network.
"""

import contextlib
import functools
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1 << 20


@dataclass(frozen=True)
class PublishedFile:
    """A file that its authors publish: where it is, how many bytes it has and what it hashes to."""

    url: str
    algorithm: str
    digest: str
    size_bytes: int

    @property
    def path(self) -> Path:
        """Where the cache keeps it."""
        return cache_folder() / self.url.rsplit("/", 1)[-1]

    def why_not(self) -> str | None:
        """Why the cached file cannot be used, or None when it is there and has the published hash."""
        try:
            facts = self.path.stat()
            return _why_refused(self, self.path, facts.st_size, facts.st_mtime_ns)
        except FileNotFoundError:
            return f"{self.path} is not there"
        except OSError as error:
            return f"{self.path} cannot be read: {error.strerror}"


def cache_folder() -> Path:
    return Path(os.environ.get("STUDYLIB_CACHE") or Path.home() / ".cache" / "studylib")


def fetch(published: PublishedFile, timeout_s: float = 5.0) -> str | None:
    """Bring ``published`` into the cache unless it is there. Returns None, or in words why it is not there.

    ``timeout_s`` bounds connecting and every wait for the next bytes. Never raises for a network or a disk that fails.
    """
    cached = published.why_not()
    if cached is None:
        return None
    if os.environ.get("STUDYLIB_OFFLINE") == "1":
        return f"{cached}, and STUDYLIB_OFFLINE=1 forbids fetching {published.url}"
    # Every process of a study imports this module, and hardly any fetches.
    import http.client
    import ssl
    import urllib.error

    try:
        return _download(published, timeout_s)
    except urllib.error.HTTPError as error:
        return f"{published.url} cannot be fetched: the server answered {error.code} {error.reason}"
    except urllib.error.URLError as error:
        return f"{published.url} cannot be fetched: {error.reason}. {_by_hand(published)}"
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        return f"{published.url} cannot be fetched: {error or type(error).__name__}. {_by_hand(published)}"
    except OSError as error:
        return f"{published.path} cannot be written: {error.strerror or error}. Set STUDYLIB_CACHE to another folder"


def _download(published: PublishedFile, timeout_s: float) -> str | None:
    """The file under a temporary name; it gets its own only after its hash was checked."""
    import urllib.request

    published.path.parent.mkdir(parents=True, exist_ok=True)
    with urllib.request.urlopen(published.url, timeout=timeout_s) as answer:
        handle, name = tempfile.mkstemp(dir=published.path.parent, prefix=f"{published.path.name}.", suffix=".part")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                _copy(answer, file, published.size_bytes)
            reason = _why_refused.__wrapped__(published, part, part.stat().st_size, 0)
            if reason is None:
                part.replace(published.path)
            return reason and f"{published.url}: {reason}"
        finally:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()


def _copy(answer, file, size_bytes: int) -> None:
    """The body, but never more than one byte over the published size."""
    left = size_bytes + 1
    while left and (block := answer.read(min(_BLOCK, left))):
        file.write(block)
        left -= len(block)


# Asked for every trial of a plan, and the files are large: hashed again only when size or time of change differ.
@functools.lru_cache
def _why_refused(published: PublishedFile, path: Path, size_bytes: int, _changed_ns: int) -> str | None:
    if size_bytes != published.size_bytes:
        found = "more" if size_bytes > published.size_bytes else str(size_bytes)
        return f"the file is refused: {published.size_bytes} bytes are published, {found} are there"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, published.algorithm).hexdigest()
    if found == published.digest:
        return None
    return f"the file is refused: its {published.algorithm} is {found}, published is {published.digest}"


def _by_hand(published: PublishedFile) -> str:
    return f"To use it, fetch it elsewhere and put it at {published.path}"
