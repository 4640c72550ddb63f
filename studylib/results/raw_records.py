"""What was measured, file by file: repetitions, evaluations, checks of batches, rates and looks, each sealed, none ever changed."""

import hashlib
from dataclasses import asdict
from pathlib import Path

from studylib.errors import Reason
from studylib.machine.clock import is_tried_again, now
from studylib.results.records import Measurement, Trial, read_evaluation, read_measurement, read_sealed, write_sealed
from studylib.results.states import reason_of

DECIDES_NOTHING = "where results lie"


class RawRecords:
    """The sealed records in ``outputs/<HW>/raw/``; `studylib.results.results.Results` adds what belongs to the study."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.raw = self.folder / "raw"
        self._cache: dict[Path, tuple] = {}

    def record(self, measurement: Measurement) -> None:
        """Add one repetition. The file appears whole or not at all."""
        write_sealed(self.raw / measurement.trial_id / measurement.file_name, asdict(measurement))

    def attempts(self, trial_id: str) -> list[Measurement]:
        """All attempts of the trial's newest campaign, in order of repetition and attempt."""
        found = [self._cached(path, read_measurement) for path in sorted((self.raw / trial_id).glob("c*-r*-a*.json"))]
        attempts = [attempt for attempt in found if attempt]
        newest = max((attempt.campaign for attempt in attempts), default=0)
        return [attempt for attempt in attempts if attempt.campaign == newest]

    def measurements(self, trial_id: str) -> list[Measurement]:
        """The valid repetitions of the trial's newest campaign, one for each repetition."""
        return [attempt for attempt in self.attempts(trial_id) if attempt.status == "ok"]

    def newest_campaign(self) -> int:
        """The highest campaign number that any trial has; 0 before the first."""
        return max((int(path.name[1:5]) for path in self.raw.glob("*/c[0-9][0-9][0-9][0-9]-r*.json")), default=0)

    def record_evaluation(self, evaluation_id: str, evaluation: dict) -> None:
        """Keep the quality measures of one artifact in one runtime on this host."""
        write_sealed(self.raw / evaluation_id / "evaluation.json", _dated(evaluation))

    def evaluation(self, evaluation_id: str) -> dict | None:
        path = self.raw / evaluation_id / "evaluation.json"
        return self._cached(path, read_evaluation) if path.exists() else None

    def is_evaluated(self, trial: Trial) -> bool:
        """Whether a trial's evaluation is known, other than by a failure of an earlier run that may have passed."""
        found = self.evaluation(trial.evaluation_id)
        return found is not None and not is_tried_again(reason_of(found), found.get("failed_at", ""))

    def is_same(self, trial: Trial) -> bool:
        """Whether a trial's artifact passed the parity gate."""
        return (self.evaluation(trial.evaluation_id) or {}).get("status") == "ok"

    def record_check(self, trial: Trial, finding: dict) -> None:
        """Keep whether queries of one size are answered as their samples are one by one, under a trial's conditions."""
        write_sealed(self._check_path(trial, finding["batch_size"]), _dated(finding))

    def checks(self, trial: Trial) -> dict[int, dict | None]:
        """What was found of each size of query that ``trial`` is timed with (`studylib.quality.batch_check`); None: nobody looked yet."""
        paths = {size: self._check_path(trial, size) for size in trial.batches}
        return {size: self._cached(path, read_sealed) if path.exists() else None for size, path in paths.items()}

    def why_unlike(self, trial: Trial) -> Reason | None:
        """Why a trial must not be timed: its batches are not answered as their samples are; None where that is not known to be so."""
        return next((reason_of(found) for found in self.checks(trial).values() if found and found["status"] != "ok"), None)

    def _check_path(self, trial: Trial, size: int) -> Path:
        # Threads, provider and what else decides the answers are in the id of the evaluation.
        options = f"-{hashlib.sha256(trial.options.encode()).hexdigest()[:8]}" if trial.options else ""
        return self.raw / trial.evaluation_id / f"batch-{size:04d}{options}.json"

    def record_rate(self, trial_id: str, campaign: int, found: dict) -> None:
        """Keep what the search for a trial's rate found."""
        write_sealed(self.raw / trial_id / f"rate-c{campaign:04d}.json", found)

    def rate(self, trial_id: str, campaign: int) -> dict | None:
        path = self.raw / trial_id / f"rate-c{campaign:04d}.json"
        return self._cached(path, read_sealed) if path.exists() else None

    def forget_failures(self) -> None:
        """Remove evaluations that failed or are invalid, and looks that failed, so that they are tried again; the others stay."""
        for path in [*self.raw.glob("*/evaluation.json"), *self.raw.glob("*/batch-*.json"), *self.raw.glob("*/look-*.json")]:
            found = self._cached(path, read_sealed) or {}
            if found.get("status") in ("failed", "invalid") or (path.name.startswith("look") and "reason" in found):
                path.unlink()

    def record_look(self, trial_id: str, look: dict, number: int = 0) -> None:
        """Keep what a short look at a trial found: ``samples_per_s``, ``n`` and the ``seconds`` it took, or the ``reason`` why it failed.

        ``number``: 0 for the first look of a sweep, from 1 on those of a search.
        """
        write_sealed(self.raw / trial_id / f"look-{number}.json", _dated(look))

    def looks(self, trial_id: str) -> list[dict]:
        """Every look at a trial."""
        return [self._cached(path, read_sealed) or {} for path in sorted((self.raw / trial_id).glob("look-*.json"))]

    def look(self, trial_id: str, number: int = 0) -> dict | None:
        path = self.raw / trial_id / f"look-{number}.json"
        found = self._cached(path, read_sealed) if path.exists() else None
        return None if found and is_tried_again(reason_of(found), found.get("failed_at", "")) else found

    def _cached(self, path: Path, read):
        """``read(path)``, again only when the file has changed."""
        facts = path.lstat()
        stamp = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if self._cache.get(path, (None,))[0] != stamp:
            self._cache[path] = stamp, read(path)
        return self._cache[path][1]


def _dated(record: dict) -> dict:
    """A record that failed with the time when it did."""
    return record | ({"failed_at": now()} if record.get("reason") else {})
