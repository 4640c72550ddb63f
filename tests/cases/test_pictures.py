"""What becomes of photographs as people have them, and of what is none."""

import io

import numpy as np
import pytest
from PIL import Image

from studylib.cases.image.pictures import SIDE, PictureError, best, decode, squared
from studylib.models.zoo import MODELS

EFFICIENTNET = MODELS["efficientnet_lite0"]


def _bytes(image, kind: str = "PNG", **options) -> bytes:
    found = io.BytesIO()
    image.save(found, kind, **options)
    return found.getvalue()


def _halves(width: int = 40, height: int = 20, mode: str = "RGB"):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P"])
def test_whatever_the_mode_it_is_rgb(mode):
    image = decode(_bytes(_halves(mode=mode), "TIFF" if mode == "CMYK" else "PNG"))
    assert image.mode == "RGB"
    left, right = image.getpixel((3, 3)), image.getpixel((36, 3))
    assert left[0] > 200 > 60 > left[2] and right[2] > 200 > 60 > right[0]


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_a_grey_one_has_the_same_value_in_each_channel(mode):
    grey = Image.fromarray(np.full((9, 9), 128 * 257, np.uint16)) if mode == "I;16" else Image.new("L", (9, 9), 255).convert(mode)
    pixels = np.asarray(decode(_bytes(grey)))
    assert pixels.shape == (9, 9, 3)
    assert set(pixels.flat) == {128 if mode == "I;16" else 255}


def test_what_is_transparent_lies_on_white():
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert decode(_bytes(image)).getpixel((2, 2)) == (255, 255, 255)


def test_it_is_turned_as_its_camera_says():
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera stood on its side
    image = decode(_bytes(_halves(), "JPEG", exif=turned, quality=95))
    assert image.size == (20, 40)
    assert image.getpixel((10, 3))[0] > 200 and image.getpixel((10, 36))[2] > 200


def test_of_an_animated_one_the_first_frame_counts():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    image = decode(_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert image.getpixel((1, 1)) == (255, 0, 0) or image.getpixel((1, 1))[0] > 250


def test_one_pixel_is_a_picture():
    pixels = squared(decode(_bytes(Image.new("RGB", (1, 1), "red"))))
    assert pixels.shape == (SIDE, SIDE, 3) and (pixels == (255, 0, 0)).all()


def test_one_that_is_very_long_and_small_in_all_is_read():
    assert squared(decode(_bytes(Image.new("L", (20_000, 3))))).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is no picture of a kind that is known here"),
        (b"this is no picture", "it is no picture of a kind that is known here"),
        (_bytes(_halves(400, 300), "JPEG")[:-600], "it cannot be read as a picture: image file is truncated"),
        (_bytes(_halves(400, 300))[:-200], "it cannot be read as a picture: "),
        (_bytes(Image.new("1", (8_000, 8_000))), r"it has 8000x8000 pixels, and at most 50,000,000 are read; make it smaller"),
        (_bytes(Image.new("1", (20_000, 20_000))), r"it cannot be read as a picture: Image size \(400000000 pixels\) exceeds limit"),
        (_bytes(Image.new("F", (4, 4)), "TIFF"), "it cannot be read as a picture: its values are floats"),
    ],
    ids=["empty", "text", "cut JPEG", "cut PNG", "8,000 pixels a side", "20,000 pixels a side", "floats"],
)
def test_what_cannot_be_used_is_refused_in_words(content, words):
    with pytest.raises(PictureError, match=f"^{words}"):
        decode(content)


def test_the_whole_picture_lies_in_the_middle_of_a_white_square():
    pixels = squared(_halves(400, 200))
    rows = np.flatnonzero((pixels != 255).any((1, 2)))
    assert (rows[0], rows[-1]) == (56, 167)
    assert tuple(pixels[112, 20]) == (255, 0, 0) and tuple(pixels[112, 200]) == (0, 0, 255)


def test_a_jpeg_at_its_own_smallest_scale_shows_the_same():
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    content = _bytes(Image.fromarray(noise).resize((1600, 1200)), "JPEG", quality=95)
    whole, small = decode(content), decode(content, small=True)
    assert whole.size == (1600, 1200) and small.size == (400, 300)
    difference = np.abs(squared(whole).astype(int) - squared(small))
    assert difference.mean() < 2


def test_values_are_those_that_the_network_was_trained_on():
    """Against the authors' own words: pixels less 127, over 128, in the order RGB."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    np.testing.assert_allclose(EFFICIENTNET.preprocess(pixels), (pixels / 1.0 - 127.0) / 128.0, atol=1e-6)


def test_the_best_five_come_first_and_equal_ones_by_their_number():
    scores = np.array([0.1, 0.3, 0.3, 0.05, 0.2, 0.04, 0.01])
    assert [number for number, _ in best(scores)] == [1, 2, 4, 0, 3]
