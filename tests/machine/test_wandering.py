"""How a machine's speed wanders, on planted clocks: work that takes as long as a script says."""

import itertools

import numpy as np
import pytest

from studylib.machine.fitness import wandering
from studylib.machine.wandering import look


def _looked(durations, repetitions: int = 8):
    """A look at a machine on which the pieces of work take these seconds, again and again."""
    now, given = [0.0], itertools.cycle(durations)

    def work():
        now[0] += next(given)

    return look(repetitions, 0.005, 100, 1.0, work, lambda: now[0])


def test_a_steady_machine_is_no_concern():
    rng = np.random.default_rng(1)
    found = _looked(2e-4 * rng.normal(1, 0.02, 5000))
    assert not found.is_much
    assert found.factor == pytest.approx(1.05, abs=0.02)
    assert found.floor == pytest.approx(1.0076, abs=2e-3)  # what belongs to a process stays
    assert wandering(found) is None


def test_two_speeds_are_told_with_their_share_their_pace_and_what_can_be_told():
    """Half of the time twice as slow, 50 ms at a time: 250 quick pieces of 0.2 ms, then 125 slow ones of 0.4 ms."""
    found = _looked([2e-4] * 250 + [4e-4] * 125)
    assert found.factor == pytest.approx(2)
    assert found.slow_share == pytest.approx(0.5, abs=0.05)
    assert found.change_s == pytest.approx(0.05, abs=0.005)
    concern = wandering(found)
    assert concern.cause == "its speed wanders: the same work takes 2 times as long in 50% of the time, and that changes every 50 ms"
    assert "8 repetitions should tell differences of about 1%" in concern.remedy


def test_more_repetitions_tell_smaller_differences_and_noise_larger_ones():
    rng = np.random.default_rng(2)
    wild = 2e-4 * rng.lognormal(0, 0.5, 5000)
    assert _looked(wild, 15).floor < _looked(wild, 5).floor
    bursts = np.repeat(2e-4 * rng.lognormal(0, 0.3, 400), 12)  # a speed of its own for every few milliseconds
    assert _looked(bursts, 5).floor > _looked(wild, 5).floor > 1.008


def test_a_real_look_takes_a_second_and_is_plausible():
    found = look(5, 0.005, 100, seconds=0.3)
    assert 1 <= found.factor < 50
    assert 0 < found.slow_share <= 1
    assert 1 < found.floor < 3
