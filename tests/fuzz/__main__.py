"""``python -m tests.fuzz [--count 500] [--seed 1] [--processes 2] [--only onnx]``: generated models through convert, evaluate, batch check.

Prints a line for each model that is judged wrongly and the counts at the end; ends with 1 when there is any. ``--seed N --count 1``
shows one model again. Seeds follow each other, so that every finding can be drawn again.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--count", type=int, default=500)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--processes", type=int, default=2)
    asked.add_argument("--only", default="", help="keras, onnx or litert")
    asked.add_argument("--reasons", action="store_true", help="print every reason of rows that are not ok")
    options = asked.parse_args()
    multiprocessing.set_start_method("spawn")
    from tests.fuzz.fuzzing import Helper

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    waiting = list(range(options.seed, options.seed + options.count))[::-1]
    helpers = [Helper(options.only) for _ in range(min(options.processes, options.count))]
    verdicts, crashed = [], []
    begun = time.monotonic()
    for helper in helpers:
        helper.give(waiting.pop())
    while busy := [helper for helper in helpers if helper.seed is not None]:
        for helper in busy:
            found = helper.take()
            if found is None:
                continue
            if isinstance(found, tuple):
                crashed.append(found)
                print(f"seed {found[0]}: crash: {found[1]}\n{found[2]}", flush=True)
            else:
                verdicts.append(found)
                _tell(found, options.reasons)
            helper.seed = None
            if waiting:
                helper.give(waiting.pop())
    states: Counter = sum((verdict.states for verdict in verdicts), Counter())
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    good, confirmed, batches = (
        sum(counted) for counted in zip(*((v.states["ok"] > 0, v.confirmed, v.batches) for v in verdicts), strict=True)
    )
    print(
        f"{len(verdicts) + len(crashed)} models in {time.monotonic() - begun:.0f} s, {good} with ok rows; rows: {dict(states)}; confirmed "
        f"by their frameworks: {confirmed} ok rows and {batches} batches; {len(crashed)} crashes, {len(wrong)} models with something wrong"
    )
    return 1 if crashed or wrong else 0


def _tell(verdict, reasons: bool) -> None:
    if verdict.wrong or reasons:
        print(f"seed {verdict.seed} ({verdict.words}), {verdict.seconds:.0f} s: {dict(verdict.states)}", flush=True)
    for text in dict.fromkeys(verdict.wrong):
        print(f"  wrong: {text}", flush=True)
    for reason, what in verdict.reasons.items() if reasons else ():
        print(f"  {what}: {reason}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
