"""Every kind of Keras model in every form it is saved in, on its way to every target: the model's own answers, or words."""

import contextlib
import io
import logging

import numpy as np
import pytest

from studylib import stats
from studylib.artifacts import arrays
from studylib.artifacts.store import Store
from studylib.build.sources import Sources
from studylib.errors import ArtifactError
from studylib.models.own import OwnModel
from studylib.models.zoo import Samples
from studylib.quality.answers import stacked
from studylib.recipes import chain
from studylib.runtimes import RUNTIMES, Options
from tests.recipes import keras_models

TARGETS = {"saved_model": "tensorflow", "tflite": "litert", "onnx": "onnxruntime", "openvino": "openvino"}
FORMS = ("keras", "h5", "export", "save")
KINDS = (
    "sequential", "deferred", "functional", "several_inputs", "dictionary_inputs", "several_outputs", "inner_outputs", "inner_model",
    "recurrent", "open_axes", "hard", "subclassed",
)  # fmt: skip
LEAST_DB = 100
_OPERATIONS = r"no layer: '{}'.*A \.h5 file of Keras 3 does not hold such operations.*save the model as \.keras"
# Cells that are refused, and the words: (library, kind, form) to {target: words}, "" for the model itself.
REFUSED = {
    ("keras", "subclassed", "keras"): {"": r"the model needs (the class )?'Own'.* give a SavedModel instead, exported by model\.export"},
    ("keras", "subclassed", "h5"): {"": r"Unknown layer: 'Own'.*does not hold its code.*Give a SavedModel instead"},
    ("keras", "recurrent", "h5"): {"": _OPERATIONS.format("NotEqual")},
    ("keras", "hard", "h5"): {"": _OPERATIONS.format("Gelu")},
    ("keras", "dictionary_inputs", "export"): {"onnx": r"'zulu' names an input and an output, which ONNX forbids"},
}
CELLS = [
    *(("keras", kind, form) for kind in KINDS for form in FORMS),
    *(("tf_keras", kind, form) for kind in keras_models.BOTH for form in FORMS),
]  # fmt: skip
# What Keras itself does not write.
UNWRITTEN = {("keras", "inner_outputs", "export"), ("keras", "inner_outputs", "save")}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def models():
    """Each model is built once: what differs between its forms is what was saved."""
    import keras
    import tf_keras

    libraries, built = {"keras": keras, "tf_keras": tf_keras}, {}
    logging.getLogger("tensorflow").setLevel(logging.ERROR)

    def model(library: str, kind: str):
        if (library, kind) not in built:
            libraries[library].utils.set_random_seed(3)
            built[library, kind] = getattr(keras_models, kind)(libraries[library])
        return built[library, kind]

    return model


def saved(model, form: str, folder):
    import tensorflow as tf

    path = folder / {"keras": "model.keras", "h5": "model.h5"}.get(form, "model")
    with contextlib.redirect_stdout(io.StringIO()):
        if form == "export":
            model.export(str(path))
        elif form == "save":
            tf.saved_model.save(model, str(path))
        else:
            model.save(path)
    return path


def own_answers(model, samples: Samples) -> list[np.ndarray]:
    """What the model in memory answers to each sample alone; its inputs are told by their shapes."""
    import tensorflow as tf

    found = []
    for index in range(len(samples)):
        given = list(samples.batch(index, 1).values())
        wanted = getattr(model, "inputs", None) or [None]
        values = [next(one for one in given if tensor is None or _fits(one.shape, tensor.shape)) for tensor in wanted]
        named = [tensor.name for tensor in wanted] if len(wanted) > 1 and isinstance(getattr(model, "input", None), dict) else None
        asked = dict(zip(named, values, strict=True)) if named else values if len(values) > 1 else values[0]
        found.append([np.asarray(one) for one in tf.nest.flatten(model(asked))])
    return [np.stack(one) for one in zip(*found, strict=True)]


def _fits(shape, declared) -> bool:
    return all(size is None or size == given for size, given in zip(tuple(declared)[1:], shape[1:], strict=False)) and len(shape) == len(
        declared
    )


def worst_db(outputs: dict, wanted: list[np.ndarray]) -> float:
    """The SQNR of the worst output; outputs are told by their shapes."""
    assert len(outputs) == len(wanted)
    by_shape = {one.shape: one for one in wanted}
    assert len(by_shape) == len(wanted)
    return min(stats.sqnr_db(by_shape[values.shape].astype(float), values.astype(float)) for values in outputs.values())


def taken_in(path, store):
    sources = Sources(OwnModel(str(path), declared_task="other"), 1)
    source = sources.source(store)
    samples = Samples.load(sources.samples("test", 3, store).path)
    reference, _ = arrays.load(sources.reference(3, store).path)
    return source, samples, {name: np.asarray(values) for name, values in reference.items()}


def converted(source, target: str, store):
    for step in chain("fp32", target, source.format):
        source = step(source, store)
    return source


@pytest.mark.parametrize(
    ("library", "kind", "form"),
    [cell for cell in CELLS if cell not in UNWRITTEN],
    ids=[" ".join(cell) for cell in CELLS if cell not in UNWRITTEN],
)
def test_every_cell_is_the_models_own_answers_or_words(models, library, kind, form, tmp_path):
    model, store, refused = models(library, kind), Store(tmp_path / "store"), REFUSED.get((library, kind, form), {})
    path = saved(model, form, tmp_path)
    if "" in refused:
        with pytest.raises(ArtifactError, match=refused[""]):
            taken_in(path, store)
        return
    source, samples, reference = taken_in(path, store)
    wanted = own_answers(model, samples)
    assert worst_db(reference, wanted) >= LEAST_DB
    for target, runtime in TARGETS.items():
        if target in refused:
            with pytest.raises(ArtifactError, match=refused[target]):
                converted(source, target, store)
            continue
        session = RUNTIMES[runtime].load(converted(source, target, store).path, Options())
        found = worst_db(stacked(session.run, samples), wanted)
        assert found >= LEAST_DB, f"{target}: {found:.1f} dB"


def test_the_comparison_sees_a_wrong_value(models):
    model = models("keras", "sequential")
    samples = Samples({"features": np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)}, None, {"features": 0})
    wanted = own_answers(model, samples)
    assert worst_db({"output_0": wanted[0].copy()}, wanted) == np.inf
    turned = wanted[0].copy()
    turned[1, 0, 2] += 0.001
    assert worst_db({"output_0": turned}, wanted) < LEAST_DB


@pytest.mark.parametrize("form", ["export", "save"])
def test_what_keras_itself_does_not_write_is_no_cell(models, form, tmp_path):
    """When it does one day, the cell is to be tested."""
    with pytest.raises(ValueError, match="non-Tensor value"):
        saved(models("keras", "inner_outputs"), form, tmp_path)
