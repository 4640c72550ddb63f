"""What was assumed of the samples of a user's model, to stand beside the numbers that depend on it.

`studylib.models.own.data.samples` writes the notes into the lineage of the samples; everything here reads them from stored results.
"""


def of_samples(artifacts: dict[str, dict], model: str) -> dict[str, list[str]]:
    """The notes on the test samples of ``model``: lists of sentences by kind; empty for a model of the zoo.

    ``artifacts``: facts by key, as `Results.artifacts` gives them.
    """
    wanted = {"model": model, "format": "samples", "precision": "test"}
    found = (one for one in artifacts.values() if wanted.items() <= {name: one.get(name) for name in wanted}.items())
    return next((one["lineage"][-1].get("notes") or {} for one in found), {})


def beside_accuracy(artifacts: dict[str, dict], model: str) -> str:
    """What decides whether an accuracy is true, in one text: order of classes, scaling, what was left out; warnings first."""
    notes = of_samples(artifacts, model)
    return "; ".join([*(f"WARNING: {text}" for text in notes.get("warnings", ())), *notes.get("accuracy", ())])


def warning(artifacts: dict[str, dict], model: str) -> str:
    """What may make an accuracy false, for the sentence that tells it; empty where nothing does."""
    return "; ".join(of_samples(artifacts, model).get("warnings", ()))


def of_row(artifacts: dict[str, dict], model: str) -> str:
    """What a timed row has to say of its input: that it is one value long though it may have any length."""
    return "; ".join(of_samples(artifacts, model).get("single", ()))
