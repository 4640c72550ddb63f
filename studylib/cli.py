"""The command line: ``python -m studylib <verb>``. ``make`` calls the same verbs."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from studylib import arguments
from studylib.console import Console, only_one
from studylib.errors import InputError, StudyError


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 failed, 2 bad input, 130 interrupted."""
    _forgiving_streams()
    options = arguments.parser(__doc__, VERBS).parse_args(argv)
    # Measuring processes set their own; this keeps the frameworks quiet wherever the kernels import them.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        options.run(options)
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
    return 0


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


def study(options: argparse.Namespace) -> None:
    """Convert, compress, measure and report."""
    from studylib import report
    from studylib.notebooks import Runner

    begun, console = time.monotonic(), Console()
    planned = _ready(options, console.line)
    with only_one(planned.folder.parent):
        _announce(planned)
        runner = Runner(planned, console.line)
        executed = runner.run(options.force)
        page = planned.folder / "report" / "index.html"
        if executed or not runner.report_is_current():
            page = report.build(planned.results)
            runner.report_was_built()
        else:
            console.line(planned.nothing_to_measure(), keep=True)
    console.close()
    _conclude(planned.results, page, time.monotonic() - begun)


def plan(options: argparse.Namespace) -> None:
    """Print what a study would do; runs nothing."""
    planned = _open(options, print)
    _announce(planned)
    repetitions = planned.params.settings.repetitions
    for trial in planned.trials:
        if not trial.reason:
            print(f"  to measure, {repetitions} repetitions: {trial.model} {trial.label}, {trial.scenario}, {trial.threads} threads")


def report_again(options: argparse.Namespace) -> None:
    """Rebuild figures and report from stored results."""
    from studylib import report, tables

    page = report.build(tables.read_results(options.hw))
    print(f"report: {page}")


def advise(options: argparse.Namespace) -> None:
    """What to set, from stored results: the fastest configuration that keeps every limit."""
    from studylib import advice, constraints, tables

    given = constraints.read(LATENCY_MS=options.latency_ms, RSS_MB=options.rss_mb, SIZE_MB=options.size_mb)
    given |= {"max_accuracy_loss": arguments.share(options.loss)} if options.loss else {}
    print(advice.advise(tables.read_results(options.hw), model=options.model, **given))


def path(options: argparse.Namespace) -> None:
    """Quantize, then batch, then sessions beside each other, then memory settings: what each step brings."""
    from studylib import optimization, tables

    console = Console()
    recipes = tuple(dict.fromkeys(("fp32", *(arguments.names(options.recipe) or optimization.RECIPES))))
    planned = _ready(options, console.line, sweeps=(), batch_sizes=(1,), recipes=recipes)
    with only_one(planned.folder.parent):
        _announce(planned)
        told = optimization.path(planned, options.force)
    console.close()
    print(tables.markdown(told))
    print(f"written: {planned.folder / 'path' / 'path.md'}")


def compare_machines(options: argparse.Namespace) -> None:
    """Every machine in outputs/ side by side."""
    from studylib import machines, params

    path = machines.write(params.outputs_root())
    print(path.read_text(encoding="utf-8"))
    print(f"written: {path}")


def bench(options: argparse.Namespace) -> None:
    """Measure what the harness costs, LoadGen against the loop, our figures against the runtimes' own tools, how often verdicts err,
    conversion, compression, search."""
    from studylib import benchmarks, params
    from studylib.errors import lookup
    from studylib.stats import MINIMUM_ROUNDS

    if options.rounds < MINIMUM_ROUNDS:
        raise InputError(f"--rounds is {options.rounds}; an interval needs at least {MINIMUM_ROUNDS}.")
    chosen = [lookup(benchmarks.BENCHMARKS, "benchmark", name) for name in arguments.names(options.only) or benchmarks.USUAL]
    wishes = benchmarks.Wishes(options.rounds, arguments.names(options.model), options.effort)
    with only_one(params.outputs_root()):
        for benchmark in chosen:
            benchmark(wishes)


def _open(options: argparse.Namespace, write, **choice):
    """The study that the options ask for; with STRICT=1 only on the declared hardware."""
    from studylib import hardware
    from studylib.opening import open_study

    planned = open_study(options.hw, options.effort, write=write, **arguments.choice(options) | choice)
    if options.strict:
        hardware.require_native(planned.params.hardware, planned.host)
    return planned


def _ready(options: argparse.Namespace, write, **choice):
    """The same, with all that must hold before any work: its weights fetched, its folder writable."""
    from studylib.opening import fetch_weights

    planned = _open(options, write, **choice)
    fetch_weights(planned, write)
    planned.check_writable()
    return planned


def _announce(planned) -> None:
    """Print the plan before anything runs."""
    trials, skipped = planned.trials, [trial for trial in planned.trials if trial.reason]
    kind = "native" if planned.native else f"REHEARSAL of {planned.params.hardware.title} ({'; '.join(planned.mismatches)})"
    print(f"study {planned.params.hardware.name}, effort {planned.params.effort}: {kind}")
    print(f"host: {planned.host.describe()}; {planned.threads} threads used")
    print(f"plan: {len(trials)} trials of {', '.join(planned.plan.models)}; {len(skipped)} skipped")
    for name, model in planned.plan.models.items():
        if model.weights == "random":
            print(f"  {name} has random weights: no accuracy, only fidelity to its own fp32 outputs")
    for reason in dict.fromkeys(trial.reason for trial in skipped):
        same = [f"{trial.model} {trial.label}" for trial in skipped if trial.reason == reason]
        print(f"  skipped {', '.join(same)}: {reason}")
    against = planned.fitness()
    print("is this machine fit to measure?" + ("" if against else " nothing speaks against it"))
    for advice in against:
        print(f"  {advice.cause}. What helps: {advice.remedy}")
    sys.stdout.flush()


def _conclude(results, page: Path, seconds: float) -> None:
    from studylib import findings
    from studylib.progress import duration

    first = findings.first_screen(results)
    print(first)
    for trial in results.plan():
        status, reason = results.status(trial)
        if status not in ("ok", "skipped"):
            print(f"- {status}: {trial.model} {trial.label}: {reason}")
    for sentence in findings.summary(results)[len(first) :]:
        print(f"- {sentence}")
    print(f"done in {duration(seconds)}; report: {page}")


VERBS = {"study": study, "plan": plan, "report": report_again, "advise": advise, "path": path, "compare": compare_machines, "bench": bench}
