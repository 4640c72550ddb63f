"""Channels that belong together, what they cost, and cutting them out."""

import keras
import numpy as np
import pytest
from keras import layers

from studylib.errors import RefusedError
from studylib.formats import inside
from studylib.training.blocks import find_blocks
from studylib.training.channels import find_channels
from studylib.training.choice import choose, narrowed
from studylib.training.costs import find_costs
from studylib.training.graph import find_graph
from studylib.training.surgery import cut
from tests.training.structured_models import awakened, noise, plain, residual, saved


def channels_of(model, **shapes):
    return find_channels(find_graph(model, shapes))


def silence(model, channels, units) -> None:
    """Set every weight that computes one of ``units`` to zero, biases and shifts included."""
    for layer in model.layers:
        if layer.weights and layer.name in channels.outputs:
            dead = np.isin(channels.outputs[layer.name], units)
            if isinstance(layer, layers.DepthwiseConv2D):
                dead_inputs = np.isin(channels.inputs[layer.name], units)
                kernel, *bias = layer.get_weights()
                kernel[..., dead_inputs, :] = 0
                for vector in bias:
                    vector[dead] = 0
                layer.set_weights([kernel, *bias])
                continue
            weights = layer.get_weights()
            for weight in weights if not isinstance(layer, layers.SeparableConv2D) else weights[1:]:
                weight[..., dead] = 0
            layer.set_weights(weights)


def answers(model, samples) -> dict:
    return {name: np.asarray(values) for name, values in model.predict(samples.inputs["image"], verbose=0).items()}


def test_removing_channels_that_are_zero_changes_no_output():
    model = awakened(residual())
    channels = channels_of(model)
    groups = find_costs(channels).groups
    dead = np.concatenate([np.random.default_rng(3).permutation(group)[: len(group) // 2] for group in groups])
    silence(model, channels, dead)
    kept = np.ones(channels.count, bool)
    kept[dead] = False
    smaller = cut(model, channels, kept)
    assert smaller.count_params() < 0.4 * model.count_params()
    before, after = answers(model, noise()), answers(smaller, noise())
    assert set(before) == {"kinds", "height"}
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-5)
    kept[np.setdiff1d(np.flatnonzero(channels.free), dead)[:3]] = False  # and channels that are not zero do change it
    assert np.abs(answers(cut(model, channels, kept), noise())["height"] - before["height"]).max() > 1e-3


def test_channels_that_an_addition_or_a_depthwise_convolution_ties_go_together():
    channels = channels_of(residual())
    stem = channels.outputs["stem"]
    for name in ("project0", "project1", "add1", "stem_bn"):
        np.testing.assert_array_equal(channels.outputs[name], stem)
    np.testing.assert_array_equal(channels.outputs["depthwise0"], np.repeat(channels.outputs["expand0"], 2))
    np.testing.assert_array_equal(channels.outputs["joined"], [*stem, *channels.outputs["separable"]])
    np.testing.assert_array_equal(channels.inputs["hidden"], np.tile(channels.outputs["down"], 4))
    assert not channels.free[channels.outputs["kinds"]].any()
    assert not channels.free[channels.outputs["height"]].any()
    assert not channels.free[channels.inputs["stem"]].any()
    assert channels.free[stem].all()


def test_costs_are_the_multiply_accumulates_that_the_file_has(tmp_path):
    for index, model in enumerate((residual(), plain())):
        channels = channels_of(model)
        costs = find_costs(channels)
        choice = narrowed(channels, costs, 0.5)
        smaller = cut(model, channels, choice.kept)
        (tmp_path / str(index)).mkdir()
        for one, counted in ((model, choice.macs_before), (smaller, choice.macs_after)):
            assert inside.look(saved(one, tmp_path / str(index)), "keras")["macs"] == counted
        assert choice.macs_after < 0.4 * choice.macs_before


def test_names_of_layers_inputs_and_outputs_stay():
    model = residual()
    channels = channels_of(model)
    smaller = cut(model, channels, narrowed(channels, find_costs(channels), 0.5).kept)
    assert [layer.name for layer in smaller.layers] == [layer.name for layer in model.layers]
    assert smaller.input.name == "image"
    assert set(smaller.output) == {"kinds", "height"}
    assert smaller.name == "residual"


def test_a_layer_of_unknown_kind_keeps_all_it_touches_and_is_named():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(16, 3, name="before")(image)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Conv2D(16, 3, name="between")(x)
    x = layers.Conv2D(16, 3, groups=4, name="grouped")(x)
    x = layers.Conv2D(16, 2, name="after", activation="relu")(x)
    model = keras.Model(image, layers.Dense(3, name="last")(layers.Flatten()(x)))
    channels = channels_of(model)
    free = {name for name in ("before", "between", "grouped", "after", "last") if channels.free[channels.outputs[name]].all()}
    assert free == {"after"}
    assert "norm (LayerNormalization): what it does to channels is not known" in channels.reasons
    assert "grouped (Conv2D): a grouped convolution" in channels.reasons
    smaller = cut(model, channels, narrowed(channels, find_costs(channels), 0.5).kept)
    assert smaller.get_layer("after").filters == 8
    np.testing.assert_array_equal(smaller.get_layer("grouped").get_weights()[0], model.get_layer("grouped").get_weights()[0])


def test_one_channel_broadcast_over_many_is_left_alone():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, activation="relu", name="many")(image)
    gate = layers.Conv2D(1, 1, activation="sigmoid", name="one")(x)
    model = keras.Model(image, layers.Conv2D(2, 1)(layers.Multiply(name="gated")([x, gate])))
    channels = channels_of(model)
    assert not channels.free.any()
    assert "gated (Multiply): what it does to channels is not known" in channels.reasons


def test_a_layer_that_is_used_twice_keeps_one_set_of_weights():
    image = keras.Input((8, 8, 4), name="image")
    shared = layers.Conv2D(8, 3, padding="same", activation="relu", name="shared")
    first, second = layers.Conv2D(8, 1, name="first")(image), layers.Conv2D(8, 1, name="second")(image)
    x = layers.Concatenate()([shared(first), shared(second)])
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    channels = channels_of(model)
    np.testing.assert_array_equal(channels.outputs["first"], channels.outputs["second"])
    smaller = cut(model, channels, narrowed(channels, find_costs(channels), 0.5).kept)
    assert [smaller.get_layer(name).filters for name in ("shared", "first", "second")] == [4, 4, 4]
    assert smaller.predict(np.ones((1, 8, 8, 4)), verbose=0).shape == (1, 2)


def test_squeeze_and_excite_over_a_reshape_can_be_cut():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(16, 3, activation="relu", name="wide")(image)
    scale = layers.Reshape((1, 1, 16), name="spread")(
        layers.Dense(16, activation="sigmoid", name="gate")(layers.GlobalAveragePooling2D()(x))
    )
    model = keras.Model(image, layers.Conv2D(2, 1)(x * scale))
    channels = channels_of(model)
    np.testing.assert_array_equal(channels.outputs["wide"], channels.outputs["gate"])
    smaller = cut(model, channels, narrowed(channels, find_costs(channels), 0.5).kept)
    assert smaller.get_layer("spread").target_shape == (1, 1, 8)
    assert smaller.predict(np.ones((1, 8, 8, 3)), verbose=0).shape == (1, 6, 6, 2)


def test_a_model_with_open_axes_is_costed_by_its_samples_and_stays_open():
    sound = keras.Input((None, 4), name="sound")
    x = layers.Conv1D(16, 3, padding="same", activation="relu", name="first")(sound)
    model = keras.Model(sound, layers.Conv1D(2, 1)(x))
    channels = channels_of(model, sound=(10, 4))
    assert find_costs(channels).macs(find_costs(channels).full) == 10 * (3 * 4 * 16 + 16 * 2)
    smaller = cut(model, channels, narrowed(channels, find_costs(channels), 0.5).kept)
    assert smaller.input.shape == (None, None, 4)


def test_blocks_are_found_and_leaving_out_a_silent_one_changes_nothing():
    model = awakened(residual())
    graph = find_graph(model)
    blocks = find_blocks(graph)
    assert [block.name for block in blocks] == ["add0", "add1"]
    assert blocks[0].inside == {"expand0", "depthwise0", "project0", "project_bn0"}
    normalisation = model.get_layer("project_bn0")
    normalisation.set_weights([np.zeros(16), np.zeros(16), np.zeros(16), np.ones(16)])
    channels = find_channels(graph)
    smaller = cut(model, channels, np.ones(channels.count, bool), blocks[:1])
    assert {layer.name for layer in model.layers} - {layer.name for layer in smaller.layers} == blocks[0].inside | {"add0"}
    before, after = answers(model, noise()), answers(smaller, noise())
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-5)


def test_a_branch_that_something_else_reads_is_no_block():
    image = keras.Input((8, 8, 4), name="image")
    branch = layers.Conv2D(4, 1, name="branch")(image)
    total = layers.Add(name="add")([image, branch])
    assert find_blocks(find_graph(keras.Model(image, layers.Conv2D(2, 1)(total)))) != []
    assert find_blocks(find_graph(keras.Model(image, [layers.Conv2D(2, 1)(total), branch]))) == []
    assert find_blocks(find_graph(keras.Model(image, total))) == []


def test_the_cheapest_channels_go_first_and_wide_layers_keep_multiples_of_eight():
    model = plain()
    channels = channels_of(model)
    costs = find_costs(channels)
    importance = np.random.default_rng(0).uniform(1, 2, channels.count)
    worthless = channels.outputs["conv1"][:8]
    importance[worthless] = 0
    choice = choose(channels, costs, importance, {}, 0.5)
    assert 0.35 < choice.macs_after / choice.macs_before <= 0.5
    assert not choice.kept[worthless].any()
    sizes = [int(choice.kept[channels.outputs[f"conv{index}"]].sum()) for index in range(3)]
    assert all(size % 8 == 0 and size >= 8 for size in sizes)
    assert choice.kept[channels.outputs["digit"]].all()


def test_a_budget_that_cannot_be_met_is_refused_with_what_can_be_reached():
    model = plain()
    channels = channels_of(model)
    with pytest.raises(RefusedError, match=r"still leaves \d+% of the multiply-accumulates, not 1%: .*Ask for a larger share"):
        choose(channels, find_costs(channels), np.ones(channels.count), {}, 0.01)


def test_a_model_with_code_of_its_own_is_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(RefusedError, match="is a Own with code of its own, not a graph of layers; build it as a functional model"):
        find_graph(Own(name="own"))
