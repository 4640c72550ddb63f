"""The words of the command line: what may be given to each verb. The options of a study are declared in `studylib.params.study_options`.

`make` names the variables that were typed, and their values come through the environment, by name: no shell reads them.
"""

import argparse
import sys
from collections.abc import Callable, MutableMapping

from studylib.errors import InputError, suggestion
from studylib.params.sets import resolve
from studylib.params.study_options import EFFORT, FORCE, HW, STRICT, Choice, options
from studylib.params.typed import Typed, place, yes_or_no

# The variables that were typed after `make`, as the Makefile says. Those of the environment that were not are somebody else's.
TYPED = "STUDYLIB_TYPED"


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
        for typed_as in taken(name):
            # A switch can be said no to as well (``--no-search``), where a hardware set says yes.
            switch = {"action": argparse.BooleanOptionalAction}
            how = switch if typed_as.is_switch else {"metavar": typed_as.shown or typed_as.variable}
            short = ["-v"] if typed_as.variable == "VERBOSE" else []
            verb.add_argument(*short, typed_as.flag, help=typed_as.help, default=typed_as.default, **how)
    return found


def taken(verb: str) -> list[Typed]:
    """What may be typed after a verb."""
    return [*_VERBS[verb], *(one for one in options().values() if verb in one.verbs)]


def variables() -> dict[str, list[str]]:
    """The verbs that take each variable."""
    takers: dict[str, list[str]] = {}
    for verb in _VERBS:
        for one in taken(verb):
            takers.setdefault(one.variable, []).append(verb)
    return takers


def typed(verb: str, environment: MutableMapping[str, str]) -> tuple[list[str], list[str]]:
    """What was typed after ``make <verb>``, taken out of the environment: the options of ``verb``, and what is to be said of the rest.

    Nothing of the environment counts unless it was typed: a SEED or MODEL that a shell happens to export chooses no study.
    Raises `InputError`.
    """
    if TYPED not in environment:
        return [], []  # called without `make`
    given = {name: environment.pop(name, "") for name in environment.pop(TYPED).split()}
    takers, words, notes = variables(), [], []
    for name in given:
        if name not in takers:
            raise InputError(f"unknown variable {name}. Known: {', '.join(takers)}.{suggestion(name, takers)}")
    for one in taken(verb):
        if one.variable in environment:
            notes.append(f"{one.variable} of the environment is not taken; type it: `make {verb} {one.variable}=…`")
        value = given.get(one.variable, "")
        if one.is_switch:
            words += [one.flag if yes_or_no(value, one.variable) else f"--no-{one.flag.removeprefix('--')}"] if value.strip() else []
        else:
            words += [f"{one.flag}={value}"] if value.strip() else []
    for name in given:
        if verb not in takers[name]:
            notes.append(f"{name} has no effect on `make {verb}`; it is for {', '.join(f'`make {other}`' for other in takers[name])}")
    return words, notes


def without_effect(given: argparse.Namespace, resolved: Choice) -> list[str]:
    """What was asked for and changes nothing in this study, in words."""
    from studylib.models.own import is_own
    from studylib.models.zoo import MODELS
    from studylib.params.study_options import ALL

    adaptive = any(name == ALL or name.startswith("adaptive") for name in resolved.recipes)
    own = any(name not in MODELS and is_own(name) for name in resolved.models)
    needs = {
        "qps": ("server" in resolved.scenarios, "the server scenario; SCENARIO=server adds it"),
        "bound": ("server" in resolved.scenarios, "the server scenario; SCENARIO=server adds it"),
        "assignment": (adaptive, "an adaptive recipe; RECIPE=adaptive_wi8 chooses one"),
        "task": (own, "a MODEL of your own"),
        "trust": (own, "a MODEL of your own"),
    }
    asked = {name: getattr(given, name, None) for name in needs}
    return [f"{name.upper()} has no effect without {needs[name][1]}" for name, value in asked.items() if value and not needs[name][0]]


def choice(given: argparse.Namespace) -> dict:
    """What was typed of a study's options, by their names, as `studylib.open_study` takes it. Raises `InputError`."""
    chosen = {}
    for name, typed_as in options().items():
        text = getattr(given, typed_as.name, None)
        if text is None:
            continue
        value = text if isinstance(text, bool) else typed_as.reads(text, typed_as.variable)
        if typed_as.adds:
            value = tuple(dict.fromkeys((*getattr(resolve(given.hw, given.effort).choice, name), *(value or ()))))
        chosen[name] = value
    return chosen


_BENCHMARKS = (
    "overhead, recording, drivers, entry_points, blocks, verdicts, conversion (these by default), serving, stress, peers, winners, "
    "compression or search (up to an hour each)"
)
_STUDY = (HW, EFFORT, STRICT, FORCE)
# What verbs take beside the options of a study.
_VERBS: dict[str, tuple[Typed, ...]] = {
    "study": _STUDY,
    "plan": (*_STUDY, Typed("VERBOSE", "list every trial in a line of its own", yes_or_no)),
    "report": (HW,),
    "advise": (
        HW,
        Typed("MODEL", "one model of the results (default: each)", shown="NAME"),
        Typed("LATENCY_MS", "milliseconds that a slow query (p95) may take", shown="5"),
        Typed("RSS_MB", "megabytes of peak resident memory that the process may need", shown="200"),
        Typed("SIZE_MB", "megabytes that the model's file may have", shown="10"),
        options()["max_accuracy_loss"],
    ),
    "path": _STUDY,
    "serve": (
        HW,
        Typed("MODEL", "one model of the results (default: the only one)", shown="NAME"),
        Typed("HOST", "address to listen on (default: this machine only)", default="127.0.0.1", shown="127.0.0.1"),
        Typed("REST_PORT", "port of REST (default: 8501)", default="8501", shown="8501"),
        Typed("GRPC_PORT", "port of gRPC (default: 8500)", default="8500", shown="8500"),
        Typed("TOKEN_FILE", "file with the bearer token that every request must bring", shown="PATH"),
    ),
    "deploy": (HW, Typed("MODEL", "one model of the results (default: the only one)", shown="NAME")),
    "load": (
        Typed("TARGET", "the server to ask", shown="host:port"),
        Typed("WIRE", "v2_grpc (default), v2_binary, v2_json, tfs_grpc or tfs_rest", default="v2_grpc"),
        Typed("MODEL", "the name under which the server serves it", shown="NAME"),
        Typed("QPS", "queries per second by chance (default: a closed loop of CLIENTS)", shown="100"),
        Typed("CLIENTS", "how many ask at once (default: 16)", default="16", shown="16"),
        Typed("SECONDS", "how long (default: 10)", default="10", shown="10"),
        Typed("DATA", "queries: a .npz file with an array for each input (default: noise)", shown="PATH"),
        Typed("TOKEN_FILE", "file with the bearer token that the server wants", shown="PATH"),
    ),
    "case": (
        Typed("CASE", "which case study: image (default)", default="image", shown="image"),
        HW,
        EFFORT,
        FORCE,
        Typed("DATA", "your own photographs: a folder, of which each inner folder is named as what it shows", place, "PATH"),
    ),
    "compare": (),
    "peers": (Typed("PEER", "tools and servers by name: triton/onnxruntime, NNCF … (default: all)", shown="A,B"),),
    "bench": (
        Typed("BENCH", _BENCHMARKS, shown="A,B"),
        Typed("MODEL", "models of the zoo that the long ones measure (default: their own)", shown="A,B"),
        EFFORT,
        Typed("ROUNDS", "interleaved rounds of the overhead (default: 30)", default="30"),
        Typed("SECONDS", "how long the stress of servers lasts (default: 600)", default="600"),
    ),
}
