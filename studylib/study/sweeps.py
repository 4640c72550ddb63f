"""Sweeps: one setting at a time varied, everything else as usual; each point a named set of options from the runtimes' allow-lists."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from studylib.errors import lookup

if TYPE_CHECKING:  # the command line names the sweeps in its help, and loads nothing for it
    from studylib.runtimes import Runtime

BATCH_SIZES = (1, 8, 16, 32, 64)
# What each sweep varies; the article of K12 asks for 4 threads within and 4 between operators.
SWEEPS = {
    "batch": "samples in a query, from 1 to 64, cut short where a larger batch gives no more",
    "threads": "threads within an operator, in powers of two up to all that are granted",
    "graph": "how far the runtime optimizes the graph when it opens the file",
    "execution": "branches of the graph beside each other, on several threads between operators",
    "memory": "the memory arena, and the pattern by which memory is planned ahead",
    "spinning": "idle threads that wait busily, or sleep",
    "xnnpack": "LiteRT with XNNPACK's kernels, or its own",
    "hint": "OpenVINO's performance hint and number of streams",
    "xla": "TensorFlow with the whole signature compiled",
    "engine": "TensorRT's workspace, and how long its builder tries out kernels",
}
ALL = "all"
_SETTINGS: dict[str, dict[str, tuple[dict[str, str], ...]]] = {
    "graph": {"onnxruntime": tuple({"graph": level} for level in ("layout", "extended", "basic", "disable"))},
    "execution": {
        "onnxruntime": tuple({"execution": "parallel", "inter_threads": count} for count in ("2", "4")),
        "tensorflow": ({"inter_threads": "1"},),
    },
    "memory": {"onnxruntime": ({"arena": "off"}, {"pattern": "off"}, {"arena": "off", "pattern": "off"})},
    "spinning": {"onnxruntime": ({"spinning": "off"},)},
    "xnnpack": {"litert": ({"xnnpack": "off"},)},
    "hint": {"openvino": ({"hint": "throughput", "streams": "auto"}, {"streams": "2"})},
    "xla": {"tensorflow": ({"xla": "on"},)},
    "engine": {"tensorrt": ({"workspace_mb": "256"}, {"workspace_mb": "1024"}, {"optimization": "0"}, {"optimization": "5"})},
}


@dataclass(frozen=True)
class Deviation:
    """What one trial of a sweep has that differs from the usual; None where it is as usual."""

    settings: dict[str, str] = field(default_factory=dict)
    threads: int | None = None
    batch_size: int | None = None


USUAL = Deviation()


def chosen(names: tuple[str, ...]) -> list[str]:
    """The sweeps by these names; ``all`` stands for every one. Raises `UnknownNameError`."""
    for name in names:
        lookup(SWEEPS | {ALL: ""}, "sweep", name)
    return list(SWEEPS) if ALL in names else list(names)


def points(name: str, runtime: "Runtime", threads: int, batch_sizes: tuple[int, ...]) -> list[Deviation]:
    """The points of a sweep that a study with these ``threads`` and ``batch_sizes`` does not measure anyway."""
    if name == "batch":
        return [Deviation(batch_size=size) for size in BATCH_SIZES if size not in batch_sizes]
    if name == "threads":
        return [Deviation(threads=count) for count in _powers(threads)] if runtime.heeds_threads else []
    return [Deviation(own) for own in settings(name, runtime.name)]


def settings(name: str, runtime: str) -> tuple[dict[str, str], ...]:
    """The settings that a sweep varies in a runtime; none where that runtime has nothing to vary."""
    return _SETTINGS[name].get(runtime, ())


def groups(trials: list) -> list[list]:
    """The trials of every batch sweep with the usual ones of the same model, recipe and runtime, smaller batches first."""
    found: dict[tuple, list] = {}
    for trial in trials:
        if trial.sweep in ("", "batch") and trial.usual and not trial.control:
            found.setdefault((trial.model, trial.recipe, trial.where), []).append(trial)
    swept = [group for group in found.values() if any(trial.sweep for trial in group)]
    return [sorted(group, key=lambda trial: trial.batch_size) for group in swept]


def cut(throughputs: dict[int, float | str | None]) -> dict[int, str]:
    """Which batch sizes are not worth measuring, with the reason in words.

    ``throughputs``: samples/s of a first look by batch size, why the look failed, or None where nobody looked. Once a size
    gives no more than a smaller one did, all larger ones are left out; the size itself stays, so that the plateau is seen.
    """
    found, best, stop = {}, 0.0, ""
    for size in sorted(throughputs):
        seen = throughputs[size]
        if stop:
            found[size] = stop
        elif seen is None:
            break
        elif isinstance(seen, str):
            stop = f"cut short: at batch {size} already: {seen}"
        elif seen <= best:
            stop = f"cut short: a first look found no more at batch {size} ({seen:.3g} samples/s, {best:.3g} before)"
        else:
            best = seen
    return found


def _powers(below: int) -> list[int]:
    return [2**power for power in range(below.bit_length()) if 2**power < below]
