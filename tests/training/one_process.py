"""Many trainings in one process that sees legacy Keras: importing TensorFlow takes longer than to train a tiny model.

``python -m tests.training.one_process`` reads lines ``job.json<tab>answer.json`` and answers each with a line ``done``.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from studylib.recipes.retrain.retrained import notes_of
from studylib.training.job import Job


@contextlib.contextmanager
def one_process() -> Iterator[Callable[[Job], dict]]:
    """Function that does what `studylib.recipes.retrain.retrained.train` does, in the same process each time."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.one_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )

    def train(job: Job) -> dict:
        with tempfile.TemporaryDirectory() as folder:
            given, answer = Path(folder) / "job.json", Path(folder) / "answer.json"
            given.write_text(job.to_json(), encoding="utf-8")
            process.stdin.write(f"{given}\t{answer}\n")
            process.stdin.flush()
            assert any(line == "done\n" for line in process.stdout), "the training process ended"
            return notes_of(json.loads(answer.read_text(encoding="utf-8")), job)

    try:
        yield train
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


if __name__ == "__main__":
    import tf_keras

    from studylib.training.__main__ import main

    for line in sys.stdin:
        main(*line.strip().split("\t"))
        tf_keras.backend.clear_session()
        print("done", flush=True)
