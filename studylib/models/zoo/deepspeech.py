"""DeepSpeech, with random weights: speech features to characters, whole windows or a stream with its state outside."""

import numpy as np

from studylib.models.zoo.base import Model, Samples
from studylib.models.zoo.normalisation import set_unit_variance, spread_logits

_COEFFICIENTS, _CONTEXT = 26, 19  # MFCC per frame; frames around and including the one that is judged
_STEP_S = 0.02  # from one frame to the next, as Mozilla published it
_CHARACTERS = 29  # a to z, space, apostrophe, blank
_CLIP = 20.0
_MEMORY = 0.9  # how much of a coefficient the next frame keeps
_STATES = {"state_h": 0.3, "state_c": 0.8}  # standard deviations as seen in running streams
_NORMALISED_ON = 16
_DENSE = ("dense_1", "dense_2", "dense_3")


class DeepSpeech(Model):
    """A window of frames, each 26 coefficients of 19 frames, to 29 character logits per frame.

    Source: Hannun et al. 2014 as Mozilla published it: three dense layers with ReLU clipped at 20, one LSTM, one dense layer.
    Weights: He's start, scaled by data so that every layer works. Samples: synthetic coefficients, standardised and smooth in
    time; they carry agreement with the float model and no accuracy.
    """

    task = "speech_recognition"
    weights = "random"
    data = "synthetic"
    packages = ("keras", "tensorflow", "numpy")
    test_samples = 64

    def __init__(self, name: str, units: int, frames: int = 64):
        self.name, self.units, self.frames = name, units, frames
        self.inputs = {"features": (frames, _COEFFICIENTS * _CONTEXT)}

    def build(self, seed: int):
        import keras

        keras.utils.set_random_seed(seed)
        features = keras.Input(self.inputs["features"], name="features")
        frames = keras.layers.LSTM(self.units, return_sequences=True, name="lstm")(_before(features, self.units))
        model = keras.Model(features, _after(frames, self.units), name=self.name)
        speech = self.samples("train", _NORMALISED_ON, seed).inputs
        set_unit_variance(model, speech, [*_DENSE, "dense_5"])
        spread_logits(model, speech, "logits")
        return model

    def samples(self, split: str, n: int, seed: int) -> Samples:
        return Samples({"features": _speech(_generator(split, seed), n, self.frames)}, labels=None)


class DeepSpeechStreaming(Model):
    """The network of `DeepSpeech`, 16 frames a query: the LSTM's state comes in and goes out with every query.

    ``new_state_h`` and ``new_state_c`` are the next query's ``state_h`` and ``state_c``, zero for the first. Weights: those of
    `DeepSpeech` with as many units and the same seed. Samples: synthetic frames with random states as wide as a stream's, not those of one.
    """

    task = "speech_recognition"
    weights = "random"
    data = "synthetic"
    packages = ("keras", "tensorflow", "numpy")
    test_samples = 64

    def __init__(self, name: str, units: int, frames: int = 16):
        self.name, self.units, self.frames = name, units, frames
        self.stream = {"states": {f"new_{name}": name for name in _STATES}, "chunk_s": frames * _STEP_S}
        self.inputs = {"features": (frames, _COEFFICIENTS * _CONTEXT), **dict.fromkeys(_STATES, (units,))}

    def build(self, seed: int):
        import keras

        inputs = {name: keras.Input(shape, name=name) for name, shape in self.inputs.items()}
        # Few frames, so unrolled: plain operators that every runtime has, and no loop to enter.
        lstm = keras.layers.LSTM(self.units, return_sequences=True, return_state=True, unroll=True, name="lstm")
        frames, state_h, state_c = lstm(_before(inputs["features"], self.units), initial_state=[inputs["state_h"], inputs["state_c"]])
        outputs = {"logits": _after(frames, self.units)}
        outputs |= {name: keras.layers.Identity(name=name)(of) for name, of in (("new_state_h", state_h), ("new_state_c", state_c))}
        model = keras.Model(list(inputs.values()), outputs, name=self.name)
        model.set_weights(DeepSpeech("deepspeech", self.units).build(seed).get_weights())
        return model

    def samples(self, split: str, n: int, seed: int) -> Samples:
        rng = _generator(split, seed)
        states = {name: rng.normal(0, deviation, (n, self.units)).astype(np.float32) for name, deviation in _STATES.items()}
        return Samples({"features": _speech(rng, n, self.frames), **states}, labels=None)


def _before(features, units: int):
    """The three dense layers, frame by frame."""
    for name in _DENSE:
        features = _clipped(features, units, name)
    return features


def _after(frames, units: int):
    from keras import layers

    return layers.Dense(_CHARACTERS, kernel_initializer="he_normal", name="logits")(_clipped(frames, units, "dense_5"))


def _clipped(x, units: int, name: str):
    from keras import layers

    return layers.ReLU(_CLIP, name=f"{name}_clipped")(layers.Dense(units, kernel_initializer="he_normal", name=name)(x))


def _generator(split: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, ("train", "test").index(split)])


def _speech(rng: np.random.Generator, n: int, frames: int) -> np.ndarray:
    """Coefficients with mean 0 and variance 1 that follow a first-order autoregression, each frame with its context.

    Returns float32, shape (n, frames, 26 * 19).
    """
    noise = rng.standard_normal((n, frames + _CONTEXT - 1, _COEFFICIENTS), np.float32)
    for index in range(1, noise.shape[1]):
        noise[:, index] = _MEMORY * noise[:, index - 1] + np.sqrt(1 - _MEMORY**2) * noise[:, index]
    windows = np.lib.stride_tricks.sliding_window_view(noise, _CONTEXT, axis=1)  # (n, frames, coefficient, context)
    return windows.swapaxes(2, 3).reshape(n, frames, -1).astype(np.float32)
