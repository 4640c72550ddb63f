"""The course of a search: the uniform assignments, what each layer wins and costs, repairs, moves, and the last race."""

from dataclasses import dataclass

import numpy as np

from studylib.adaptive import profits
from studylib.adaptive.assignment import digest
from studylib.adaptive.budget import Judgement
from studylib.adaptive.candidates import Candidates
from studylib.adaptive.layers import DYNAMIC, FLOAT, STATIC, uniform
from studylib.adaptive.moves import best_chain, predicted_noise, propose
from studylib.stats import Verdict

# Shares of the time limit: one look at the held-back samples, the layers one by one, what is kept for the last race.
_JUDGING, _ALONE, _LAST = 1 / 60, 0.35, 0.1
_FEWEST_SAMPLES = 8
_LAST_ROUNDS = 15
# A search that finds nothing better in so many moves has looked around enough.
_PATIENCE = 40
# What a conversion between float and integers costs, as a share of fp32's latency: not known, so several are tried.
_SWITCHES = (0.0, 0.01, 0.03)
# Powers of ten of the weight of noise against time, from nearly none to so much that all stays float.
_WEIGHTS, _BISECTIONS = (-4.0, 8.0), 10
# Noise adds up only nearly: what is predicted to have this many times the largest that was within the budget is not tried.
_TOO_NOISY = 2.0


@dataclass(frozen=True)
class Ended:
    """What a search came to. ``ratio``: fp32's latency by this one's, with interval and rounds."""

    layers: dict[str, str]
    judgement: Judgement
    within_budget: bool
    faster: bool
    ratio: dict
    why: str
    stopped_by: str


class Course:
    """Runs a search; every decision hangs on recorded steps only, so that a resumed search takes the same course."""

    def __init__(self, candidates: Candidates, time_limit_s: float):
        self.candidates, self.time_limit_s = candidates, time_limit_s
        self.order = [layer.name for layer in candidates.model.layers]
        self.stopped_by = "no better one found"

    def run(self) -> Ended:
        c = self.candidates
        whole = c.judge
        c.judge = whole.first(min(_FEWEST_SAMPLES, len(whole.samples)))
        first = c.raced("fp32, a first look", {})
        affordable = int(self.time_limit_s * _JUDGING / max(first["latency_s"], 1e-7))
        c.judge = whole.first(int(np.clip(affordable, _FEWEST_SAMPLES, len(whole.samples))) if len(whole.samples) else 0)
        c.forget()
        uniforms = self._uniforms()
        if not c.safe(uniforms[FLOAT]) and not any(map(c.safe, uniforms.values())):
            return self._hopeless(uniforms)
        current = self._start(uniforms)
        current = self._moves(current) if current is not None else {}
        return self._last(uniforms, current)

    def _uniforms(self) -> dict[str, dict]:
        layers = self.candidates.model.layers
        chosen = {FLOAT: {}} | {precision: uniform(layers, precision) for precision in (DYNAMIC, STATIC)}
        return {precision: self.candidates.raced(f"all {precision}", assignment, brief=True) for precision, assignment in chosen.items()}

    def _start(self, uniforms: dict[str, dict]) -> dict[str, str] | None:
        """The fastest of the first assignments within the budget; None when no precision promises to save time anywhere."""
        c = self.candidates
        gains = profits.gains(c, uniforms)
        if not any(gain > 0 for own in gains.values() for gain in own.values()):
            self.stopped_by = "nothing to gain"
            return None
        # A static layer that saves nothing by itself may still join two that do.
        wanted = [(name, p) for name in self.order for p, gain in gains[name].items() if gain > 0 or p == STATIC]
        self.noise = profits.noises(c, wanted, min(_ALONE * self.time_limit_s, self._left() / 2))
        self.useful = {name: list(self.noise.get(name, {})) for name in self.order}
        self.value = {name: {p: gains[name][p] / max(self.noise[name][p], 1e-12) for p in self.useful[name]} for name in self.order}
        found = {}
        for switch in _SWITCHES:
            if self._left() > 0:
                assignment = self._heaviest(gains, switch)
                found[digest(assignment)] = assignment
        steps = [(assignment, c.raced("the fastest of its kind within the budget", assignment)) for assignment in found.values()]
        return max(steps, key=lambda pair: pair[1]["ratio"])[0] if steps else {}

    def _heaviest(self, gains: profits.Table, switch: float) -> dict[str, str]:
        """The assignment that `best_chain` makes with the least weight on noise that keeps it within the budget (bisection)."""
        c, best, tried = self.candidates, {}, {}
        low, high = _WEIGHTS
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            chosen = best_chain(self.order, gains, self.noise, 10**middle, switch)
            name = digest(chosen)
            if name not in tried and self._left() > 0:
                tried[name] = c.safe(
                    c.judged(f"{len(chosen)} layers by gain and noise, a conversion taken for {switch:.0%} of the time", chosen)
                )
            if tried.get(name):
                high, best = middle, chosen
            else:
                low = middle
        return best

    def _moves(self, current: dict[str, str]) -> dict[str, str]:
        """Small changes of the best one, each kept that is within the budget and measurably faster."""
        c, rng, seen, failures = self.candidates, np.random.default_rng(self.candidates.seed), {digest({}), digest(current)}, 0
        most = max(predicted_noise(step["layers"], self.noise) for step in c.trace.steps if step.get("within_budget"))
        for _ in range(100 * _PATIENCE):
            if failures >= _PATIENCE:
                break
            if self._left() <= 0:
                self.stopped_by = "time limit"
                break
            words, changed = propose(current, self.order, self.useful, self.value, rng)
            if digest(changed) in seen or predicted_noise(changed, self.noise) > _TOO_NOISY * most:
                continue
            seen.add(digest(changed))
            failures += 1
            c.pinned = (current,)
            if not c.safe(c.judged(words, changed)):
                continue
            most = max(most, predicted_noise(changed, self.noise))
            step = c.raced(words, changed, (current,))
            compared = step["against"].get(digest(current)) or {"low": step["ratio_low"]}
            if compared["low"] is not None and compared["low"] > 1:
                current, failures = changed, 0
        c.pinned = ()
        return current

    def _last(self, uniforms: dict[str, dict], current: dict[str, str]) -> Ended:
        """All that is left in one long race: fp32, the uniform assignments within the budget, and the one found."""
        c = self.candidates
        safe = {step["digest"]: step for step in uniforms.values() if step["layers"] and step["verdict"] != Verdict.SLOWER and c.safe(step)}
        entries = [layers for layers in (current, *(step["layers"] for step in safe.values())) if layers]
        if not entries:
            return self._ended(uniforms[FLOAT], uniforms)
        race = c.raced("the last race", entries[0], tuple(entries[1:]), _LAST_ROUNDS)
        mine = {name: race[name] for name in ("ratio", "ratio_low", "ratio_high", "rounds", "verdict")}
        timed = {race["digest"]: race | mine}
        for name, found in race["rivals"].items():
            measured = {"ratio": found["ratio"], "ratio_low": found["low"], "ratio_high": found["high"], "rounds": found["n"]}
            timed[name] = safe[name] | measured | {"verdict": found["verdict"]}
        fast = {name: step for name, step in timed.items() if step["verdict"] == Verdict.FASTER}
        simple = max((step for name, step in fast.items() if name in safe), key=lambda step: step["ratio"], default=uniforms[FLOAT])
        found = fast.get(digest(current))
        # A tie goes to the simpler of the two.
        better = found and all(race["against"][name]["verdict"] == Verdict.FASTER for name in safe if name != race["digest"])
        return self._ended(found if better else simple, uniforms)

    def _ended(self, best: dict, uniforms: dict[str, dict]) -> Ended:
        judgement = Judgement(**best["judgement"])
        faster = best["verdict"] == Verdict.FASTER and bool(best["layers"])
        ratio = {name: best[name] for name in ("ratio", "ratio_low", "ratio_high", "rounds")}
        within = self.candidates.limit.holds(judgement)
        return Ended(best["layers"], judgement, within, faster, ratio, self._why(best, uniforms, faster), self.stopped_by)

    def _why(self, best: dict, uniforms: dict[str, dict], faster: bool) -> str:
        same = next((precision for precision, step in uniforms.items() if step["digest"] == best["digest"]), None)
        told = "; ".join(
            f"all {name} {_words(step)}{'' if self.candidates.safe(step) else ', over the budget'}"
            for name, step in uniforms.items()
            if name != FLOAT
        )
        if not faster:
            return f"nothing within the budget was faster than fp32 ({told})"
        if same:
            return f"all {same} is within the budget and nothing mixed was faster than it ({told})"
        return f"{best['quantized']} of {len(self.order)} layers quantized, {_words(best)} ({told})"

    def _hopeless(self, uniforms: dict[str, dict]) -> Ended:
        best = max(uniforms.values(), key=lambda step: (-(step["loss"] or 0.0), step["sqnr_db"]))
        self.stopped_by = "nothing meets the budget"
        ended = self._ended(best, uniforms)
        why = f"over the budget: no assignment meets it, not even fp32; this one comes nearest ({_words(best)})"
        return Ended(ended.layers, ended.judgement, False, ended.faster, ended.ratio, why, self.stopped_by)

    def _left(self) -> float:
        return self.time_limit_s * (1 - _LAST) - self.candidates.spent_s


def _words(step: dict) -> str:
    lost = "" if step["loss"] is None else f", {100 * step['loss']:.1f} points lost"
    return f"{step['ratio']:.2f} times fp32's speed, {step['sqnr_db']:.1f} dB{lost}"
