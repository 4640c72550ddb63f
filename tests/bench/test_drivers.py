"""LoadGen against the loop: a planted difference is seen, and a real comparison of both runs."""

from dataclasses import replace

import pytest

from studylib.bench import drivers
from studylib.scenarios import loadgen

pytestmark = pytest.mark.skipif(loadgen.why_not() is not None, reason=str(loadgen.why_not()))


def test_both_drivers_run_interleaved_on_one_session(tiny):
    found = drivers.compare(tiny.session, tiny.samples, queries=70, rounds=7)
    assert found.session.n == found.outside.n == 7
    # LoadGen's clock stands outside ours: it cannot see less.
    assert found.outside.ratio > found.session.ratio
    assert found.session.low < found.session.ratio < found.session.high


def test_a_planted_slow_driver_is_seen(tiny, monkeypatch):
    real = loadgen.drive

    def slow(session, samples, load):
        driven = real(session, samples, load)
        return replace(driven, values_ns=driven.values_ns * 2)

    monkeypatch.setattr(drivers.loadgen, "drive", slow)
    assert drivers.compare(tiny.session, tiny.samples, queries=70, rounds=7).session.low > 1.2


def test_without_loadgen_it_says_why(monkeypatch):
    lines = []
    monkeypatch.setattr(drivers.loadgen, "why_not", lambda: "no wheel here")
    assert drivers.run(write=lines.append) == {}
    assert lines == ["LoadGen against the loop: not measured, since no wheel here"]
