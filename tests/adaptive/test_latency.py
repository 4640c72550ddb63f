import time

from studylib.adaptive.latency import race, ratio


def busy(seconds: float):
    def run(inputs):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
        return {}

    return run


def test_a_race_tells_which_is_faster():
    times = race({"slow": busy(5e-3), "fast": busy(1e-3), "same": busy(5e-3)}, [{}], 8, 1)
    assert all(len(values) == 8 for values in times.values())
    found = ratio(times, "slow", "fast")
    assert 2 < found.ratio < 12 and found.verdict == "faster" and found.n == 8
    assert 0.4 < ratio(times, "slow", "same").ratio < 2.5
    assert ratio(times, "fast", "slow").verdict == "slower"
    # The lower quartile of a round's calls: no less than the work itself takes.
    assert (times["fast"] >= 1e-3).all() and (times["slow"] >= 5e-3).all()
