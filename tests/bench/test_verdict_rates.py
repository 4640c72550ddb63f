"""How often studies are wrong, on noise that a test makes itself."""

import numpy as np
import pytest

from studylib.bench import verdict_rates
from studylib.errors import TrialError


def _medians(twins: int, spread: float, shift: float = 1.0, rounds: int = 8) -> np.ndarray:
    """Twins of the same thing; every second one slower by ``shift``, and each round slow or fast for all of them."""
    rng = np.random.default_rng(3)
    weather = rng.lognormal(0, 0.2, (1, rounds))
    return 1e6 * weather * rng.lognormal(0, spread, (twins, rounds)) * np.where(np.arange(twins)[:, None] % 2, shift, 1.0)


def _studies(count: int, spread: float, shift: float = 1.0) -> np.ndarray:
    """Studies of their own noise; the contender slower by ``shift``."""
    rng = np.random.default_rng(4)
    return 1e6 * rng.lognormal(0, spread, (count, 3, 8)) * np.array([1.0, shift, 1.0])[:, None]


def test_a_replay_has_no_difference_even_where_the_recording_had_one():
    replay = verdict_rates.replayed(_medians(16, 0.02, shift=1.3), 300, 1)
    assert replay.shape == (300, 3, 8)
    assert abs(np.log(replay[:, 0] / replay[:, 1]).mean()) < 0.03


def test_a_replay_keeps_together_what_was_measured_together():
    """What slows a whole round down slows all three alike; shuffled over rounds, their ratios would be as wide as the weather."""
    replay = verdict_rates.replayed(_medians(16, 0.001), 200, 1)
    assert np.log(replay[:, 0] / replay[:, 1]).std() < 0.005
    assert np.log(replay[:, 0]).std() > 0.1


def test_small_noise_keeps_silent_and_finds_what_was_planted():
    found = verdict_rates.rates(verdict_rates.replayed(_medians(16, 0.02), 400, 1))
    assert found.silent.value >= 0.95
    assert found.found.value > 0.9
    assert found.silent.n == 400


def test_the_control_s_noise_floor_makes_a_study_more_silent_than_its_intervals():
    found = verdict_rates.rates(_studies(600, 0.03))
    assert found.by_interval.value > 0.92
    assert found.silent.value > found.by_interval.value


def test_a_real_difference_does_not_pass_for_silence():
    found = verdict_rates.rates(_studies(40, 0.02, shift=1.3))
    assert found.silent.value < 0.1
    assert "DOES NOT HOLD" in found.words("planted")


def test_noise_as_large_as_the_difference_hides_it():
    assert verdict_rates.rates(_studies(200, 0.5)).found.value < 0.5


def test_studies_that_share_their_twins_carry_no_interval():
    found = verdict_rates.rates(_studies(40, 0.02), independent=False)
    assert (found.silent.low, found.found.high) == (None, None)
    assert " [" not in found.words("real noise")
    assert " [" in verdict_rates.rates(_studies(40, 0.02)).words("replayed noise")


def test_rounds_that_a_twin_has_lost_count_for_none():
    twins = [{number: 10 * twin + number for number in range(9) if (twin, number) not in ((0, 3), (1, 5))} for twin in range(3)]
    assert verdict_rates.complete(twins).tolist() == [[10 * twin + number for number in (0, 1, 2, 4, 6, 7, 8)] for twin in range(3)]
    with pytest.raises(TrialError, match=r"only 6 rounds were measured of all 2 twins, and a verdict needs 7"):
        verdict_rates.complete([dict.fromkeys(range(9), 1.0), dict.fromkeys(range(6), 1.0)])
