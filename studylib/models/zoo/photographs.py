"""Real photographs: seeded crops of those inside Python packages, and labelled ones where they are here; models that see them."""

from abc import abstractmethod
from pathlib import Path

import numpy as np

from studylib.models.zoo import labelled_photographs as labelled
from studylib.models.zoo.base import Model, Samples

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


class SeesPhotographs(Model):
    """A network that sorts photographs, 224x224 RGB, into the 1000 classes of ImageNet.

    Trained weights are evaluated on views of labelled photographs where these are here (`labelled_photographs`); calibration and training
    then take views of others of them and crops by halves. Otherwise all samples are crops, which nobody labelled: they carry agreement
    with the float model and no accuracy. Many samples of few photographs are not independent.
    """

    task = "classification"
    inputs = {"image": (224, 224, 3)}
    independent_samples = False

    @abstractmethod
    def preprocess(self, pixels: np.ndarray) -> np.ndarray:
        """RGB bytes, last axis the channels, to what the weights were trained on, float32."""

    def data_facts(self) -> dict:
        return {"photographs": labelled.digest()} if self.weights == "trained" and not labelled.why_not() else {}

    def samples(self, split: str, n: int, seed: int) -> Samples:
        return self.described_samples(split, n, seed, None, None)[0]

    def described_samples(self, split, n, seed, source, ask) -> tuple[Samples, dict]:
        if self.weights != "trained":
            return self.crops(split, n, seed), {}
        if why_not := labelled.why_not():
            return self.crops(split, n, seed), {"assumed": [f"its photographs have no labels: {why_not}"]} if split == "test" else {}
        if split == "test":
            pixels, shown = labelled.views(split, n, seed)
            told = f"{len(shown)} views of {len(set(shown.tolist()))} labelled photographs, cut out and laid on white (Tux Paint's stamps)"
            return Samples({"image": self.preprocess(pixels)}, labelled.classes()[shown]), {"accuracy": [told]}
        views, _ = labelled.views(split, n // 2, seed)
        crops = self.crops(split, n - len(views), seed).inputs["image"]
        mixed = np.concatenate([crops, self.preprocess(views)])[np.random.default_rng(seed).permutation(n)]
        return Samples({"image": mixed}, None), {}

    def crops(self, split: str, n: int, seed: int) -> Samples:
        """Seeded crops of the photographs inside packages."""
        sources = [name for name, (_, part) in PHOTOGRAPHS.items() if part == split]
        return Samples({"image": self.preprocess(seeded_crops(sources, n, seed))}, None)


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
