import pytest

from studylib.adaptive.layers import Layer, Operator, carried, check_assignment, short_names, uniform
from studylib.errors import InputError

LAYERS = [Layer("first/Conv", "Conv", 9), Layer("scores", "MatMul", 0, ("fp32", "static_wi8_ai8"))]


def test_uniform_names_only_layers_that_can():
    assert uniform(LAYERS, "dynamic_wi8_afp32") == {"first/Conv": "dynamic_wi8_afp32"}
    assert uniform(LAYERS, "static_wi8_ai8") == dict.fromkeys(("first/Conv", "scores"), "static_wi8_ai8")
    assert uniform(LAYERS, "fp32") == {}


def test_what_an_assignment_may_not_say():
    with pytest.raises(InputError, match=r"no layer 'first/Con'; it has 2, first 'first/Conv'\. Did you mean 'first/Conv'\?"):
        check_assignment({"first/Con": "fp32"}, LAYERS)
    with pytest.raises(InputError, match=r"Unknown precision 'static_w8a8' of layer 'first/Conv'\. Known: fp32, .*mean 'static_wi8_ai8'"):
        check_assignment({"first/Conv": "static_w8a8"}, LAYERS)
    with pytest.raises(InputError, match=r"'scores' \(MatMul\) cannot be dynamic_wi8_afp32 .* it can be fp32, static_wi8_ai8"):
        check_assignment({"scores": "dynamic_wi8_afp32"}, LAYERS)


def test_short_names_drop_what_all_share_and_number_twins():
    assert short_names(["m/a/Conv", "m/b/Conv"]) == ["a/Conv", "b/Conv"]
    assert short_names(["m/x/a", "m/x/a", "m/y/a", "m/x/a"]) == ["x/a", "x/a#2", "y/a", "x/a#3"]
    assert short_names(["a", "m/b"]) == ["a", "m/b"]


CHAIN = [
    Operator("a", "Conv", ("x",), ("1",)),
    Operator("relu", "Relu", ("1",), ("2",)),
    Operator("pool", "MaxPool", ("2",), ("3",)),
    Operator("b", "Conv", ("3",), ("4",)),
    Operator("add", "Add", ("3", "4"), ("5",)),
    Operator("softmax", "Softmax", ("5",), ("6",)),
]
CARRIERS, ACTIVATIONS = frozenset(("MaxPool", "Add")), frozenset(("Relu",))


def test_operators_between_integers_follow():
    assert carried(CHAIN, {"a", "b"}, CARRIERS, ACTIVATIONS) == {"relu", "pool"}


def test_an_activation_follows_the_layer_it_is_fused_into_and_nothing_else_does():
    assert carried(CHAIN, {"a"}, CARRIERS, ACTIVATIONS) == {"relu"}
    assert carried(CHAIN, {"b"}, CARRIERS, ACTIVATIONS) == set()


def test_an_addition_follows_only_when_both_sides_are_integers():
    after = [*CHAIN[:5], Operator("c", "Conv", ("5",), ("7",))]
    assert "add" in carried(after, {"a", "b", "c"}, CARRIERS, ACTIVATIONS)
    assert "add" not in carried(after, {"b", "c"}, CARRIERS, ACTIVATIONS)
