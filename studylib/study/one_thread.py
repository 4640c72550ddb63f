"""One thread for what is fastest with all: a small model may be answered sooner where no thread waits for another (docs/decisions/0049).

After the planned rounds, of each model and batch size the fastest variant of each runtime is looked at with one thread. Where that is
not far behind, both are measured in rounds of their own, beside the baseline and what is not distinguishable from the fastest of all.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from studylib.errors import InputError
from studylib.measure.rounds import Bench
from studylib.results.records import Trial
from studylib.runtimes import RUNTIMES
from studylib.study.plan import Plan
from studylib.study.sweeps import Deviation
from studylib.verdicts.contenders import baseline, contenders, fastest, sample_ns
from studylib.verdicts.findings import Findings
from studylib.verdicts.grounds import grounds
from studylib.verdicts.variants import Variant
from studylib.verdicts.winners import keeping

# How many times as slow as the fastest one of all runtimes it may be: one thread hardly makes up for more.
_BEHIND = 2.0
# Samples per second of a first look with one thread, over those with all: below it, nobody needs to measure.
_NEAR = 0.75


@dataclass(frozen=True)
class OneThread:
    """Chooses what is worth one thread, looks at it and measures it in ``bench``. What was chosen is kept with the results."""

    plan: Plan
    bench: Bench

    @property
    def trials(self) -> list[Trial]:
        """What was chosen, with one thread; what a first look found too slow says so as its reason."""
        return [replace(one, reason=one.reason or self._why_not(usual, one)) for usual, one in self._pairs()]

    @property
    def most(self) -> int:
        """How many repetitions it takes at most, before anything is measured: all that is planned again, and one more a runtime."""
        if self._is_unwanted or self.plan.mismatches:
            return 0
        usual = [trial for trial in self.plan.trials if not trial.reason and not trial.sweep and not trial.control]
        runtimes = {(trial.model, trial.batch_size, trial.where) for trial in usual if _may_change(trial)}
        return (len(usual) + len(runtimes)) * self.bench.settings.repetitions

    def take(self) -> None:
        """Choose, look and measure: all that is not done yet."""
        results = self.bench.results
        campaign, new, kept = results.newest_campaign(), self._new(), results.one_thread()
        before = kept["panels"] if kept.get("campaign") == campaign else []
        results.save_one_thread({"campaign": campaign, "panels": [*before, *new]})
        pairs = [pair for pair in self._pairs() if not pair[1].reason]
        self.bench.evaluate([one for _, one in pairs])
        for trial in (trial for pair in pairs if self._is_same(pair[1]) for trial in pair):
            if results.look(trial.id) is None:
                self.bench.write(f"first look at {trial.model}, {trial.label}")
                results.record_look(trial.id, self.bench.glance(trial))
        for members, rounds in self._cohorts():
            self.bench.measure(members, rounds=rounds)

    def is_over(self) -> bool:
        """Whether everything that is worth it was measured with one thread too."""
        if self._new():
            return False
        results, pairs = self.bench.results, [pair for pair in self._pairs() if not pair[1].reason]
        seen = all(
            results.is_evaluated(one) and (not self._is_same(one) or all(results.look(trial.id) for trial in (usual, one)))
            for usual, one in pairs
        )
        return seen and not any(any(self.bench.waiting(members, rounds=rounds)) for members, rounds in self._cohorts())

    # --- inside ------------------------------------------------------------------------------------------------------

    @property
    def _is_unwanted(self) -> bool:
        return self.plan.threads == 1 or self.plan.chosen is not None or self.plan.params.choice.all_threads

    def _kept(self) -> list[dict]:
        """What was chosen in the newest campaign among the same rivals as now."""
        kept = self.bench.results.one_thread()
        if kept.get("campaign") != self.bench.results.newest_campaign():
            return []
        now = {panel: _names(rivals) for panel, rivals in self._rivals().items()}
        return [panel for panel in kept["panels"] if now.get((panel["model"], panel["batch"])) == panel["rivals"]]

    def _rivals(self) -> dict[tuple[str, int], list[Variant]]:
        """What was timed with all threads, of each model and batch size. Nothing in a rehearsal, which names nobody."""
        if self._is_unwanted:
            return {}
        found, planned = {}, {trial.id for trial in self.plan.trials}
        with contextlib.suppress(InputError):  # no study was saved here before, or none that can be read
            findings = Findings.of(self.bench.results)
            for variant in contenders(findings) if grounds(findings).decides else ():
                if not variant.trial.sweep and variant.trial.id in planned:
                    found.setdefault((variant.trial.model, variant.trial.batch_size), []).append(variant)
        return found

    def _new(self) -> list[dict]:
        """The choice among rivals of which there was none yet."""
        known = {(panel["model"], panel["batch"]) for panel in self._kept()}
        return [self._chosen(*panel, rivals) for panel, rivals in self._rivals().items() if panel not in known]

    def _chosen(self, model: str, batch: int, rivals: list[Variant]) -> dict:
        kept = sorted(keeping(rivals, rivals[0].findings.budget), key=sample_ns)
        start, ties, quickest = baseline(rivals), fastest(kept)[1] if kept else [], {}
        for variant in kept:
            if sample_ns(variant) <= _BEHIND * sample_ns(kept[0]) and _may_change(variant.trial):
                quickest.setdefault(variant.trial.where, variant.trial.id)
        beside = [variant.trial.id for variant in (*([start] if start else []), *ties)]
        # As many rounds as were planned, after all that there are.
        attempts = [one for variant in rivals for one in self.bench.results.attempts(variant.trial.id)]
        first = max(self.bench.settings.repetitions, 1 + max(one.repetition for one in attempts))
        facts = {"model": model, "batch": batch, "first": first, "end": first + self.bench.settings.repetitions}
        return facts | {"rivals": _names(rivals), "fastest": list(quickest.values()), "beside": beside}

    def _pairs(self) -> Iterator[tuple[Trial, Trial]]:
        """Each that was chosen, and the same with one thread, unless a sweep measures that anyhow."""
        planned = {trial.id: trial for trial in self.plan.trials}
        for name in (name for panel in self._kept() for name in panel["fastest"]):
            usual = planned[name]
            point = Deviation(threads=1)
            one = self.plan.planned(usual.model, usual.where, usual.recipe, usual.batch_size, sweep="threads", point=point)
            if one.id not in planned:
                yield usual, one

    def _cohorts(self) -> Iterator[tuple[list[Trial], range]]:
        """What is measured together, and in which rounds: of each model and batch size those with one thread, with all, the baseline."""
        planned, pairs = {trial.id: trial for trial in self.plan.trials}, list(self._pairs())
        for panel in self._kept():
            ours = [(usual, one) for usual, one in pairs if usual.id in panel["fastest"]]
            worth = [one for usual, one in ours if not one.reason and self._is_same(one) and not self._why_not(usual, one)]
            if worth:
                beside = dict.fromkeys((*panel["beside"], *panel["fastest"]))
                yield [*(planned[name] for name in beside), *worth], range(panel["first"], panel["end"])

    def _is_same(self, trial: Trial) -> bool:
        """Whether it passed the parity gate, in batches too."""
        return self.bench.results.is_same(trial) and not self.bench.results.why_unlike(trial)

    def _why_not(self, usual: Trial, one: Trial) -> str:
        """Why one thread is not measured, by first looks; empty where it is, or nobody looked yet."""
        before, after = (self.bench.results.look(trial.id) or {} for trial in (usual, one))
        rates = [look.get("samples_per_s") for look in (before, after)]
        if None in rates:
            return after.get("reason", "")
        told = f"{rates[1]:.3g} samples/s with one thread, {rates[0]:.3g} with {usual.threads}"
        return "" if rates[1] >= _NEAR * rates[0] else f"left out: a first look found {told}"


def _may_change(trial: Trial) -> bool:
    """Whether its threads are a setting that one may choose."""
    return trial.provider == "cpu" and trial.threads > 1 and RUNTIMES[trial.runtime].heeds_threads


def _names(rivals: list[Variant]) -> list[str]:
    return sorted(variant.trial.id for variant in rivals)
