"""What does not go together, and the words for it."""

from studylib.models.zoo import MODELS
from studylib.params.recipe_names import TRAINING
from studylib.study.opening import open_study
from studylib.study.refusals import why_not_here

PIECES = MODELS["efficientnet_lite0"]


def test_what_cannot_be_taught_is_not_taught_unless_it_is_asked_for():
    for recipe in TRAINING:
        why = why_not_here(recipe, "onnxruntime", PIECES)
        assert why.startswith(
            f"{recipe} trains, and the samples of efficientnet_lite0 cannot carry that: they are many pieces of few pictures"
        )
        assert why.endswith("or TEACH=1 to train all the same")
        assert why_not_here(recipe, "onnxruntime", PIECES, teach=True) is None
        assert why_not_here(recipe, "onnxruntime", MODELS["mnist_cnn"]) is None
    assert why_not_here("static_wi8_ai8", "onnxruntime", PIECES) is None


def test_a_study_skips_it_with_the_reason_and_trains_nothing():
    asked = {"models": ("efficientnet_lite0",), "recipes": ("fp32", "pruned_channels50", "fp16"), "write": lambda line: None}
    study = open_study("cpu", "quick", **asked)
    skipped = {trial.recipe for trial in study.trials if trial.reason and "cannot carry that" in trial.reason}
    assert skipped == {"pruned_channels50"}
    assert "pruned_channels50" not in {target.recipe for target in study.plan.targets}
    taught = open_study("cpu", "quick", **asked, teach=True)
    assert "pruned_channels50" in {target.recipe for target in taught.plan.targets}
    assert "TEACH=1" in taught.params.command()
