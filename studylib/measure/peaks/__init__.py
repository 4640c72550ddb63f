"""What a host can do at most: arithmetic and memory bandwidth, measured once in a process of its own and kept by host.

A peak is a maximum and not a mean: whatever runs beside it can only make it smaller. So the estimate is the fastest of all
blocks of about 20 ms, over rounds that alternate between everything measured; beside it stands the slowest round's own fastest
block, which says how steady the host was. Kept in ``<outputs>/.peaks/<host>-<threads>.json``, sealed, unless the host was busy.
"""

import json
from collections.abc import Callable
from pathlib import Path

from studylib.artifacts.code import code_digest
from studylib.artifacts.store import derived_key, package_version
from studylib.build.executor import Executor
from studylib.build.jobs import PeaksJob
from studylib.errors import TrialError
from studylib.results.peaks import Peaks
from studylib.results.records import read_sealed, write_sealed

# What computes the products: with another version, the peaks are measured again.
_PACKAGES = ("numpy", "onnxruntime", "openvino")


def of_host(
    host_id: str, threads: int, folder: Path, executor: Executor, timeout_s: float, write: Callable = print, again: bool = False
) -> dict:
    """The peaks of this host with ``threads``, as plain JSON (see `Peaks.from_json`): those kept in ``folder``, or measured now.

    ``again`` ignores what is kept. A process that fails costs no study: the record then holds ``reason`` instead of numbers, and
    is not kept.
    """
    path, wanted = Path(folder) / f"{host_id}-{threads}.json", {"host_id": host_id, "threads": threads, "made_by": _made_by()}
    kept = read_sealed(path) if path.exists() and not again else None
    if kept and wanted.items() <= kept.items() and Peaks.from_json(kept):
        return kept
    write(f"peaks: measuring what this host can do with {threads} threads; it takes about 15 s and is kept")
    try:
        record = wanted | executor.run(PeaksJob(threads=threads), timeout_s, lambda line: _say(line, write))
    except TrialError as error:
        write(f"peaks: not measured: {error}")
        return wanted | {"reason": f"the peaks of this host could not be measured: {error}"}
    found = Peaks.from_json(record)
    write(f"peaks: {found.text}")
    if found.busy:
        write(f"peaks: {found.busy}; the next measurement takes them again.")
    else:
        write_sealed(path, record)
    return record


def _made_by() -> str:
    """A hash of the code and of the packages that measure."""
    installed = tuple(package for package in _PACKAGES if _is_installed(package))
    return derived_key("peaks", {}, (), code_digest("studylib.measure.peaks.measuring", Peaks), installed)


def _is_installed(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError

    try:
        return bool(package_version(package))
    except PackageNotFoundError:
        return False


def _say(line: str, write: Callable) -> None:
    """Hand on what the process says it is doing."""
    if line.startswith('{"stage": '):
        write(f"peaks: {json.loads(line)['stage']}")
