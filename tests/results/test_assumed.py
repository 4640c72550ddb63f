"""What was assumed stands beside the numbers that depend on it."""

from studylib.results import assumed


def _artifacts(**notes):
    common = {"model": "mine", "format": "samples", "precision": "test", "lineage": [{"made_by": "samples:mine", "notes": notes}]}
    train = common | {"precision": "train", "lineage": [{"notes": {"warnings": ["of the training samples"]}}]}
    return {"a": train, "b": common, "c": common | {"model": "other", "lineage": [{"made_by": "samples:other"}]}}


def test_warnings_come_first_beside_an_accuracy():
    found = _artifacts(warnings=["three folders"], accuracy=["blue is class 0", "scaled"], assumed=["standard normal"])
    assert assumed.beside_accuracy(found, "mine") == "WARNING: three folders; blue is class 0; scaled"
    assert assumed.warning(found, "mine") == "three folders"
    assert assumed.of_row(found, "mine") == ""


def test_a_single_value_is_told_in_the_row_and_a_model_without_notes_has_none():
    found = _artifacts(single=["'x' is one value long"])
    assert assumed.of_row(found, "mine") == "'x' is one value long"
    assert [tell(found, "other") for tell in (assumed.beside_accuracy, assumed.warning, assumed.of_row)] == ["", "", ""]
    assert assumed.of_samples(found, "unknown") == {}
