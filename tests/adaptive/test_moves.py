import itertools

import numpy as np
import pytest

from studylib.adaptive.moves import best_chain, predicted_noise, propose

ORDER = ["a", "b", "c", "d"]
GAINS = {"a": {"static_wi8_ai8": 0.3}, "b": {"static_wi8_ai8": -0.02}, "c": {"static_wi8_ai8": 0.2, "dynamic_wi8_afp32": 0.1}, "d": {}}
NOISE = {"a": {"static_wi8_ai8": 1e-3}, "b": {"static_wi8_ai8": 1e-5}, "c": {"static_wi8_ai8": 4e-3, "dynamic_wi8_afp32": 1e-4}}


def value(chosen: dict, weight: float, switch: float) -> float:
    total, before = 0.0, False
    for name in ORDER:
        precision = chosen.get(name, "fp32")
        if precision != "fp32":
            total += GAINS[name][precision] - weight * NOISE[name][precision]
        static = precision == "static_wi8_ai8"
        total, before = total - switch * (static != before), static
    return total


@pytest.mark.parametrize("weight", [0.0, 10.0, 100.0, 1e6])
@pytest.mark.parametrize("switch", [0.0, 0.03, 0.2])
def test_the_best_chain_is_the_best_of_all(weight, switch):
    options = [("fp32", *NOISE.get(name, {})) for name in ORDER]
    every = [{n: p for n, p in zip(ORDER, chosen, strict=True) if p != "fp32"} for chosen in itertools.product(*options)]
    found = best_chain(ORDER, GAINS, NOISE, weight, switch)
    assert value(found, weight, switch) == pytest.approx(max(value(chosen, weight, switch) for chosen in every))


def test_a_layer_that_saves_nothing_may_join_two_that_do():
    assert "b" not in best_chain(ORDER, GAINS, NOISE, 0.0, 0.0)
    assert "b" in best_chain(ORDER, GAINS, NOISE, 0.0, 0.03)
    assert best_chain(ORDER, GAINS, NOISE, 1e9, 0.0) == {}


def test_noise_is_taken_to_add_up():
    assert predicted_noise({"a": "static_wi8_ai8", "c": "dynamic_wi8_afp32", "d": "fp32"}, NOISE) == pytest.approx(1.1e-3)


def test_moves_change_what_they_say_and_only_to_what_is_useful():
    useful = {name: list(NOISE.get(name, {})) for name in ORDER}
    worth = {name: {p: GAINS[name][p] / NOISE[name][p] for p in own} for name, own in useful.items()}
    rng, kinds = np.random.default_rng(0), set()
    for _ in range(200):
        words, changed = propose({"a": "static_wi8_ai8"}, ORDER, useful, worth, rng)
        assert all(precision in useful[name] for name, precision in changed.items())
        kinds.add("exchange" if "exchange" in words else "float" if "float" in words else "layers" if "layers" in words else "one")
    assert kinds == {"exchange", "float", "layers", "one"}
    moves = [propose({"a": "static_wi8_ai8"}, ORDER, useful, worth, np.random.default_rng(7)) for _ in range(2)]
    assert moves[0] == moves[1]
