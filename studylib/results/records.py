"""What a study consists of and what was measured, and how it lies on disk: sealed JSON, trusted by its hash."""

import errno
import hashlib
import itertools
import json
import logging
import os
import statistics
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from studylib.artifacts.store import output_error, write_text
from studylib.results import old_reasons
from studylib.results.rows import FIDELITY

log = logging.getLogger(__name__)


# The recipe of a conversion that keeps the source's own precision, which mostly is float32.
PLAIN = "fp32"
_AS_IT_CAME = "as it came, "


def as_it_came(source: str) -> str:
    """How a model is called that was quantized before it came here."""
    return f"{_AS_IT_CAME}{source}"


def is_plain(recipe: str) -> bool:
    """Whether a recipe, as tables show it, is a plain conversion of the source model."""
    return recipe == PLAIN or recipe.startswith(_AS_IT_CAME)


# The name by which what is measured of servers is set apart from what is compared with each other usually.
SERVING = "serving"

# Fields of a trial that its name leaves out. What the source is follows from the artifact.
UNNAMED = ("reason", "source", "recorded_as")


@dataclass(frozen=True)
class Trial:
    """One thing to measure. ``reason`` says from the start why it is skipped; ``control`` marks the A/A twin.

    ``options``: settings of the runtime that differ from its defaults, as ``graph=basic``; ``sweep``: the name of the sweep
    that varies something here, empty for the usual. ``driver``: who is asked to issue the queries, ``loop`` or ``loadgen``; who did
    is in the measurement. ``source``: what the source model holds where that is not float32. ``conditions`` is a hash of all that
    changes a measurement and is not named here: host, effort, harness.
    """

    model: str
    weights: str
    recipe: str
    format: str
    runtime: str
    runtime_version: str
    provider: str
    threads: int
    scenario: str
    batch_size: int
    artifact_key: str
    evaluation_id: str
    conditions: str
    options: str = ""
    sweep: str = ""
    control: bool = False
    reason: str | None = None
    driver: str = "loop"
    source: str = ""
    recorded_as: str = field(default="", init=False, compare=False, repr=False)

    @cached_property
    def id(self) -> str:
        """The name of its raw records: a hash of its fields, or that of the version that recorded it (`studylib.results.forms`)."""
        if self.recorded_as:
            return self.recorded_as
        facts = {key: value for key, value in asdict(self).items() if key not in UNNAMED}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def twin(self) -> "Trial | None":
        """The trial that an A/A control repeats; None of any other. It may not be part of the plan."""
        return replace(self, control=False, reason=None) if self.control else None

    @property
    def where(self) -> str:
        """The runtime, with its provider where that is not the processor."""
        return self.runtime + ("" if self.provider == "cpu" else f"/{self.provider}")

    @property
    def label(self) -> str:
        """A short name that is unique within one model."""
        batch = "" if self.batch_size == 1 else f" x{self.batch_size}"
        return f"{self.where} {self.shown}{batch}{self.setting}"

    @property
    def shown(self) -> str:
        """The recipe as people read it: of a source that is no float32, a plain conversion is what that was, ``as it came, int8``."""
        return as_it_came(self.source) if self.source and self.recipe == PLAIN else self.recipe

    @property
    def setting(self) -> str:
        """What sets a trial apart from others of its runtime, recipe and batch size, with a space before each; empty for the usual."""
        threads = f" {self.threads} thread{'s' * (self.threads > 1)}" if self.sweep == "threads" else ""
        options = f" [{self.options}]" if self.options else ""
        scenario = "" if self.usual else f" {self.scenario}"
        return f"{threads}{options}{scenario}{' (A/A)' if self.control else ''}"

    @property
    def batches(self) -> tuple[int, ...]:
        """The sizes of the queries that are timed here, above one: of a server, where whatever waits is answered, a few of them."""
        sizes = {2, self.batch_size - 1, self.batch_size} if self.scenario == "server" else {self.batch_size}
        return tuple(sorted(size for size in sizes if 1 < size <= self.batch_size))

    @property
    def usual(self) -> bool:
        """Whether its queries come one after the other. Other scenarios have tables of their own."""
        return self.scenario in ("single_stream", "offline")


@dataclass(frozen=True)
class Measurement:
    """One repetition in one fresh process: raw values in ns, warm-up kept apart. No summary inside.

    ``session`` names the uninterrupted run that measured it among others: only inside one are repetitions paired.
    ``cold_start_ns``: process, activate, load, first_inference, and the total from spawn to answer.
    ``memory_bytes``: rss and vms before, after_load, after_first, and their peak (older records lack some of vms); of a
    phone only ``rss_added``.
    ``disturbances``: what went on beside it; ``energy``: joules by domain and how they were measured, or why not.
    ``scenario_facts``: how the values came about (`studylib.scenarios.Facts`); empty in records of older versions.
    ``cohort``: names those that took turns with it, empty where it was measured alone; ``blocks``: of each of its blocks of values the
    number of the round, when it began (`time.perf_counter_ns`), and how many values it gave, in the order of the values.
    ``status``: ok, invalid or failed; ``kind``: of the reason (`studylib.errors.Kind`), empty without one.
    """

    trial_id: str
    campaign: int
    repetition: int
    attempt: int
    session: str
    status: str
    reason: str
    host_id: str
    started_at: str
    ended_at: str
    values_ns: tuple[int, ...] = field(default=(), repr=False)
    warmup_ns: tuple[int, ...] = field(default=(), repr=False)
    cold_start_ns: dict = field(default_factory=dict)
    memory_bytes: dict = field(default_factory=dict)
    placement: str = ""
    disturbances: dict = field(default_factory=dict)
    energy: dict = field(default_factory=dict)
    scenario_facts: dict = field(default_factory=dict)
    kind: str = ""
    cohort: str = ""
    blocks: tuple[tuple[int, int, int], ...] = field(default=(), repr=False)

    @cached_property
    def block_medians_ns(self) -> dict[int, float]:
        """The median of each block's values by the number of its round; empty where values were not taken in blocks."""
        found, values = {}, iter(self.values_ns)
        for number, _, n in self.blocks:
            found[number] = statistics.median(itertools.islice(values, n))
        return found

    @cached_property
    def median_ns(self) -> float:
        """The median of its values: what comparisons pair. Computed once, since every trial is compared with many."""
        return statistics.median(self.values_ns)

    @property
    def is_of_means(self) -> bool:
        """Whether each value is a mean of many queries, because its driver tells no single times."""
        return bool(self.scenario_facts.get("values_are"))

    @property
    def file_name(self) -> str:
        return f"c{self.campaign:04d}-r{self.repetition:03d}-a{self.attempt}.json"


@dataclass(frozen=True)
class Conversion:
    """One cell of the matrix of formats: ``model`` from format ``source`` to format ``target``.

    ``keys``: the artifacts made on the way, the last one the cell's own. ``trial`` opens and evaluates it and is None where
    no runtime here opens the target. ``reason`` says why there is no path.
    """

    model: str
    source: str
    target: str
    keys: tuple[str, ...] = ()
    trial: Trial | None = None
    reason: str | None = None


def read_measurement(path: Path) -> Measurement | None:
    record = read_sealed(path)
    if record is None:
        return None
    try:
        lists = {"values_ns": tuple(record["values_ns"]), "warmup_ns": tuple(record["warmup_ns"])}
        measurement = Measurement(**record | lists | {"blocks": tuple(map(tuple, record.get("blocks", ())))})
        datetime.fromisoformat(measurement.started_at), datetime.fromisoformat(measurement.ended_at)
        if measurement.status == "ok":
            memory, cold_start = _NEEDED.get(measurement.scenario_facts.get("driver"), (_MEMORY, _COLD_START))
            # A server's process was not there before the model was loaded.
            memory = memory[1:] if measurement.scenario_facts.get("served") else memory
            needed = [measurement.memory_bytes[name] for name in memory] + [measurement.cold_start_ns[name] for name in cold_start]
            numbers = [*measurement.values_ns, *needed]
            if not measurement.values_ns or not all(isinstance(number, int) and number > 0 for number in numbers):
                raise ValueError("times and sizes must be positive whole numbers")
            if measurement.blocks and sum(n for *_, n in measurement.blocks) != len(measurement.values_ns):
                raise ValueError("its blocks hold other values than it has")
    except (TypeError, ValueError, KeyError) as error:
        return _damaged(path, f" ({error})")
    return measurement


_MEMORY = ("rss_before", "rss_after_first", "rss_peak", "vms_peak")
_COLD_START = ("load", "first_inference", "total")
# What only some drivers cannot tell: LiteRT's tool on a phone knows neither its process's memory nor when it was started.
_NEEDED = {"benchmark_model": ((), _COLD_START[:2])}


def read_evaluation(path: Path) -> dict | None:
    record = read_sealed(path)
    if record is None:
        return None
    n, passed = record.get("n"), record.get("status") == "ok" and record.get("comparable", True)
    lists = [record[name] for name in ("agreeing", "correct", "confidence") if name in record]
    sound = isinstance(record.get("reason"), str) and record.get("status") in ("ok", "failed", "invalid")
    if not record.get("comparable", True):
        # Where nothing can be compared there is no number that would pass for a fidelity, and words why.
        sound = sound and "n" not in record and not lists and isinstance(record.get("why_not_comparable"), str)
    if "n" in record or passed:
        # A speech model has an answer for each frame: several for one sample, never fewer.
        sound = sound and isinstance(n, int) and all(isinstance(values, list) and len(values) >= n for values in lists)
        sound = sound and all(isinstance(record.get(name), float | int) for name in ("independent", *FIDELITY))
    return record if sound else _damaged(path)


def _seal(record: dict) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def sealed(record: dict) -> str:
    """The record and its hash, as one line of JSON."""
    record = json.loads(json.dumps(record))
    return json.dumps({"record": record, "sha256": _seal(record)})


def unsealed(text: str) -> dict | None:
    """The record, or None when it does not match its hash."""
    try:
        content = json.loads(text)
        return content["record"] if isinstance(content["record"], dict) and content["sha256"] == _seal(content["record"]) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def write_sealed(path: Path, record: dict) -> None:
    write_text(path, sealed(record))


def append_sealed(path: Path, record: dict) -> None:
    """Add one sealed line in one write, so that threads and processes do not mix theirs. Raises `OutputError` when the disk refuses."""
    line = sealed(record).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                # A line that a full disk or a kill cut off stays alone.
                line = line if file.read(1) == b"\n" else b"\n" + line
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise output_error(path.parent, error) from None


def read_sealed(path: Path) -> dict | None:
    """The record, or None (and a warning) when its bytes do not match its hash: it will be measured again."""
    try:
        record = unsealed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    return _damaged(path) if record is None else old_reasons.typed(record)


def _damaged(path: Path, why: str = "") -> None:
    log.warning("%s is damaged%s; it is ignored and measured again.", path.name, why)
