"""Pictures as a model's input: upright, in its channels, scaled to its range, resized; whatever was assumed is said."""

import contextlib
import struct
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from studylib.errors import ArtifactError
from studylib.models.own.axes import Ask
from studylib.models.own.card import Card, InputCard
from studylib.models.own.picture_folder import PictureFolder
from studylib.models.zoo import Samples

_DEFAULT_SIZE = 224
_MODES = {1: "grey", 3: "colours in the order RGB", 4: "colours in the order RGBA"}
_TYPES = ("uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_TURNED_TAG = 0x0112


@dataclass(frozen=True)
class Layout:
    """How a model takes a picture. ``first``: whether channels come before height and width. ``told``: whether anything said which."""

    height: int
    width: int
    channels: int
    first: bool
    dtype: np.dtype
    told: bool = True

    def placed(self, pixels: np.ndarray) -> np.ndarray:
        """Pictures (n, height, width, channels) as the model takes them."""
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if self.first else pixels).astype(self.dtype)

    @property
    def words(self) -> str:
        scaled = "" if self.dtype.kind == "f" else f", values 0 to 255 as {self.dtype}"
        return f"pictures are resized to {self.width}x{self.height} (width by height), {_MODES[self.channels]}{scaled}"


@dataclass
class Reader:
    """Reads pictures, of one folder where there is one, into one layout, and counts what had to be done to them."""

    folder: PictureFolder | None
    layout: Layout
    scaling: InputCard | None
    done: Counter = field(default_factory=Counter)

    def read(self, file) -> np.ndarray:
        """(height, width, channels), float32. Raises `ArtifactError` naming the file with its folder."""
        with _opened(self.folder, file) as image:
            return self.prepared(image)

    def prepared(self, image) -> np.ndarray:
        """An opened picture (``PIL.Image``) as the model takes it: (height, width, channels), float32."""
        pixels = self._pixels(self.upright(image))
        if self.scaling is None:
            return np.round(pixels)
        told = self.scaling
        return (pixels * np.float32(told.scale) - np.float32(told.mean)) / np.float32(told.std)

    def notes(self) -> list[str]:
        """What was done to how many pictures, in words."""
        return [f"pictures that {what}: {count}" for what, count in self.done.items() if count]

    # --- inside ------------------------------------------------------------------------------------------------------

    def upright(self, image):
        """Its first frame, turned as its EXIF data says."""
        from PIL import ImageOps

        if getattr(image, "n_frames", 1) > 1:
            self.done["are animated, of which the first frame is taken"] += 1
        if image.getexif().get(_TURNED_TAG, 1) in range(2, 9):
            self.done["were turned or mirrored as their EXIF data says"] += 1
            return ImageOps.exif_transpose(image)
        return image

    def _pixels(self, image) -> np.ndarray:
        """Values 0 to 255 in the layout's channels, at its size."""
        size = (self.layout.width, self.layout.height)
        if image.mode.startswith(("I;16", "I")):
            return self._deep(image, size)
        if image.mode == "F":
            raise ValueError("its values are floats of unknown range; save it with 8 or 16 bits")
        if image.mode == "CMYK":
            self.done["are CMYK, turned into RGB without a colour profile"] += 1
        return np.asarray(self.channelled(image).resize(size), np.float32).reshape(size[1], size[0], -1)

    def _deep(self, image, size) -> np.ndarray:
        from PIL import Image

        values = np.asarray(image).astype(np.float32)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its values have 32 bits and an unknown range; save it with 8 or 16 bits")
        self.done["have 16 bits, of which 65535 is read as 255"] += 1
        grey = np.asarray(Image.fromarray(values / np.float32(257)).resize(size), np.float32)
        grey = np.clip(grey, 0, 255)[..., None]
        opaque = [np.full_like(grey, 255)] if self.layout.channels == 4 else []
        return np.concatenate([grey] * min(self.layout.channels, 3) + opaque, axis=2)

    def channelled(self, image):
        """A picture of at most 8 bits in the layout's channels; what is transparent lies on white."""
        from PIL import Image

        see_through = image.has_transparency_data
        if self.layout.channels == 4:
            self.done["have no transparency, the fourth channel 255"] += 0 if see_through else 1
            return image.convert("RGBA")
        if see_through:
            self.done["are transparent, laid on white"] += 1
            whole = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
        if self.layout.channels == 3 and image.mode in ("1", "L", "LA"):
            self.done["are grey, the same value in each channel"] += 1
        if self.layout.channels == 1 and image.mode not in ("1", "L", "LA"):
            self.done["are coloured, turned into grey"] += 1
        return image.convert("L" if self.layout.channels == 1 else "RGB")


@contextlib.contextmanager
def _opened(folder: PictureFolder, file):
    """A picture; whatever is wrong with it while it is open becomes an `ArtifactError` that names it with its folder."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            yield image
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise ArtifactError(
            f"DATA {folder.path.name}: {folder.shown(file)} cannot be read as a picture: {error}. Replace it or take it away"
        ) from None


def require_whole(folder: PictureFolder, files: list) -> None:
    """Raise `ArtifactError` naming the first of ``files`` that is cut off or is no picture."""
    for file in files:
        with _opened(folder, file) as image:
            image.load()


def layout_of(tensors: list[dict], card: Card, path_name: str) -> Layout:
    """How the model's only input takes pictures. Raises `ArtifactError` where it takes something else."""
    if len(tensors) != 1 or len(tensors[0]["shape"]) != 4:
        raise ArtifactError(f"DATA {path_name} holds pictures; a model with one input of rank 4 takes those. Give a .npz file")
    (tensor,) = tensors
    name, dtype = tensor["name"], np.dtype(tensor["dtype"])
    if dtype.kind != "f" and dtype.name not in _TYPES:
        raise ArtifactError(f"the input '{name}' takes {dtype}, which cannot hold the values of pictures. Give a .npz file")
    told = card.inputs.get(name, InputCard())
    shape = list(told.shape) if told.shape else tensor["shape"][1:]
    if len(shape) != 3:
        raise ArtifactError(f"the card's shape {shape} of '{name}' is no picture: give height, width and channels, in the model's order")
    first, known = _channels_first(shape)
    channels, height, width = shape if first else (shape[2], shape[0], shape[1])
    if known and channels not in _MODES:
        raise ArtifactError(
            f"the input '{name}' takes {channels} channels (shape {shape}); pictures give 1 (grey), 3 (RGB) or 4 (RGB and alpha). "
            "Give a .npz file"
        )
    return Layout(height or _DEFAULT_SIZE, width or _DEFAULT_SIZE, channels or 3, first, dtype, known)


def picture_samples(folder: PictureFolder, files: list, tensor: dict, card: Card, axis: int | None, layout: Layout, labels) -> tuple:
    """(samples, what was done to the pictures, what decides an accuracy), of the pictures ``files``."""
    told = card.inputs.get(tensor["name"], InputCard())
    scaled = layout.dtype.kind == "f"
    if scaled and not {len(told.mean), len(told.std)} <= {1, layout.channels}:
        raise ArtifactError(
            f"the card's mean and std of '{tensor['name']}' have to hold 1 or {layout.channels} numbers, one for each channel"
        )
    reader = Reader(folder, layout, told if scaled else None)
    pixels = np.stack([reader.read(file) for file in files])
    values = layout.placed(pixels)
    samples = Samples({tensor["name"]: values if axis is not None else values[:, None]}, labels, {tensor["name"]: axis})
    return samples, reader.notes(), [layout.words, *([_scaling(told)] if scaled else [])]


def turned_layout(layout: Layout, make, ask: Ask) -> tuple[Layout, list[str]]:
    """Of a model that leaves all axes open, the order of axes that it answers; ``make(layout)`` gives samples. Says what was found."""
    if layout.told:
        return layout, []
    other = Layout(layout.height, layout.width, layout.channels, not layout.first, layout.dtype, False)
    answered = [one for one in (layout, other) if ask(make(one).batch(0, 1))[0] is not None]
    if len(answered) != 1:
        raise ArtifactError(
            f"the file does not say in which order the axes of a picture lie, and the model answers {'both' if answered else 'neither'}; "
            "give the input's `shape` in a card beside the model"
        )
    order = "channels, height, width" if answered[0].first else "height, width, channels"
    return answered[0], [f"the axes of a picture are {order}: the model refuses the other order"]


def _channels_first(shape: list) -> tuple[bool, bool]:
    """(whether the channels come first, whether the shape says so)."""
    first, last = shape[0] in _MODES, shape[2] in _MODES
    if first and last:  # a tiny picture: the two sizes that are alike are its sides
        return (shape[1] == shape[2] or shape[0] != shape[1]), True
    if first or last:
        return first, True
    if None not in shape or (shape[0] is not None) != (shape[2] is not None):
        # A number of channels that pictures cannot give: the smaller end.
        return (shape[0] or 2**30) < (shape[2] or 2**30), True
    return False, False


def _scaling(told: InputCard) -> str:
    said = {"scale", "mean", "std"} & told.model_fields_set
    factor = "1/255" if told.scale == 1 / 255 else f"{told.scale:.4g}"
    values = f"values 0 to 255 are multiplied by {factor}, mean {_numbers(told.mean)}, std {_numbers(told.std)}"
    return f"{values}, as the card says" if said else f"{values}, which nothing said; `scale`, `mean`, `std` in a card can say otherwise"


def _numbers(values: tuple) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
