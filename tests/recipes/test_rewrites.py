"""Each named rewrite gives the numbers of the operator it replaces; a wrong rewrite is seen."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from scipy.special import erfc

from studylib.formats import rewrites

X = np.linspace(-3, 3, 61)
KINDS = {np.float32: 1e-6, np.float16: 2e-3, np.float64: 1e-6}  # the reference computes Erf in float32


def _model(nodes, kind=TensorProto.FLOAT, opset=18, outputs=("y",)):
    values = [helper.make_tensor_value_info(name, kind, [None]) for name in outputs]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, [None])], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("operator", "exact"), [("Expm1", np.expm1), ("Log1p", np.log1p)])
def test_expm1_and_log1p_have_the_values_the_type_and_the_name_of_the_original(operator, exact, kind):
    model = _model([helper.make_node(operator, ["x"], ["y"])], helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
    assert rewrites.apply(model) == {operator: 1}
    x = np.linspace(-0.9, 3, 40).astype(kind)
    (found,) = _run(model, x)
    assert found.dtype == kind
    np.testing.assert_allclose(found, exact(x), rtol=3 * KINDS[kind], atol=3 * KINDS[kind])


@pytest.mark.parametrize("operator", ["Expm1", "Log1p"])
def test_a_wrong_rewrite_of_expm1_or_log1p_is_seen(operator):
    model = _model([helper.make_node(operator, ["x"], ["y"])])
    rewrites.apply(model)
    model.graph.initializer[0].float_data[:] = [0.9]
    x = np.linspace(-0.5, 3, 40).astype(np.float32)
    assert np.abs(_run(model, x)[0] - {"Expm1": np.expm1, "Log1p": np.log1p}[operator](x)).max() > 0.02


def _transposed(**attributes):
    """A transposed convolution by 2 of 5 values, each repeated over a kernel of 1, 2, 3."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, None]) for name in "xy"]
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2], **attributes)
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 3], [1.0, 2.0, 3.0])
    graph = helper.make_graph([node], "g", values[:1], values[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _open_and_run(model, x):
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def test_negative_padding_at_the_end_becomes_output_padding():
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)
    whole = _open_and_run(_transposed(pads=[0, 0]), x)[0, 0]
    model = _transposed(pads=[1, -1])
    with pytest.raises(onnx.shape_inference.InferenceError, match="negative"):
        onnx.checker.check_model(model, full_check=True)
    assert rewrites.apply(model) == {"output_padding": 1}
    assert _open_and_run(model, x)[0, 0].tolist() == [*whole[1:], 0.0]
    assert rewrites.apply(model) == {}


def test_padding_that_is_allowed_stays():
    assert rewrites.apply(_transposed(pads=[1, 0])) == {}
    assert rewrites.apply(_transposed()) == {}


def _erfc(source="x", target="y"):
    return helper.make_node("Erfc", [source], [target], name=f"net/dense/Gelu/{target}")


def _run(model, x):
    onnx.checker.check_model(model, full_check=True)
    return ReferenceEvaluator(model).run(None, {"x": x})


@pytest.mark.parametrize("opset", [9, 13, 18])
@pytest.mark.parametrize("kind", KINDS)
def test_erfc_has_the_values_the_type_and_the_name_of_the_original(kind, opset):
    model = _model([_erfc()], helper.np_dtype_to_tensor_dtype(np.dtype(kind)), opset)
    assert rewrites.apply(model) == {"Erfc": 1}
    assert [output.name for output in model.graph.output] == ["y"]
    (found,) = _run(model, X.astype(kind))
    assert found.dtype == kind
    np.testing.assert_allclose(found, erfc(X.astype(kind)), atol=KINDS[kind])


@pytest.mark.parametrize("wrong", ["swapped", "forgotten", "two"])
def test_a_wrong_rewrite_of_erfc_is_seen(wrong):
    model = _model([_erfc()])
    rewrites.erfc(model)
    (erf, difference), (one,) = model.graph.node, model.graph.initializer
    if wrong == "swapped":
        difference.input[:] = [*reversed(difference.input)]
    elif wrong == "forgotten":
        erf.output[0] = "y"
        model.graph.node.remove(difference)
    else:
        one.float_data[:] = [2.0]
    (found,) = _run(model, X.astype(np.float32))
    assert np.abs(found - erfc(X)).max() > 0.5


def test_one_erfc_that_reads_another_is_repaired_too():
    model = _model([_erfc("x", "h"), helper.make_node("Mul", ["h", "x"], ["m"]), _erfc("m", "y")], outputs=("h", "y"))
    assert rewrites.erfc(model) == 2
    h, y = _run(model, X.astype(np.float32))
    np.testing.assert_allclose(h, erfc(X), atol=1e-6)
    np.testing.assert_allclose(y, erfc(erfc(X) * X), atol=1e-5)
    assert len(model.graph.initializer) == 1


def test_erfc_inside_a_branch_is_repaired():
    branch = [
        helper.make_graph([_erfc("x", name)], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None])]) for name in "ab"
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=branch[0], else_branch=branch[1]),
    ]
    model = _model(nodes)
    model.graph.initializer.append(helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]))
    assert rewrites.erfc(model) == 2
    np.testing.assert_allclose(_run(model, X.astype(np.float32))[0], erfc(X), atol=1e-6)


def test_what_needs_no_repair_stays_as_it_is():
    model = _model([helper.make_node("Erf", ["x"], ["y"])])
    before = model.SerializeToString()
    assert rewrites.apply(model) == {}
    assert model.SerializeToString() == before
    repaired = _model([_erfc()])
    assert [rewrites.erfc(repaired), rewrites.erfc(repaired)] == [1, 0]


def test_an_erfc_of_another_domain_or_before_erf_existed_is_left_alone():
    foreign = helper.make_node("Erfc", ["x"], ["y"], domain="com.example")
    assert rewrites.erfc(_model([foreign])) == 0
    assert rewrites.erfc(_model([_erfc()], opset=8)) == 0


def test_every_rewrite_says_what_it_does():
    assert all(rewrite.__doc__ for rewrite in rewrites.REWRITES.values())
