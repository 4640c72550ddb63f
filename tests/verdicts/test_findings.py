"""What follows from results is computed once, and anew when a file has changed."""

from collections import Counter

from studylib.report.sections import TABLES
from studylib.stats import Verdict
from studylib.verdicts import compare
from studylib.verdicts.findings import Findings, once
from tests.recorded_results import measurement


def test_the_same_findings_as_long_as_no_file_has_changed(recorded):
    results = recorded()
    first = Findings.of(results)
    assert Findings.of(results) is first is Findings.of(first)
    results.record(measurement(results.plan()[0], 8))
    assert Findings.of(results) is not first


def test_a_function_of_findings_is_computed_once_for_its_arguments(recorded):
    asked = []

    @once
    def doubled(findings, number=1):
        asked.append(number)
        return 2 * number

    results = recorded()
    assert [doubled(results, 3), doubled(Findings.of(results), 3), doubled(results, number=4), doubled(results)] == [6, 6, 8, 2]
    assert asked == [3, 4, 1]
    assert doubled(Findings(results), 3) == 6
    assert asked == [3, 4, 1, 3]


def test_all_tables_together_compare_each_pair_once(recorded, monkeypatch):
    asked, compared = Counter(), compare.speed_up

    def counted(baseline, contender, *rest):
        asked[baseline.id, contender.id] += 1
        return compared(baseline, contender, *rest)

    monkeypatch.setattr(compare, "speed_up", counted)
    findings = Findings(recorded())
    for section in TABLES:
        section.make(findings)
    assert len(asked) >= 2
    assert set(asked.values()) == {1}


def test_a_verdict_within_the_noise_is_withheld_with_a_note(variants):
    rows = {"fp32": (400_000, {}, 95, 90.0, {}), "fp16": (385_000, {}, 95, 60.0, {})}
    findings = Findings(variants(rows, control=370_000))
    found = next(one for one in findings.speed_ups if one.contender.recipe == "fp16")
    assert (found.comparison.verdict, found.verdict) == (Verdict.FASTER, Verdict.CANNOT_TELL)
    assert found.verdict_text.startswith("cannot tell: within this run's noise [0.9")
    plain = next(one for one in Findings(variants(rows)).speed_ups if one.contender.recipe == "fp16")
    assert (plain.verdict, plain.note) == (Verdict.FASTER, "")
