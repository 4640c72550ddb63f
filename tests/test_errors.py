import pytest

from studylib.errors import RefusedError, UnknownNameError, lookup, suggestion, told


def test_unknown_name_says_what_is_known_and_what_is_near():
    with pytest.raises(UnknownNameError) as caught:
        lookup({"static_wi8_ai8": 1, "fp16": 2}, "recipe", "static_w8a8")
    assert str(caught.value) == "Unknown recipe 'static_w8a8'. Known: fp16, static_wi8_ai8. Did you mean 'static_wi8_ai8'?"
    assert caught.value.exit_status == 2


def test_nothing_is_suggested_when_nothing_is_near():
    assert suggestion("zzz", ["fp16", "fp32"]) == ""


def test_known_name_is_found():
    assert lookup({"a": 1}, "thing", "a") == 1


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model from /tmp/x/m.onnx failed:/onnxruntime_src/onnxruntime/core/graph/model.cc:181 "
            "onnxruntime::Model::Model(...) Unsupported model IR version: 14, max supported IR version: 13",
            "the file is of ONNX IR version 14, and this runtime reads up to 13; save it with an older onnx, or with a lower ir_version",
        ),
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x for the following indices\n"
            " index: 0 Got: 4 Expected: 1\n Please fix either the inputs/outputs or the model.",
            "the file takes 'x' with 1 on axis 0, and 4 was given; export it with that axis dynamic",
        ),
        (
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Round(11) node with name 'r1'",
            "ONNX Runtime has no kernel for the operator Round (opset 11) with the types of node 'r1'; another runtime may have one",
        ),
        (
            "Encountered unresolved custom op: Landmarks.\nSee instructions: https://x Node number 3 (Landmarks) failed to prepare.",
            "the file holds the custom operator Landmarks, and LiteRT's interpreter runs it only where a library registers it; "
            "use the runtime of its maker, or convert the model with built-in operators only",
        ),
        ("std::bad_alloc", "out of memory: std::bad_alloc"),
    ],
)
def test_known_words_of_libraries_are_translated(said, words):
    assert told(RuntimeError(said), "evaluating") == words


def test_unknown_words_of_libraries_are_one_line_with_their_stage_and_no_path():
    said = "/build/library/graph.cc:12: axis 2\n  is out of range in /tmp/work-1/model.onnx"
    assert told(ValueError(said), "converting") == "converting: axis 2 is out of range in model.onnx (ValueError)"
    assert told(KeyError(), "converting") == "converting: no message (KeyError)"


def test_our_own_words_stay_as_they_are():
    assert told(RefusedError("the file 'a/b.onnx' is\nempty"), "converting") == "the file 'a/b.onnx' is\nempty"
