"""What a study found, in sentences."""

from collections import Counter

from studylib.report.tables import scenarios, served
from studylib.results import assumed, standing
from studylib.results.rows import proportion
from studylib.verdicts import advice
from studylib.verdicts.findings import Findings, of_findings
from studylib.verdicts.grounds import grounds
from studylib.verdicts.limits import candidates, typical
from studylib.verdicts.losses import lost
from studylib.verdicts.passport import Fit
from studylib.verdicts.variants import share
from studylib.verdicts.winners import LATENCY, Winner, geometric_mean, smallest_batch, winners
from studylib.wording import percent, plain, ratio_text, some


class FirstScreen(tuple):
    """Lines that say the most important first, and which of them are decisions: a notebook shows those and the first in bold."""

    decisions: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return "\n".join(self)

    def _repr_markdown_(self) -> str:
        return "\n\n".join(f"**{plain(line)}**" if line in self.decisions | {self[0]} else plain(line) for line in self)


@of_findings
def first_screen(findings: Findings) -> FirstScreen:
    """What the numbers stand on, then the decision for each model, or why there is none: how report, terminal and notebook begin."""
    advices = advice.advise(findings)
    screen = FirstScreen(advices.first)
    screen.decisions = frozenset(one.headline for one in advices)
    return screen


@of_findings
def summary(findings: Findings) -> list[str]:
    """What was found, in sentences whose every number is computed; `first_screen` comes first."""
    sentences = list(first_screen(findings))
    if standing.incomplete(findings.results):
        sentences.append(f"Run `{findings.run['command']}` to go on.")
    sentences += _larger_batches(findings)
    sentences += [*scenarios.sentences(findings), *served.sentences(findings)]
    controls = [found for found in findings.speed_ups if found.contender.control and found.comparison.low is not None]
    if len(controls) > 1:  # of several, the first line tells the one that reads farthest
        for found in controls:
            which = f"{found.contender.model}, batch {found.contender.batch_size}"
            sentences.append(f"{which}: the noise floor, a trial against itself: {ratio_text(found.comparison)}.")
    mean = geometric_mean(findings)
    sentences += [f"Winners within the accuracy budget: {mean.words}."] if mean and len(mean.baselines) > 1 else []
    missing = Counter(state.status for trial in findings.plan if not (state := findings.state(trial)).ok)
    if missing:
        counts = ", ".join(f"{count} {status}" for status, count in missing.most_common())
        untimed = f"{missing.total()} of {len(findings.plan)} trials were not timed ({counts})"
        sentences.append(f"{untimed}; the table of trials without numbers gives each reason.")
    return sentences


def _larger_batches(findings: Findings) -> list[str]:
    """For each larger batch size the fastest that keeps the accuracy budget, and who is faster and does not.

    The smallest batch size is what the advice is for. Where nobody may be named there, nobody is here.
    """
    ground = grounds(findings)
    if not ground.decides or ground.fitness.fit is Fit.NO:
        return []
    first = smallest_batch(findings)
    larger = [one for one in winners(findings) if one.goal == LATENCY and one.variant and one not in first]
    return [_sentence(one, findings) for one in larger]


def _sentence(one: Winner, findings: Findings) -> str:
    trial = one.variant.trial
    readings = next(candidate.readings for candidate in candidates(findings, one.model) if candidate.variant is one.variant)
    metric, text, unit = typical(readings)
    within = " within the accuracy budget" if one.over_budget else ""
    told = [f"{one.model}, batch {one.batch_size}: the fastest{within} is {trial.label}, {text.format(readings[metric].words(unit))}"]
    told += filter(None, [_quality(one, findings)])
    lossy = [f"{variant.trial.label} ({lost(variant).text})" for variant in one.over_budget]
    named = {
        "not distinguishable from": some([variant.trial.label for variant in one.ties]),
        "measured apart from it:": some([variant.trial.label for variant in one.apart]),
        "faster, and not known to keep the budget:": some(lossy, 2),
    }
    return "; ".join([", ".join(told), *(f"{words} {names}" for words, names in named.items() if names)]) + "."


def _quality(one: Winner, findings: Findings) -> str:
    """``accuracy 98.3 [97.3, 99.0] %`` or, without labels, the agreement with the source model."""
    evaluation, trial = one.variant.evaluation, one.variant.trial
    if not evaluation.get("comparable", True):
        return "not comparable"
    if "correct" in evaluation and trial.weights != "random":
        warned = assumed.warning(findings.results.artifacts(), trial.model)
        return f"accuracy {percent(proportion(evaluation, 'correct'))} %" + (f" (WARNING: {warned})" if warned else "")
    if "agreeing" not in evaluation:
        return ""
    what = "agreement with the source model" if one.variant.judged is evaluation else one.variant.measured
    return f"{what} {percent(share(one.variant))} %"
