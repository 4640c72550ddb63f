"""Hold artifacts against their source model, each in its runtime, before anything is timed."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from studylib.build.executor import Executor
from studylib.build.jobs import CheckJob, EvaluateJob, LocateJob
from studylib.build.origin import Origin
from studylib.errors import Kind, TrialError
from studylib.measure import checking
from studylib.params.efforts import Effort
from studylib.params.recipe_names import split_recipe
from studylib.progress import Progress
from studylib.quality.criteria import Criteria
from studylib.results.records import PLAIN, Trial
from studylib.results.results import Results


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Where trials are evaluated. ``origins``: of each model."""

    results: Results
    executor: Executor
    origins: dict[str, Origin]
    settings: Effort
    write: Callable[[str], None] = print

    def evaluate(self, trials: list[Trial]) -> None:
        """Measure quality and parity of every artifact in its runtime, once; a failure becomes the row's reason.

        The batches that its trials are timed with are held against single answers in the same process, those of a sweep of batches only
        when they are looked at.
        """
        waiting: dict[str, Trial] = {}
        for trial in trials:
            if not self.results.is_evaluated(trial):
                waiting.setdefault(trial.evaluation_id, trial)  # the usual one comes before the points of sweeps
        batched = [trial for trial in trials if trial.sweep != "batch"]
        batches = checking.unseen(self.results, batched)
        progress = Progress("evaluation", [1] * len(waiting), self.write)
        for evaluation_id, trial in waiting.items():
            progress.begin(f"{trial.model}, {trial.label}")
            found = self._evaluated(trial, batches.get((evaluation_id, trial.options), (trial, []))[1])
            for finding in found.pop("batches", []):
                self.results.record_check(trial, finding)
            if found.get("kind") == Kind.PARITY:
                where = self._first_difference(trial, found.get("worst_sample", 0))
                found["reason"] += f"; {where}"
            self.results.record_evaluation(evaluation_id, found)
            progress.end()

        self.check([trial for trial in batched if (self.results.evaluation(trial.evaluation_id) or {}).get("status") == "ok"])

    def check(self, trials: list[Trial]) -> None:
        """Hold the batches that ``trials`` are timed with against single answers, as far as nobody did."""
        waiting = checking.unseen(self.results, trials).values()
        progress = Progress("evaluation", [1] * len(waiting), self.write)
        for trial, sizes in waiting:
            progress.begin(f"{trial.model}, {trial.label}, answers to batches of {', '.join(map(str, sizes))}")
            job = CheckJob(**self.opened(trial), precision=_precision(trial), sizes=tuple(sizes))
            for finding in checking.findings(self.executor, job, self.settings.timeout_s):
                self.results.record_check(trial, finding)
            progress.end()

    def opened(self, trial: Trial) -> dict:
        """The fields of a job that opens a session."""
        facts = {name: getattr(trial, name) for name in ("runtime", "provider", "threads", "options", "recipe")}
        return facts | {"artifact": trial.artifact_key, "samples": self.origins[trial.model].samples}

    def _evaluated(self, trial: Trial, sizes: list[int]) -> dict:
        """The result of an evaluation, with findings of batches of these ``sizes``; a batch that ends the process costs only itself."""
        job = self._evaluation(trial)
        for more in [tuple(sizes), ()] if sizes else [()]:
            try:
                return self.executor.run(replace(job, sizes=more), self.settings.timeout_s)
            except TrialError as error:
                found = {"status": "failed", "reason": str(error), "kind": error.kind}
        return found

    def _evaluation(self, trial: Trial) -> EvaluateJob:
        origin = self.origins[trial.model]
        version = origin.version(split_recipe(trial.recipe)[0])
        criteria = Criteria(_precision(trial), origin.task, origin.independent, origin.data)
        return EvaluateJob(**self.opened(trial), reference=origin.reference, version=version.reference, criteria=criteria)

    def _first_difference(self, trial: Trial, sample: int) -> str:
        """Where an artifact begins to differ from its source, in words; a search of its own, so that it can cost only itself."""
        origin = self.origins[trial.model]
        version = origin.version(split_recipe(trial.recipe)[0])
        job = LocateJob(
            artifact=trial.artifact_key,
            format=trial.format,
            source=version.source,
            source_format=version.source_format,
            samples=origin.samples,
            sample=sample,
            precision=_precision(trial),
            runtime=trial.runtime,
            threads=trial.threads,
        )
        try:
            return self.executor.run(job, self.settings.timeout_s)["text"]
        except TrialError as error:
            return f"which layer is not known: {error}"


def _precision(trial: Trial) -> str:
    """What decides the tolerance: the recipe without what trained, or what the file was before it came here."""
    precision = split_recipe(trial.recipe)[1]
    return trial.source if trial.source and precision == PLAIN else precision
