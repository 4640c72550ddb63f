"""The measurement itself, in a process of its own: candidates first, then rounds over the fastest of them and the memory."""

import json
import os
import time
from collections.abc import Callable

from studylib.measure.peaks import products
from studylib.measure.peaks.bandwidth import Streams, cache_bytes, working_sets

_ROUNDS, _FEWEST_ROUNDS = 5, 3
# After so long no further round begins.
_BUDGET_S = 11.0
# A block is what is timed at once: long enough for the clock frequency to settle, short enough to lie between two disturbances.
_BLOCK_S = 0.005
_TRY_S, _PRODUCT_S, _KERNEL_S = 0.08, 0.08, 0.03
# A short try can be disturbed, so that more than one candidate comes into the rounds.
_FINALISTS = 3


def measure(threads: int) -> dict:
    """All peaks, as plain JSON: what `Peaks` holds beside host and time. Prints what it is doing."""
    import psutil

    begun, before = time.perf_counter(), _processor_s()
    without: dict[str, str] = {}
    chosen = {}
    for name, candidates in (("float32", products.FLOAT32), ("int8", products.INT8)):
        _say(f"looking for the fastest {name} matrix product")
        chosen[name] = finalists(candidates, threads, without)
    sizes = working_sets(psutil.virtual_memory().available)
    _say(f"memory bandwidth over up to {sizes[-1] / 2**20:.0f} MiB")
    streams = Streams(threads, sizes[-1])
    rounds = []
    while len(rounds) < _ROUNDS and (len(rounds) < _FEWEST_ROUNDS or time.perf_counter() - begun < _BUDGET_S):
        _say(f"round {len(rounds) + 1} of {_ROUNDS}")
        rounds.append(_round(chosen, streams, sizes))
    streams.close()
    seconds = time.perf_counter() - begun
    return {
        "float32": _peak(rounds, "float32"),
        "int8": _peak(rounds, "int8") if chosen["int8"] else None,
        "memory": [{"working_set_bytes": size, "peak": _peak(rounds, size)} for size in sizes],
        "cache_bytes": cache_bytes(),
        "without": without,
        "others_share": others_share(_processor_s() - before, seconds, threads, len(_processors())),
        "seconds": seconds,
    }


def finalists(candidates: dict[str, Callable], threads: int, without: dict[str, str]) -> dict[str, products.Product]:
    """The fastest candidates by their name with the size; those that do not run here go to ``without`` with the reason."""
    found = []
    for name, make in candidates.items():
        for size in products.SIZES:
            try:
                product = make(size, threads)
                per_s = product.operations / fastest_block_s(product.run, _TRY_S)
            except Exception as error:  # a library may be absent or lack the kernel, each with an error of its own: the record says so
                without[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                break
            found.append((per_s, f"{name} {size}", product))
    best = sorted(found, key=lambda one: one[0], reverse=True)[:_FINALISTS]
    return {name: product for _, name, product in best}


def fastest_block_s(run: Callable[[], object], duration_s: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one ``run`` in the fastest block of several, tried for ``duration_s``; the first run only warms up."""
    run()
    start = clock()
    run()
    once = max(clock() - start, 1e-9)
    times, fastest, end = max(1, round(_BLOCK_S / once)), once if once >= _BLOCK_S else float("inf"), clock() + duration_s
    while fastest == float("inf") or clock() < end:
        start = clock()
        for _ in range(times):
            run()
        fastest = min(fastest, (clock() - start) / times)
    return fastest


def _round(chosen: dict, streams: Streams, sizes: list[int]) -> dict:
    """(per second, how) of everything, once."""
    found = {}
    for name, products_ in chosen.items():
        if products_:
            found[name] = max((one.operations / fastest_block_s(one.run, _PRODUCT_S), how) for how, one in products_.items())
    for size in sizes:
        found[size] = max((moved / fastest_block_s(run, _KERNEL_S), how) for how, run, moved in streams.kernels(size))
    return found


def _peak(rounds: list[dict], name) -> dict:
    """The fastest of all rounds, beside the slowest of them."""
    (per_s, how), (slowest, _) = max(found[name] for found in rounds), min(found[name] for found in rounds)
    return {"per_s": per_s, "slowest_round_per_s": slowest, "rounds": len(rounds), "how": how}


def others_share(others_s: float, seconds: float, threads: int, processors: int) -> float:
    """The share of our threads' time that others took at the least, when they used ``others_s`` of all ``processors``."""
    left = processors - others_s / seconds
    return min(1.0, max(0.0, (threads - left) / threads))


def _processor_s() -> float:
    """Seconds of our processors that everything but this process has used so far, other virtual machines too."""
    import psutil

    ours, total = _processors(), 0.0
    for number, times in enumerate(psutil.cpu_times(percpu=True)):
        # Time of guests is counted in user time as well.
        idle = times.idle + sum(getattr(times, name, 0.0) for name in ("iowait", "guest", "guest_nice"))
        total += sum(times) - idle if number in ours else 0.0
    return total - time.process_time()


def _processors() -> set[int]:
    """Numbers of the processors that this process may use."""
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _say(stage: str) -> None:
    print(json.dumps({"stage": stage}), flush=True)
