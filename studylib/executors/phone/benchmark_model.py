"""LiteRT's own tool for phones, `benchmark_model`: what is asked of it, and what it says.

It prints summaries and no single times. Source of flags and of lines: google-ai-edge/LiteRT, ``tflite/tools/benchmark``
(``benchmark_model.cc``, ``benchmark_tflite_model.cc``, README) and TensorFlow's ``util/stats_calculator.h``.
"""

import math
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from studylib.build.jobs import MeasureJob, SessionJob
from studylib.errors import Kind, TrialError
from studylib.params.recipe_names import split_recipe
from studylib.runtimes.settings import read

# Providers with the name that the tool gives each delegate; the CPU is no delegate of its own.
DELEGATES = {"gpu": "GPU", "nnapi": "NNAPI"}
# Warm-up queries, as the loop on this machine takes them.
_WARMUP = 3
_NS_PER_US = 1000
_NUMBER = r"([-+.\deinf]+)"
_TIMES = re.compile(rf"timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}")
_MEMORY = re.compile(rf"Memory footprint delta from the start of the tool \(MB\): init={_NUMBER} overall={_NUMBER}")
_RUNS = re.compile(r"\bcount=\d+ .*")
_UNKNOWN = re.compile(r"Unconsumed cmdline flags: *(.+)")


class Query(NamedTuple):
    """One query as the tool reads it: for each input of the file, in its order, the shape and a file of raw bytes."""

    shapes: list[list[int]]
    files: list[str]


@dataclass(frozen=True)
class Told:
    """What one process of the tool said, times in ns. ``count``: queries behind ``mean_ns``; ``summary``: its words and numbers, µs.

    ``added_bytes``: by how much its memory grew from start to end, the peak of each; None where it does not tell.
    """

    load_ns: int
    first_ns: int
    warmup_ns: int
    mean_ns: int
    count: int
    summary: dict[str, float]
    added_bytes: int | None


def timing(job: MeasureJob) -> list[str]:
    """The flags of a measured repetition: as many queries and seconds as the job's load asks for."""
    length = job.load.length
    return [
        f"--num_runs={length.min_values}", f"--min_secs={length.min_duration_s:g}", f"--max_secs={length.max_duration_s:g}",
        f"--warmup_runs={_WARMUP}", f"--warmup_min_secs={job.warmup_s:g}",
    ]  # fmt: skip


def answering(path: str) -> list[str]:
    """The flags of one answer, written to ``path`` as raw bytes, output after output in the file's own order."""
    return ["--num_runs=1", "--min_secs=0", "--warmup_runs=1", "--warmup_min_secs=0", f"--output_filepath={path}"]


def command(tool: str, artifact: str, query: Query, job: SessionJob, flags: list[str]) -> list[str]:
    """The command line on the phone. Inputs get names of our own, as the tool allows: a file's own names may hold its separators."""
    names = [f"in{number}" for number in range(len(query.files))]
    shapes = ":".join(",".join(map(str, shape)) for shape in query.shapes)
    values = ",".join(f"{name}:{path}" for name, path in zip(names, query.files, strict=True))
    inputs = [f"--input_layer={','.join(names)}", f"--input_layer_shape={shapes}", f"--input_layer_value_files={values}"]
    return [tool, f"--graph={artifact}", f"--num_threads={job.threads}", *inputs, *_runs_on(job), *flags]


def _runs_on(job: SessionJob) -> list[str]:
    """The flags of provider and settings. Without ``--use_xnnpack`` the tool takes XNNPACK by itself, as the interpreter does."""
    if job.provider == "gpu":
        # By default the GPU computes in float16; fp32 is to mean fp32.
        loss = "false" if split_recipe(job.recipe)[1] == "fp32" else "true"
        return ["--use_gpu=true", f"--gpu_precision_loss_allowed={loss}"]
    if job.provider == "nnapi":
        return ["--use_nnapi=true"]
    return ["--use_xnnpack=false"] if read(job.options).get("xnnpack") == "off" else []


def checked(status: int, lines: Sequence[str]) -> Sequence[str]:
    """The lines of a process that ended well and knew every flag; `TrialError` in words for any other."""
    unknown = _first(_UNKNOWN, lines)
    if unknown:
        raise TrialError(f"this benchmark_model does not know {unknown[1].strip()}; give a newer one in BENCHMARK_MODEL")
    if status == 0:
        return lines
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
    if status > 128 and status - 128 in set(signal.Signals):
        name = signal.Signals(status - 128).name
        hint = " (often: out of memory)" if name == "SIGKILL" else ""
        raise TrialError(f"crash: benchmark_model was killed by {name}{hint}; its last words: {last}", Kind.CRASH)
    raise TrialError(f"error: benchmark_model ended with {status}: {last}")


def parsed(lines: Sequence[str]) -> Told:
    """The numbers of a measured repetition. Raises `TrialError` when they are not all there, or are no times."""
    times, runs = _first(_TIMES, lines), [found[0] for line in lines if (found := _RUNS.search(line))]
    # Two lines of runs: the warm-up's, then those that count.
    summary = _counted(runs[-1]) if runs else {}
    if times is None or len(runs) < 2:
        last = next((line.strip()[:200] for line in reversed(lines) if line.strip()), "nothing")
        raise TrialError(f"error: benchmark_model told no times; its last words: {last}")
    numbers = [_number(text) for text in times.groups()]
    if any(number is None or number <= 0 for number in numbers) or not summary.get("count", 0) >= 1:
        raise TrialError(f"error: benchmark_model told what are no times: {times[0]}")
    memory = _first(_MEMORY, lines)
    grown = memory and _number(memory[2])
    return Told(
        *(max(1, round(number * _NS_PER_US)) for number in numbers),
        count=int(summary["count"]),
        summary={f"{name}_us" if name != "count" else name: number for name, number in summary.items()},
        added_bytes=round(grown * 2**20) if grown and grown > 0 else None,
    )


def placed(provider: str, lines: Sequence[str]) -> tuple[str, str]:
    """What really ran, by the tool's own line, and why that is not what was asked for; empty when the delegate took the whole graph."""
    name = DELEGATES.get(provider)
    if name is None:
        return "CPU", ""
    text = "\n".join(lines)
    if f"applied {name} delegate, and the model graph will be completely executed" in text:
        return name, ""
    part = re.search(rf"applied {name} delegate, and the model graph will be partially executed by the delegate(?: w/ (\d+))?", text)
    if part:
        pieces = f" (in {part[1]} pieces)" if part[1] else ""
        return f"{name}, CPU", f"fell back: the {name} delegate took only part of the graph{pieces}; the rest ran on the CPU"
    if f"Though {name} delegate is explicitly applied" in text:
        return "CPU", f"fell back: the {name} delegate took none of the graph"
    return "CPU", f"fell back: benchmark_model does not say that the {name} delegate took the graph"


def _counted(line: str) -> dict[str, float]:
    """``count=50 first=119 … avg=1.24e+06`` as numbers by name; newer tools add p5, median and p95."""
    found = {name: _number(text) for name, text in re.findall(rf"(\w+)={_NUMBER}", line)}
    return {name: number for name, number in found.items() if number is not None}


def _first(pattern: re.Pattern, lines: Sequence[str]) -> re.Match | None:
    return next((found for line in lines if (found := pattern.search(line))), None)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
