"""The passport of recorded results: the answer, the worst of each disturbance, counts, and the A/A control's reading."""

import json
from dataclasses import replace

import numpy as np
import pytest

from studylib.report.by_name import tables
from studylib.verdicts.passport import fitness, noise_floors
from tests.recorded_results import measurement

QUIET = {"steal_share": 0.01, "load_1min": 0.5, "involuntary_switches": 3, "governor": "performance", "affinity": "0-1"}


@pytest.fixture
def told(recorded):
    """Results of a small study with their table by its first column; ``disturb`` changes single attempts."""

    def read(disturb=(), rounds=8, run=None, said=()):
        results = recorded(rounds=rounds)
        for of in results.plan()[:3]:
            for one in results.attempts(of.id):
                results.record(replace(one, disturbances=QUIET))
        for attempt in disturb:
            results.record(attempt)
        facts = json.loads((results.folder / "run.json").read_text()) | (run or {})
        (results.folder / "run.json").write_text(json.dumps(facts))
        results.save_fitness(list(said))
        return results, tables.passport(results).set_index("what")

    return read


def _planned(results, n):
    return results.plan()[n]


def test_a_quiet_run_is_fit(told):
    results, table = told()
    found = fitness(results)
    word, why = found.fit, found.why
    assert word == "yes"
    assert why.startswith("a trial against itself reads up to 1.0")
    assert table.found["is this machine fit to measure?"] == f"yes: {why}"
    assert table.found["taken by other virtual machines"] == "at worst 1.0%, n = 24"
    assert table.limit["taken by other virtual machines"] == "20.0%"
    assert table.found["repetitions that stayed invalid"] == "0 of 24"
    assert table.found["frequency governor"] == "performance"
    assert "hottest sensor" in table.found["cannot be read here"]
    assert "load of the minute before" not in table.found["cannot be read here"]


def test_disturbed_attempts_count_as_worst_and_the_limits_are_the_runs_own(told):
    results, _ = told()
    of = _planned(results, 0)
    disturbed = measurement(of, 0, status="invalid", reason="disturbed", attempt=1, disturbances=QUIET | {"steal_share": 0.5})
    _, table = told([disturbed], run={"limits": {"steal_share": 0.3, "repeated_share": 0.25}})
    assert table.found["taken by other virtual machines"] == "at worst 50.0%, n = 25"
    assert table.limit["taken by other virtual machines"] == "30.0%"
    assert "a machine of your own" in table["what to do"]["taken by other virtual machines"]
    assert table.found["attempts that were invalid"] == "1 of 25"
    assert (table.found["attempts that repeated one"], table.limit["attempts that repeated one"]) == ("1", "25% of 24 repetitions")
    assert table.found["repetitions that stayed invalid"] == "0 of 24"


def test_repetitions_that_stay_invalid_make_it_unfit(told):
    results, _ = told()
    lost = [measurement(_planned(results, 0), number, status="invalid", reason="d", disturbances=QUIET) for number in range(3)]
    results, table = told(lost)
    assert (fitness(results).fit, fitness(results).why) == ("no", "3 of 24 repetitions stayed invalid")
    assert table["what to do"]["repetitions that stayed invalid"] == "mend what disturbed them, then FORCE=1"


def test_a_noisy_control_makes_it_unfit(told):
    results, _ = told()
    rng = np.random.default_rng(3)
    rounds = [(100_000 * rng.lognormal(0.4, 0.3) * np.ones(50)).astype(int).tolist() for _ in range(8)]
    noisy = [measurement(_planned(results, 2), number, values, disturbances=QUIET) for number, values in enumerate(rounds)]
    results, table = told(noisy)
    found = fitness(results)
    word, why = found.fit, found.why
    assert word == "no"
    assert why.endswith("smaller differences are below the noise floor")
    floor = noise_floors(results)[0]
    assert floor[:2] == ("mnist_cnn", 1)
    assert floor[2] > 1.25
    assert table.found["A/A control of mnist_cnn, batch 1"] == f"a trial against itself reads up to {floor[2]:.3f}x"


def test_too_few_rounds_need_care(told):
    results, table = told(rounds=3)
    assert fitness(results).fit == "with care"
    assert table.found["A/A control of mnist_cnn, batch 1"] == "no control with an interval"


def test_advice_that_was_given_stands_with_its_remedy(told):
    _, table = told(said=[{"cause": "it runs on battery", "remedy": "plug it in"}])
    assert table["what to do"]["before the run: it runs on battery"] == "plug it in"


def test_advice_stays_until_all_is_measured_again(recorded):
    results = recorded()
    battery, busy = ({"cause": cause, "remedy": "r"} for cause in ("it runs on battery", "it is busy"))
    results.save_fitness([battery])
    results.save_fitness([busy])
    assert results.fitness() == [battery, busy]
    results.save_fitness([busy], again=True)
    assert results.fitness() == [busy]


def test_a_governor_that_changed_is_a_finding(told):
    results, _ = told()
    changed = QUIET | {"governor": "powersave", "frequency_min_hz": 1e9, "frequency_max_hz": 3e9}
    other = measurement(_planned(results, 0), 0, disturbances=changed)
    _, table = told([other])
    assert table.found["frequency governor"] == "performance; powersave"
    assert table["what to do"]["frequency governor"] == "it changed between repetitions"
    assert table.found["clock seen"] == "1.00 to 3.00 GHz"


def test_nothing_measured_is_not_known(recorded):
    results = recorded(rounds=0)
    assert (fitness(results).fit, fitness(results).why) == ("not known", "nothing was measured yet")
    assert tables.passport(results).iloc[0].found == "not known: nothing was measured yet"


def test_results_of_an_older_version_still_have_a_passport(recorded):
    table = tables.passport(recorded()).set_index("what")
    assert table.found["taken by other virtual machines"] == "at worst 0.0%, n = 24"
    assert "load of the minute before" in table.found["cannot be read here"]


@pytest.mark.parametrize("provider", ["cuda", "cpu"])
def test_a_gpu_is_looked_at_where_one_computed(variants, provider):
    results = variants({"fp32": (200_000, {}, 95, 90.0, {})}, provider=provider)
    (one,) = results.plan()
    table = tables.passport(results).set_index("what")
    assert ("GPU slowed down by heat" in table.found["cannot be read here"]) == (provider == "cuda")
    if provider == "cuda":
        hot = {"gpu_heat_share": 0.11, "gpu_power_share": 0.9, "gpu_clock_min_hz": 1.305e9, "gpu_clock_max_hz": 1.98e9}
        results.record(measurement(one, 0, status="invalid", reason="disturbed", disturbances=hot))
        table = tables.passport(results).set_index("what")
        row = table.loc["GPU slowed down by heat, share of the time"]
        assert (row.found, row.limit) == ("at worst 11.0%, n = 1", "5.0%")
        assert row["what to do"].startswith("let it cool")
        assert table.loc["GPU held at its power limit, share of the time"]["what to do"] == ""
        assert table.found["clock of the GPU seen, before and after the values"] == "1.30 to 1.98 GHz"
