"""One training in one process: ``python -m studylib.training job.json answer.json``. The answer is notes, or a refusal in words."""

import importlib
import json
import sys
from pathlib import Path

from studylib.artifact import write_text
from studylib.errors import StudyError
from studylib.training import TECHNIQUES
from studylib.training.job import Job


def main(job_path: str, answer_path: str) -> None:
    job = Job.from_json(Path(job_path).read_text(encoding="utf-8"))
    try:
        answer = {"notes": importlib.import_module(TECHNIQUES[job.technique]).run(job)}
    except StudyError as error:
        answer = {"refused": str(error)}
    write_text(Path(answer_path), json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
