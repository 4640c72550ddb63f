"""A photograph from its bytes to what the network takes, and from its scores to names: each stage a function."""

import io
import struct

import numpy as np

from studylib.errors import StudyError
from studylib.models.own.pictures import Layout, Reader

SIDE = 224
# A file of a few bytes may unfold into gigabytes.
MOST_PIXELS = 50_000_000
_LAYOUT = Layout(SIDE, SIDE, 3, False, np.dtype(np.float32))


class PictureError(StudyError):
    """A picture that cannot be used, in words."""


def decode(content: bytes, small: bool = False):
    """The picture in a file's bytes, upright, RGB, as ``PIL.Image``; of several the first, what is transparent on white.

    ``small``: a JPEG is decoded at the smallest of its own scales (1, 1/2, 1/4, 1/8) that still has ``SIDE`` pixels along both sides.
    Raises `PictureError` for what is no picture, is cut off, or is larger than ``MOST_PIXELS``.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MOST_PIXELS:
                words = f"it has {image.width}x{image.height} pixels, and at most {MOST_PIXELS:,} are read; make it smaller"
                raise PictureError(words)
            if small:
                image.draft("RGB", (SIDE, SIDE))
            reader = Reader(None, _LAYOUT, None)
            return reader.channelled(_of_8_bits(reader.upright(image)))
    except UnidentifiedImageError:  # its own words tell an address in memory
        raise PictureError("it is no picture of a kind that is known here (JPEG, PNG, WebP, GIF, BMP, TIFF and more)") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise PictureError(f"it cannot be read as a picture: {str(error)[:120]}") from None


def _of_8_bits(image):
    """The same with 8 bits a channel, of 16: 65535 is read as 255."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its values are floats of unknown range; save it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its values have 32 bits and an unknown range; save it with 8 or 16 bits")
    return Image.fromarray((values // 257).astype(np.uint8))


def squared(image) -> np.ndarray:
    """The whole picture within a white square, uint8, shape (SIDE, SIDE, 3): its shape is kept, as product photographs are laid out."""
    from PIL import Image

    scale = SIDE / max(image.size)
    inner = image.resize([max(1, round(length * scale)) for length in image.size])
    square = Image.new("RGB", (SIDE, SIDE), "white")
    square.paste(inner, ((SIDE - inner.width) // 2, (SIDE - inner.height) // 2))
    return np.asarray(square)


def best(scores: np.ndarray, count: int = 5) -> list[tuple[int, float]]:
    """The ``count`` highest of one picture's scores, shape (classes,): class and score, the highest first."""
    order = np.argsort(-scores, kind="stable")[:count]
    return [(int(number), float(scores[number])) for number in order]
