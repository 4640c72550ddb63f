"""The variants that keep the accuracy budget, by their latency: the picture that a choice is made from."""

import numpy as np

from studylib.params.defaults import RANDOM_SQNR_DB
from studylib.report.figures import drawing
from studylib.verdicts.contenders import at_smallest_batch, baseline, contenders
from studylib.verdicts.findings import Findings, of_findings
from studylib.verdicts.losses import lost
from studylib.verdicts.variants import Variant
from studylib.wording import digits

# Marks of one model at most: past them a list says more, and the report has it.
_MOST = 12


@of_findings
def within_budget(findings: Findings) -> drawing.Drawing | None:
    """Median latency, with its interval, of every variant that keeps the budget, and of the baseline; nothing of a rehearsal."""
    most, table = findings.budget, findings.table
    medians = table[table.metric == "latency_p50"].set_index("trial_id")
    timed = [variant for variant in at_smallest_batch(contenders(findings)) if variant.trial.id in medians.index]
    timed.sort(key=lambda variant: medians.value[variant.trial.id])
    models = dict.fromkeys(variant.trial.model for variant in timed)
    panels = {model: _kept([one for one in timed if one.trial.model == model], most) for model in models}
    panels = {model: found for model, found in panels.items() if found}
    if not panels or not findings.run["native"]:
        return None
    shown = {model: _first(found) for model, found in panels.items()}
    colours = drawing.colours([variant.trial.runtime for found in shown.values() for variant in found])
    with drawing.styled():
        figure, axes_list = drawing.stacked([len(found) for found in shown.values()])
        for axes, (model, found) in zip(axes_list, shown.items(), strict=True):
            for position, variant in enumerate(reversed(found)):
                _mark(axes, position, medians.loc[variant.trial.id], colours[variant.trial.runtime])
            axes.set_yticks(range(len(found)), [variant.trial.label for variant in reversed(found)], fontsize=8)
            left_out = len(panels[model]) - len(found)
            more = f", {left_out} slower one{'s' * (left_out > 1)} left out" if left_out else ""
            axes.set(xscale="log", title=f"{model}{more}", ylim=(-0.6, len(found) - 0.4))
            drawing.plain_log_ticks(axes)
            axes.grid(axis="y", visible=False)
            low, high = axes.get_xlim()
            axes.set_xlim(low, high * (high / low) ** 0.15)
        axes_list[-1].set_xlabel("median latency of one query, ms (log)")
    caption = (
        f"Each mark is a median with its 95 % interval (bootstrap over repetitions). Within the budget: at most {100 * most:g} point"
        f"{'s' * (most != 0.01)} of accuracy lost, by the unfavourable end of the interval; with random weights, "
        f"at least {RANDOM_SQNR_DB:g} dB. The baseline is always drawn. Marks nearer to each other than "
        "the noise floor are not distinguishable; the verdicts say which of two is faster."
    )
    alt = "Interval plot. " + " ".join(
        f"{model}: the lowest median is that of {found[0].trial.label}, {digits(medians.value[found[0].trial.id] / 1e6)} ms."
        for model, found in shown.items()
    )
    return drawing.Drawing(figure, caption, alt)


def _kept(timed: list[Variant], most: float) -> list[Variant]:
    """Of one model's variants those that keep the budget, and the baseline."""
    start = baseline(timed)
    return [variant for variant in timed if variant is start or lost(variant).within(most)]


def _first(found: list[Variant]) -> list[Variant]:
    """The fastest of one panel, as many as it shows, the baseline among them."""
    if len(found) <= _MOST:
        return found
    start = baseline(found)
    return found[:_MOST] if start is None or start in found[:_MOST] else [*found[: _MOST - 1], start]


def _mark(axes, position: int, row, colour) -> None:
    end = row.value if np.isnan(row.ci_high) else row.ci_high  # an interval needs several repetitions
    if not np.isnan(row.ci_low):
        axes.plot([row.ci_low / 1e6, end / 1e6], [position, position], color=colour, linewidth=3, solid_capstyle="butt")
    axes.plot(row.value / 1e6, position, "o", color=colour, markersize=5)
    axes.annotate(digits(row.value / 1e6), (end / 1e6, position), xytext=(5, 0), textcoords="offset points", va="center", fontsize=7)
