"""Make artifacts in processes of their own, and know of each whether and why it failed."""

import json
from collections.abc import Callable

from studylib.build.executor import Executor
from studylib.build.jobs import BuildJob, Target
from studylib.errors import Kind, Reason, StudyError, TrialError
from studylib.progress import Progress

# Times the usual limit that one artifact may take: large models on small boards do.
_PATIENCE = 5


def make_artifacts(
    targets: list[Target],
    known: dict[str, Reason],
    executor: Executor,
    present: Callable[[str], bool],
    timeout_s: float,
    write: Callable[[str], None] = print,
) -> dict[str, Reason]:
    """Make the targets that are neither ``present`` nor ``known`` to fail; returns all failed keys with their reasons.

    One process makes many, since importing a converter takes longer than most conversions. When it dies, the
    target under way is the failed one and a new process goes on with the rest; so when one hangs.
    """
    waiting = [target for target in targets if target.key not in known and not present(target.key)]
    progress = Progress("artifact", [target.weight for target in waiting], write)
    limits = {target.key: _PATIENCE * timeout_s * max(1, target.weight) for target in waiting}
    watch = _Watch({target.key: target.label for target in waiting}, limits, progress, dict(known))
    while waiting:
        job = BuildJob(targets=tuple(waiting), failed={key: str(reason) for key, reason in watch.failures.items()})
        try:
            executor.run(job, timeout_s * sum(target.weight for target in waiting), watch)
        except TrialError as error:
            before = len(waiting)
            watch.died(Reason(error.kind, str(error)))
            waiting = [target for target in waiting if target.key not in watch.ended]
            if len(waiting) == before:
                raise StudyError(f"artifacts could not be made: {error}") from None
        else:
            break
    return watch.failures


class _Watch:
    """Follows the lines of a build process: what is under way, what has ended, what failed and why."""

    def __init__(self, labels: dict[str, str], limits: dict[str, float], progress: Progress, failures: dict[str, Reason]):
        self.labels, self.limits, self.progress, self.failures = labels, limits, progress, failures
        self.under_way: str | None = None
        self.ended: set[str] = set()

    def __call__(self, line: str) -> float | None:
        """Take in a line; how many seconds the next one may take, while one target is under way."""
        if line.startswith('{"begun": '):
            self.under_way = json.loads(line)["begun"]
            self.progress.begin(self.labels[self.under_way])
        elif line.startswith('{"stage": ') and self.under_way:
            self.progress.within(f"{self.labels[self.under_way]}: {json.loads(line)['stage']}")
        elif line.startswith('{"ended": '):
            ended = json.loads(line)
            self._end(ended["ended"], Reason(Kind(ended["kind"]), ended["reason"]) if ended["reason"] else None)
        return self.limits.get(self.under_way)

    def died(self, reason: Reason) -> None:
        """The process ended before it said so: what was under way is what failed."""
        if self.under_way is not None:
            self._end(self.under_way, reason)

    def _end(self, key: str, reason: Reason | None) -> None:
        if reason is not None:
            self.failures[key] = reason
        self.ended.add(key)
        self.under_way = None
        self.progress.end()
