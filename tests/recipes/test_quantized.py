"""What is quantized already, and what has nothing to quantize, is refused with what was found."""

import pytest

from studylib.errors import RefusedError
from studylib.formats import quantized
from studylib.recipes import RECIPES
from studylib.recipes.quantize import onnx
from tests.recipes.onnx_models import convolutional, samples, save, without_weights

EVERY = [recipe for targets in RECIPES.values() for recipe in targets.get("onnx", ()) if isinstance(recipe, onnx.OnnxRecipe)]


@pytest.fixture
def content(tmp_path):
    (tmp_path / "content").mkdir()
    return tmp_path / "content"


@pytest.mark.parametrize("recipe", EVERY, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize(
    ("made_by", "found"),
    [
        (onnx.Static(), r"\d+ DequantizeLinear, \d+ QuantizeLinear"),
        (onnx.Static(qoperator=True), r".*2 QLinearConv"),
        (onnx.DynamicRange(), r".*2 ConvInteger"),
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_no_recipe_takes_what_is_already_quantized(tmp_path, content, recipe, made_by, found):
    path, _ = made_by.write(convolutional(tmp_path / "source.onnx"), content, samples())
    with pytest.raises(RefusedError, match=rf"model.onnx is already quantized \({found}.*\); start from its float version"):
        recipe.write(path, content, samples())


@pytest.mark.parametrize("recipe", [one for one in EVERY if one.name != "fp16"], ids=lambda recipe: recipe.name)
def test_a_model_without_weights_is_told_what_it_has(tmp_path, content, recipe):
    source = without_weights(tmp_path / "source.onnx")
    with pytest.raises(RefusedError, match=r"no operator of source.onnx that integers can be used for \(.*\); found 1 Add, 1 Relu"):
        recipe.write(source, content, samples())
    assert list(content.iterdir()) == []


def test_operators_inside_a_loop_count(tmp_path):
    from onnx import helper, load
    from onnx import save as save_model

    path = save(tmp_path / "m.onnx", [("Identity", ["x"], ["y"], {})], {})
    model = load(path)
    body = helper.make_graph([helper.make_node("MatMulInteger", ["a", "b"], ["c"])], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], [], body=body))
    save_model(model, path)
    with pytest.raises(RefusedError, match=r"m.onnx is already quantized \(1 MatMulInteger\)"):
        quantized.require_float_onnx(path)


def test_what_is_no_litert_file_is_refused():
    with pytest.raises(RefusedError, match=r"model.tflite is no LiteRT file: its magic is b'odel'"):
        quantized.require_float_litert(b"no model at all", "model.tflite")
