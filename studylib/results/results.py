"""What was measured: raw repetitions on disk, and the long table that is derived from them.

Raw files are only ever added. ``raw/<trial>/c0002-r003-a0.json`` is campaign 2 (a campaign ends with ``FORCE=1``),
repetition 3, attempt 0. Every later number is computed from these files.
"""

import html
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from studylib import stats
from studylib.artifacts.store import write_bytes, write_text
from studylib.errors import InputError, Reason
from studylib.results import doubles, long_table, old_reasons, roof, states, whose
from studylib.results.forms import FORM, conversion_to_json, require_known, trial_from_json, trial_to_json
from studylib.results.peaks import Peaks
from studylib.results.raw_records import RawRecords
from studylib.results.records import SERVING, Conversion, Measurement, Trial
from studylib.results.states import State

DECIDES_NOTHING = "where results lie"

T = TypeVar("T")

_RUN_KEYS = {
    "study": str, "hardware": str, "title": str, "native": bool, "mismatches": list, "host": dict, "host_id": str, "threads": int,
    "parameters": dict, "failures": dict, "command": str,
}  # fmt: skip


class Results(RawRecords):
    """Everything measured on one hardware set, in ``outputs/<HW>/``."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._derived: dict[Callable, tuple] = {}
        self._plan: tuple | None = None

    def __repr__(self) -> str:
        """How many trials have numbers, in one line."""
        try:
            states = [self.state(trial) for trial in self.plan()]
        except InputError as error:
            return f"<Results in {self.folder}: {error}>"
        return f"<Results {self.folder.name}: {sum(one.ok for one in states)} of {len(states)} trials timed; in {self.folder}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}</p>"

    def save_plan(
        self,
        trials: Iterable[Trial],
        run: dict,
        artifacts: list[dict],
        conversions: Iterable[Conversion] = (),
        described: dict | None = None,
    ) -> None:
        """Write ``plan.json``, ``run.json``, ``artifacts.json``, ``conversions.json``, and what ``described`` artifacts:
        ``inside.json``, ``search.json``."""
        write_text(self.folder / "plan.json", json.dumps([trial_to_json(trial) for trial in trials], indent=1))
        write_text(self.folder / "conversions.json", json.dumps([conversion_to_json(conversion) for conversion in conversions], indent=1))
        for kind in ("inside", "search"):
            write_text(self.folder / f"{kind}.json", json.dumps((described or {}).get(kind, {}), indent=1))
        write_text(self.folder / "run.json", json.dumps(run | {"form": FORM}, indent=1))
        write_text(self.folder / "artifacts.json", json.dumps(artifacts, indent=1))

    def plan(self) -> list[Trial]:
        """The trials of the latest study. Raises `InputError` when there was none."""
        content = self._read("plan.json", list)
        try:
            # The same trials as long as the file is the same: each computes its hash once, and every comparison asks for all of them.
            if self._plan is None or self._plan[0] is not content:
                self._plan = content, [trial_from_json(facts) for facts in content]
            return list(self._plan[1])
        except (TypeError, AttributeError) as error:
            path, again = self.folder / "plan.json", whose.again(self.folder)
            words = f"was written by another version of studylib, and cannot be carried over ({error})"
            raise InputError(f"{path} {words}. {again}") from None

    def distinct(self) -> list[Trial]:
        """The trials of the latest study, each file with its settings once (see `doubles`)."""
        doubles = self.doubles()
        return [trial for trial in self.plan() if trial.id not in doubles]

    def compared(self) -> list[Trial]:
        """Those of them that are compared with each other: one query after the other, without a server; others have tables of their own."""
        return [trial for trial in self.distinct() if trial.usual and trial.sweep != SERVING]

    def doubles(self) -> dict[str, Trial]:
        """Trials of the latest study that are another one under a second name, by id: the trial that stands for them."""
        known = self.artifacts()
        return doubles.doubles(
            self.plan(), lambda trial: known.get(trial.artifact_key, {}).get("sha256", ""), lambda trial: self.state(trial).ok
        )

    def run(self) -> dict:
        """Resolved parameters, host facts, versions and times of the latest study."""
        run = self._read("run.json", dict)
        require_known(run, str(self.folder / "run.json"))
        missing = [key for key in _RUN_KEYS if not isinstance(run.get(key), _RUN_KEYS[key])]
        if missing:
            raise self._unreadable("run.json", f"it has no usable '{missing[0]}'")
        return run

    def planned_rounds(self) -> int | None:
        """How many rounds every trial was to have; what has more was not decided then. None where no study of such a version ran."""
        settings = self.run()["parameters"].get("settings", {}) if (self.folder / "run.json").exists() else {}
        return settings["repetitions"] if "further_s" in settings else None

    def one_thread_rounds(self, trial: Trial) -> range:
        """The rounds in which the fastest of a trial's model and batch size took part with one thread too; none where they did not."""
        panels = [one for one in self.one_thread().get("panels", ()) if (one["model"], one["batch"]) == (trial.model, trial.batch_size)]
        return range(min((one["first"] for one in panels), default=0), max((one["end"] for one in panels), default=0))

    def was_looked_at(self, trial: Trial, repetition: int) -> bool:
        """Whether a round came after somebody had looked at who is faster: it was not planned, and is none of those with one thread."""
        planned = self.planned_rounds()
        return planned is not None and repetition >= planned and repetition not in self.one_thread_rounds(trial)

    def planned_measurements(self, trial_id: str) -> list[Measurement]:
        """The valid repetitions of the rounds that every trial was to have. Further ones were taken at another time, and compare only those
        that took part: beside the times of other trials they would tell of the hour.
        """
        found, planned = self.measurements(trial_id), self.planned_rounds()
        return [one for one in found if planned is None or one.repetition < planned] or found

    def artifacts(self) -> dict[str, dict]:
        """Facts of the latest study's artifacts by key."""
        try:
            return {facts["key"]: facts for facts in self._read("artifacts.json", list)}
        except (TypeError, KeyError) as error:
            raise self._unreadable("artifacts.json", error) from None

    def conversions(self) -> list[Conversion]:
        """The matrix of formats of the latest study, cell by cell; empty for results of a version that had none."""
        try:
            cells = self._read("conversions.json", list) if (self.folder / "conversions.json").exists() else []
            trials = [cell["trial"] and trial_from_json(cell["trial"]) for cell in cells]
            return [Conversion(**cell | {"keys": tuple(cell["keys"]), "trial": trial}) for cell, trial in zip(cells, trials, strict=True)]
        except (TypeError, KeyError) as error:
            raise self._unreadable("conversions.json", error) from None

    def inside(self) -> dict[str, dict]:
        """What is inside each artifact, by the artifact's key."""
        return self._read("inside.json", dict) if (self.folder / "inside.json").exists() else {}

    def searches(self) -> dict[str, dict]:
        """What the search for each adaptive artifact found: layers with their precision, ranking, steps; by the artifact's key."""
        return self._read("search.json", dict) if (self.folder / "search.json").exists() else {}

    def save_peaks(self, peaks: dict[int, dict]) -> None:
        """Write ``peaks.json``: what the measuring host can do at most, by number of threads (see `studylib.measure.peaks`)."""
        write_text(self.folder / "peaks.json", json.dumps(peaks, indent=1))

    def save_fitness(self, advice: list[dict], again: bool = False) -> None:
        """Write ``fitness.json``: what spoke against the machine when values were about to be taken, each cause with its remedy.

        What was said when earlier values were taken stays, unless all is measured ``again``.
        """
        earlier = [] if again else [one for one in self.fitness() if one["cause"] not in {new["cause"] for new in advice}]
        write_text(self.folder / "fitness.json", json.dumps([*earlier, *advice], indent=1))

    def fitness(self) -> list[dict]:
        """What spoke against the machine when any of the values were taken; empty where nothing did."""
        return self._read("fitness.json", list) if (self.folder / "fitness.json").exists() else []

    def save_further(self, found: dict) -> None:
        """Write ``further.json``: which pairs got further rounds and why these ended (see `studylib.study.further_rounds`)."""
        write_text(self.folder / "further.json", json.dumps(found, indent=1))

    def further(self) -> dict:
        """What `save_further` wrote; empty where no further round was asked for."""
        return self._read("further.json", dict) if (self.folder / "further.json").exists() else {}

    def save_one_thread(self, found: dict) -> None:
        """Write ``one_thread.json``: what was chosen to be measured with one thread too (see `studylib.study.one_thread`)."""
        write_text(self.folder / "one_thread.json", json.dumps(found, indent=1))

    def one_thread(self) -> dict:
        """What `save_one_thread` wrote; empty where nothing was chosen."""
        return self._read("one_thread.json", dict) if (self.folder / "one_thread.json").exists() else {}

    def save_standstill(self, found: dict) -> None:
        """Write ``standstill.json``: what was read of a server that stood still (see `studylib.study.standstill`)."""
        write_text(self.folder / "standstill.json", json.dumps(found, indent=1))

    def standstill(self) -> dict:
        """What `save_standstill` wrote; empty where no server was made to stand still."""
        return self._read("standstill.json", dict) if (self.folder / "standstill.json").exists() else {}

    def peaks(self) -> dict[str, dict]:
        """What the measuring host can do at most, by number of threads; empty where it was not measured."""
        return self._read("peaks.json", dict) if (self.folder / "peaks.json").exists() else {}

    def conversion_state(self, cell: Conversion) -> State:
        """What became of a cell of the matrix of formats."""
        return states.of_conversion(self, cell)

    def state(self, trial: Trial) -> State:
        """What became of a trial: ok, or another status with its reason."""
        return states.of_trial(self, trial)

    def failures(self) -> dict[str, Reason]:
        """Artifacts that could not be made, with the reason."""
        try:
            return {key: old_reasons.reason(facts) for key, facts in self.run()["failures"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise self._unreadable("run.json", f"a failure has no reason: {error}") from None

    def causes(self) -> dict[str, dict]:
        """Those of them that failed by themselves, not by what they need: ``reason``, ``kind`` and time (``at``)."""
        return {key: old_reasons.typed(cause) for key, cause in self.run().get("causes", {}).items()}

    def table(self) -> "pandas.DataFrame":  # noqa: F821
        """The long table of the latest study, computed from the raw files."""
        # Its intervals take seconds to compute, and tables, figures and sentences all begin with it.
        return self.derived(long_table.build).copy()

    def derived(self, make: "Callable[[Results], T]") -> T:
        """``make(results)``, made again only after a file has changed."""
        state = long_table.state(self)
        if self._derived.get(make, (None,))[0] != state:
            self._derived[make] = state, make(self)
        return self._derived[make][1]

    def peaks_of(self, trial: Trial) -> tuple[Peaks | None, str]:
        """The peaks of the host that a trial was timed on, with its threads; or None and why there are none."""
        return roof.found_peaks(self.peaks(), trial, {measurement.host_id for measurement in self.measurements(trial.id)})

    def roof_of(self, trial: Trial, median: stats.Estimate) -> roof.Point:
        """Where a trial of this ``median`` latency (ns) stands under the roof of its host."""
        return roof.point(trial, self.inside().get(trial.artifact_key), self.peaks_of(trial), median)

    def save_table(self) -> "pandas.DataFrame":  # noqa: F821
        """Compute the table and write ``results.parquet``."""
        import io

        table, buffer = self.table(), io.BytesIO()
        table.to_parquet(buffer, index=False)
        write_bytes(self.folder / "results.parquet", buffer.getvalue())
        return table

    def _read(self, name: str, kind: type):
        path = self.folder / name
        try:
            content = self._cached(path, lambda path: json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{path} is missing: no study ran here yet. {whose.first(self.folder)}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise self._unreadable(name, error) from None
        if not isinstance(content, kind) or (not content and name == "plan.json"):
            raise self._unreadable(name, f"it holds no {'trials' if name == 'plan.json' else kind.__name__}")
        return content

    def _unreadable(self, name: str, why) -> InputError:
        return InputError(f"{self.folder / name} cannot be read ({why}). {whose.again(self.folder)}")
