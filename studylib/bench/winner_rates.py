"""Whether two studies of one model name the same winner, or know that theirs are equally fast, while another process is busy."""

from dataclasses import dataclass, replace
from itertools import pairwise

from studylib.bench.verdict_rates import busy
from studylib.params.paths import outputs_root
from studylib.study.opening import open_study
from studylib.study.study import Study
from studylib.verdicts.findings import Findings
from studylib.verdicts.winners import smallest_batch

MODELS = ("mnist_cnn", "efficientnet_lite0")
# Each with the one before it makes ten pairs.
_STUDIES = 11


@dataclass(frozen=True)
class Named:
    """What a study names: the ``winner``, and the ``equals`` that are not distinguishable from it; nobody where the machine was not fit."""

    winner: str
    equals: tuple[str, ...]

    def agrees(self, other: "Named") -> bool:
        """Whether both name one winner, or each winner is among those that the other study cannot tell from its own."""
        same = self.winner == other.winner != ""
        return same or (self.winner in other.equals and other.winner in self.equals)


def run(models: tuple[str, ...] = MODELS, effort: str = "smoke", studies: int = _STUDIES, write=print) -> dict[str, list[Named]]:
    """Measure every model's variants ``studies`` times beside a busy process; print what each named, and how many pairs agree."""
    found = {}
    for model in models:
        study = replace(open_study("cpu", effort, write=write, models=(model,)), folder=outputs_root() / ".bench" / "winners" / model)
        study.evaluate(matrix=False)
        with busy():
            found[model] = named = [_measured(study, number, write) for number in range(1, studies + 1)]
        agreeing = sum(one.agrees(other) for one, other in pairwise(named))
        held = "holds" if agreeing == len(named) - 1 else "DOES NOT HOLD"
        write(f"{model}: {agreeing} of {len(named) - 1} studies name the winner of the one before, or both are equally fast ({held})")
    return found


def _measured(study: Study, number: int, write) -> Named:
    """One more study of what is made already, its numbers in a campaign of its own."""
    timed = [trial for trial in study.timed if study.is_smallest(trial)]
    study.bench.measure(timed, study.results.newest_campaign() + 1)
    study.decide()
    (winner,) = smallest_batch(Findings.of(study.results))
    if winner.variant is None:
        write(f"study {number}: names nobody: {winner.reason}")
        return Named("", ())
    named = Named(winner.variant.trial.label, tuple(variant.trial.label for variant in winner.ties))
    write(f"study {number}: {named.winner}, {winner.words}; not distinguishable: {', '.join(named.equals) or 'none'}")
    return named
