"""Who wins on this machine, as tables: each model's fastest within the budget, and the mean over models."""

import pandas as pd

from studylib.results import standing
from studylib.verdicts.findings import Findings, of_findings
from studylib.verdicts.losses import lost
from studylib.verdicts.winners import LATENCY, THROUGHPUT, Winner, geometric_mean, smallest_batch
from studylib.verdicts.winners import winners as every_winner
from studylib.wording import interval, some, typical_ms, without_empty

_COLUMNS = (
    "model", "hardware", "for", "winner", "p50_ms", "samples_per_s", "over the baseline", "rounds", "baseline", "lost",
    "not distinguishable from it", "measured apart from it", "faster, but over the budget", "LoadGen",
)  # fmt: skip
_SOMETIMES = ("measured apart from it", "LoadGen")


@of_findings
def winners(findings: Findings, max_accuracy_loss: float | None = None) -> pd.DataFrame:
    """A row for each model and goal: the winner with ratio, interval and verdict, its ties, and what was too lossy."""
    hardware = f"{findings.run['hardware']} ({'native' if findings.run['native'] else 'REHEARSAL'})"
    first = smallest_batch(findings, max_accuracy_loss)
    rows = [_row(one, hardware, one in first, findings) for one in every_winner(findings, max_accuracy_loss)]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    for name in _SOMETIMES:
        table = without_empty(table, name)
    return table


@of_findings
def over_models(findings: Findings, max_accuracy_loss: float | None = None) -> pd.DataFrame:
    """The geometric mean over models of winner against baseline, for each goal for which there is one."""
    found = {goal: geometric_mean(findings, goal, max_accuracy_loss) for goal in (LATENCY, THROUGHPUT)}
    rows = [
        {
            "for": goal,
            "over the baseline": mean.reading,
            "models": len(mean.baselines),
            "rounds": mean.estimate.n,
            "baselines": mean.named,
            "left out": "; ".join(f"{model}: {reason}" for model, reason in mean.left_out.items()),
        }
        for goal, mean in found.items()
        if mean
    ]
    return pd.DataFrame(rows, columns=["for", "over the baseline", "models", "rounds", "baselines", "left out"])


def _row(one: Winner, hardware: str, at_smallest: bool, findings: Findings) -> dict:
    goal = one.goal if at_smallest or one.batch_size is None else f"{one.goal}, batch {one.batch_size}"
    shared = {"model": one.model, "hardware": hardware, "for": goal}
    if one.variant is None:
        return dict.fromkeys(_COLUMNS, "") | shared | {"winner": f"none: {one.reason}"}
    trial, results = one.variant.trial, findings.results
    values = findings.values(trial)
    return shared | {
        "winner": trial.label,
        "p50_ms": typical_ms(values),
        "samples_per_s": interval(values, "throughput", 1),
        "over the baseline": one.words,
        "rounds": one.against.comparison.n if one.against else len(results.measurements(trial.id)),
        "baseline": one.baseline.label if one.baseline else "",
        "lost": lost(one.variant).words,
        "not distinguishable from it": some([variant.trial.label for variant in one.ties]),
        "measured apart from it": some([variant.trial.label for variant in one.apart]),
        "faster, but over the budget": some([f"{v.trial.label} ({lost(v).text})" for v in one.over_budget]),
        "LoadGen": standing.loadgen(results, trial, *([one.baseline] if one.baseline else [])),
    }
