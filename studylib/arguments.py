"""The words of the command line: what may be given to each verb, and how it is read. Names and numbers, checked."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from studylib.errors import InputError
from studylib.sweeps import SWEEPS

_KINDS = "a SavedModel folder, .keras, .h5, .onnx, .tflite, .pt2 or module:factory"
_SHARE = "a share between 0 and 1, 0.01 for one point"
_EFFORTS = "smoke (minutes), quick (default) or full (publication)"
_BENCHMARKS = "overhead, recording, drivers, entry_points, verdicts, conversion (these by default), compression or search (an hour each)"
_HW = ("--hw", {"default": "cpu", "metavar": "HW", "help": "hardware set: a file in params/ (default: cpu)"})
_EFFORT = ("--effort", {"default": "quick", "help": _EFFORTS})


class _Parser(argparse.ArgumentParser):
    """Ends with one line that says what was wrong and where the allowed words are listed."""

    def error(self, message: str):
        self.print_usage(sys.stderr)
        self.exit(2, f"error: {message}. `{self.prog} --help` lists what is allowed.\n")


def parser(description: str, verbs: dict[str, Callable]) -> argparse.ArgumentParser:
    """The parser of ``verbs``: functions by name, each taking the options that were read; its docstring is its help."""
    found = _Parser(prog="studylib", description=description.replace("``", "`"), formatter_class=argparse.RawDescriptionHelpFormatter)
    each = found.add_subparsers(required=True, metavar="verb")
    for name, run in verbs.items():
        verb = each.add_parser(name, help=run.__doc__, description=run.__doc__)
        verb.set_defaults(run=run)
        for flag, how in _ARGUMENTS[name]:
            verb.add_argument(flag, **how)
    return found


def choice(options: argparse.Namespace) -> dict:
    """What the options choose of a study, as `studylib.open_study` takes it; a verb without an option leaves it as it is usually.

    Raises `InputError`.
    """
    given = dict.fromkeys(("batch", "sweep", "search", "scenario", "driver", "qps", "bound")) | vars(options)
    options = argparse.Namespace(**given)
    return {
        "models": models(options.model),
        "data": str(Path(options.data).absolute()) if options.data else None,
        "task": options.task,
        "trust": options.trust or None,
        "assignment": str(Path(options.assignment).resolve()) if options.assignment else None,
        "max_accuracy_loss": share(options.loss) if options.loss else None,
        "recipes": names(options.recipe),
        "runtimes": names(options.runtime),
        "batch_sizes": sizes(options.batch),
        "sweeps": () if options.sweep == "none" else names(options.sweep),
        "search": options.search or None,
        "scenarios": _scenarios(options.hw, options.effort, names(options.scenario)),
        "driver": options.driver,
        "target_qps": decimal(options.qps, "QPS", "queries per second, 50 for example") if options.qps else None,
        "latency_bound_ms": decimal(options.bound, "BOUND", "milliseconds, 100 for example") if options.bound else None,
        "seed": number(options.seed, "SEED") if options.seed else None,
    }


def names(text: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else None


def models(text: str | None) -> tuple[str, ...] | None:
    """Names of the zoo as they are; files and folders as seen from here, since the notebooks run elsewhere."""
    from studylib.own import is_own
    from studylib.zoo import MODELS

    # A factory beside the user is found by the processes that make its artifacts too, wherever those run.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(Path.cwd())]))

    def located(name: str) -> str:
        # A link keeps its own name and ending, and the card beside it: no `resolve`.
        return str(Path(name).absolute()) if name not in MODELS and is_own(name) and (Path(name).exists() or ":" not in name) else name

    return tuple(located(name) for name in names(text) or ()) or None


def sizes(text: str | None) -> tuple[int, ...] | None:
    return tuple(number(size, "BATCH") for size in text.split(",")) if text else None


def _scenarios(hardware_set: str, effort: str, more: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The hardware set's scenarios and ``more``; what others are compared with is always measured."""
    from studylib import params

    return tuple(dict.fromkeys((*params.resolve(hardware_set, effort).choice.scenarios, *more))) if more else None


def share(text: str) -> float:
    found = decimal(text[:80], "LOSS", _SHARE)
    if not 0 <= found <= 1:
        raise InputError(f"LOSS is '{text[:80]}'; it must be {_SHARE}.")
    return found


def decimal(text: str, name: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name} is '{text[:80]}'; it must be {what}.") from None


def number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{name} is '{text}'; it must be a whole number, or several separated by commas.") from None


_STUDY = (
    _HW,
    _EFFORT,
    ("--model", {"metavar": "A,B", "help": "models of the zoo, or your own: " + _KINDS}),
    ("--data", {"metavar": "PATH", "help": "samples for your own model: .npz, or a folder of .npy files or pictures"}),
    ("--task", {"help": "what your model's outputs mean: classification, question_answering, speech_recognition or other"}),
    ("--trust", {"action": "store_true", "help": "let code inside your model's file run (Lambda layers)"}),
    ("--recipe", {"metavar": "A,B", "help": "recipes instead of the hardware set's, or all"}),
    ("--assignment", {"metavar": "PATH", "help": "apply the assignment.json of an earlier search instead of searching"}),
    ("--loss", {"metavar": "0.01", "help": "share of right answers that an adaptive recipe may lose (default: 0.01)"}),
    ("--runtime", {"metavar": "A,B", "help": "runtimes instead of the hardware set's, as name or name/provider"}),
    ("--batch", {"metavar": "1,8", "help": "batch sizes instead of the hardware set's"}),
    ("--sweep", {"metavar": "A,B", "help": f"what to vary, one at a time: {', '.join(SWEEPS)}; all, or none"}),
    ("--search", {"action": "store_true", "help": "find the fastest by successive halving; measure only the last few in full"}),
    ("--scenario", {"metavar": "A,B", "help": "beside the hardware set's: server, multi_stream, streaming"}),
    ("--driver", {"help": "who issues queries: loadgen (MLPerf's), loop, or auto (default)"}),
    ("--qps", {"help": "queries per second of the server scenario (default: the highest that keeps the bound)"}),
    ("--bound", {"metavar": "100", "help": "milliseconds within which the server scenario answers 99 of 100 (default: 100)"}),
    ("--seed", {"help": "seed of training, samples and the order of trials"}),
    ("--strict", {"action": "store_true", "help": "refuse a machine that is not the declared hardware"}),
    ("--force", {"action": "store_true", "help": "measure again what is measured already"}),
)
# What a path chooses by itself.
_NOT_OF_A_PATH = ("--batch", "--sweep", "--search", "--scenario", "--driver", "--qps", "--bound")
_ARGUMENTS = {
    "study": _STUDY,
    "plan": _STUDY,
    "report": (_HW,),
    "advise": (
        _HW,
        ("--model", {"metavar": "NAME", "help": "one model of the results (default: each)"}),
        ("--latency-ms", {"metavar": "5", "help": "milliseconds that a slow query (p95) may take"}),
        ("--rss-mb", {"metavar": "200", "help": "megabytes of peak resident memory that the process may need"}),
        ("--size-mb", {"metavar": "10", "help": "megabytes that the model's file may have"}),
        ("--loss", {"metavar": "0.01", "help": "share of right answers that may be lost (default: 0.01)"}),
    ),
    "path": tuple(argument for argument in _STUDY if argument[0] not in _NOT_OF_A_PATH),
    "compare": (),
    "bench": (
        ("--only", {"metavar": "A,B", "help": _BENCHMARKS}),
        ("--model", {"metavar": "A,B", "help": "models of the zoo that the long ones measure (default: their own)"}),
        _EFFORT,
        ("--rounds", {"type": int, "default": 30, "help": "interleaved rounds of the overhead (default: 30)"}),
    ),
}
