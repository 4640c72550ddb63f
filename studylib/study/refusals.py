"""Why a model and a recipe do not go together, in words, known before anything runs."""

from studylib.formats.inside.precision import HALVES, WHOLE
from studylib.models.zoo import Model
from studylib.params.recipe_names import split_recipe
from studylib.results.records import PLAIN


def why_not_here(recipe: str, runtime: str, model: Model, teach: bool = False) -> str | None:
    """Why a recipe that trains is not for this model or runtime, or None. ``teach``: it trains whatever the samples can carry.

    Retrained versions are timed where they are deployed: TensorFlow takes seconds to start, and is there to be compared with.
    """
    base = split_recipe(recipe)[0]
    if base and model.data == "synthetic":
        return f"{base} trains, and {model.name} has no real samples here: noise teaches nothing; give DATA"
    if base and not model.independent_samples and not teach:
        return (
            f"{base} trains, and the samples of {model.name} cannot carry that: they are many pieces of few pictures, without labels, "
            "and what is learned from them does not hold on others. Give DATA with labels, or TEACH=1 to train all the same"
        )
    return f"tensorflow is the baseline, in fp32; {recipe} is measured in the other runtimes" if base and runtime == "tensorflow" else None


def why_already(recipe: str, target: str, model: Model) -> str | None:
    """Why a recipe cannot begin with a model that somebody quantized before, or None."""
    # ai-edge-quantizer takes float32 weights only; of an ONNX file that is made of such a one, they are float32.
    halves = model.precision in HALVES and target == "tflite"
    if recipe == PLAIN or not (model.precision in WHOLE or halves):
        return None
    return f"{model.name} is already {model.precision}: it is measured as it came. For {recipe} start from its float32 version"


def why_no_stream(scenario: str, model: Model) -> str | None:
    """Why a model cannot be streamed, or None."""
    if scenario == "streaming" and not model.stream:
        return f"{model.name} carries no state from query to query; the scenario 'streaming' is for models that do"
    return None
