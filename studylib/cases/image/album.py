"""The photographs of the case: encoded files with what they show, the user's own or those of the study."""

import base64
import hashlib
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib.cases.image.pictures import PictureError, decode
from studylib.errors import InputError
from studylib.models.zoo import labelled_photographs as labelled
from studylib.models.zoo.photographs import PHOTOGRAPHS, load_photograph

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_QUALITY, _MARGIN, _THUMBNAIL = 90, 0.15, 112
# More would take longer than anybody waits for.
_MOST = 2000


@dataclass(frozen=True)
class Album:
    """``files``: names and bytes; ``labels``: the class of each, -1 where nobody said; ``unusable``: names and why."""

    files: list[tuple[str, bytes]]
    labels: list[int]
    source: str
    unusable: list[tuple[str, str]]


def of_study() -> Album:
    """Labelled cut-outs on white where they are here, otherwise photographs inside packages, as JPEG files of a camera's quality."""
    reason = labelled.why_not()
    if reason:
        files = [(Path(name).stem, _jpeg(load_photograph(name))) for name, (_, split) in PHOTOGRAPHS.items() if split == "test"]
        return Album(files, [-1] * len(files), f"photographs inside packages, without labels ({reason})", [])
    files = [(Path(name).stem, _jpeg(_on_white(labelled.folder() / name))) for name in labelled.names("test")]
    source = "labelled photographs, cut out and laid on white (Tux Paint's stamps, GPL-2), saved as JPEG"
    return Album(files, labelled.classes().tolist(), source, [])


def of_folder(path: str, names: list[str]) -> Album:
    """The pictures of a user's folder; one that lies in a folder named as a class, by one of ``names`` or its number, shows that class.

    Raises `InputError` where there is none that can be used.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(f"DATA is '{path[:200]}', which is no folder. Give a folder of photographs.")
    known = {_plain(name): number for number, name in reversed(list(enumerate(names)))}
    files, labels, unusable = [], [], []
    for file in sorted(one for one in folder.rglob("*") if one.suffix.lower() in _SUFFIXES and one.is_file())[:_MOST]:
        name = str(file.relative_to(folder))
        try:
            content = file.read_bytes()
            decode(content)
        except PictureError as error:
            unusable.append((name, str(error)))
            continue
        except OSError as error:
            unusable.append((name, f"it cannot be read: {error.strerror}"))
            continue
        files.append((name, content))
        above = file.parent.name if file.parent != folder else ""
        number = int(above) if above.isdigit() and int(above) < len(names) else known.get(_plain(above), -1)
        labels.append(number)
    if not files:
        why = f"; the first of {len(unusable)}: {unusable[0][0]}: {unusable[0][1]}" if unusable else f" ({', '.join(_SUFFIXES)})"
        raise InputError(f"DATA {folder.name} holds no picture that can be used{why}.")
    return Album(files, labels, f"{len(files)} pictures of the folder {folder.name}", unusable)


def _on_white(path: Path):
    """A cut-out in the middle of a white square, a margin on each side."""
    from PIL import Image

    with Image.open(path) as opened:
        image = opened.convert("RGBA")
    image = image.crop(image.getchannel("A").getbbox())
    side = round(max(image.size) / (1 - 2 * _MARGIN))
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square.convert("RGB")


def _jpeg(image) -> bytes:
    found = io.BytesIO()
    image.save(found, "JPEG", quality=_QUALITY)
    return found.getvalue()


def thumbnail(content: bytes) -> str:
    """A small copy, as JPEG in base64."""
    image = decode(content, small=True)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return base64.b64encode(_jpeg(image)).decode()


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip().lower())


def digest_of(album: Album) -> str:
    """A hash of its files and what they show."""
    found = hashlib.sha256(json.dumps((album.labels, album.unusable, [name for name, _ in album.files])).encode())
    for _, content in album.files:
        found.update(hashlib.sha256(content).digest())
    return found.hexdigest()


def save(album: Album, path: Path) -> None:
    """Keep the files' bytes for the process that measures."""
    lengths = np.array([len(content) for _, content in album.files], np.int64)
    content = np.frombuffer(b"".join(content for _, content in album.files), np.uint8)
    np.savez(path, lengths=lengths, content=content)


def load(path: str) -> list[bytes]:
    """What `save` kept."""
    with np.load(path) as kept:
        content, ends = kept["content"].tobytes(), np.cumsum(kept["lengths"]).tolist()
    return [content[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
