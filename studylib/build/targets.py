"""What is made of one model: the chain of recipes to each variant, the keys of everything on it, the jobs that make it."""

from dataclasses import dataclass, field
from functools import cached_property, reduce

from studylib.artifacts.code import code_digest
from studylib.artifacts.store import derived_key
from studylib.build.descriptions import inside_key, packed_key
from studylib.build.searched import searched
from studylib.build.sources import Sources
from studylib.formats import inside
from studylib.models.own import facts_of
from studylib.models.zoo import Model
from studylib.params import Effort
from studylib.params.recipe_names import split_recipe
from studylib.recipes import RETRAINED, Recipe, chain, composed
from studylib.results.records import PLAIN
from studylib.runtimes import RUNTIMES

Hops = list[tuple[str, str]]

# How long things take, in conversions of about this many seconds: for progress and for time limits.
_SECONDS, _SOURCE, _TRAINING = 3, 20, 10


@dataclass(frozen=True)
class Making:
    """Everything that is made of ``model``, by keys that are known before anything is made.

    ``name``: the name that tables show. ``search``: what decides the outcome of a search for an adaptive recipe.
    """

    name: str
    model: Model
    seed: int
    settings: Effort
    search: dict = field(default_factory=dict)

    @cached_property
    def sources(self) -> Sources:
        return Sources(self.model, self.seed)

    @property
    def n(self) -> int:
        """How many samples an evaluation takes."""
        return min(self.model.test_samples, self.settings.eval_samples)

    @property
    def counts(self) -> dict[str, int]:
        """How many training samples each kind of lesson has."""
        return {"calibration": self.settings.calibration_samples, "training": self.model.train_samples}

    def way(self, hops: Hops) -> list[Recipe]:
        """The recipes to apply in turn, from the source model over every hop (recipe, format)."""
        format, recipes = self.model.source_format, []
        for name, target in hops:
            recipes += chain(name, target, format, self.model.trust, self.seed)
            format = target
        return recipes

    def keys(self, way: list[Recipe]) -> list[str]:
        """The keys of the source model and of what each recipe on the way makes."""
        keys = [self.sources.model_key]
        for recipe in way:
            keys.append(recipe.key(keys[-1], self._lessons(recipe, keys[-1])))
        return keys

    def origin(self, recipes: list[str]) -> dict:
        """Where the model comes from and what its outputs mean, and the same of the versions of it that ``recipes`` train."""
        bases = dict.fromkeys(base for name in recipes if (base := split_recipe(name)[0]) and self._trained(base))
        return {
            "source": self.sources.model_key,
            "samples": self.sources.samples_key("test", self.n),
            "reference": self.sources.reference_key(self.n),
            "source_format": self.model.source_format,
            "task": self.model.task,
            "independent": self.model.independent_samples,
            "data": self.model.data,
            "stream": self.model.stream,
            "versions": {base: self._version(base) for base in bases},
        }

    def jobs(self, wanted: list[tuple[Hops, bool]]) -> list[dict]:
        """What to make for the ways ``wanted`` (and whether only the matrix of formats needs each), in the order of need."""
        jobs = {job["key"]: job for job in self._first(wanted)}
        for hops, matrix in wanted:
            way = self.way(hops)
            keys = self.keys(way)
            for length in range(1, len(way) + 1):
                if keys[length] not in jobs:
                    jobs |= {job["key"]: job for job in self._step(way[:length], keys[: length + 1], matrix)}
        made = [job for job in jobs.values() if job["kind"] in ("source", "recipe")]
        jobs |= {job["key"]: job for job in self._references(wanted)}
        jobs |= {job["key"]: job for source in made for job in self._descriptions(source)}
        return [self._common | job for job in jobs.values()]

    # --- inside ------------------------------------------------------------------------------------------------------

    @property
    def _common(self) -> dict:
        counts = {"calibration": self.counts["calibration"], "training": self.counts["training"], "n": self.n}
        rest = {"needs": [], "steps": [], "matrix": False, "search": self.search, "weight": 1, "lessons": None}
        return {"model": facts_of(self.model), "seed": self.seed} | counts | rest

    def _step(self, way: list[Recipe], keys: list[str], matrix: bool) -> list[dict]:
        """The job of the last recipe on ``way``, after the search that it needs, if it needs one."""
        recipe, made = way[-1], reduce(composed, (step.name for step in way))
        lessons = self._lessons(recipe, keys[-2])
        needs = [self.sources.model_key, self.sources.reference_key(self.n), *([lessons] if lessons else []), *keys[1:-1]]
        common = {"recipe": made, "format": recipe.target, "matrix": matrix}
        label = f"{self.name} {self.sources.precision if made == PLAIN else made} {recipe.target} from {recipe.source_format}"
        weight = _TRAINING if recipe.learns_from == "training" else 1
        job = {
            "kind": "recipe",
            "key": keys[-1],
            "steps": _steps(way),
            "needs": needs,
            "label": label,
            "weight": weight,
            "lessons": lessons,
        }
        if recipe.learns_from != "search":
            return [common | job]
        before = {"kind": "search", "key": lessons, "steps": _steps(way[:-1]), "needs": [*needs[:2], *keys[1:-1]], "about": keys[-1]}
        return [common | before | {"label": f"{label}: search", "weight": 1 + self.search["seconds"] / _SECONDS}, common | job]

    def _lessons(self, recipe: Recipe, parent: str) -> str | None:
        """The key of the samples that a recipe learns from, or of the search that it applies."""
        if recipe.learns_from == "search":
            facts = self.search | {"task": self.model.task, "weights": self.model.weights, "seed": self.seed}
            lessons = [self.sources.model_key, *(self._samples_key(kind) for kind in self.counts)]
            return search_key(parent, lessons, facts, recipe.packages)
        return self._samples_key(recipe.learns_from) if recipe.learns_from else None

    def _samples_key(self, kind: str) -> str:
        return self.sources.samples_key("train", self.counts[kind])

    def _first(self, wanted: list[tuple[Hops, bool]]) -> list[dict]:
        """The source model, samples, the source model's own outputs."""
        source, test, reference = self.sources.model_key, self.sources.samples_key("test", self.n), self.sources.reference_key(self.n)
        learned = {recipe.learns_from for hops, _ in wanted for recipe in self.way(hops)}
        kinds = ["calibration", *(["training"] if learned & {"training", "search"} else [])]
        opened = {"needs": [source]} if self.model.reads_file else {}
        train = [
            {"split": "train", "n": self.counts[kind], "key": self._samples_key(kind), "label": f"{self.name}, {kind} samples"}
            for kind in kinds
        ]
        float32 = {"recipe": "fp32", "format": self.model.source_format}
        samples = [{"split": "test", "key": test, "label": f"{self.name}, test samples"}, *train]
        return [
            {"kind": "source", "key": source, "label": f"{self.name}, the model itself", "weight": _SOURCE} | float32,
            *({"kind": "samples"} | opened | one for one in samples),
            {"kind": "reference", "key": reference, "needs": [source, test], "label": f"{self.name}, reference outputs"},
        ]

    def _trained(self, base: str) -> list[Recipe] | None:
        """The way to the retrained version of the model, or None where it cannot be trained, or not with the packages here."""
        way = chain(base, RETRAINED[base].target, self.model.source_format, self.model.trust, self.seed)
        return None if way is None or any(step.missing() for step in way) else way

    def _version(self, base: str) -> dict:
        key = self.keys(self._trained(base))[-1]
        return {"source": key, "source_format": RETRAINED[base].target, "reference": self.sources.reference_key(self.n, key)}

    def _references(self, wanted: list[tuple[Hops, bool]]) -> list[dict]:
        """The outputs of every retrained version: what its own conversions are held against."""
        bases = dict.fromkeys(base for hops, _ in wanted for name, _ in hops if (base := split_recipe(name)[0]))
        found = []
        for base in bases:
            way = self._trained(base)
            keys = self.keys(way)
            needs = [keys[0], self.sources.samples_key("test", self.n), *keys[1:]]
            facts = {"kind": "reference", "key": self._version(base)["reference"], "steps": _steps(way), "needs": needs}
            found.append(facts | {"recipe": base, "label": f"{self.name} {base}, reference outputs"})
        return found

    def _descriptions(self, made: dict) -> list[dict]:
        """What to find out of an artifact once it is made."""
        common = {name: made[name] for name in ("recipe", "steps", "matrix", "lessons") if name in made} | {"about": made["key"]}
        name, found = f"{self.name} {made['recipe']} {made['format']}", []
        if made["format"] in inside.FORMATS:
            needs = [made["key"], self.sources.samples_key("test", self.n)]
            found.append({"kind": "inside", "key": inside_key(made["key"]), "needs": needs, "label": f"{name}, what is inside"})
        if made["kind"] == "recipe" and not made["matrix"]:
            found.append({"kind": "packed", "key": packed_key(made["key"]), "needs": [made["key"]], "label": f"{name}, packed"})
        return [common | job for job in found]


def search_key(parent: str, lessons: list[str], options: dict, packages: tuple[str, ...]) -> str:
    """The key of a search for an adaptive recipe: its outcome depends on this host's speed, which ``options`` name."""
    return derived_key("search", options, (parent, *lessons), code_digest(searched, *(type(one) for one in RUNTIMES.values())), packages)


def _steps(way: list[Recipe]) -> list[list[str]]:
    return [[recipe.name, recipe.source_format, recipe.target] for recipe in way]
