"""What the case of the photographs decides, on times and answers that were made up for the test."""

import numpy as np
import pytest

from studylib.results.case_results import CaseResult, Way
from studylib.verdicts.cases import image as image_case

N, ROUNDS = 100, 8


def _way(name: str, ms: float, wrong: int = 0, noise: float = 0.02, wall: float | None = None, seed: int = 1, **more) -> Way:
    """Photographs that take ``ms``, of which the first ``wrong`` are named wrongly."""
    rng = np.random.default_rng(seed)
    rounds = tuple(tuple((1e6 * ms * rng.lognormal(0, noise, N)).astype(int).tolist()) for _ in range(ROUNDS))
    walls = tuple(int(N * 1e6 * (wall or ms) * factor) for factor in rng.lognormal(0, noise / 4, ROUNDS))
    answers = [[place, [[9 if place < wrong else place % 5, 0.8], [place % 5, 0.1]]] for place in range(N)]
    return Way(name, "", {"runtime": name.partition(" ")[0]}, rounds, walls, {}, answers, **more)


def _result(tried: list[Way], story: list[Way], labelled: bool = True, unusable=()) -> CaseResult:
    labels = [place % 5 if labelled else -1 for place in range(N)]
    facts = {"files": [f"{place}.jpg" for place in range(N)], "labels": labels, "most_lost": 0.01, "unusable": list(unusable)}
    return CaseResult("image", "?", "cpu", "a host", (), "smoke", "2026-01-01T00:00:00+00:00", facts, tuple(tried), tuple(story))


PLAIN, LOSSY, GOOD = _way("tensorflow fp32", 40.0), _way("litert static_wi8_ai8", 5.0, wrong=2), _way("onnxruntime fp32", 10.0, wrong=1)


def test_the_fastest_that_keeps_the_budget_is_chosen():
    result = _result([PLAIN, LOSSY, GOOD, _way("openvino fp32", 12.0)], [])
    assert image_case.chosen(result).name == "onnxruntime fp32"  # one of a hundred lost is within one point, two are not
    assert image_case.quality(result, GOOD).lost.lost == 1
    assert image_case.quality(result, GOOD).top5.value == 1.0
    assert not image_case.quality(result, LOSSY).is_within


def test_without_labels_agreement_is_the_budget():
    result = _result([PLAIN, LOSSY, GOOD], [], labelled=False)
    assert image_case.quality(result, LOSSY).top1 is None
    assert image_case.chosen(result).name == "onnxruntime fp32"
    assert "Nobody labelled these photographs: onnxruntime fp32 names 99.0% of them first as tensorflow fp32 does." in image_case.decision(
        _result([PLAIN, LOSSY, GOOD], [PLAIN, GOOD], labelled=False)
    )


def test_what_failed_is_never_chosen():
    failed = Way("openvino fp32", "", reason="it is not here")
    assert image_case.chosen(_result([PLAIN, failed], [])).name == PLAIN.name
    assert image_case.chosen(_result([failed], [])) is None
    assert image_case.decision(_result([failed], [failed])) == ["Nothing was timed, and so nothing is decided."]


def test_a_service_gets_the_simplest_that_keeps_the_bound_and_bulk_the_most_a_second():
    same, batched = _way("onnxruntime fp32, small", 9.99, seed=2), _way("onnxruntime fp32, batch 8", 60.0, wall=6.0)
    service, bulk, right = image_case.decision(_result([PLAIN, GOOD], [PLAIN, GOOD, same, batched]))
    assert service.startswith("For a service: onnxruntime fp32. A photograph takes 9.99 [")
    assert "at p99, which keeps 50 ms; the plain way takes 40.0 ms." in service
    assert bulk.startswith("In bulk: onnxruntime fp32, batch 8. 167 [")
    assert "a million take 1.66 [" in bulk
    assert "hours here, 6.6" in bulk or "hours here, 6.7" in bulk
    assert right.startswith("onnxruntime fp32 names 99.0 [94.6, 100.0] % of them rightly, 100.0 [96.4, 100.0] % among five (n 100)")
    assert "it lost 1 and gained 0. So many photographs cannot show a loss of less than 2.7 points." in right


@pytest.mark.parametrize("ms", [49.0, 80.0])
def test_a_bound_that_the_unfavourable_end_breaks_is_not_kept(ms):
    slow = _way("tensorflow fp32", ms, noise=0.1)
    (service, *_) = image_case.decision(_result([slow], [slow]))
    assert service.startswith("No set-up keeps 50 ms at p99 here; nearest is tensorflow fp32 with ")


def test_too_few_values_for_a_percentile_decide_nothing():
    few = Way("tensorflow fp32", "", {}, PLAIN.rounds[:2], PLAIN.wall_ns[:2], {}, PLAIN.answers)
    (service, *_) = image_case.decision(_result([few], [few]))
    assert service == "Whether 50 ms are kept at p99 cannot be told: that takes 662 values."


def test_files_that_could_not_be_used_are_said():
    *_, last = image_case.decision(_result([PLAIN], [PLAIN], unusable=[["a.jpg", "it is cut off"], ["b.jpg", "it is text"]]))
    assert last == "2 files could not be used: a.jpg: it is cut off, and others."
