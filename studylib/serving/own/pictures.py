"""Encoded pictures as queries: read, and prepared as the model's card says."""

import io
import struct
from http import HTTPStatus

import numpy as np

from studylib.errors import ArtifactError
from studylib.models.own.card import Card
from studylib.models.own.pictures import Reader, layout_of
from studylib.runtimes.signature import Signature
from studylib.serving.requests import Request, RequestError

TYPES = ("image/jpeg", "image/png", "image/webp")
# A picture of a few bytes may unfold into gigabytes.
_MOST_PIXELS = 50_000_000


def decode_request(content: bytes, signature: Signature, card: Card) -> Request:
    """A query of one picture. Raises `RequestError` where it cannot be read, or the model takes no pictures."""
    tensors = [{"name": s.name, "dtype": s.dtype, "shape": [n or -1 for n in s.shape]} for s in signature.inputs]
    try:
        layout = layout_of(tensors, card, "body")
    except ArtifactError:
        words = "the model takes no picture: that has one input of rank 4 with 1, 3 or 4 channels"
        raise RequestError("content-type", words, "application/json", HTTPStatus.UNSUPPORTED_MEDIA_TYPE) from None
    (name,) = (spec.name for spec in signature.inputs)
    pixels = _pixels(content, Reader(None, layout, card.inputs.get(name)))
    return Request({name: layout.placed(pixels[None])}, columns=True)


def _pixels(content: bytes, reader: Reader) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"it has {image.width}x{image.height} pixels, and at most {_MOST_PIXELS:,} are read")
            return reader.prepared(image)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise RequestError("body", f"it cannot be read as a picture ({str(error)[:120]})", ", ".join(TYPES)) from None
