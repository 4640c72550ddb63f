"""How often studies are wrong, on noise that a test makes itself."""

import numpy as np
import pytest

from studylib.bench import verdict_rates
from studylib.errors import TrialError


def _twins(twins: int, spread: float, shift: float = 1.0, rounds: int = 8) -> np.ndarray:
    """Twins of the same thing; every second one slower by ``shift``, and each round slow or fast for all of them."""
    rng = np.random.default_rng(3)
    weather = rng.lognormal(0, 0.2, (1, rounds, 1))
    return 1e6 * weather * rng.lognormal(0, spread, (twins, rounds, 1)) * np.where(np.arange(twins)[:, None, None] % 2, shift, 1.0)


def _studies(count: int, spread: float, shift: float = 1.0) -> np.ndarray:
    """Studies of their own noise; the contender slower by ``shift``."""
    rng = np.random.default_rng(4)
    return 1e6 * rng.lognormal(0, spread, (count, 3, 8, 1)) * np.array([1.0, shift, 1.0])[:, None, None]


def test_a_replay_has_no_difference_even_where_the_recording_had_one():
    replay = verdict_rates.replayed([_twins(16, 0.02, shift=1.3)], 300, 1)
    assert replay.shape == (300, 3, 8, 1)
    assert abs(np.log(replay[:, 0] / replay[:, 1]).mean()) < 0.03


def test_a_replay_keeps_together_what_was_measured_together():
    """What slows a whole round down slows all three alike; shuffled over rounds, their ratios would be as wide as the weather."""
    replay = verdict_rates.replayed([_twins(16, 0.001)], 200, 1)
    assert np.log(replay[:, 0] / replay[:, 1]).std() < 0.005
    assert np.log(replay[:, 0]).std() > 0.1


def test_small_noise_keeps_silent_and_finds_what_was_planted():
    found = verdict_rates.rates(verdict_rates.replayed([_twins(16, 0.02)], 400, 1))
    assert found.silent.value >= 0.95
    assert found.found[1.1].value > 0.9
    assert found.silent.n == 400


def test_the_control_s_noise_floor_makes_a_study_more_silent_than_its_intervals():
    found = verdict_rates.rates(_studies(600, 0.03))
    assert found.covered.value > 0.92
    assert found.silent.value > found.covered.value


def test_a_real_difference_does_not_pass_for_silence():
    found = verdict_rates.rates(_studies(40, 0.02, shift=1.3))
    assert found.silent.value < 0.1
    assert "DOES NOT HOLD: silent in less than 98%" in found.words("planted")


def test_noise_as_large_as_the_difference_hides_it():
    assert verdict_rates.rates(_studies(200, 0.5)).found[1.1].value < 0.5


@pytest.mark.parametrize("effort", ["smoke", "quick"])
@pytest.mark.parametrize("noise", verdict_rates.NOISES)
def test_of_every_noise_studies_keep_silent_cover_and_find_what_is_planted(noise, effort, monkeypatch):
    monkeypatch.setattr(verdict_rates, "_SIMULATED", 300)
    found = verdict_rates.rates(verdict_rates.simulated(noise, effort))
    assert "(holds)" in found.words(noise)
    assert 0.91 <= found.covered.value <= 0.98


def test_a_burst_that_hits_one_of_them_in_a_third_of_the_blocks_is_no_difference():
    """Median of neighbours' ratios: a third of the blocks twice as slow leaves the rest to tell."""
    studies = np.broadcast_to(_studies(100, 0.005), (100, 3, 8, 90)).copy()
    studies[:, 1, :, :30] *= 2
    assert verdict_rates.rates(studies).silent.value > 0.95
    studies[:, 1, :, :50] *= 2
    assert verdict_rates.rates(studies).silent.value < 0.5


def test_controls_that_leave_the_limit_are_told():
    assert verdict_rates.controls_in_words([_twins(6, 0.001)], 1.05).endswith("2 of 2 within [0.952, 1.05] (holds)")
    assert verdict_rates.controls_in_words([_twins(6, 0.2)], 1.05).endswith("(DOES NOT HOLD)")


def test_studies_that_share_their_twins_carry_no_interval():
    found = verdict_rates.rates(_studies(40, 0.02), independent=False)
    assert (found.silent.low, found.found[1.05].high) == (None, None)
    assert " [" not in found.words("real noise")
    assert " [" in verdict_rates.rates(_studies(40, 0.02)).words("replayed noise")


def test_rounds_that_a_twin_has_lost_count_for_none():
    twins = [{number: {0: 10.0 * twin + number} for number in range(9) if (twin, number) not in ((0, 3), (1, 5))} for twin in range(3)]
    assert verdict_rates.complete(twins)[..., 0].tolist() == [[10 * twin + number for number in (0, 1, 2, 4, 6, 7, 8)] for twin in range(3)]
    with pytest.raises(TrialError, match=r"only 3 rounds were measured of all 2 twins, and a verdict needs 4"):
        verdict_rates.complete([{number: {0: 1.0} for number in range(rounds)} for rounds in (9, 3)])
