"""Make artifacts one after the other, in the process that a build is."""

import json

from studylib.artifacts.store import Artifact, Store
from studylib.build.jobs import BuildJob, Target
from studylib.build.site import Site
from studylib.errors import ArtifactError, OutputError, StudyError, kind_of, told

# What was under way, for the words of an error whose cause is not known.
_STAGES = {
    "source": "reading the model",
    "samples": "making samples",
    "reference": "asking the model itself",
    "recipe": "converting",
    "search": "searching precisions",
    "inside": "looking into the file",
    "packed": "packing the file",
}


def build(job: BuildJob, site: Site) -> dict:
    """Make artifacts one after the other and print a line for each; an error costs that artifact and what needs it."""
    failures, store = dict(job.failed), site.artifacts
    for target in job.targets:
        print(json.dumps({"begun": target.key}), flush=True)
        reason, kind = None, ""
        try:
            missing = next((failures[key] for key in target.needs if key in failures), None)
            if missing:
                raise ArtifactError(missing)
            make(target, store, site.given)
        except OutputError:
            raise  # a full disk is no finding about this artifact: the study stops and says so
        except StudyError as error:
            reason, kind = str(error), error.kind
        except Exception as error:  # a framework's converter may raise anything: the row shows it
            reason, kind = told(error, _STAGES[target.kind]), kind_of(error)
        if reason:
            failures[target.key] = reason
        print(json.dumps({"ended": target.key, "reason": reason, "kind": kind}), flush=True)
    return {}


def make(target: Target, store: Store, given: dict) -> Artifact:
    """The artifact that ``target`` describes, with everything it starts from. ``given``: by its name in jobs, what the user gave."""
    from studylib.build.descriptions import describe, packed
    from studylib.build.searched import searched
    from studylib.build.sources import Sources
    from studylib.models.own import find_model
    from studylib.models.zoo import Samples
    from studylib.recipes import find_recipe

    sources = Sources(find_model(given.get(target.model, target.model)), target.seed)
    if target.kind == "samples":
        return sources.samples(target.split, target.n, store)
    artifact = sources.source(store) if target.steps or target.kind != "reference" else None
    for step in target.steps:
        recipe = find_recipe(*step, sources.model.trust, target.seed)
        artifact = recipe(artifact, store, _lessons(recipe, sources, target, store))
    if target.kind == "reference":
        return sources.reference(target.n, store, artifact)
    if target.kind == "search":
        return searched(artifact, target, sources, store, given)
    if target.kind == "packed":
        return packed(artifact, store)
    if target.kind == "inside":
        query = Samples.load(sources.samples("test", target.n, store).path).batch(0, 1)
        return describe(artifact, {name: values.shape for name, values in query.items()}, store, sources.model.trust)
    return artifact


def _lessons(recipe, sources, target: Target, store: Store) -> Artifact | None:
    """What a recipe learns from: samples of the training split, or the search that was made before."""
    if recipe.learns_from == "search":
        return store.get(target.lessons)
    counts = {"calibration": target.calibration, "training": target.training}
    return sources.samples("train", counts[recipe.learns_from], store) if recipe.learns_from else None
