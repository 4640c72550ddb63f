import pytest

from studylib.errors import RefusedError, UnknownNameError, lookup, said, suggestion, told


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
    ("by_library", "words"),
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
        (
            '[ONNXRuntimeError] : 10 : INVALID_GRAPH : Load model from m.onnx failed:In Node, ("a", Foo, "", -1) : '
            "No Op registered for Foo with domain_version of 17\n==> Context: Bad node spec",
            "the operator Foo is not part of opset 17: it is newer, was removed, or is no ONNX operator at all",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model from m.onnx failed:Fatal error: com.maker:Fold(-1) is not a registered function/op",
            "the file holds the custom operator Fold of the domain com.maker, and no library that registers it is loaded; "
            "export the model with standard operators",
        ),
        (
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Reshape node. Name:'r' "
            "Status Message: /src/onnxruntime/core/reshape_helper.h:45 onnxruntime::ReshapeHelper::ReshapeHelper(x) size != 0 was false.",
            "ONNX Runtime stopped at the node 'r' (Reshape): size != 0 was false",
        ),
        ("std::bad_alloc", "out of memory: std::bad_alloc"),
    ],
)
def test_known_words_of_libraries_are_translated(by_library, words):
    assert told(RuntimeError(by_library), "evaluating") == said(by_library, "evaluating") == words


def test_unknown_words_of_libraries_are_one_line_with_their_stage_and_no_path():
    said_by_it = "/build/library/graph.cc:12: axis 2\n  is out of range in /tmp/work-1/model.onnx"
    assert told(ValueError(said_by_it), "converting") == "converting: axis 2 is out of range in model.onnx (ValueError)"
    assert told(KeyError(), "converting") == "converting: no message (KeyError)"
    assert told(MemoryError(), "converting") == "out of memory: no message (MemoryError)"
    assert said(ValueError(said_by_it), "opening m") == "opening m: axis 2 is out of range in model.onnx"


def test_our_own_words_stay_as_they_are():
    assert told(RefusedError("the file 'a/b.onnx' is\nempty"), "converting") == "the file 'a/b.onnx' is\nempty"
