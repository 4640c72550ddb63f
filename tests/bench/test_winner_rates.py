"""When two studies agree about who wins."""

import pytest

from studylib.bench.winner_rates import Named


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
