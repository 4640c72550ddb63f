"""An executor that answers what a test says, and where the model of its jobs comes from."""

from studylib.build.executor import Executor
from studylib.build.origin import Origin


def scripted(answer):
    """An executor that answers as a function does: ``answer(job, timeout_s, on_line)``."""

    class Scripted(Executor):
        def _answer(self, job, timeout_s, on_line):
            return answer(job, timeout_s, on_line)

        def _end(self):
            """Nothing runs between two answers."""

    return Scripted()


def origin(**changes):
    """Where a model comes from, under keys that say what they are of."""
    facts = {
        "source": "source", "samples": "samples", "reference": "reference", "source_format": "keras", "task": "classification",
        "independent": True, "data": "real",
    }  # fmt: skip
    return Origin(**facts | changes)
