"""Candidates of a search: written, judged on held-back samples and raced against fp32, each of it a step in the trace."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from studylib.adaptive.assignment import digest
from studylib.adaptive.budget import DefiniteBudget, Judge, Judgement
from studylib.adaptive.latency import race, ratio
from studylib.adaptive.layers import FLOAT, Calibrated, Run, Surgeon
from studylib.adaptive.trace import Trace
from studylib.artifacts.disk import remove
from studylib.stats import Verdict

_QUERIES = 8
_ROUNDS = 7
_BRIEF = 8
_PROFILED = 3
# Which part of the samples is judged first.
_PART = 4


@dataclass
class Candidates:
    """Makes steps. A step that the trace knows already is read from there, files and sessions are then not even opened."""

    surgeon: Surgeon
    model: Calibrated
    judge: Judge
    limit: DefiniteBudget
    trace: Trace
    threads: int
    seed: int
    scratch: Path
    on_step: Callable[[dict], None] | None = None
    spent_s: float = 0.0
    pinned: tuple[dict[str, str], ...] = ()
    _open: dict[str, Run] = field(default_factory=dict, repr=False)
    _judged: dict[str, Judgement] = field(default_factory=dict, repr=False)

    def judged(self, what: str, layers: dict[str, str]) -> dict:
        """The step that says what an assignment loses."""
        return self._step("judged", what, layers, (), lambda: {})

    def raced(
        self, what: str, layers: dict[str, str], against: tuple[dict[str, str], ...] = (), rounds: int = _ROUNDS, brief=False
    ) -> dict:
        """As `judged`, with ``ratio``: fp32's latency by this one's, measured in turns.

        ``against``: other assignments' latency by this one's, by digest; ``rivals``: fp32's by theirs. With ``brief``, what
        is slower than fp32 is judged on few samples.
        """

        def measured() -> dict:
            rivals = {digest(other): other for other in ({}, *against)}
            names = list(dict.fromkeys((*rivals, digest(layers))))
            runs = {name: self._run(rivals.get(name, layers)) for name in names}
            times = race(runs, self._queries(), rounds, self.seed + len(self.trace.steps))
            mine, fp32 = digest(layers), digest({})
            compared = {name: asdict(ratio(times, fp32, name)) for name in names}
            timed = {"latency_s": float(np.median(times[mine])), "ratio": compared[mine]["ratio"], "rounds": rounds}
            timed |= {"ratio_low": compared[mine]["low"], "ratio_high": compared[mine]["high"], "verdict": compared[mine]["verdict"]}
            rivals.pop(fp32)
            beaten = {name: asdict(ratio(times, name, mine)) for name in rivals}
            return timed | {"against": beaten, "rivals": {name: compared[name] for name in rivals}}

        return self._step("raced", what, layers, against, measured, brief)

    def profiled(self, assignments: dict[str, dict[str, str]]) -> dict[str, dict[str, float]] | None:
        """Seconds of each layer under each of ``assignments``, by their names; None where the runtime does not tell."""

        def measured() -> dict | None:
            found = {}
            for name, layers in assignments.items():
                target = self.surgeon.apply(self.model, layers, self.scratch / f"profile.{self.surgeon.format}")
                found[name] = self.surgeon.layer_times(self.model, target, self._queries()[:_PROFILED], self.threads)
                remove(target)
                if found[name] is None:
                    return None
            return found

        known = self.trace.known("profiled")
        if known is None:
            begun = time.perf_counter()
            times = measured()
            known = {"step": len(self.trace.steps) + 1, "key": "profiled", "what": "time of each layer", "times": times}
            known["seconds"] = time.perf_counter() - begun
            self.trace.add(known)
        self.spent_s += known["seconds"]
        if self.on_step:
            self.on_step(known)
        return known["times"]

    def safe(self, step: dict) -> bool:
        """Whether the step's assignment is within the budget with its margin."""
        return self.limit.holds_safely(Judgement(**step["judgement"]))

    def forget(self) -> None:
        """Forget judgements, after another judge was set."""
        self._judged.clear()

    def _close(self, *wanted: dict[str, str]) -> None:
        """Close every session but fp32's, the pinned ones and those of ``wanted``: a large model has room for few."""
        names = {digest({}), *map(digest, self.pinned), *map(digest, wanted)}
        for name in [name for name in self._open if name not in names]:
            del self._open[name]

    def _step(self, kind: str, what: str, layers: dict[str, str], against: tuple, measured, brief: bool = False) -> dict:
        layers = {name: precision for name, precision in layers.items() if precision != FLOAT}
        key = f"{kind} {digest(layers)} {' '.join(map(digest, against))}".strip()
        found = self.trace.known(key)
        if found is None:
            begun = time.perf_counter()
            self._close(layers, *against)
            timed = measured()
            # Nobody will want what is slower than fp32: a look at a few samples tells how good it would be.
            judge = self.judge.first(_BRIEF) if brief and timed["verdict"] == Verdict.SLOWER else self.judge
            judgement = self._judged.get(digest(layers)) or self._judgement(judge, layers, hasty=kind == "judged")
            counts = {precision: list(layers.values()).count(precision) for precision in sorted(set(layers.values()))}
            step = {"step": len(self.trace.steps) + 1, "key": key, "what": what, "digest": digest(layers), "quantized": len(layers)}
            step |= {"counts": counts, "layers": layers, "judgement": asdict(judgement)}
            step |= {"sqnr_db": judgement.sqnr_db, "loss": judgement.loss, "within_budget": self.limit.holds_safely(judgement)}
            found = step | timed | {"seconds": time.perf_counter() - begun}
            self.trace.add(found)
        self._judged[digest(layers)] = Judgement(**found["judgement"])
        self.spent_s += found["seconds"]
        if self.on_step:
            self.on_step(found)
        return found

    def _judgement(self, judge: Judge, layers: dict[str, str], hasty: bool) -> Judgement:
        """``hasty``: of the first samples only, where these already lose more than all of them may."""
        part = len(judge.samples) // _PART
        if hasty and part >= _BRIEF:
            found = judge.first(part)(self._run(layers))
            if self.limit.is_lost(found, part / len(judge.samples)):
                return found
        return judge(self._run(layers))

    def _queries(self) -> list[dict]:
        return [self.judge.samples.batch(index, 1) for index in range(min(_QUERIES, len(self.judge.samples)))]

    def _run(self, layers: dict[str, str]) -> Run:
        name = digest(layers)
        if name not in self._open:
            target = self.scratch / f"{name}.{self.surgeon.format}"
            self._open[name] = self.surgeon.open(self.surgeon.apply(self.model, layers, target), self.threads)
            # An opened file needs its name no longer, and a search makes hundreds.
            remove(target)
        return self._open[name]
