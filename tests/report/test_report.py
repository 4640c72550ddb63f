import json
import re
from dataclasses import replace

import pytest

import studylib as sl
from studylib.errors import InputError
from studylib.report import machines, report, summary
from studylib.report.by_name import tables
from studylib.report.figures import drawing
from studylib.report.sections import TABLES, in_report
from studylib.results import standing
from studylib.results.results import Results
from studylib.wording import digits, markdown, some
from tests.recorded_results import EVALUATED, measurement, run_facts, small_study, trial


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a small study, for tests that read it."""
    return report.build(small_study(tmp_path_factory.mktemp("page") / "cpu"))


def test_the_page_loads_nothing_from_the_network(page):
    html = page.read_text()
    assert re.findall(r"(?:src|href)\s*=\s*(?![\"'](?:data:|#))", html) == []
    assert not re.search(r"https?://|url\(|@import|<script|<iframe|<link", html)


def test_the_page_shows_figures_tables_reasons_and_how_to_run_it_again(page):
    html = page.read_text()
    assert html.count("<figure") == 5
    assert html.count('alt="') == 5
    assert "no such recipe here" in html
    assert "cannot tell" in html
    assert "make study HW=cpu EFFORT=smoke" in html


def test_markdown_and_pictures_lie_beside_the_page(page):
    text = (page.parent / "report.md").read_text()
    pictures = re.findall(r"\]\((.+?\.svg)\)", text)
    assert len(pictures) == 5
    for picture in pictures:
        assert (page.parent / picture).stat().st_size > 1000
        assert (page.parent / picture).with_suffix(".png").stat().st_size > 1000


@pytest.mark.parametrize("native", [True, False])
def test_every_figure_says_whether_it_is_native(recorded, native):
    results = recorded(native=native)
    page = report.build(results)
    pictures = sorted((results.folder / "figures").glob("*.svg"))
    assert len(pictures) == (5 if native else 4)  # a rehearsal names nobody the fastest
    for picture in pictures:
        assert ("REHEARSAL, not Test machine" in picture.read_text()) is not native
        assert ("Native: measured on" in picture.read_text()) is native
    top = page.read_text().split("<h2>")[0]
    assert ("REHEARSAL of Test machine on a test host" in top) is not native
    assert ("**REHEARSAL of Test machine" in (page.parent / "report.md").read_text().split("##")[0]) is not native


def test_figures_are_the_same_for_the_same_results(recorded):
    results = recorded()
    first = list(drawing.draw_all(results))
    bytes_of = {made.name: (results.folder / "figures" / f"{made.name}.svg").read_bytes() for made in first}
    drawing.draw_all(results)
    assert all((results.folder / "figures" / f"{name}.svg").read_bytes() == content for name, content in bytes_of.items())


def test_text_from_results_cannot_become_markup(recorded, no_pictures):
    results = recorded()
    results.record_evaluation("evaluation-fast", {"status": "failed", "reason": "<script>alert(1)</script> | x"})
    html = report.build(results).read_text()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_pictures_of_an_earlier_study_do_not_stay(recorded):
    results = recorded()
    page = report.build(results)
    results.save_plan(results.plan()[-1:], run_facts(), [])
    report.build(results)
    assert list((results.folder / "figures").glob("*.svg")) == list(page.parent.glob("*.svg")) == []


def test_the_fastest_lists_every_rival_it_does_not_beat(recorded):
    """A trial with more fast values but a slower typical repetition must not win."""
    results = recorded()
    row, _ = tables.winners(results).to_dict("records")
    assert (row["winner"], row["not distinguishable from it"]) == ("onnxruntime fp32", "")


def test_what_was_measured_apart_is_not_said_to_be_as_fast(tmp_path):
    results, trials = Results(tmp_path), [trial(recipe=name, artifact_key=name[-1] * 64) for name in ("fp32", "fp16")]
    results.save_plan(trials, run_facts(), [])
    results.record_evaluation(trials[0].evaluation_id, EVALUATED | {"n": 1000, "agreeing": [True] * 1000, "sqnr": 90.0})
    for repetition in range(8):
        results.record(measurement(trials[0], repetition))
        later = {"session": "another", "started_at": "2026-02-02T00:00:00+00:00", "ended_at": "2026-02-02T01:00:00+00:00"}
        results.record(measurement(trials[1], repetition, [90_000] * 200, **later))
    row, _ = tables.winners(results).to_dict("records")
    assert (row["not distinguishable from it"], row["measured apart from it"]) == ("", "onnxruntime fp32")


def test_long_lists_of_names_are_counted():
    assert some(["a", "b"]) == "a, b"
    assert some(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert some([]) == ""


def test_findings_are_computed_from_results(recorded):
    sentences = summary.summary(recorded())
    assert sentences[0].startswith("Native: measured on a test host. Fit to measure: a trial against itself reads 1.00x [0.99")
    assert sentences[1] == "mnist_cnn: use onnxruntime, provider cpu, recipe fp32, 2 threads, batch 1, the runtime's defaults."
    assert re.match(r"Median 0\.\d+ \[0\.\d+, 0\.\d+\] ms \(n 1600\); (2\.0|1\.9)\d?x \[", sentences[2])
    assert sentences[-1] == "1 of 4 trials were not timed (1 skipped); the table of trials without numbers gives each reason."


def test_a_study_without_any_timing_still_reports(recorded):
    results = recorded(rounds=0)
    assert "pending" in report.build(results).read_text()


def test_markdown_tables_keep_their_columns():
    import pandas as pd

    assert markdown(pd.DataFrame({"a|b": ["x|y"], "c": [1.23456]})) == "| a\\|b | c |\n| --- | --- |\n| x\\|y | 1.23 |"


def test_tables_of_an_unknown_or_empty_set_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(tmp_path))
    with pytest.raises(InputError, match="Unknown hardware set"):
        standing.read_results("cpuu")
    with pytest.raises(InputError, match="no study ran here yet"):
        standing.read_results("movidius")


def test_machines_side_by_side_are_marked(recorded):
    results = recorded(native=False)
    text = machines.write(results.folder.parent).read_text()
    assert "cpu (REHEARSAL) p50_ms" in text
    assert "REHEARSAL, not Test machine" in text


def test_what_to_set_stands_in_the_report_and_in_the_findings(recorded):
    page = report.build(recorded())
    words = "mnist_cnn: use onnxruntime, provider cpu, recipe fp32, 2 threads, batch 1"
    for text in (page.read_text(), (page.parent / "report.md").read_text()):
        assert words in text.split("What to set")[1]
        assert "Which to choose for which project" in text
    assert any(sentence.startswith(words) for sentence in summary.summary(recorded()))


def test_comparing_nothing_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="nothing is measured"):
        machines.write(tmp_path)


def test_every_table_has_its_columns_even_when_nothing_could_be_made(tmp_path):
    results = Results(tmp_path)
    results.save_plan([trial()], run_facts(failures={"a" * 64: "converter failed"}), [])
    made = {section.id: section.make(results) for section in in_report(TABLES)}
    assert all("model" in frame for name, frame in made.items() if name not in ("over_models", "peaks", "passport", "recorded"))
    assert made["not_measured"].reason.tolist() == ["converter failed"]
    assert "converter failed" in report.build(results).read_text()


@pytest.mark.parametrize(
    ("value", "text"),
    [(29634.2, "29,600"), (0.031234, "0.0312"), (3, "3.00"), (999.6, "1,000"), (0, "0"), (float("nan"), "nan"), (-12.34, "-12.3")],
)
def test_digits_are_three_and_never_an_exponent(value, text):
    assert digits(value) == text


def test_any_title_can_be_drawn_and_printed(recorded):
    """Neither mathtext nor Markdown nor HTML may read meaning into a name."""
    results = recorded(native=False)
    run = results.run() | {"title": "Box $\\frac$ <script>x</script> [a](b) `c`"}
    (results.folder / "run.json").write_text(json.dumps(run))
    page = report.build(results)
    assert "<script>" not in page.read_text()
    text = (page.parent / "report.md").read_text()
    assert "<script>" not in text
    assert "[a](b)" not in text.replace("\\[a](b)", "")


def test_an_unfinished_study_says_so_first(recorded):
    results = recorded(rounds=3)
    words = "INCOMPLETE: 3 of 4 trials still lack repetitions; nothing here is final."
    assert summary.summary(results)[1] == words
    assert words in report.build(results).read_text().split("<h2>Findings")[0]
    assert "INCOMPLETE: 3 of 4" in (results.folder / "figures" / "latency.svg").read_text()


def test_a_broken_neighbour_does_not_keep_machines_apart(recorded):
    results = recorded()
    (results.folder.parent / "zzz").mkdir()
    (results.folder.parent / "zzz" / "plan.json").write_text("[]")
    text = machines.write(results.folder.parent).read_text()
    assert "cpu (native) p50_ms" in text
    assert "**zzz** is left out" in text


def test_notebooks_show_a_reason_to_its_end(recorded):
    results = recorded()
    plan = json.loads((results.folder / "plan.json").read_text())
    plan[-1]["reason"] = "no path, since " + "one thing leads to another and " * 10 + "that is all"
    (results.folder / "plan.json").write_text(json.dumps(plan))
    assert "that is all" in sl.tables.not_measured(results)._repr_html_()


def test_the_fastest_of_a_larger_batch_is_one_that_keeps_the_budget(variants):
    right = {"evaluation": {"n": 1000, "agreeing": [True] * 1000, "correct": [True] * 1000}}
    wrong = {"evaluation": {"n": 1000, "agreeing": [True] * 1000, "correct": [True] * 400 + [False] * 600}}
    results = variants({"fp32": (200_000, {}, 0, 90.0, right), "dynamic_wi8_afp32": (50_000, {}, 0, 3.0, wrong)})
    large = [replace(one, batch_size=8, scenario="offline") for one in results.plan()]
    for one, ns in zip(large, (800_000, 300_000), strict=True):
        for repetition in range(8):
            results.record(measurement(one, repetition, [ns] * 200))
    results.save_plan([*results.plan(), *large], run_facts(), list(results.artifacts().values()))
    (told,) = [sentence for sentence in summary.summary(results) if sentence.startswith("mnist_cnn, batch 8")]
    assert told.startswith("mnist_cnn, batch 8: the fastest within the accuracy budget is onnxruntime fp32 x8, median 0.8")
    assert told.endswith(
        "; faster, and not known to keep the budget: onnxruntime dynamic_wi8_afp32 x8 (lost 60.0 points of accuracy (n 1000), up to 62.9 "
        "within the interval)."
    )
    assert "batch 1:" not in " ".join(summary.summary(results))  # that is what the advice is for


def test_tables_show_three_digits_and_keep_their_values(recorded):
    """Nothing else that pandas shows changes, in a notebook neither."""
    import pandas as pd

    results = recorded()
    table = sl.tables.latency(results)
    assert table.n.dtype.kind == "i"
    table["raw"], table["reason"] = 1234567.891, "a sentence of more than fifty characters, which pandas would cut in the middle"
    for shown in (repr(table[["raw", "reason"]]), table._repr_html_()):
        assert "1,230,000" in shown
        assert "which pandas would cut in the middle" in shown
    assert table.raw[0] == 1234567.891
    assert "1234567.891" in repr(pd.DataFrame({"raw": [1234567.891]}))
    assert pd.get_option("display.float_format") is None


def test_an_unknown_table_is_told_with_the_known_ones():
    with pytest.raises(AttributeError, match=r"Unknown table 'latencies'\. Known: accuracy_changes, adaptive, .*Did you mean 'latency'"):
        sl.tables.latencies  # noqa: B018
