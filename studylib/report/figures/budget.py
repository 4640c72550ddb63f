"""The variants that keep the accuracy budget, the fastest first: the picture that a choice is made from."""

from studylib.report.figures import drawing
from studylib.results.results import Results
from studylib.verdicts.contenders import at_smallest_batch, baseline, contenders
from studylib.verdicts.losses import budget_of, lost
from studylib.verdicts.variants import Variant
from studylib.wording import digits

# Bars of one model at most: past them a list says more, and the report has it.
_MOST = 12


def within_budget(results: Results):
    """Median latency, with its interval, of every variant that keeps the budget, and of the baseline; a rehearsal names nobody first."""
    title, most = "What keeps the accuracy budget, the fastest first", budget_of(results)
    timed, table = at_smallest_batch(contenders(results)), results.table()
    read = table[table.metric == "latency_p50"].set_index("trial_id")
    panels: dict[str, list[Variant]] = {}
    drawable = [variant for variant in timed if variant.trial.id in read.index]
    for variant in sorted(drawable, key=lambda variant: read.value[variant.trial.id]):
        if lost(variant).within(most) or variant is _baseline(drawable, variant):
            panels.setdefault(variant.trial.model, []).append(variant)
    if not panels or not results.run()["native"]:
        return None, "within-budget", title, "", ""
    shown = {model: _shown(found, drawable) for model, found in panels.items()}
    colours = drawing.colours([variant.trial.runtime for found in shown.values() for variant in found])
    with drawing.styled():
        figure, axes_list = drawing.stacked([len(found) for found in shown.values()])
        for axes, (model, found) in zip(axes_list, shown.items(), strict=True):
            for position, variant in enumerate(reversed(found)):
                _mark(axes, position, read.loc[variant.trial.id], colours[variant.trial.runtime])
            axes.set_yticks(range(len(found)), [variant.trial.label for variant in reversed(found)], fontsize=8)
            left = f", {len(panels[model]) - len(found)} slower ones left out" if len(found) < len(panels[model]) else ""
            axes.set(xscale="log", title=f"{model}{left}", ylim=(-0.6, len(found) - 0.4))
            drawing.plain_log_ticks(axes)
            axes.grid(axis="y", visible=False)
            low, high = axes.get_xlim()
            axes.set_xlim(low, high * (high / low) ** 0.15)
        axes_list[-1].set_xlabel("median latency of one query, ms (log)")
    caption = (
        f"Each mark is a median with its 95 % interval (bootstrap over repetitions). Within the budget: at most {100 * most:g} % of the "
        "right answers lost by the unfavourable end of the interval; the baseline is drawn whatever it keeps."
    )
    alt = "Interval plot. " + " ".join(
        f"{model}: {found[0].trial.label} is first with {digits(read.loc[found[0].trial.id].value / 1e6)} ms."
        for model, found in shown.items()
    )
    return figure, "within-budget", title, caption, alt


def _baseline(timed: list[Variant], variant: Variant) -> Variant | None:
    return baseline([one for one in timed if one.trial.model == variant.trial.model])


def _shown(found: list[Variant], timed: list[Variant]) -> list[Variant]:
    """The fastest ones, and the baseline at the end where it is not among them."""
    start = _baseline(timed, found[0])
    first = found[:_MOST]
    return first if start is None or any(one.trial.id == start.trial.id for one in first) else [*first[:-1], start]


def _mark(axes, position: int, row, colour) -> None:
    if row.ci_low == row.ci_low:  # an interval needs several repetitions
        axes.plot([row.ci_low / 1e6, row.ci_high / 1e6], [position, position], color=colour, linewidth=3, solid_capstyle="butt")
    axes.plot(row.value / 1e6, position, "o", color=colour, markersize=5)
    end = row.ci_high if row.ci_high == row.ci_high else row.value
    axes.annotate(digits(row.value / 1e6), (end / 1e6, position), xytext=(5, 0), textcoords="offset points", va="center", fontsize=7)
