"""Memory bandwidth by working set, in the manner of STREAM: every thread reads or writes its own part again and again.

numpy computes in one thread and lets go of the interpreter's lock meanwhile, so that several Python threads fill the memory bus.
Bytes are counted as STREAM does: read plus written, without what a cache fetches on its own account.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from studylib.results.peaks import FAR_BEYOND

# At least 64 MiB where the cache is not known; at most what is quickly had.
_LEAST_BYTES, _MOST_BYTES = 64 * 2**20, 2**30
_SMALLEST_BYTES, _STEP = 256 * 2**10, 4
# Work handed to a thread at once: so much that handing it over costs nothing.
_HANDED_BYTES = 32 * 2**20


def cache_bytes() -> int | None:
    """The largest cache of the processor as Linux states it, or None. A virtual machine may be shown more than it gets."""
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    units = {"K": 2**10, "M": 2**20}
    found = [int(match[1]) * units[match[2]] for size in sizes if (match := re.fullmatch(r"(\d+)([KM])", size))]
    return max(found, default=None)


def working_sets(available_bytes: int) -> list[int]:
    """Sizes in bytes from 256 KiB on, each four times the one before; the last far beyond the cache, as far as memory allows."""
    largest = max(FAR_BEYOND * (cache_bytes() or 0), _LEAST_BYTES)
    largest = min(largest, _MOST_BYTES, max(available_bytes // 8, _SMALLEST_BYTES))
    sizes = [_SMALLEST_BYTES]
    while sizes[-1] * _STEP < largest:
        sizes.append(sizes[-1] * _STEP)
    return sizes if sizes[-1] == largest else [*sizes, largest]


class Streams:
    """Arrays of float32 for every thread, written once so that they are there."""

    def __init__(self, threads: int, largest_bytes: int):
        self.threads, self._pool = threads, ThreadPoolExecutor(threads)
        self._arrays = [np.empty(largest_bytes // threads // 4, np.float32) for _ in range(threads)]
        self._together(lambda array: array.fill(1))

    def kernels(self, working_set_bytes: int) -> Iterator[tuple[str, Callable[[], object], int]]:
        """(name, what runs it in all threads, bytes it moves) of each way to use the memory."""
        count = working_set_bytes // self.threads // 4
        passes = max(1, _HANDED_BYTES // self.threads // (4 * count))
        for name, (parts, kernel) in _KERNELS.items():
            length = count // parts

            def work(array: np.ndarray, kernel=kernel, parts=parts, length=length) -> None:
                pieces = [array[part * length : (part + 1) * length] for part in range(parts)]
                for _ in range(passes):
                    kernel(*pieces)

            yield name, lambda work=work: self._together(work), 4 * length * parts * self.threads * passes

    def _together(self, work: Callable[[np.ndarray], None]) -> None:
        for done in [self._pool.submit(work, array) for array in self._arrays]:
            done.result()

    def close(self) -> None:
        self._pool.shutdown()
        self._arrays.clear()


def _read(source: np.ndarray) -> None:
    source.max()


def _copy(source: np.ndarray, target: np.ndarray) -> None:
    np.copyto(target, source)


def _add(first: np.ndarray, second: np.ndarray, target: np.ndarray) -> None:
    np.add(first, second, out=target)


# By name, how many arrays share the working set, and what is done with them.
_KERNELS = {"read": (1, _read), "copy": (2, _copy), "add": (3, _add)}
