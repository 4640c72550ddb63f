"""Real photographs that come inside Python packages, and seeded crops of them."""

from pathlib import Path

import numpy as np

# name: (package, split). Calibration (train) and evaluation (test) see different scenes; the motorcycle is a stereo pair.
PHOTOGRAPHS = {
    "astronaut.png": ("skimage", "test"),
    "chelsea.png": ("skimage", "test"),
    "coffee.png": ("skimage", "test"),
    "rocket.jpg": ("skimage", "test"),
    "grace_hopper.jpg": ("matplotlib", "test"),
    "flower.jpg": ("sklearn", "test"),
    "camera.png": ("skimage", "test"),
    "clock_motion.png": ("skimage", "test"),
    "china.jpg": ("sklearn", "train"),
    "motorcycle_left.png": ("skimage", "train"),
    "motorcycle_right.png": ("skimage", "train"),
    "coins.png": ("skimage", "train"),
    "grass.png": ("skimage", "train"),
    "gravel.png": ("skimage", "train"),
    "brick.png": ("skimage", "train"),
    "hubble_deep_field.jpg": ("skimage", "train"),
    "retina.jpg": ("skimage", "train"),
}
_FOLDERS = {"skimage": "data", "sklearn": "datasets/images", "matplotlib": "mpl-data/sample_data"}


def load_photograph(name: str):
    """The photograph as a PIL image, RGB."""
    import importlib.util

    from PIL import Image

    package = PHOTOGRAPHS[name][0]
    folder = Path(importlib.util.find_spec(package).origin).parent / _FOLDERS[package]
    return Image.open(folder / name).convert("RGB")


def seeded_crops(names: list[str], n: int, seed: int, side: int = 224) -> np.ndarray:
    """``n`` square crops, taken from the photographs in turn, 35 to 100 % of the short side, half of them mirrored.

    Returns uint8, shape (n, side, side, 3).
    """
    rng = np.random.default_rng(seed)
    images = [load_photograph(name) for name in names]
    crops = np.empty((n, side, side, 3), np.uint8)
    for index in range(n):
        image = images[index % len(images)]
        extent = int(min(image.size) * rng.uniform(0.35, 1.0))
        left, top = rng.integers(0, image.width - extent + 1), rng.integers(0, image.height - extent + 1)
        pixels = np.asarray(image.resize((side, side), box=(left, top, left + extent, top + extent)))
        crops[index] = pixels[:, ::-1] if rng.random() < 0.5 else pixels
    return crops
