"""What a study found, in sentences."""

from itertools import takewhile

from studylib import advice, compare, contenders, scenario_tables, tables, winners
from studylib.adaptive_verdicts import budget_of, lost
from studylib.results import Results
from studylib.wording import some


def summary(results: Results) -> list[str]:
    """What was found, in sentences whose every number is computed."""
    run = results.run()
    sentences = [] if run["native"] else [f"REHEARSAL: nothing here was measured on {run['title']}."]
    incomplete = tables.incomplete(results)
    if incomplete:
        sentences.append(f"{incomplete} Run `{run['command']}` to go on.")
    most = budget_of(results)
    sentences += _fastest(results, most)
    sentences += scenario_tables.sentences(results)
    for found in compare.speed_ups(results):
        if found.contender.control and found.comparison.low is not None:
            which = f"{found.contender.model}, batch {found.contender.batch_size}"
            reading = tables.ratio_text(found.comparison)
            sentences.append(f"{which}: a trial against itself reads {reading}; so much this run reads where there is no difference.")
    mean = winners.geometric_mean(results)
    sentences += [f"Winners within the accuracy budget: {mean.words}."] if mean and len(mean.baselines) > 1 else []
    sentences += [one.headline for one in advice.advise(results, most)]
    missing = tables.not_measured(results)
    if len(missing):
        counts = ", ".join(f"{count} {status}" for status, count in missing.status.value_counts().items())
        sentences.append(f"{len(missing)} of {len(results.plan())} trials carry no timing ({counts}); the report gives each reason.")
    return sentences


def _fastest(results: Results, most: float) -> list[str]:
    """For each model and batch size the fastest that keeps the accuracy budget, and who is faster and does not."""
    timed = sorted(contenders.contenders(results), key=contenders.sample_ns)
    over = {one.trial.id for one in timed if lost(one).within(most) is False}
    kept = {(row["model"], row["batch"]): row for row in tables.winners(results, without=over).to_dict("records")}
    sentences = []
    for fastest in tables.winners(results).to_dict("records"):
        which = fastest["model"], fastest["batch"]
        alike = [one for one in timed if (one.trial.model, one.trial.batch_size) == which]
        too_lossy = list(takewhile(lambda one: one.trial.id in over, alike))
        row = kept.get(which, fastest)
        within = " within the accuracy budget" if too_lossy and which in kept else ""
        typical = row["p50_ms"] if row["p50_ms"].startswith("mean") else f"median {row['p50_ms']}"
        parts = [f"{which[0]}, batch {which[1]}: the fastest{within} is {row['fastest']}, {typical} ms, {row['quality']}"]
        parts[0] += "" if which in kept else ", which is over the accuracy budget"
        named = {"it cannot be told from": row["cannot be told from it"], "measured apart from it:": row.get("measured apart from it")}
        if within:
            lossy = [f"{one.trial.label} (lost {lost(one).words})" for one in too_lossy]
            named["faster, and over the budget:"] = some(lossy, 2)
        sentences.append("; ".join([*parts, *(f"{words} {names}" for words, names in named.items() if names)]) + ".")
    return sentences
