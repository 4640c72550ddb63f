"""What is known of an artifact beside its bytes: what is inside it, and how small it is when it is packed. Made once, kept as JSON."""

import gzip
import json
from pathlib import Path

from studylib.artifacts.code import code_digest
from studylib.artifacts.store import Artifact, Store, derived_key
from studylib.formats import inside

_CHUNK_BYTES = 2**20


def inside_key(key: str) -> str:
    """The key of the description of what is inside the artifact with ``key``."""
    return derived_key("inside", {}, (key,), code_digest(inside.look, *inside.MODULES))


def describe(artifact: Artifact, shapes: dict[str, tuple], store: Store, trust: bool = False) -> Artifact:
    """What is inside an artifact, as JSON: operators, parameters, MACs, inputs and outputs."""
    return _kept(artifact, inside_key(artifact.key), "inside", lambda: inside.look(artifact.path, artifact.format, shapes, trust), store)


def packed_key(key: str) -> str:
    """The key of the packed size of the artifact with ``key``."""
    return derived_key("packed", {}, (key,), code_digest(gzip_bytes))


def packed(artifact: Artifact, store: Store) -> Artifact:
    """The bytes of an artifact after gzip at its usual level, as JSON: what a download costs, and where zeros and clusters show."""
    return _kept(artifact, packed_key(artifact.key), "packed", lambda: {"gzip_bytes": gzip_bytes(artifact.path)}, store)


def gzip_bytes(path: Path) -> int:
    """Bytes of a file, or of all files of a folder, after gzip at level 6, which command line tools use."""
    files = [path] if path.is_file() else sorted(inner for inner in path.rglob("*") if inner.is_file())
    counted = _Counter()
    for file in files:
        with file.open("rb") as content, gzip.GzipFile(fileobj=counted, mode="wb", compresslevel=6, mtime=0) as packer:
            while chunk := content.read(_CHUNK_BYTES):
                packer.write(chunk)
    return counted.bytes


class _Counter:
    """A file that only counts."""

    def __init__(self):
        self.bytes = 0

    def write(self, content: bytes) -> int:
        self.bytes += len(content)
        return len(content)

    def flush(self) -> None:
        """Nothing is held back."""


def _kept(artifact: Artifact, key: str, kind: str, find, store: Store) -> Artifact:
    facts = {"format": kind, "precision": artifact.precision, "model": artifact.model, "lineage": artifact.lineage}

    def write(folder: Path) -> Path:
        path = folder / f"{kind}.json"
        path.write_text(json.dumps(find()), encoding="utf-8")
        return path

    return store.make(key, facts, write)
