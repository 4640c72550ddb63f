"""When two studies agree about who wins."""

import pytest

from studylib.bench.winner_rates import Named, _measured
from tests.in_process import study_of, timed_shortly


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (Named("a", ()), Named("a", ("b",)), True),
        (Named("a", ("b",)), Named("b", ("a", "c")), True),
        (Named("a", ("b",)), Named("b", ()), False),
        (Named("a", ()), Named("b", ("a",)), False),
        (Named("", ()), Named("", ()), False),
        (Named("", ()), Named("a", ()), False),
    ],
)
def test_two_studies_agree_when_they_name_one_winner_or_each_knows_the_other_for_an_equal(one, other, agree):
    assert one.agrees(other) is agree
    assert other.agrees(one) is agree


def test_two_real_studies_name_whom_they_found(tmp_path):
    lines, study = [], study_of(tmp_path, "handmade", runtimes=("onnxruntime",), recipes=("fp32",))
    with timed_shortly():
        study.evaluate(matrix=False)
        named = [_measured(study, number, lines.append) for number in (1, 2)]
    assert len(lines) == 2
    assert all(line.startswith(f"study {number}: ") for number, line in enumerate(lines, 1))
    assert all(one.winner in ("", "onnxruntime fp32") for one in named)
    assert study.results.newest_campaign() == 2
