"""The first screen: one line on what the numbers stand on, then one decision or none; terminal, report and notebook say the same.

Every situation is recorded for the test. Nothing here reads a clock.
"""

import html
import re
from dataclasses import replace
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

import studylib as sl
from studylib.cli import cli
from studylib.report import machines, report, summary
from studylib.report.by_name import tables
from studylib.verdicts import winners
from studylib.verdicts.findings import Findings
from studylib.verdicts.grounds import grounds
from studylib.verdicts.passport import Fit
from studylib.wording import plain
from tests import ROOT
from tests.recorded_results import measurement, run_facts

ENOUGH = {"n": 1000, "agreeing": [True] * 1000}
SAME = {"sha256": "e" * 64}


def _of(ns: int, wrong: int = 0, **more) -> tuple:
    """A variant that answers ``wrong`` of a thousand samples wrongly."""
    answers = {"evaluation": ENOUGH | {"correct": [False] * wrong + [True] * (1000 - wrong)}}
    return ns, {}, 0, 90.0, answers | more


def _same_hash(variants):
    """A search that quantized nothing: its file is fp32's, and looks 1.13 times as fast by noise."""
    return variants({"fp32": _of(400_000, **SAME), "fp16": _of(600_000), "adaptive_wi8": _of(355_000, **SAME)}, control=404_000)


def _lossy(variants):
    """Eight of a thousand lost: within a point as measured, and perhaps fourteen."""
    return variants({"fp32": _of(400_000), "static_wi8_ai8": _of(200_000, wrong=8)}, control=404_000)


def _rehearsal(variants):
    results = variants({"fp32": _of(400_000), "fp16": _of(200_000)}, control=404_000)
    run = run_facts(native=False)
    results.save_plan(results.plan(), run, list(results.artifacts().values()))
    return results


def _noisy(variants, ns: int = 380_000):
    """A trial against itself reads up to 1.5x: the machine was not fit to measure."""
    results = variants({"fp32": _of(400_000), "fp16": _of(ns)}, control=404_000)
    twin, rng = replace(results.plan()[0], control=True), np.random.default_rng(3)
    for repetition in range(8):
        results.record(measurement(twin, repetition, (400_000 * rng.lognormal(0.3, 0.2) * np.ones(200)).astype(int).tolist()))
    return results


def _unfit_and_clear(variants):
    """The same noise, and four times as fast."""
    return _noisy(variants, 100_000)


def _nothing_timed(variants):
    failed = {"evaluation": {"status": "failed", "reason": "parity: SQNR 3.0 dB against the source model"}}
    return variants({"fp32": (0, {}, 0, 3.0, failed), "fp16": (0, {}, 0, 3.0, failed)})


SITUATIONS = {
    "two variants of one hash": (
        _same_hash,
        "fp32",
        "Native: measured on a test host.",
        "the search found nothing faster than onnxruntime fp32",
    ),
    "a loss of up to more than the budget": (
        _lossy,
        "fp32",
        "Native: measured on a test host.",
        "Faster, and not known to keep the budget",
    ),
    "a rehearsal": (
        _rehearsal,
        None,
        "REHEARSAL of Test machine on a test host",
        "since this is a rehearsal of Test machine, whose speed is",
    ),
    "an unfit run that shows no fastest": (_noisy, None, "NOT fit to measure", "the run does not show which is fastest"),
    "an unfit run that shows the fastest": (
        _unfit_and_clear,
        "fp16",
        "NOT fit to measure",
        "faster, against onnxruntime fp32 (n 8 rounds)",
    ),
    "nothing timed": (_nothing_timed, None, "nothing was timed yet", "nothing was timed (failed: parity: SQNR 3.0 dB"),
}


@pytest.fixture(params=SITUATIONS, ids=lambda name: name.replace(" ", "-"))
def situation(request, variants):
    """(results, the recipe that is named or None, words of the first line, words of the decision) of each situation."""
    record, recipe, first, words = SITUATIONS[request.param]
    return record(variants), recipe, first, words


def _shown_by_the_terminal(results, capsys) -> str:
    cli._conclude(results, results.folder / "report" / "index.html", 1.0)
    return capsys.readouterr().out


def _shown_by_advise(results, capsys, monkeypatch) -> str:
    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(results.folder.parent))
    cli.advise(SimpleNamespace(hw="cpu", model=None, latency_ms=None, rss_mb=None, size_mb=None, loss=None))
    return capsys.readouterr().out


def _shown_by_the_notebook(results, monkeypatch):
    """What the first cell of notebook 09 that computes shows, run as it is committed."""
    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(results.folder.parent))
    cells = [cell for cell in nbformat.read(ROOT / "notebooks" / "09-findings.ipynb", 4).cells if cell.cell_type == "code"]
    *setting, shown = cells[1].source.splitlines()
    names = {"hardware": "cpu"}
    exec("\n".join(setting), names)
    return eval(shown, names)


def test_each_gives_one_decision_or_none_in_the_words_of_the_first_line(situation):
    results, recipe, first, words = situation
    (advice,) = sl.advise(results)
    lines = summary.first_screen(results)
    assert first in lines[0]
    assert words.lower() in " ".join(lines).lower()
    assert (advice.configuration and advice.configuration.recipe) == recipe
    named = [one.variant and one.variant.trial.recipe for one in winners.winners(results)]
    assert named == [recipe, recipe]  # the table of winners names the same, or nobody
    assert bool(advice.projects) == bool(recipe)
    assert len(lines) <= 6


def test_terminal_report_and_notebook_agree(situation, capsys, monkeypatch, no_pictures):
    results, *_ = situation
    lines = tuple(summary.first_screen(results))
    page = report.build(results)
    text = html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))
    markdown = (page.parent / "report.md").read_text()
    where = [text.index(line) for line in lines]
    assert where == sorted(where)
    assert where[-1] < text.index("Findings", where[0])  # before anything else is said
    assert all(line.replace("[", "\\[").replace("`", "'") in markdown.split("## Findings")[0] for line in lines)
    terminal = _shown_by_the_terminal(results, capsys).splitlines()
    begun = terminal.index(lines[0])
    assert tuple(terminal[begun : begun + len(lines)]) == lines
    advised = _shown_by_advise(results, capsys, monkeypatch).splitlines()
    assert advised[0] == lines[0]
    assert [line for line in map(str.strip, advised) if line in lines] == list(lines)
    shown = _shown_by_the_notebook(results, monkeypatch)
    assert tuple(shown) == lines
    bold = [line for line in shown._repr_markdown_().split("\n\n") if line.startswith("**")]
    assert bold == [f"**{plain(line)}**" for line in (lines[0], sl.advise(results)[0].headline)]


def test_the_same_file_is_nowhere_a_rival_of_itself(variants):
    results = _same_hash(variants)
    (advice,) = sl.advise(results)
    assert [one.configuration.recipe for one in advice.runners_up] == ["fp16"]
    assert advice.notes[-1] == "The search found nothing faster than onnxruntime fp32: adaptive_wi8 is the same file."
    unread = len(advice.caveats)  # the first line tells 1.13 as what it is: noise
    said = str(advice).splitlines()[unread:] + summary.summary(results)[unread:]
    for told in (" ".join(said), tables.winners(results).to_csv()):
        assert "1.13" not in told
        assert not re.search(r"adaptive_wi8(?! is)", told)
    assert {row.recipe for row in sl.tables.speed_ups(results).itertuples()} == {"fp32 (A/A)", "fp16"}
    page = machines.write(results.folder.parent).read_text()
    assert "adaptive_wi8" not in page


def test_a_limit_that_fp32_keeps_is_kept_whatever_its_double_reads(variants):
    """As seen: fp32 was thrown out by a limit on latency, since its own bytes under another name were timed beside it."""
    results = _same_hash(variants)
    kept = results.table().query("metric == 'latency_p95' and recipe == 'fp32'").ci_high.max() * 1.001
    (advice,) = sl.advise(results, latency_ns=kept)
    assert advice.configuration.recipe == "fp32"


def test_a_file_timed_under_two_names_tells_the_noise(variants):
    """The two differ by 1.13, and nothing differs between them: that is the noise floor."""
    results = _same_hash(variants)
    assert grounds(results).control.contender.recipe == "adaptive_wi8"
    assert Findings(results).floor("mnist_cnn", 1) > 1.12
    alone = variants({"fp32": _of(400_000), "fp16": _of(600_000)}, control=404_000)
    assert Findings(alone).floor("mnist_cnn", 1) < 1.05


@pytest.mark.parametrize(
    "change", [{"options": "graph=basic"}, {"threads": 1}, {"batch_size": 2}, {"provider": "cuda"}, {"scenario": "server"}]
)
def test_the_same_bytes_with_other_settings_are_another_variant(variants, change):
    results = variants({"fp32": _of(400_000, **SAME)})
    one = results.plan()[0]
    other = replace(one, **change)
    results.save_plan([one, other], run_facts(), list(results.artifacts().values()))
    assert results.doubles() == {}
    same = replace(one, recipe="adaptive_wi8", evaluation_id="another")
    results.save_plan([same, one, other], run_facts(), list(results.artifacts().values()))
    assert results.doubles() == {same.id: one}


@pytest.mark.parametrize(
    ("recipes", "stands"),
    [
        (("adaptive_wi8", "fp16", "fp32"), "fp32"), (("adaptive_wi8", "fp16"), "fp16"),
        (("adaptive_wi8", "static_wi8_ai8"), "static_wi8_ai8"),
    ],
)  # fmt: skip
def test_the_plainest_recipe_stands_for_all(variants, recipes, stands):
    results = variants({recipe: _of(400_000, **SAME) for recipe in recipes})
    assert {one.recipe for one in results.doubles().values()} == {stands}
    assert [one.recipe for one in results.compared()] == [stands]


def test_what_was_not_timed_does_not_stand_for_what_was(variants):
    results = variants({"fp32": _of(0, **SAME), "adaptive_wi8": _of(400_000, **SAME)})
    assert [one.recipe for one in results.compared()] == ["adaptive_wi8"]


def test_an_unfit_run_names_the_only_one_and_the_one_that_is_told_from_all(variants):
    """Without a rival nothing has to be distinguished; where the baseline leads by more than the noise, it is named."""
    assert sl.advise(_noisy(variants, 2_000_000))[0].configuration.recipe == "fp32"
    results = _noisy(variants)
    results.save_plan([one for one in results.plan() if one.recipe == "fp32"], run_facts(), list(results.artifacts().values()))
    assert grounds(results).fitness.fit is Fit.NO
    assert sl.advise(results)[0].configuration.recipe == "fp32"


def test_what_spoke_against_the_machine_before_the_run_stands_in_the_first_line(variants):
    results = _lossy(variants)
    results.save_fitness(
        [{"cause": "it runs on battery: the clock is held down", "remedy": "plug it in"}, {"cause": "it is hot", "remedy": "wait"}]
    )
    assert summary.first_screen(results)[0].endswith("; before the run: it runs on battery: the clock is held down and 1 more.")


def test_repetitions_that_stayed_invalid_are_counted_in_the_first_line(variants):
    results = _lossy(variants)
    for repetition in range(3):
        results.record(measurement(results.plan()[1], repetition, status="invalid", reason="disturbed"))
    assert "NOT fit to measure: 3 repetitions stayed invalid of 24; a trial against itself reads" in summary.first_screen(results)[0]
