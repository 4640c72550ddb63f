"""What a study found, in sentences."""

from itertools import takewhile

from studylib.report.tables import frames, scenario_tables
from studylib.results import standing
from studylib.results.results import Results
from studylib.verdicts import advice, compare, contenders, winners
from studylib.verdicts.grounds import grounds
from studylib.verdicts.losses import budget_of, lost
from studylib.verdicts.passport import Fit
from studylib.wording import plain, some


class FirstScreen(tuple):
    """Lines that say the most important first, and which of them are decisions: a notebook shows those and the first in bold."""

    decisions: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return "\n".join(self)

    def _repr_markdown_(self) -> str:
        return "\n\n".join(f"**{plain(line)}**" if line in self.decisions | {self[0]} else plain(line) for line in self)


def first_screen(results: Results) -> FirstScreen:
    """What the numbers stand on, then the decision for each model, or why there is none: how report, terminal and notebook begin."""
    advices = advice.advise(results)
    screen = FirstScreen(advices.first)
    screen.decisions = frozenset(one.headline for one in advices)
    return screen


def summary(results: Results) -> list[str]:
    """What was found, in sentences whose every number is computed; `first_screen` comes first."""
    run, most = results.run(), budget_of(results)
    sentences = list(first_screen(results))
    if standing.incomplete(results):
        sentences.append(f"Run `{run['command']}` to go on.")
    sentences += _fastest(results, most)
    sentences += scenario_tables.sentences(results)
    controls = [found for found in compare.speed_ups(results) if found.contender.control and found.comparison.low is not None]
    if len(controls) > 1:  # of several, the first line tells the one that reads farthest
        for found in controls:
            which = f"{found.contender.model}, batch {found.contender.batch_size}"
            reading = frames.ratio_text(found.comparison)
            sentences.append(f"{which}: the noise floor, a trial against itself: {reading}.")
    mean = winners.geometric_mean(results)
    sentences += [f"Winners within the accuracy budget: {mean.words}."] if mean and len(mean.baselines) > 1 else []
    missing = frames.not_measured(results)
    if len(missing):
        counts = ", ".join(f"{count} {status}" for status, count in missing.status.value_counts().items())
        sentences.append(f"{len(missing)} of {len(results.plan())} trials carry no timing ({counts}); the report gives each reason.")
    return sentences


def _fastest(results: Results, most: float) -> list[str]:
    """For each larger batch size the fastest that keeps the accuracy budget, and who is faster and does not.

    The smallest batch size is what the advice is for. Where nobody may be named there, nobody is here.
    """
    ground = grounds(results)
    if not ground.decides or ground.fitness.fit is Fit.NO:
        return []
    every = contenders.contenders(results)
    smallest = {one.trial.id for one in contenders.at_smallest_batch(every)}
    timed = sorted((one for one in every if one.trial.id not in smallest), key=contenders.sample_ns)
    out = {one.trial.id for one in timed if not lost(one).within(most)}
    kept = {(row["model"], row["batch"]): row for row in frames.winners(results, without=out | smallest).to_dict("records")}
    sentences = []
    for (model, batch), row in kept.items():
        alike = [one for one in timed if (one.trial.model, one.trial.batch_size) == (model, batch)]
        lossy = [f"{one.trial.label} ({lost(one).text})" for one in takewhile(lambda one: one.trial.id in out, alike)]
        within = " within the accuracy budget" if lossy else ""
        typical = row["p50_ms"] if row["p50_ms"].startswith("mean") else f"median {row['p50_ms']}"
        first = f"{model}, batch {batch}: the fastest{within} is {row['fastest']}, {typical} ms, {row['quality']}"
        named = {
            "not distinguishable from": row["not distinguishable from it"],
            "measured apart from it:": row.get("measured apart from it"),
            "faster, and not known to keep the budget:": some(lossy, 2),
        }
        sentences.append("; ".join([first, *(f"{words} {names}" for words, names in named.items() if names)]) + ".")
    return sentences
