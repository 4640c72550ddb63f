"""What search mode saves and what it misses: the same study measured in full, and narrowed by successive halving."""

from dataclasses import dataclass, replace
from datetime import datetime

from studylib.params.paths import outputs_root
from studylib.report.by_name import tables
from studylib.results import standing
from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.study.opening import fetch_downloads, open_study
from studylib.study.study import Study
from studylib.verdicts.contenders import against, contenders, fastest
from studylib.verdicts.findings import Findings
from studylib.verdicts.losses import lost
from studylib.verdicts.variants import Variant
from studylib.verdicts.winners import geometric_mean, smallest_batch
from studylib.wording import lines, ratio_text

MODELS = ("resnet50", "bert_base", "deepspeech_small")
_RECIPES = ("fp32", "fp16", "dynamic_wi8_afp32", "weight_only_wi8_afp32", "static_wi8_ai8", "adaptive_wi8")
_RUNTIMES = ("tensorflow", "litert", "onnxruntime", "openvino")
# What is asked of a search: at most this much slower than the best, for at most this share of the time.
_NEAR, _SHARE = 1.05, 0.3


@dataclass(frozen=True)
class SearchCost:
    """One model: the best of all within the budget, the one that the search chose, and the seconds that each way measured for."""

    best: Variant
    chosen: Variant
    exhaustive_s: float
    search_s: float

    @property
    def row(self) -> dict:
        same = self.chosen.trial.id == self.best.trial.id
        compared = None if same else against(self.chosen, self.best).comparison
        share = self.search_s / self.exhaustive_s
        return {
            "model": self.best.trial.model,
            "best of all": self.best.trial.label,
            "found by the search": self.chosen.trial.label,
            "slower by": "the same" if same else ratio_text(compared),
            f"within {_NEAR - 1:.0%}": "yes" if same or compared.ratio <= _NEAR else "NO",
            "measured in full": f"{self.exhaustive_s:.0f} s",
            "by the search": f"{self.search_s:.0f} s ({share:.0%})",
            f"at most {_SHARE:.0%}": "yes" if share <= _SHARE else "NO",
        }


def run(models: tuple[str, ...] = MODELS, effort: str = "quick", write=print) -> list[SearchCost]:
    """Measure ``models`` in full under ``outputs/.bench``, look at them as a search would, and print both beside each other.

    Prints the winners, their geometric mean over TensorFlow fp32, and the adaptive recipe against the uniform ones besides.
    Resumable as every study.
    """
    study = _study(models, effort, False, write)
    study.measure(matrix=False)
    searching = _study(models, effort, True, write)
    searching.narrowing.look(searching.same)
    found = [one for model in models if (one := compared(study.results, searching.timed, searching.same, model))]
    results = study.results
    write("\nThe search against measuring everything:")
    write(lines([one.row for one in found]))
    write("\nThe winner of each model within the budget:")
    write(lines(tables.winners(results).to_dict("records")))
    write(f"\nOver all models: {geometric_mean(results) or 'no model has both a winner and a baseline'}")
    write("\nThe adaptive recipe against fp32 and against the uniform recipes:")
    write(lines(tables.adaptive(results).to_dict("records")))
    write(standing.provenance(results))
    return found


def compared(results: Results, finalists: list[Trial], looked_at: list[Trial], model: str) -> SearchCost | None:
    """What the search came to for one model of ``results`` that were measured in full; None without a winner."""
    findings = Findings.of(results)
    winner = next((one for one in smallest_batch(findings) if one.model == model), None)
    names = {trial.id for trial in finalists}
    kept = [v for v in contenders(findings) if v.trial.model == model and v.trial.id in names and lost(v).within(findings.budget)]
    if winner is None or winner.variant is None or not kept:
        return None
    ours = [trial for trial in looked_at if trial.model == model]
    looks = sum(look.get("seconds", 0.0) for trial in ours for look in results.looks(trial.id))
    measured = {trial.id: sum(map(_seconds, results.attempts(trial.id))) for trial in ours}
    search = looks + sum(seconds for name, seconds in measured.items() if name in names)
    return SearchCost(winner.variant, fastest(kept)[0], sum(measured.values()), search)


def _seconds(attempt) -> float:
    """How long a repetition took, with the start of its process."""
    span = datetime.fromisoformat(attempt.ended_at) - datetime.fromisoformat(attempt.started_at)
    return span.total_seconds() + attempt.cold_start_ns.get("process", 0) / 1e9


def _study(models: tuple[str, ...], effort: str, search: bool, write) -> Study:
    choice = {"models": models, "recipes": _RECIPES, "runtimes": _RUNTIMES, "batch_sizes": (1,), "sweeps": (), "search": search or None}
    study = open_study("cpu", effort, write=write, **choice)
    fetch_downloads(study, write)
    return replace(study, folder=outputs_root() / ".bench" / "search")
