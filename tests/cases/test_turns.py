"""Ways take turns in a process; one that refuses, fails, dies or hangs costs itself alone."""

import pytest

from studylib.cases import turns
from studylib.results.case_results import Way
from tests.cases.handmade_case import Handmade

pytestmark = pytest.mark.slow
TOLD = {"threads": 1, "seed": 1, "memory_bytes": None}


def _taken(*setups: dict, rounds: int = 3, **told) -> tuple[list[Way], list[str]]:
    lines: list[str] = []
    ways = [Way(f"way {place}", "", setup) for place, setup in enumerate(setups)]
    return turns.take(Handmade(), ways, TOLD | told, rounds, lines.append), lines


def test_each_round_of_each_way_is_kept_and_said():
    (first, second), lines = _taken({"answer": "a"}, {"answer": "b"})
    assert first.rounds == ((1, 0), (2, 0), (3, 0))
    assert first.wall_ns == (5, 5, 5)
    assert first.stages_ns == {"only": (2, 2, 2)}
    assert first.answers == [[0, "a"], [1, "a"], [2, "a"]]
    assert second.answers[0] == [0, "b"]
    assert not first.reason + second.reason
    said = [line for line in lines if "round" in line]
    assert len(said) == 6
    assert said != sorted(said)  # in another order each round


@pytest.mark.parametrize(
    ("setup", "reason"),
    [
        ({"refuses": "this runtime is not here"}, "this runtime is not here"),
        ({"fails in": -1}, "it failed: no such picture"),
        ({"fails in": 1}, "it failed: no such picture"),
        ({"dies in": -1}, "crash: the process was killed by SIGKILL (often: out of memory)"),
        ({"dies in": 2}, "crash: the process was killed by SIGKILL (often: out of memory)"),
    ],
)
def test_one_that_cannot_costs_itself_alone(setup, reason):
    (before, broken, after), lines = _taken({}, setup, {})
    assert broken.reason == reason
    assert not broken.rounds
    assert len(before.rounds) == len(after.rounds) == 3
    assert any("the others are measured again without it" in line for line in lines) == ("dies in" in setup)


def test_one_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(turns, "_SILENT_S", 3.0)
    (fine, hanging), _ = _taken({}, {"hangs in": 1})
    assert hanging.reason == "timeout: no answer within 3 s; the process was killed"
    assert len(fine.rounds) == 3


def test_where_nothing_is_left_every_reason_is_there():
    ways, _ = _taken({"dies in": 0}, {"dies in": 1})
    assert all(way.reason.startswith("crash") for way in ways)


def test_a_process_that_never_opens_a_way_says_why():
    class Nowhere(Handmade):
        """Of no module: the process cannot find it."""

    (way,) = turns.take(Nowhere(), [Way("way", "")], TOLD, 3, lambda line: None)
    assert "Nowhere" in way.reason
