"""How often comparisons are wrong, on noise that a test makes itself."""

import numpy as np

from studylib import verdict_rates


def _pairs(count: int, spread: float, shift: float = 1.0) -> list:
    rng = np.random.default_rng(3)
    return [tuple(1e6 * rng.lognormal(0, spread, 8) * factor for factor in (1.0, shift)) for _ in range(count)]


def test_a_replay_has_no_difference_even_where_the_recording_had_one():
    replay = verdict_rates.replayed(_pairs(40, 0.02, shift=1.3), 300, 1)
    assert len(replay) == 300
    logs = np.array([np.log(first / second).mean() for first, second in replay])
    assert abs(logs.mean()) < 0.03


def test_small_noise_keeps_silent_and_finds_what_was_planted():
    found = verdict_rates.rates(verdict_rates.replayed(_pairs(60, 0.02), 400, 1))
    assert found.silent.value > 0.9
    assert found.found.value > 0.99
    assert found.silent.n == 400


def test_a_real_difference_does_not_pass_for_silence():
    found = verdict_rates.rates(_pairs(40, 0.02, shift=1.3))
    assert found.silent.value < 0.1
    assert "DOES NOT HOLD" in found.words("planted")


def test_noise_as_large_as_the_difference_hides_it():
    found = verdict_rates.rates(verdict_rates.replayed(_pairs(60, 0.5), 200, 1))
    assert found.found.value < 0.5


def test_pairs_that_share_their_twins_carry_no_interval():
    found = verdict_rates.rates(_pairs(40, 0.02), independent=False)
    assert (found.silent.low, found.found.high) == (None, None)
    assert " [" not in found.words("real noise").split("comparisons")[0]
    assert " [" in verdict_rates.rates(_pairs(40, 0.02)).words("replayed noise")
