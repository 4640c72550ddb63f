"""The command line: ``python -m studylib <verb>``. ``make`` calls the same verbs."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from studylib.cli import arguments, benches, serving
from studylib.cli.console import Console, only_one
from studylib.errors import StudyError
from studylib.machine import clock
from studylib.params.typed import names, share


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit status.

    0 done; 1 failed; 2 bad input; 3 done, but a model that was asked for has no timed row, or keeps no limits that were asked of it;
    130 interrupted. `make` ends with 2 after each of these but the first.
    """
    _forgiving_streams()
    argv = sys.argv[1:] if argv is None else argv
    # Measuring processes set their own; this keeps the frameworks quiet wherever the kernels import them.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    signal.signal(signal.SIGTERM, _interrupt)
    clock.begin()
    try:
        more, notes = arguments.typed(argv[0], os.environ) if argv and argv[0] in VERBS else ([], [])
        options = arguments.parser(__doc__, VERBS).parse_args([*argv, *more])
        _note(notes)
        status = options.run(options) or 0
        sys.stdout.flush()
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\nInterrupted. What was measured is kept; run the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our words has gone; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"error: {error}. Check the path or the disk it names, then run the same command again.", file=sys.stderr)
        return 2
    return status


def _note(notes: list[str]) -> None:
    for words in notes:
        print(f"note: {words}.", file=sys.stderr)


def _forgiving_streams() -> None:
    """A terminal that cannot show a character gets its code, and a closed stream swallows words: neither ends a study."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  it lives as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _interrupt(*_) -> None:
    """A polite request to end is an interruption: what was measured is kept, and the user is told so."""
    raise KeyboardInterrupt


def study(options: argparse.Namespace) -> int:
    """Convert, compress, measure and report."""
    from studylib.study.notebooks import Runner
    from studylib.study.run_facts import nothing_to_measure

    begun, console = time.monotonic(), Console()
    planned = _ready(options, console.line)
    with only_one(planned.folder.parent):
        runner = Runner(planned, console.line)
        _announce(planned)
        left = runner.left(options.force)
        _warn(planned, measures=bool(left))
        runner.run(left, options.force)
        page = planned.folder / "report" / "index.html"
        if left or not runner.report_is_current():
            from studylib.report import report  # draws: what is there already needs none of it

            page = report.build(planned.results)
            runner.report_was_built()
        else:
            console.line(nothing_to_measure(planned.results), keep=True)
    console.close()
    _conclude(planned.results, page, time.monotonic() - begun)
    return _told(_without_timing(planned.results, planned.plan.models), "has no timed row", len(planned.plan.models))


def plan(options: argparse.Namespace) -> None:
    """Print what a study would do; runs nothing."""
    from studylib.study.forecast import forecast, grouped

    planned = _open(options, print)
    _announce(planned)
    _warn(planned)
    first, *others = forecast(planned).lines
    print(first)
    trials = [trial for trial in planned.trials if not trial.reason]
    if options.verbose:
        for trial in trials:
            print(f"  {trial.model} {trial.label}, {trial.scenario}, {trial.threads} threads")
    else:
        for shared, each in grouped(trials).items():
            print(f"  {shared}: {', '.join(each)}")
    print(*others, sep="\n")


def report_again(options: argparse.Namespace) -> None:
    """Rebuild figures and report from stored results."""
    from studylib.report import report
    from studylib.results import standing

    page = report.build(standing.read_results(options.hw))
    print(f"report: {page}")


def advise(options: argparse.Namespace) -> int:
    """What to set, from stored results: the fastest configuration that keeps every limit."""
    from studylib.results import standing
    from studylib.verdicts import advice, limits

    given = limits.read(LATENCY_MS=options.latency_ms, RSS_MB=options.rss_mb, SIZE_MB=options.size_mb)
    given |= {"max_accuracy_loss": share(options.loss, "LOSS")} if options.loss else {}
    advices = advice.advise(standing.read_results(options.hw), model=options.model, **given)
    print(advices)
    return _told({one.model: str(one.reason) for one in advices if one.configuration is None}, "has no advice", len(advices))


def path(options: argparse.Namespace) -> int:
    """Quantize, then batch, then sessions beside each other, then memory settings: what each step brings."""
    from studylib.results.results import Results
    from studylib.study import optimization
    from studylib.wording import markdown

    console = Console()
    recipes = tuple(dict.fromkeys(("fp32", *(names(options.recipe or "", "RECIPE") or optimization.RECIPES))))
    planned = _ready(options, console.line, sweeps=(), batch_sizes=(1,), recipes=recipes)
    with only_one(planned.folder.parent):
        _announce(planned)
        _warn(planned)
        told = optimization.path(planned, options.force)
    console.close()
    print(markdown(told))
    print(f"written: {planned.folder / 'path' / 'path.md'}")
    untimed = _without_timing(Results(planned.folder / "path"), planned.plan.models)
    return _told(untimed, "has no timed row", len(planned.plan.models))


def case(options: argparse.Namespace) -> None:
    """One question of a product team, answered on real input: decision, page and figures."""
    from studylib.cases import run_case
    from studylib.params.paths import outputs_root
    from studylib.report import cases

    console = Console()
    with only_one(outputs_root()):
        result = run_case(options.case, options.hw, options.effort, options.data or "", bool(options.force), console.line)
    console.close()
    page = cases.build(outputs_root() / options.hw, result.case)
    print(result.question)
    print(cases.ground(result))
    for line in cases.decision(result):
        print(f"- {line}")
    print(f"page: {page}")


def compare_machines(options: argparse.Namespace) -> None:
    """Every machine in outputs/ side by side."""
    from studylib.params.paths import outputs_root
    from studylib.report import machines

    path = machines.write(outputs_root())
    print(path.read_text(encoding="utf-8"))
    print(f"written: {path}")


def _open(options: argparse.Namespace, write, **choice):
    """The study that the options ask for; with STRICT=1 only on the declared hardware."""
    from studylib.machine import hardware
    from studylib.study.opening import open_study

    # A model factory beside the user is found by the processes that make its artifacts too, wherever those run.
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*filter(None, [os.environ.get("PYTHONPATH")]), str(Path.cwd())]))
    planned = open_study(options.hw, options.effort, write=write, **arguments.choice(options) | choice)
    _note(arguments.without_effect(options, planned.params.choice))
    if options.strict:
        hardware.require_native(planned.params.hardware, planned.host)
    return planned


def _ready(options: argparse.Namespace, write, **choice):
    """The same, with all that must hold before any work: its weights fetched, its folder writable."""
    from studylib.artifacts.disk import require_writable
    from studylib.study.opening import fetch_downloads

    planned = _open(options, write, **choice)
    fetch_downloads(planned, write)
    require_writable(planned.folder)
    return planned


def _announce(planned) -> None:
    """Print the plan before anything runs."""
    from studylib.study.forecast import skipped

    trials = planned.trials
    kind = "native" if planned.native else f"REHEARSAL of {planned.params.hardware.title} ({'; '.join(planned.mismatches)})"
    print(f"study {planned.params.hardware.name}, effort {planned.params.effort}: {kind}")
    print(f"host: {planned.host.describe()}; {planned.threads} threads used")
    print(f"plan: {len(trials)} trials of {', '.join(planned.plan.models)}; {sum(bool(trial.reason) for trial in trials)} skipped")
    for name, model in planned.plan.models.items():
        if model.weights == "own":
            print(f"  {name} is {model.location}")  # two files may have one name
        if model.weights == "random":
            print(f"  {name} has random weights: no accuracy, only fidelity to its own fp32 outputs")
    for reason, whose in skipped(trials).items():
        print(f"  skipped {', '.join(whose)}: {reason}")
    sys.stdout.flush()


def _warn(planned, measures: bool = True) -> None:
    """Print what speaks against measuring now; how much the machine's speed wanders takes a second, and is asked where it ``measures``."""
    from studylib.study import before_timing

    against = [*before_timing.fitness(planned), *filter(None, [before_timing.wandering(planned) if measures else None])]
    print("is this machine fit to measure?" + ("" if against else " nothing speaks against it"))
    for advice in against:
        print(f"  {advice.cause}. What helps: {advice.remedy}")
    sys.stdout.flush()


def _conclude(results, page: Path, seconds: float) -> None:
    from studylib.progress import duration
    from studylib.report import summary
    from studylib.results.states import Status

    first = summary.first_screen(results)
    print(first)
    for trial in results.plan():
        state = results.state(trial)
        if state.status not in (Status.OK, Status.SKIPPED):
            print(f"- {state.status}: {trial.model} {trial.label}: {state.why}")
    for sentence in summary.summary(results)[len(first) :]:
        print(f"- {sentence}")
    print(f"done in {duration(seconds)}; report: {page}")


def _without_timing(results, models: Iterable[str]) -> dict[str, str]:
    """The models of which nothing was timed, with the reasons that their rows give."""
    from studylib.wording import some

    reasons: dict[str, list[str]] = {name: [] for name in models}
    for trial in results.plan():
        state = results.state(trial)
        if state.ok:
            reasons.pop(trial.model, None)
        elif trial.model in reasons:
            reasons[trial.model].append(str(state))
    return {name: some(list(dict.fromkeys(said)), 2) if said else "no trial of it is planned" for name, said in reasons.items()}


def _told(missing: dict[str, str], what: str, asked: int) -> int:
    """Say last, and with the exit status 3, what was asked for and is not there: reasons by model."""
    sys.stdout.flush()
    for name, reason in missing.items():
        print(f"{name} {what}: {reason.rstrip('.')}.", file=sys.stderr)
    if not missing:
        return 0
    print(f"exit status 3: {len(missing)} of {asked} {'models' if asked > 1 else 'model'}: {', '.join(missing)}.", file=sys.stderr)
    return 3


VERBS = {
    "study": study,
    "plan": plan,
    "report": report_again,
    "advise": advise,
    "path": path,
    "serve": serving.serve,
    "deploy": serving.deploy,
    "load": serving.load,
    "case": case,
    "compare": compare_machines,
    "bench": benches.bench,
    "peers": benches.peers,
}
