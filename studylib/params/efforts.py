"""How long a study measures: smoke, quick, full."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How long to measure. ``*_s`` are seconds; counts are per repetition (one fresh process)."""

    name: str
    repetitions: int
    min_values: int
    min_duration_s: float
    max_duration_s: float
    warmup_s: float
    eval_samples: int
    calibration_samples: int
    timeout_s: float
    search_s: float
    further_s: float


# 130 values carry a p95 and 662 a p99 (stats.minimum_values), pooled over repetitions; five repetitions carry a verdict even when one
# is lost (stats.MINIMUM_ROUNDS). Half a second is a hundred blocks (docs/decisions/0042). ``further_s`` is for rounds of what is not
# decided after all of these (docs/decisions/0044). Samples are the same at every effort, so
# that artifacts and their quality are too.
EFFORTS = {
    effort.name: effort
    for effort in (
        Effort("smoke", 5, 140, 0.3, 5.0, 0.1, 1000, 200, 120.0, 10.0, 30.0),
        Effort("quick", 8, 140, 0.5, 8.0, 0.3, 1000, 200, 300.0, 120.0, 300.0),
        Effort("full", 15, 700, 3.0, 60.0, 1.0, 1000, 200, 900.0, 600.0, 1800.0),
    )
}
