import math

import numpy as np
import pytest

from studylib.adaptive import Budget
from studylib.adaptive.budget import Judge, Judgement, check_apart, limit
from studylib.errors import InputError, RefusedError
from studylib.models.zoo import Samples
from studylib.verdicts import losses


def numbered(n: int, labels=None) -> Samples:
    return Samples({"x": np.arange(n, dtype=np.float32)[:, None]}, labels)


def scores(classes, n=3) -> np.ndarray:
    return np.eye(n, dtype=np.float32)[np.asarray(classes)][:, None]


def answering(found: np.ndarray):
    """A run that gives row i of ``found`` for the sample i."""
    return lambda inputs: {"y": found[int(inputs["x"][0, 0])]}


def test_which_part_of_a_budget_applies():
    labels = np.zeros(3, int)
    assert limit(Budget(), labels, "classification").measure == "accuracy"
    assert limit(Budget(), None, "classification").measure == "agreement"
    assert limit(Budget(), None, "speech_recognition").measure == "agreement"
    assert limit(Budget(), None, "other").sqnr_db == 20 and limit(Budget(), None, "other").loss is None
    assert limit(Budget(None, 30), labels, "classification").loss is None
    both = limit(Budget(0.02, 30), labels, "classification")
    assert (both.loss, both.sqnr_db) == (0.02, 30)
    with pytest.raises(InputError, match="The budget allows any loss; give max_accuracy_loss"):
        limit(Budget(None, None), labels, "classification")


def test_so_few_may_be_lost_that_the_budget_is_likely_and_gains_do_not_count():
    allowed = limit(Budget(0.01), np.zeros(1), "classification")
    assert allowed.holds(Judgement(40, 39, 0.01, 4, 400)) and not allowed.holds_safely(Judgement(40, 39, 0.01, 4, 400))
    # One of 473 lost: were it truly one point, one or none would be seen in 5 of 100 searches.
    assert [allowed.most_lost(answers) for answers in (1, 298, 472, 473, 1000)] == [0, 0, 0, 1, 4]
    assert allowed.holds_safely(Judgement(40, 39, -0.01, 1, 473)) and not allowed.holds_safely(Judgement(40, 39, -0.01, 2, 473))
    assert [limit(Budget(loss), np.zeros(1), "classification").most_lost(400) for loss in (0, 0.05)] == [0, 12]
    assert "at most 1 points of accuracy, as a margin at most 4 of 1000 held-back answers lost" in allowed.words(1000)
    assert allowed.words(1000).endswith("lost")
    assert allowed.words(298).endswith("at most 0 of 298 held-back answers lost (too few answers to be sure of the budget)")


def test_exactly_the_budget_keeps_it():
    agreeing = np.array([False] * 3 + [True] * 297)
    lost = float(1 - agreeing.mean())
    assert lost > 0.01  # in its last bits
    assert limit(Budget(0.01), None, "classification").holds(Judgement(40, 39, lost, 3, 300))
    assert losses.Lost("agreeing", lost, 300).within(0.01)


def test_a_part_of_the_samples_can_be_enough_to_know():
    allowed = limit(Budget(0.02), np.zeros(1), "classification")
    # Of 400 samples three may be lost; four of the first hundred are lost already, three may still be all.
    assert allowed.is_lost(Judgement(40, 39, 0.04, 4, 100), 0.25) and not allowed.is_lost(Judgement(40, 39, 0.03, 3, 100), 0.25)
    assert not limit(Budget(None, 20), None, "other").is_lost(Judgement(1, 1, None, 0, 0), 0.25)


def test_sqnr_must_hold_at_the_low_end_of_its_interval():
    allowed = limit(Budget(None, 20), None, "other")
    assert allowed.holds(Judgement(20.5, 19, None, 0, 0)) and not allowed.holds_safely(Judgement(20.5, 19, None, 0, 0))
    assert not allowed.holds(Judgement(-math.inf, -math.inf, None, 0, 0))


def test_accuracy_is_lost_against_labels():
    reference = scores([0, 1, 2, 2])
    judge = Judge(numbered(4, np.array([0, 1, 2, 0])), {"y": reference}, "classification")
    found = judge(answering(scores([0, 0, 2, 0])))
    assert (found.loss, found.lost, found.answers) == (0.0, 1, 4)


def test_agreement_is_lost_against_the_source_model():
    judge = Judge(numbered(4), {"y": scores([0, 1, 2, 2])}, "classification")
    found = judge(answering(scores([0, 0, 2, 0])))
    assert (found.loss, found.lost, found.answers) == (0.5, 2, 4)


def test_outputs_that_are_no_scores_have_an_sqnr_only():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(16, 1, 50))
    judge = Judge(numbered(16), {"y": reference}, "other")
    found = judge(answering(reference + 0.1 * rng.normal(size=reference.shape)))
    assert found.loss is None and found.sqnr_db == pytest.approx(20, abs=1)
    assert found.sqnr_db - 1 < found.sqnr_low_db < found.sqnr_db
    assert judge(answering(reference)).sqnr_low_db == math.inf
    assert judge(answering(reference * np.nan)).sqnr_low_db == -math.inf


def test_the_first_samples_only():
    labels = np.array([0, 1, 2, 2])
    judge = Judge(numbered(4, labels), {"y": scores(labels)}, "classification").first(2)
    assert len(judge.samples) == 2 and judge(answering(scores([0, 0, 0, 0]))).loss == 0.5


def test_held_back_samples_must_not_have_calibrated():
    held_back = Samples({"x": np.array([[7.0], [3.0], [1.0]], np.float32)}, None)
    with pytest.raises(RefusedError, match=r"2 of 3 held-back samples are calibration samples as well \(first: number 1\)"):
        check_apart(numbered(5), held_back)
    check_apart(numbered(1), held_back)


def test_samples_and_reference_must_fit():
    with pytest.raises(RefusedError, match="held-back samples are empty"):
        Judge(numbered(0), {}, "other")
    with pytest.raises(InputError, match="The reference 'y' has 3 answers for 4 held-back samples"):
        Judge(numbered(4), {"y": scores([0, 1, 2])}, "classification")
