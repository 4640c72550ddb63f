"""The command line: ``python -m studylib <verb>``. ``make`` calls the same verbs."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from studylib.console import Console, only_one
from studylib.errors import InputError, StudyError

_KINDS = "a SavedModel folder, .keras, .h5, .onnx, .tflite, .pt2 or module:factory"
_SHARE = "a share between 0 and 1, 0.01 for one point"
_EFFORTS = "smoke (minutes), quick (default) or full (publication)"


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 failed, 2 bad input, 130 interrupted."""
    _forgiving_streams()
    options = _parser().parse_args(arguments)
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
    from studylib import hardware, report
    from studylib.notebooks import Runner

    begun, console = time.monotonic(), Console()
    planned = _open(options, console.line)
    _fetch_weights(planned, console.line)
    if options.strict:
        hardware.require_native(planned.params.hardware, planned.host)
    planned.check_writable()
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
    from studylib import hardware

    planned = _open(options, print)
    if options.strict:
        hardware.require_native(planned.params.hardware, planned.host)
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
    given |= {"max_accuracy_loss": _share(options.loss)} if options.loss else {}
    print(advice.advise(tables.read_results(options.hw), model=options.model, **given))


def compare_machines(options: argparse.Namespace) -> None:
    """Every machine in outputs/ side by side."""
    from studylib import machines, params

    path = machines.write(params.outputs_root())
    print(path.read_text(encoding="utf-8"))
    print(f"written: {path}")


def bench(options: argparse.Namespace) -> None:
    """Measure what the harness costs, LoadGen against the loop, our figures against the runtimes' own tools, conversion, compression."""
    from studylib import benchmarks, params
    from studylib.errors import lookup
    from studylib.stats import MINIMUM_ROUNDS

    if options.rounds < MINIMUM_ROUNDS:
        raise InputError(f"--rounds is {options.rounds}; an interval needs at least {MINIMUM_ROUNDS}.")
    chosen = [lookup(benchmarks.BENCHMARKS, "benchmark", name) for name in _names(options.only) or benchmarks.USUAL]
    wishes = benchmarks.Wishes(options.rounds, _names(options.model), options.effort)
    with only_one(params.outputs_root()):
        for benchmark in chosen:
            benchmark(wishes)


def _fetch_weights(planned, write) -> None:
    """Bring published weights into the cache; where that fails the model has random ones, and the plan says so."""
    from studylib.zoo.downloads import fetch

    for name, model in planned.plan.models.items():
        if model.published and model.published.why_not():
            write(f"weights of {name}: fetching {model.published.size_bytes / 1e6:.0f} MB")
            reason = fetch(model.published)
            if reason:
                print(f"weights of {name}: random ones, since {reason}")


def _open(options: argparse.Namespace, write):
    from studylib.opening import open_study

    choice = {
        "models": _models(options.model),
        "data": str(Path(options.data).resolve()) if options.data else None,
        "task": options.task,
        "trust": options.trust or None,
        "assignment": str(Path(options.assignment).resolve()) if options.assignment else None,
        "max_accuracy_loss": _share(options.loss) if options.loss else None,
        "recipes": _names(options.recipe),
        "runtimes": _names(options.runtime),
        "batch_sizes": _sizes(options.batch),
        "sweeps": () if options.sweep == "none" else _names(options.sweep),
        "search": options.search or None,
        "scenarios": _scenarios(options.hw, options.effort, _names(options.scenario)),
        "driver": options.driver,
        "target_qps": _decimal(options.qps, "QPS", "queries per second, 50 for example") if options.qps else None,
        "latency_bound_ms": _decimal(options.bound, "BOUND", "milliseconds, 100 for example") if options.bound else None,
        "seed": _number(options.seed, "SEED") if options.seed else None,
    }
    return open_study(options.hw, options.effort, write=write, **choice)


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
    print("is this machine fit to measure?" + ("" if planned.fitness else " nothing speaks against it"))
    for advice in planned.fitness:
        print(f"  {advice.cause}. What helps: {advice.remedy}")
    sys.stdout.flush()


def _conclude(results, page: Path, seconds: float) -> None:
    from studylib import report
    from studylib.progress import duration

    for trial in results.plan():
        status, reason = results.status(trial)
        if status not in ("ok", "skipped"):
            print(f"{status}: {trial.model} {trial.label}: {reason}")
    for sentence in report.summary(results):
        print(f"- {sentence}")
    print(f"done in {duration(seconds)}; report: {page}")


def _names(text: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else None


def _models(text: str | None) -> tuple[str, ...] | None:
    """Names of the zoo as they are; files and folders as seen from here, since the notebooks run elsewhere."""
    from studylib.own import is_own
    from studylib.zoo import MODELS

    # A factory beside the user is found by the processes that make its artifacts too, wherever those run.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(Path.cwd())]))

    def located(name: str) -> str:
        return str(Path(name).resolve()) if name not in MODELS and is_own(name) and (Path(name).exists() or ":" not in name) else name

    return tuple(located(name) for name in _names(text) or ()) or None


def _sizes(text: str | None) -> tuple[int, ...] | None:
    return tuple(_number(size, "BATCH") for size in text.split(",")) if text else None


def _scenarios(hardware_set: str, effort: str, more: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The hardware set's scenarios and ``more``; what others are compared with is always measured."""
    from studylib import params

    return tuple(dict.fromkeys((*params.resolve(hardware_set, effort).choice.scenarios, *more))) if more else None


def _share(text: str) -> float:
    share = _decimal(text[:80], "LOSS", _SHARE)
    if not 0 <= share <= 1:
        raise InputError(f"LOSS is '{text[:80]}'; it must be {_SHARE}.")
    return share


def _decimal(text: str, name: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name} is '{text[:80]}'; it must be {what}.") from None


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{name} is '{text}'; it must be a whole number, or several separated by commas.") from None


class _Parser(argparse.ArgumentParser):
    """Ends with one line that says what was wrong and where the allowed words are listed."""

    def error(self, message: str):
        self.print_usage(sys.stderr)
        self.exit(2, f"error: {message}. `{self.prog} --help` lists what is allowed.\n")


def _parser() -> argparse.ArgumentParser:
    from studylib.sweeps import SWEEPS

    parser = _Parser(prog="studylib", description=__doc__.replace("``", "`"), formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="verb")
    for name, run in (("study", study), ("plan", plan)):
        verb = verbs.add_parser(name, help=run.__doc__, description=run.__doc__)
        verb.set_defaults(run=run)
        verb.add_argument("--hw", default="cpu", metavar="HW", help="hardware set: a file in params/ (default: cpu)")
        verb.add_argument("--effort", default="quick", help=_EFFORTS)
        verb.add_argument("--model", metavar="A,B", help="models of the zoo, or your own: " + _KINDS)
        verb.add_argument("--data", metavar="PATH", help="samples for your own model: .npz, or a folder of .npy files or pictures")
        verb.add_argument("--task", help="what your model's outputs mean: classification, question_answering, speech_recognition or other")
        verb.add_argument("--trust", action="store_true", help="let code inside your model's file run (Lambda layers)")
        verb.add_argument("--recipe", metavar="A,B", help="recipes instead of the hardware set's, or all")
        verb.add_argument("--assignment", metavar="PATH", help="apply the assignment.json of an earlier search instead of searching")
        verb.add_argument("--loss", metavar="0.01", help="share of right answers that an adaptive recipe may lose (default: 0.01)")
        verb.add_argument("--runtime", metavar="A,B", help="runtimes instead of the hardware set's, as name or name/provider")
        verb.add_argument("--batch", metavar="1,8", help="batch sizes instead of the hardware set's")
        verb.add_argument("--sweep", metavar="A,B", help=f"what to vary, one at a time: {', '.join(SWEEPS)}; all, or none")
        verb.add_argument("--search", action="store_true", help="find the fastest by successive halving; measure only the last few in full")
        verb.add_argument("--scenario", metavar="A,B", help="beside the hardware set's: server, multi_stream, streaming")
        verb.add_argument("--driver", help="who issues queries: loadgen (MLPerf's), loop, or auto (default)")
        verb.add_argument("--qps", help="queries per second of the server scenario (default: the highest that keeps the bound)")
        verb.add_argument("--bound", metavar="100", help="milliseconds within which the server scenario answers 99 of 100 (default: 100)")
        verb.add_argument("--seed", help="seed of training, samples and the order of trials")
        verb.add_argument("--strict", action="store_true", help="refuse a machine that is not the declared hardware")
        verb.add_argument("--force", action="store_true", help="measure again what is measured already")
    verb = verbs.add_parser("report", help=report_again.__doc__, description=report_again.__doc__)
    verb.set_defaults(run=report_again)
    verb.add_argument("--hw", default="cpu", metavar="HW", help="hardware set whose stored results to report (default: cpu)")
    verb = verbs.add_parser("advise", help=advise.__doc__, description=advise.__doc__)
    verb.set_defaults(run=advise)
    verb.add_argument("--hw", default="cpu", metavar="HW", help="hardware set whose stored results to read (default: cpu)")
    verb.add_argument("--model", metavar="NAME", help="one model of the results (default: each)")
    verb.add_argument("--latency-ms", metavar="5", help="milliseconds that a slow query (p95) may take")
    verb.add_argument("--rss-mb", metavar="200", help="megabytes of peak resident memory that the process may need")
    verb.add_argument("--size-mb", metavar="10", help="megabytes that the model's file may have")
    verb.add_argument("--loss", metavar="0.01", help="share of right answers that may be lost (default: 0.01)")
    verb = verbs.add_parser("compare", help=compare_machines.__doc__, description=compare_machines.__doc__)
    verb.set_defaults(run=compare_machines)
    verb = verbs.add_parser("bench", help=bench.__doc__, description=bench.__doc__)
    verb.set_defaults(run=bench)
    verb.add_argument(
        "--only",
        metavar="A,B",
        help="overhead, recording, drivers, entry_points, verdicts, conversion (these by default) or compression (an hour)",
    )
    verb.add_argument("--model", metavar="A,B", help="models of the zoo that compression is measured on (default: five)")
    verb.add_argument("--effort", default="quick", help=_EFFORTS)
    verb.add_argument("--rounds", type=int, default=30, help="interleaved rounds of the overhead (default: 30)")
    return parser
