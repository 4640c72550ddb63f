"""The artifacts of one study: made when they are missing, trusted by their hash, described for people."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studylib.artifacts.store import Artifact, Store, remove_leftovers, write_bytes
from studylib.build.driving import make_artifacts
from studylib.build.executor import Executor
from studylib.build.jobs import Target
from studylib.errors import ArtifactError, InputError, Kind, Reason
from studylib.machine.clock import is_tried_again, now
from studylib.models.own import named
from studylib.params.recipe_names import split_recipe
from studylib.results.results import Results
from studylib.results.states import failed, reason_of
from studylib.study.plan import Plan


@dataclass(frozen=True)
class Stock:
    """What a ``plan`` needs made: by ``executor``, into ``store``."""

    plan: Plan
    results: Results
    store: Store
    executor: Executor
    write: Callable[[str], None] = print

    def get(self, key: str) -> Artifact:
        """An artifact by its key, its hash checked once in this process. Raises `ArtifactError` when it is not made."""
        if not self.has(key):
            reason = self.failures().get(key)
            raise ArtifactError(str(reason or f"artifact {key[:12]} is not in {self.store.folder}; run the conversion step first"))
        return self.store.checked(key)

    def has(self, key: str) -> bool:
        """Whether the artifact is in the store, intact; looked up once in this process."""
        return self.store.has_checked(key) or self._look(key)

    def make(self, targets: list[Target]) -> dict[str, str]:
        """Make the targets that are missing; returns the causes: what failed so far by itself, each key with reason, kind and time.

        A key is the hash of all that decided the failure. What only needs it is no cause: its own key may be made of other things.
        """
        remove_leftovers(self.store.folder)
        limit, before = self.plan.params.settings.timeout_s, self.causes()
        known = _reasons(self._final(before))
        failures = make_artifacts(targets, known, self.executor, self._look, limit, self.write)
        needs = {target.key: target.needs for target in targets}
        own = {key: reason for key, reason in failures.items() if not any(need in failures for need in needs.get(key, ()))}
        tried = {key: cause for key, cause in before.items() if key not in needs}  # what may have passed and was not among these
        return tried | {key: before[key] if key in known else failed(reason) | {"at": now()} for key, reason in own.items()}

    def told(self, causes: dict[str, dict]) -> dict[str, Reason]:
        """Every artifact of the plan that the ``causes`` cost, with the reason: itself, all that needs it, and what it is judged by."""
        found = _reasons(causes)
        for target in self.plan.targets:
            reason = next((found[need] for need in target.needs if need in found), None)
            if reason is not None:
                found.setdefault(target.key, reason)
        for model, origin in self.plan.origins.items():
            # Without samples or reference outputs the source itself cannot be judged: its own rows say why.
            reason = next((found[key] for key in (origin.source, origin.samples, origin.reference) if key in found), None)
            if reason is not None:
                found[origin.source] = reason
            for base, version in origin.versions.items():
                if version.reference in found:
                    found |= dict.fromkeys(self._made_of(model, base), found[version.reference])
        return found

    def _made_of(self, model: str, base: str) -> list[str]:
        """The keys of all that is made of one model's retrained version."""
        name = named(self.plan.models[model])
        recipes = [target for target in self.plan.targets if target.kind == "recipe" and target.model == name]
        return [target.key for target in recipes if split_recipe(target.recipe)[0] == base]

    def failures(self) -> dict[str, Reason]:
        """Artifacts of the plan that could not be made, or not judged, with the reason."""
        return self.told(self.causes())

    def causes(self) -> dict[str, dict]:
        """What failed by itself, as `make` returned it."""
        try:
            return self.results.causes()
        except InputError:
            return {}

    def is_complete(self) -> bool:
        """Whether every artifact is there and intact, or known to fail. Says what is corrupted."""
        known = self.told(self._final(self.causes()))
        present = [target.key in known or self._look(target.key) for target in self.plan.targets]
        return all(present)

    def described(self, failures: dict[str, Reason]) -> tuple[list[dict], dict[str, dict]]:
        """Facts of every artifact that is made, in the order of their keys; and what is inside them and what searches found."""
        keys = {target.key for target in self.plan.targets} - failures.keys()
        packed = self._told("packed", failures)
        made = [self.get(key).to_json() | packed.get(key, {}) for key in sorted(keys) if self.has(key)]
        return made, {kind: self._told(kind, failures) for kind in ("inside", "search")}

    def save_assignments(self, folder: Path) -> None:
        """Put what searches found where people find it: ``<model>-<format>.json``, to be applied with ``ASSIGNMENT``."""
        for target in self.plan.targets:
            if target.kind == "search" and self.store.has_checked(target.key):
                artifact = self.get(target.key)
                write_bytes(folder / f"{artifact.model}-{target.format}.json", (artifact.path / "assignment.json").read_bytes())

    def _told(self, kind: str, failures: dict[str, Reason]) -> dict[str, dict]:
        """What is known of every artifact that was described in this way (inside, packed, search), by the artifact's key."""
        found = {}
        for target in self.plan.targets:
            if target.kind == kind and target.key not in failures and self.has(target.key):
                path = self.get(target.key).path
                content = path / f"{kind}.json" if path.is_dir() else path
                found[target.about] = json.loads(content.read_text(encoding="utf-8"))
        return found

    def _look(self, key: str) -> bool:
        return self.store.get(key) is not None

    def _final(self, causes: dict[str, dict]) -> dict[str, dict]:
        """Those that another try in this run would not mend: a training that was killed goes on from its last epoch."""
        reasons = _reasons(causes)
        again = {key for key, reason in reasons.items() if reason.kind is Kind.INTERRUPTED or is_tried_again(reason, causes[key]["at"])}
        return {key: cause for key, cause in causes.items() if key not in again}


def _reasons(causes: dict[str, dict]) -> dict[str, Reason]:
    return {key: reason_of(cause) for key, cause in causes.items()}
