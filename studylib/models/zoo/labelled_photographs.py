"""Labelled photographs for ImageNet networks: cut-outs on white out of Tux Paint's stamps (Debian: tuxpaint-stamps-default, GPL-2).

They are looked for in ``$STUDYLIB_PHOTOGRAPHS`` (a folder of stamps), where Debian installs them, and in the cache, into which `fetch`
brings them with the package manager. Without them an image network has no labels here.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from studylib.models.zoo.downloads import cache_folder
from studylib.models.zoo.photograph_classes import CLASSES, OTHERS

PACKAGE, SIZE_BYTES = "tuxpaint-stamps-default", 160_880_444
_INSTALLED = Path("usr/share/tuxpaint/stamps")
_TIMEOUT_S = 600


def why_not() -> str | None:
    """Why there are none here, with the ways to get them, or None."""
    found = folder()
    if found is None:
        return f"none are here; install Debian's {PACKAGE}, or set STUDYLIB_PHOTOGRAPHS to a folder with the stamps of Tux Paint"
    missing = [name for name in names("test") + names("train") if not (found / name).is_file()]
    return f"{found} lacks {len(missing)} of the photographs, first {missing[0]}" if missing else None


def names(split: str) -> list[str]:
    """The files of a ``split`` (train or test), relative to the folder of stamps."""
    return [f"{folder}/{name}.png" for folder, inside in (CLASSES if split == "test" else OTHERS).items() for name in inside]


def classes() -> np.ndarray:
    """The ImageNet class of each file of the split ``test``, int64, shape (files,)."""
    return np.array([number for inside in CLASSES.values() for number in inside.values()], np.int64)


def digest() -> str:
    """One hash of all the files that are used."""
    return _digest(folder())


@functools.lru_cache
def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for name in names("test") + names("train"):
        found.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return found.hexdigest()


def views(split: str, n: int, seed: int, side: int = 224) -> tuple[np.ndarray, np.ndarray]:
    """At most ``n`` views, of each photograph as often: on a white square, a margin of 5 to 25 % on each side, half of them mirrored.

    Returns them, uint8, shape (views, side, side, 3), and the position of each one's photograph among `names`, shape (views,).
    """
    from PIL import Image

    rng, files = np.random.default_rng(seed), names(split)
    shown = np.resize(rng.permutation(len(files)), n - n % len(files) if n > len(files) else n)
    pixels = np.empty((len(shown), side, side, 3), np.uint8)
    for index, number in enumerate(shown):
        with Image.open(folder() / files[number]) as opened:
            image = opened.convert("RGBA")
        image = image.crop(image.getchannel("A").getbbox())
        room = round(side * (1 - 2 * rng.uniform(0.05, 0.25)))
        scale = room / max(image.size)
        image = image.resize([max(1, round(length * scale)) for length in image.size])
        square = Image.new("RGBA", (side, side), "white")
        square.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
        view = np.asarray(square.convert("RGB"))
        pixels[index] = view[:, ::-1] if rng.random() < 0.5 else view
    return pixels, shown


def fetch() -> str | None:
    """Bring them into the cache with the package manager, unless they are here. Returns None, or in words why they are not."""
    reason = why_not()
    if reason is None or os.environ.get("STUDYLIB_PHOTOGRAPHS") or not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return reason
    if os.environ.get("STUDYLIB_OFFLINE") == "1":
        return f"{reason}; STUDYLIB_OFFLINE=1 forbids fetching them"
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=f"{PACKAGE}.") as scratch:
            return _brought(Path(scratch))
    except OSError as error:
        return f"{cache_folder()} cannot be written: {error.strerror or error}. Set STUDYLIB_CACHE to another folder"


def _brought(scratch: Path) -> str | None:
    """Fetch and unpack in ``scratch``; only the files that are used take their place, and all at once."""
    for command in (["apt-get", "download", PACKAGE], ["sh", "-c", 'dpkg-deb -x "$(ls ./*.deb)" unpacked']):
        try:
            done = subprocess.run(command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"`{' '.join(command)}` was not done within {_TIMEOUT_S} s"
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            return f"`{' '.join(command)}` failed: {last}"
    unpacked, kept = scratch / "unpacked" / _INSTALLED, scratch / PACKAGE
    for name in names("test") + names("train"):
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # of another version: `why_not` says so
            (unpacked / name).replace(kept / name)
    shutil.rmtree(_cached(), ignore_errors=True)
    kept.replace(_cached())
    return why_not()


def _cached() -> Path:
    return cache_folder() / PACKAGE


def folder() -> Path | None:
    """Where they are; a folder that is named counts alone."""
    if named := os.environ.get("STUDYLIB_PHOTOGRAPHS"):
        return Path(named)
    return next((found for found in (Path("/") / _INSTALLED, _cached()) if found.is_dir()), None)
