"""One training in one process: ``python -m studylib.training job.json answer.json``.

The answer is notes, a refusal in words, or, also in words, what could not be written.
"""

import importlib
import json
import sys
from pathlib import Path

from studylib.artifacts.store import is_disk_error, output_error, write_text
from studylib.errors import OutputError, StudyError
from studylib.machine.lean_imports import import_leanly
from studylib.machine.processes import die_with_parent, leave
from studylib.training import TECHNIQUES
from studylib.training.job import Job


def main(job_path: str, answer_path: str) -> None:
    die_with_parent()
    job = Job.from_json(Path(job_path).read_text(encoding="utf-8"))
    try:
        answer = {"notes": importlib.import_module(TECHNIQUES[job.technique]).run(job)}
    except OutputError as error:  # no finding about this model: the study stops and says so
        answer = {"unwritable": str(error)}
    except StudyError as error:
        answer = {"refused": str(error)}
    except OSError as error:
        if not is_disk_error(error):
            raise
        answer = {"unwritable": str(output_error(job.target, error))}
    write_text(Path(answer_path), json.dumps(answer))


if __name__ == "__main__":
    import_leanly()
    main(*sys.argv[1:])
    leave()
