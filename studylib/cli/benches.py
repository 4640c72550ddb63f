"""The verbs that hold this project itself against something: what its measuring costs, and the tools of others."""

import argparse
import sys

from studylib.cli.console import only_one
from studylib.errors import InputError
from studylib.params.typed import names, number, whole_number


def bench(options: argparse.Namespace) -> None:
    """Measure what the harness costs, LoadGen against the loop, our figures against the runtimes' own tools, how often verdicts err
    and two studies agree about who wins, other tools beside ours, conversion, compression, search."""
    from studylib.bench import benchmarks
    from studylib.errors import lookup
    from studylib.params.paths import outputs_root
    from studylib.stats import MINIMUM_ROUNDS

    rounds = whole_number(options.rounds, "ROUNDS")
    if rounds < MINIMUM_ROUNDS:
        raise InputError(f"ROUNDS is {rounds}; an interval needs at least {MINIMUM_ROUNDS}.")
    chosen = [lookup(benchmarks.BENCHMARKS, "benchmark", name) for name in names(options.bench or "", "BENCH") or benchmarks.USUAL]
    seconds = number(options.seconds, "SECONDS")
    if not 0 < seconds <= 86_400:
        raise InputError(f"SECONDS is {seconds:g}; it must be above 0 and at most 86400.")
    wishes = benchmarks.Wishes(rounds, names(options.model or "", "MODEL"), options.effort, seconds)
    with only_one(outputs_root()):
        for benchmark in chosen:
            benchmark(wishes)


def peers(options: argparse.Namespace) -> int:
    """Install the tools and servers of others that ours are held against, each in an environment of its own."""
    from studylib.artifacts.environments import EnvironmentFailedError
    from studylib.bench.peers import environments
    from studylib.errors import lookup

    known, failed = environments(), []
    for environment in [lookup(known, "tool or server", name) for name in names(options.peer or "", "PEER") or known]:
        try:
            environment.install()
            print(f"{environment.name}: {environment.folder}")
        except EnvironmentFailedError as error:
            failed.append(str(error))
    for words in failed:
        print(words, file=sys.stderr)
    return 1 if failed else 0
