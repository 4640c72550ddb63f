"""LiteRT files at the door: signatures by the card, operators that are not here, files with a state, whole-number inputs."""

import numpy as np
import pytest

from studylib.artifacts.store import Store
from studylib.build.sources import Sources
from studylib.errors import ArtifactError
from studylib.models.own import OwnModel
from studylib.models.zoo import Samples
from studylib.runtimes import RUNTIMES, Options
from tests import litert_models


def model(content: bytes, folder, card: str = "", **more) -> OwnModel:
    path = litert_models.saved(content, folder, "m")
    if card:
        path.with_name("m.tflite.yaml").write_text(card)
    return OwnModel(str(path), **more)


def source(content: bytes, folder, card: str = "", **more):
    return Sources(model(content, folder, card, **more), 0).source(Store(folder / "store"))


def taken(artifact) -> list[str]:
    return artifact.lineage[-1].get("notes", {}).get("at the door", [])


def test_the_card_chooses_the_signature_and_the_remarks_tell_it(tmp_path):
    content = litert_models.several("infer", "encode")
    chosen = source(content, tmp_path, "signature: infer")
    assert "'infer' was taken (as the card says), in a copy without the others, which are 'encode'" in taken(chosen)[0]
    assert list(RUNTIMES["litert"].open(chosen.path, Options()).run({"x": np.ones((1, 8), np.float32)})) == ["scores"]
    (tmp_path / "other").mkdir()
    first = source(content, tmp_path / "other")
    assert "'encode' was taken (its graph stands first)" in taken(first)[0]
    assert first.key != chosen.key


def test_nothing_is_remarked_of_a_plain_file(tmp_path):
    artifact = source(litert_models.signed(), tmp_path)
    assert taken(artifact) == [] and artifact.path.read_bytes() == litert_models.signed()
    assert (artifact.precision, artifact.is_float) == ("fp32", True)


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        ("FlexErf", r"m\.tflite does not run in LiteRT's interpreter: FlexErf: needs the Select TF runtime, which no Python interpreter"),
        ("TransformLandmarks", r"TransformLandmarks is a custom operator: MediaPipe's own runtime brings it"),
        ("TheirOwn", r"TheirOwn is a custom operator: the interpreter opens this file only where a kernel of that name is registered"),
    ],
)
def test_operators_that_are_not_here_are_named_with_what_brings_them(tmp_path, operator, message):
    with pytest.raises(ArtifactError, match=message):
        source(litert_models.with_operator(operator), tmp_path)


def test_a_file_with_a_state_is_asked_anew_for_each_sample_and_told(tmp_path):
    artifact = source(litert_models.remembering(), tmp_path)
    assert taken(artifact)[0].startswith("the file keeps a state from query to query: each sample is judged from the state")
    session, query = RUNTIMES["litert"].open(artifact.path, Options()), {"x": np.ones((1, 4), np.float32)}
    going_on = [float(session.run(query)["y"][0, 0]) for _ in range(3)]
    assert going_on == [2.0, 2.5, 2.75]
    assert [float(session.anew(query)["y"][0, 0]) for _ in range(3)] == [2.0, 2.0, 2.0]


def samples_of(own: OwnModel, folder, n: int = 20):
    store = Store(folder / "store")
    artifact = Sources(own, 0).samples("test", n, store)
    return Samples.load(artifact.path), artifact.lineage[-1].get("notes", {})


def test_invented_whole_numbers_fill_the_range_of_the_type(tmp_path):
    found, notes = samples_of(model(litert_models.quantized("uint8"), tmp_path), tmp_path)
    image = found.inputs["image"]
    assert image.dtype == np.uint8 and image.min() < 10 and image.max() > 245
    assert "'image': real numbers from" in notes["assumed"][0] and "stored as uint8 by the file's own scale" in notes["assumed"][0]


def test_real_data_is_put_on_the_files_grid_and_whole_numbers_are_taken_as_they_are(tmp_path):
    real, content = litert_models.images(30), litert_models.quantized("int8")
    np.savez(tmp_path / "real.npz", image=real)
    whole, _ = samples_of(model(content, tmp_path, data_path=str(tmp_path / "real.npz")), tmp_path, 24)
    from studylib.formats.inside.grids import grids

    grid = grids(tmp_path / "m.tflite", "tflite")["inputs"]["image"]
    given = np.random.default_rng(0).permutation(30)[6:]
    assert whole.inputs["image"].dtype == np.int8 and np.array_equal(whole.inputs["image"], grid.whole(real[given]))
    np.savez(tmp_path / "whole.npz", image=grid.whole(real))
    again, _ = samples_of(model(content, tmp_path, data_path=str(tmp_path / "whole.npz")), tmp_path, 24)
    assert np.array_equal(again.inputs["image"], whole.inputs["image"])


def test_data_that_was_scaled_for_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "pixels.npz", image=np.random.default_rng(0).uniform(0, 255, (30, 8, 8, 3)).astype(np.float32))
    own = model(litert_models.quantized("int8"), tmp_path, data_path=str(tmp_path / "pixels.npz"))
    with pytest.raises(
        ArtifactError, match=r"DATA for 'image' goes from .* and the file's int8 input holds real numbers from .* lie outside"
    ):
        samples_of(own, tmp_path)
