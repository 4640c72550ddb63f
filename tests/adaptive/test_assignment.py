import json

import pytest

from studylib.adaptive import Assignment, Layer
from studylib.errors import InputError

LAYERS = [Layer("first/Conv", "Conv", 9), Layer("head/Gemm", "Gemm", 9)]
CHOSEN = {"first/Conv": "static_wi8_ai8", "head/Gemm": "dynamic_wi8_afp32"}


def test_saved_and_read_again(tmp_path):
    wanted = Assignment("onnx", CHOSEN, {"budget": {"max_accuracy_loss": 0.01}})
    wanted.save(tmp_path / "a.json")
    found = Assignment.load(tmp_path / "a.json")
    assert found == wanted and found.digest == wanted.digest
    found.check("onnx", LAYERS)


def test_layers_in_float_do_not_change_the_digest():
    assert Assignment("onnx", CHOSEN | {"x": "fp32"}).digest == Assignment("onnx", CHOSEN).digest != Assignment("onnx", {}).digest


def test_another_model_and_another_format_are_refused():
    with pytest.raises(InputError, match="This assignment is for onnx and the model is tflite; search again for tflite"):
        Assignment("onnx", CHOSEN).check("tflite", LAYERS)
    with pytest.raises(InputError, match=r"no layer 'head/Gemm'; it has 1, first 'head/Gemma'\. Did you mean 'head/Gemma'"):
        Assignment("onnx", {"head/Gemm": "fp32"}).check("onnx", [Layer("head/Gemma", "Gemm", 9)])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read as an assignment"),
        ("[]", "is no assignment: its kind is not 'adaptive quantization'"),
        ({"layers": {"a": 8}}, r"'layers' must be a table of layer names and precisions \(fp32,"),
        ({"format": "coreml"}, r"Unknown format 'coreml' of an assignment\. Known: onnx, tflite"),
        ({"layers": {"a": "int8"}}, r"Unknown precision 'int8' of layer 'a'\. Known: fp32, dynamic_wi8_afp32, static_wi8_ai8"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path, content, words):
    good = {"kind": "adaptive quantization", "format": "onnx", "layers": {}, "facts": {}}
    text = content if isinstance(content, str) else json.dumps(good | content)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=words):
        Assignment.load(tmp_path / "a.json")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read as an assignment"):
        Assignment.load(tmp_path / "none.json")
