"""Content-addressed files: every artifact lies under the hash of everything that made it, and is trusted by its own hash.

Layout of a store: ``<key[:2]>/<key>/{artifact.json, content/<file or folder>}``. An entry appears by one rename.
"""

import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from studylib.errors import ArtifactError, OutputError

DECIDES_NOTHING = "where files lie"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artifact:
    """One file or folder on disk, with the hash of its bytes and its lineage.

    ``format``: keras, keras_h5, torch, saved_model, tflite, onnx, openvino, coreml, serving; or samples, outputs, inside.
    ``precision``: the recipe's name. ``is_float``: whether it computes in floating point, so that a recipe may quantize it.
    ``made_in_s``: seconds the last step took. ``lineage``: what made it, oldest first, each a dict with ``made_by``, its
    configuration, its key and, where it has some, ``notes``.
    """

    path: Path
    format: str
    precision: str
    model: str
    key: str
    sha256: str
    size_bytes: int
    made_in_s: float
    lineage: tuple[dict, ...] = field(default=(), repr=False)
    is_float: bool = True

    @property
    def name(self) -> str:
        return f"{self.model} {self.precision} {self.format}"

    def to_json(self) -> dict:
        return asdict(self) | {"path": self.path.name, "lineage": list(self.lineage)}


def derived_key(made_by: str, config: dict, parents: tuple[str, ...], code: str, packages: tuple[str, ...] = ()) -> str:
    """The key of an artifact from everything that makes it: maker, configuration, parents, our code (`code_digest`), package versions."""
    content = {
        "made_by": made_by,
        "config": config,
        "parents": list(parents),
        "code": code,
        "packages": {package: package_version(package) for package in packages},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# The same package under the names of its builds.
_BUILDS = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
}


@functools.cache
def package_version(package: str) -> str:
    """The installed version, with the name of the build where it is not the plain one. Raises `ModuleNotFoundError`.

    Builds of ONNX Runtime write into one folder, so that two may seem installed: the files themselves say whose they are.
    """
    import importlib.metadata  # its readers of messages take longer to load than all of the store

    if package == "onnxruntime":
        spec = importlib.util.find_spec(package)
        facts = Path(spec.origin).parent / "capi/build_and_package_info.py" if spec and spec.origin else None
        if facts and facts.is_file():
            told = dict(re.findall(r"^(\w+) = '([^']+)'", facts.read_text(encoding="utf-8"), re.MULTILINE))
            if {"package_name", "__version__"} <= told.keys():
                return told["__version__"] if told["package_name"] == package else f"{told['__version__']} ({told['package_name']})"
    for name in _BUILDS.get(package, (package,)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(name)
            return version if name == package else f"{version} ({name})"
    raise importlib.metadata.PackageNotFoundError(package)


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of a folder's relative names and bytes in sorted order."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for inner in sorted(path.rglob("*")):
        if inner.is_file():
            digest.update(inner.relative_to(path).as_posix().encode() + b"\0" + bytes.fromhex(content_hash(inner)))
    return digest.hexdigest()


def content_size(path: Path) -> int:
    """Bytes in a file, or in all files of a folder."""
    return sum(inner.stat().st_size for inner in ([path] if path.is_file() else path.rglob("*")) if inner.is_file())


class Store:
    """Artifacts by key, in one folder that several studies may share."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._intact: dict[str, Artifact] = {}

    def get(self, key: str) -> Artifact | None:
        """The artifact under ``key``, or None. One whose bytes do not match its hash is removed, and said."""
        self._intact.pop(key, None)
        entry = self.folder / key[:2] / key
        if not entry.is_dir():
            return None
        try:
            artifact = _read_entry(entry)
            damage = None if content_hash(artifact.path) == artifact.sha256 else "its bytes do not match its hash"
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            damage = f"it cannot be read ({error})"
        if damage is None:
            self._intact[key] = artifact
            return artifact
        log.warning("artifact %s is corrupted: %s. It is removed and will be rebuilt.", key[:12], damage)
        _remove_entry(entry)
        return None

    def has_checked(self, key: str) -> bool:
        """Whether this object has seen the artifact intact."""
        return key in self._intact

    def checked(self, key: str) -> Artifact:
        """The artifact under ``key``, its hash checked once by this object. Raises `ArtifactError` when it is not there, intact."""
        found = self._intact.get(key) or self.get(key)
        if found is None:
            raise ArtifactError(f"artifact {key[:12]} is not in {self.folder}; run the conversion step first")
        return found

    def place(self, key: str) -> Path:
        """Where the content of an artifact lies, by its description alone: for those whom somebody sent who has checked its hash."""
        try:
            return _read_entry(self.folder / key[:2] / key).path
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"artifact {key[:12]} cannot be read: {error}") from None

    def size_of(self, key: str) -> int | None:
        """How many bytes an artifact has, by its description alone; None where it is not made."""
        try:
            return _read_entry(self.folder / key[:2] / key).size_bytes
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, path: Path, format: str = "file") -> Artifact:
        """A copy of a file or folder as it is, under the hash of its name and content: what no recipe of ours made."""
        key = hashlib.sha256(f"{path.name} {content_hash(path)}".encode()).hexdigest()

        def write(folder: Path) -> Path:
            return Path((shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name))

        return self.make(key, {"format": format, "precision": "", "model": path.stem}, write)

    def unfinished(self, key: str) -> Path:
        """A folder for what is half made of ``key``, kept over a killed process; `make` removes it in the end."""
        return self.folder / ".unfinished" / key

    def make(self, key: str, facts: dict, write: Callable[[Path], Path]) -> Artifact:
        """The artifact under ``key``; ``write(folder)`` makes it, and returns the path it wrote, when it is not there.

        ``facts``: format, precision, model, lineage. The entry appears whole or not at all.
        """
        found = self.get(key)
        if found is not None:
            return found
        entry = self.folder / key[:2] / key
        with temporary_folder(self.folder) as folder:
            content = folder / "content"
            content.mkdir()
            begun = time.monotonic()
            written = Path(write(content))
            seconds = time.monotonic() - begun
            if not written.exists():
                raise ArtifactError(f"{facts.get('precision')} {facts.get('format')}: nothing was written to {written.name}")
            measured = {"sha256": content_hash(written), "size_bytes": content_size(written), "made_in_s": seconds}
            artifact = Artifact(path=written, key=key, **measured, **facts)
            (folder / "artifact.json").write_text(json.dumps(artifact.to_json(), indent=1), encoding="utf-8")
            entry.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.rename(entry)
            except OSError:
                # Another process made the same artifact meanwhile: theirs is as good, being named by the same key.
                if not entry.is_dir():
                    raise
        shutil.rmtree(self.unfinished(key), ignore_errors=True)
        return replace(artifact, path=entry / "content" / written.name)


def _read_entry(entry: Path) -> Artifact:
    """The artifact an entry describes. Raises ValueError when the description is not of this very entry."""
    facts = json.loads((entry / "artifact.json").read_text(encoding="utf-8"))
    name = facts["path"]
    path = entry / "content" / name
    if entry.is_symlink() or entry.parent.is_symlink() or path.is_symlink() or Path(name).name != name or name in ("", ".", ".."):
        raise ValueError("it lies outside its own folder")
    if facts["key"] != entry.name or not all(isinstance(facts[field], str) for field in ("format", "precision", "model", "sha256")):
        raise ValueError("it describes another artifact")
    if facts["size_bytes"] != content_size(path) or not all(isinstance(step, dict) for step in facts["lineage"]):
        raise ValueError("its size or lineage is wrong")
    return Artifact(**facts | {"path": path, "lineage": tuple(facts["lineage"])})


def _remove_entry(entry: Path) -> None:
    """Remove an entry; of a link only the link, never what it leads to."""
    link = next((path for path in (entry.parent, entry) if path.is_symlink()), None)
    if link is not None:
        link.unlink()
    else:
        shutil.rmtree(entry)


class temporary_folder:
    """A folder beside its destination, for ``write, then rename``; whatever is left of it at the end is removed."""

    def __init__(self, parent: Path):
        self.parent = Path(parent)

    def __enter__(self) -> Path:
        try:
            self.parent.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix=".writing-", dir=self.parent))
        except OSError as error:
            raise output_error(self.parent, error) from None
        return self.folder

    def __exit__(self, kind, error, trace) -> None:
        # Asked before the half-written files are gone: libraries report a full disk each in its own words.
        full = shutil.disk_usage(self.parent).free < _FULL_BYTES
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError) and is_disk_error(error):
            raise output_error(self.parent, error) from error
        if isinstance(error, Exception) and full:
            raise output_error(self.parent, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) from error


_DISK_ERRORS = (errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EDQUOT)
_FULL_BYTES = 65536
_FORGOTTEN_S = 14 * 24 * 3600


def is_disk_error(error: OSError) -> bool:
    """Whether a disk refused: no permission, no space, read-only, over quota."""
    return error.errno in _DISK_ERRORS


def output_error(path: Path, error: OSError) -> OutputError:
    """An `OutputError` for a failed write, in words that say what to do."""
    advice = "Free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Make it writable"
    return OutputError(f"cannot write to {path}: {error.strerror}. {advice}, or set STUDYLIB_OUTPUTS to another folder.")


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it appears whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all. Raises `OutputError` when the disk refuses."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise output_error(path.parent, error) from None


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left half-written, and what nobody went on with for weeks."""
    for unfinished in folder.glob(".unfinished/*"):
        if time.time() - unfinished.stat().st_mtime > _FORGOTTEN_S:
            shutil.rmtree(unfinished, ignore_errors=True)
    for leftover in [*folder.glob(".writing-*"), *folder.glob("*/.writing-*")]:
        shutil.rmtree(leftover, ignore_errors=True)
