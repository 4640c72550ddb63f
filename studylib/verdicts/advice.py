"""What to set: for each model the configuration that keeps every limit and answers fastest, and why the others stand behind it.

``sl.advise(results, …)`` is `advise` of this module. Every word and number is made from the rows of the results.
"""

from studylib.errors import InputError, Kind, Reason, lookup
from studylib.results import assumed, standing
from studylib.results.results import Results
from studylib.verdicts import advice_words
from studylib.verdicts.advised import Advice, Advices, RunnerUp, configuration
from studylib.verdicts.contenders import models, sample_ns, unjudged, why_none
from studylib.verdicts.decisions import decide, rehearsal
from studylib.verdicts.findings import Findings, once
from studylib.verdicts.grounds import grounds
from studylib.verdicts.limits import Candidate, Limit, candidates, limits
from studylib.verdicts.projects import projects


def advise(
    results: Results | Findings,
    max_accuracy_loss: float | None = None,
    latency_ns: float | None = None,
    rss_bytes: float | None = None,
    size_bytes: float | None = None,
    model: str | None = None,
) -> Advices:
    """The fastest configuration of each model (or of ``model``) that keeps every limit, from what was measured and nothing else.

    ``max_accuracy_loss``: share of right answers lost against TensorFlow fp32 (random weights: 20 dB SQNR instead); None means the
    study's own budget. ``latency_ns``: of slow queries (p95). ``rss_bytes``: the process's peak. ``size_bytes``: the model's file. Limits
    are held against the unfavourable end of each interval. What failed, was skipped or is invalid is never advised, and a rehearsal
    advises nothing. Raises `InputError` for what is no limit.
    """
    if not isinstance(results, Results | Findings):
        raise InputError(f"advise was given a {type(results).__name__}; give it results, such as sl.read_results('cpu').")
    findings = Findings.of(results)
    most = findings.budget if max_accuracy_loss is None else max_accuracy_loss
    asked = limits(most, latency_ns, rss_bytes, size_bytes)
    known = dict.fromkeys(models(findings))
    if model is not None:
        lookup(known, "model of these results", model)
    return Advices(_advice(findings, name, tuple(asked)) for name in known if model in (None, name))


@once
def _advice(findings: Findings, model: str, asked: tuple[Limit, ...]) -> Advice:
    ground, unfinished = grounds(findings), standing.incomplete(findings.results)
    shared = {"model": model, "caveats": tuple(filter(None, (ground.words, unfinished))), "limits": tuple(one.words for one in asked)}
    timed = candidates(findings, model)
    if not timed:
        return Advice(**shared, reason=why_none(findings, model))
    doubted = assumed.warning(findings.results.artifacts(), model)
    same = tuple(filter(None, (advice_words.same_files(model, findings), doubted and f"WARNING about its accuracy: {doubted}.")))
    if not ground.decides:
        return Advice(**shared, notes=same, known=advice_words.known(model, timed, asked, findings), reason=rehearsal(ground))
    smallest = min(candidate.variant.trial.batch_size for candidate in timed)
    pool = [candidate for candidate in timed if candidate.variant.trial.batch_size == smallest]
    fit = _fit(pool, asked)
    if not fit:
        reason = Reason(Kind.OVER_LIMIT, f"none of the {len(pool)} configurations that were timed keeps every limit")
        return Advice(**shared, notes=same, reason=reason, unmet=advice_words.unmet(pool, asked))
    found = decide([candidate.variant for candidate in fit], [candidate.variant for candidate in pool], findings)
    if found.best is None:
        return Advice(**shared, notes=same, reason=found.reason)
    chosen = next(candidate for candidate in fit if candidate.variant is found.best)
    others = sorted((c for c in pool if c is not chosen), key=lambda c: (not advice_words.keeps(c, asked), sample_ns(c.variant)))
    return Advice(
        **shared,
        configuration=configuration(found.best.trial),
        notes=tuple(
            filter(None, (advice_words.numbers(chosen, pool, found.ties), advice_words.faster_and_out(chosen, pool, asked), *same))
        ),
        why=advice_words.why(chosen, fit, asked),
        runners_up=tuple(RunnerUp(configuration(one.variant.trial), advice_words.why_behind(chosen, one, asked)) for one in others),
        projects=projects(_fit(timed, asked)),
    )


def _fit(pool: list[Candidate], asked: tuple[Limit, ...]) -> list[Candidate]:
    """Those that keep every limit; where none is known to, the float versions whose outputs cannot be compared and that keep the rest."""
    kept = [candidate for candidate in pool if advice_words.keeps(candidate, asked)]
    if kept:
        return kept
    floats = unjudged([candidate.variant for candidate in pool])
    return [candidate for candidate in pool if candidate.variant in floats and advice_words.keeps(candidate, asked[1:])]
