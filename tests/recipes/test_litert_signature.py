"""Files of other makers, written once more: what is taken, that it answers as before, and what cannot be written again."""

import numpy as np
import pytest

from studylib.errors import ArtifactError
from studylib.formats.litert_names import ask, ends, plain_names, signature
from studylib.formats.litert_signature import signed, words
from tests import litert_models


def opened(content: bytes):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content)


def names(content: bytes) -> list[list[str]]:
    return [list(side) for side in ends(opened(content))]


def test_a_file_with_one_signature_stays_byte_for_byte():
    assert signed(litert_models.signed(), "m.tflite") == (litert_models.signed(), "")


def test_an_unsigned_file_gets_a_signature_and_answers_as_its_twin_does():
    written, told = signed(litert_models.unsigned(), "m.tflite")
    assert told == "the file has no signature: its inputs and outputs are called as their tensors are"
    assert signature(opened(written)) == "serving_default" and names(written)[0] == ["image"]
    query = {"image": litert_models.images(1)}
    (twin,), (answer,) = (ask(opened(content), query).values() for content in (litert_models.signed(), written))
    assert twin.tobytes() == answer.tobytes()


def test_it_is_asked_by_the_same_names_before_it_is_written_again():
    assert names(litert_models.unsigned()) == names(signed(litert_models.unsigned(), "m.tflite")[0])


def test_old_numbers_of_operators_are_written_as_today():
    from ai_edge_litert import schema_py_generated as schema

    written, told = signed(litert_models.old(), "m.tflite")
    assert "its operators are numbered as files before 2020 did, which quantizers misread" in told
    codes = schema.ModelT.InitFromPackedBuf(written).operatorCodes
    assert all(code.builtinCode >= code.deprecatedBuiltinCode for code in codes) and any(code.builtinCode for code in codes)


@pytest.mark.parametrize(("wanted", "inputs", "output"), [(None, ["z"], "code"), ("infer", ["x"], "scores"), ("encode", ["z"], "code")])
def test_of_several_signatures_the_first_graphs_is_taken_or_the_cards(wanted, inputs, output):
    content = litert_models.several("infer", "encode")
    written, told = signed(content, "m.tflite", wanted)
    assert names(written) == [inputs, [output]]
    assert len(written) < len(content)  # the other graph and its weights are gone
    other = "encode" if wanted == "infer" else "infer"
    why = "as the card says" if wanted else "its graph stands first"
    assert told == words(content, "m.tflite", wanted)
    assert f"was taken ({why}), in a copy without the others, which are '{other}'; `signature:` in the card chooses" in told
    query = {inputs[0]: np.linspace(-1, 1, 8, dtype=np.float32)[None]}
    before = opened(content).get_signature_runner(wanted or "encode")(**query)
    assert before[output].tobytes() == ask(opened(written), query)[output].tobytes()


def test_the_first_graph_counts_and_not_the_alphabet():
    content = litert_models.several("infer", "train")
    assert names(content) == names(signed(content, "m.tflite")[0]) == [["x"], ["scores"]]

    def swap(model) -> None:
        model.signatureDefs.reverse()
        model.signatureDefs[0].signatureKey = b"a_train"

    assert names(signed(litert_models.changed(content, swap), "m.tflite")[0]) == [["x"], ["scores"]]


def test_graphs_that_the_chosen_one_calls_come_along():
    content = litert_models.several("encode", "loop")
    written, _ = signed(content, "m.tflite", "loop")
    query = {"x": np.linspace(-1, 1, 8, dtype=np.float32)[None]}
    wanted = opened(content).get_signature_runner("loop")(**query)["last"]
    assert ask(opened(written), query)["last"].tobytes() == wanted.tobytes()
    initialised, _ = signed(litert_models.several("infer", "train"), "m.tflite", "train")
    trained = ask(opened(initialised), query | {"y": np.ones((1, 3), np.float32)})
    assert np.isfinite(trained["loss"])


def test_weights_behind_the_end_come_into_the_file():
    content = litert_models.unsigned()
    moved = {}

    def outwards(model) -> None:
        index = max(range(len(model.buffers)), key=lambda place: 0 if model.buffers[place].data is None else len(model.buffers[place].data))
        moved.update(index=index, data=model.buffers[index].data)
        model.buffers[index].data = None
        model.buffers[index].offset, model.buffers[index].size = 2, len(moved["data"])

    length = len(litert_models.changed(content, outwards))

    def placed(model) -> None:
        outwards(model)
        model.buffers[moved["index"]].offset = length

    apart = litert_models.changed(content, placed)
    assert len(apart) == length
    written, _ = signed(apart + bytes(moved["data"]), "m.tflite")
    query = {"image": litert_models.images(1)}
    (wanted,), (found,) = (ask(opened(file), query).values() for file in (content, written))
    assert wanted.tobytes() == found.tobytes()


def test_what_cannot_be_taken_or_written_is_refused_in_words(monkeypatch):
    from studylib.formats import litert_signature

    message = r"the card asks for the signature 'nope' of two\.tflite; the file has the signatures encode, infer"
    with pytest.raises(ArtifactError, match=message):
        signed(litert_models.several("infer", "encode"), "two.tflite", "nope")
    with pytest.raises(ArtifactError, match=r"the signature 'nope' of u\.tflite; the file has no signature"):
        signed(litert_models.unsigned(), "u.tflite", "nope")
    monkeypatch.setattr(litert_signature, "_MOST_BYTES", 1000)
    with pytest.raises(ArtifactError, match=r"u\.tflite has .* GB and not exactly one signature; above 2 GB .* export it again with one"):
        signed(litert_models.unsigned(), "u.tflite")


def test_a_copy_that_answers_otherwise_is_caught(monkeypatch):
    from studylib.formats import litert_signature

    def spoil(model) -> None:
        largest = max((buffer for buffer in model.buffers if buffer.data is not None), key=lambda buffer: len(buffer.data))
        largest.data = largest.data[::-1].copy()

    right = litert_signature._written
    monkeypatch.setattr(litert_signature, "_written", lambda model, content: litert_models.changed(right(model, content), spoil))
    with pytest.raises(ArtifactError, match=r"u\.tflite was written again with one signature and answers otherwise \(output "):
        signed(litert_models.unsigned(), "u.tflite")


@pytest.mark.parametrize(
    ("tensors", "wanted"),
    [
        (["serving_default_image:0"], ["image"]),
        (["input"], ["input"]),
        (["x:0", "x:1"], ["x:0", "x:1"]),
        (["", "a", "a"], ["tensor_0", "a", "a_2"]),
    ],
)
def test_names_of_tensors_are_short_and_never_twice(tensors, wanted):
    assert plain_names(tensors) == wanted
