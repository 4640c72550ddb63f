"""What is made of one model: the chain of recipes to each variant, the keys of everything on it, what to make in which order."""

from dataclasses import dataclass, field
from functools import cached_property, reduce

from studylib.artifacts.code import code_digest
from studylib.artifacts.store import derived_key
from studylib.build.descriptions import inside_key, packed_key
from studylib.build.jobs import Target
from studylib.build.origin import Origin, Version
from studylib.build.searched import searched
from studylib.build.sources import Sources
from studylib.formats import inside
from studylib.models.own import named
from studylib.models.zoo import Model
from studylib.params.efforts import Effort
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

    def origin(self, recipes: list[str]) -> Origin:
        """Where the model comes from and what its outputs mean, and the same of the versions of it that ``recipes`` train."""
        bases = dict.fromkeys(base for name in recipes if (base := split_recipe(name)[0]) and self._trained(base))
        return Origin(
            source=self.sources.model_key,
            samples=self.sources.samples_key("test", self.n),
            reference=self.sources.reference_key(self.n),
            source_format=self.model.source_format,
            task=self.model.task,
            independent=self.model.independent_samples,
            data=self.model.data,
            stream=self.model.stream,
            versions={base: self._version(base) for base in bases},
        )

    def targets(self, wanted: list[tuple[Hops, bool]]) -> list[Target]:
        """What to make for the ways ``wanted`` (and whether only the matrix of formats needs each), in the order of need."""
        found = {target.key: target for target in self._first(wanted)}
        for hops, matrix in wanted:
            way = self.way(hops)
            keys = self.keys(way)
            for length in range(1, len(way) + 1):
                if keys[length] not in found:
                    found |= {target.key: target for target in self._step(way[:length], keys[: length + 1], matrix)}
        made = [target for target in found.values() if target.kind in ("source", "recipe")]
        found |= {target.key: target for target in self._references(wanted)}
        found |= {target.key: target for source in made for target in self._descriptions(source)}
        return list(found.values())

    # --- inside ------------------------------------------------------------------------------------------------------

    def _target(self, kind: str, **facts) -> Target:
        common = {"model": named(self.model), "seed": self.seed, "n": self.n, "search": self.search} | self.counts
        return Target(kind=kind, **common | facts)

    def _step(self, way: list[Recipe], keys: list[str], matrix: bool) -> list[Target]:
        """The target of the last recipe on ``way``, after the search that it needs, if it needs one."""
        recipe, made = way[-1], reduce(composed, (step.name for step in way))
        lessons = self._lessons(recipe, keys[-2])
        first = (self.sources.model_key, self.sources.reference_key(self.n))
        common = {"recipe": made, "format": recipe.target, "matrix": matrix}
        label = f"{self.name} {self.sources.precision if made == PLAIN else made} {recipe.target} from {recipe.source_format}"
        target = self._target(
            "recipe",
            key=keys[-1],
            steps=_steps(way),
            needs=(*first, *([lessons] if lessons else []), *keys[1:-1]),
            label=label,
            weight=_TRAINING if recipe.learns_from == "training" else 1,
            lessons=lessons,
            **common,
        )
        if recipe.learns_from != "search":
            return [target]
        before = {"key": lessons, "steps": _steps(way[:-1]), "needs": (*first, *keys[1:-1]), "about": keys[-1]}
        weight = 1 + self.search["seconds"] / _SECONDS
        return [self._target("search", **common, **before, label=f"{label}: search", weight=weight), target]

    def _lessons(self, recipe: Recipe, parent: str) -> str | None:
        """The key of the samples that a recipe learns from, or of the search that it applies."""
        if recipe.learns_from == "search":
            facts = self.search | {"task": self.model.task, "weights": self.model.weights, "seed": self.seed}
            lessons = [self.sources.model_key, *(self._samples_key(kind) for kind in self.counts)]
            return search_key(parent, lessons, facts, recipe.packages)
        return self._samples_key(recipe.learns_from) if recipe.learns_from else None

    def _samples_key(self, kind: str) -> str:
        return self.sources.samples_key("train", self.counts[kind])

    def _first(self, wanted: list[tuple[Hops, bool]]) -> list[Target]:
        """The source model, samples, the source model's own outputs."""
        source, test, reference = self.sources.model_key, self.sources.samples_key("test", self.n), self.sources.reference_key(self.n)
        learned = {recipe.learns_from for hops, _ in wanted for recipe in self.way(hops)}
        kinds = ["calibration", *(["training"] if learned & {"training", "search"} else [])]
        needs = (source,) if self.model.reads_file else ()
        train = [
            self._target(
                "samples",
                split="train",
                n=self.counts[kind],
                key=self._samples_key(kind),
                label=f"{self.name}, {kind} samples",
                needs=needs,
            )
            for kind in kinds
        ]
        label = f"{self.name}, the model itself"
        return [
            self._target("source", key=source, label=label, weight=_SOURCE, format=self.model.source_format),
            self._target("samples", split="test", key=test, label=f"{self.name}, test samples", needs=needs),
            *train,
            self._target("reference", key=reference, needs=(source, test), label=f"{self.name}, reference outputs"),
        ]

    def _trained(self, base: str) -> list[Recipe] | None:
        """The way to the retrained version of the model, or None where it cannot be trained, or not with the packages here."""
        way = chain(base, RETRAINED[base].target, self.model.source_format, self.model.trust, self.seed)
        return None if way is None or any(step.missing() for step in way) else way

    def _version(self, base: str) -> Version:
        key = self.keys(self._trained(base))[-1]
        return Version(source=key, source_format=RETRAINED[base].target, reference=self.sources.reference_key(self.n, key))

    def _references(self, wanted: list[tuple[Hops, bool]]) -> list[Target]:
        """The outputs of every retrained version: what its own conversions are held against."""
        bases = dict.fromkeys(base for hops, _ in wanted for name, _ in hops if (base := split_recipe(name)[0]))
        found = []
        for base in bases:
            way = self._trained(base)
            keys = self.keys(way)
            needs = (keys[0], self.sources.samples_key("test", self.n), *keys[1:])
            facts = {"key": self._version(base).reference, "steps": _steps(way), "needs": needs, "recipe": base}
            found.append(self._target("reference", **facts, label=f"{self.name} {base}, reference outputs"))
        return found

    def _descriptions(self, made: Target) -> list[Target]:
        """What to find out of an artifact once it is made."""
        common = {"recipe": made.recipe, "steps": made.steps, "matrix": made.matrix, "lessons": made.lessons, "about": made.key}
        name, found = f"{self.name} {made.recipe} {made.format}", []
        if made.format in inside.FORMATS:
            needs = (made.key, self.sources.samples_key("test", self.n))
            found.append(self._target("inside", **common, key=inside_key(made.key), needs=needs, label=f"{name}, what is inside"))
        if made.kind == "recipe" and not made.matrix:
            found.append(self._target("packed", **common, key=packed_key(made.key), needs=(made.key,), label=f"{name}, packed"))
        return found


def search_key(parent: str, lessons: list[str], options: dict, packages: tuple[str, ...]) -> str:
    """The key of a search for an adaptive recipe: its outcome depends on this host's speed, which ``options`` name."""
    return derived_key("search", options, (parent, *lessons), code_digest(searched, *(type(one) for one in RUNTIMES.values())), packages)


def _steps(way: list[Recipe]) -> tuple[tuple[str, str, str], ...]:
    return tuple((recipe.name, recipe.source_format, recipe.target) for recipe in way)
