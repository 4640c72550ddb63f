"""What every executor promises: a result or words, one job's failure costs that job alone, and nothing is left running."""

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import psutil
import pytest

from studylib.build.executor import Executor
from studylib.build.jobs import Job, MeasureJob
from studylib.errors import CancelledError, Reason, StudyError, TrialError
from studylib.executors import LocalExecutor, PhoneExecutor, find_phone
from studylib.machine.clock import is_tried_again
from studylib.models.zoo import Samples
from studylib.scenarios import Load, RunLength
from tests.executors.stand_in_phone import attach
from tests.litert_models import saved, signed

pytestmark = pytest.mark.slow

LOAD = Load("single_stream", 1, RunLength(20, 0, 5))
# By event: how the words of its failure begin, and what else they say.
FAILURES = {
    "refuse": ("", ("the recording says: raise", "Benchmarking failed")),
    "crash": ("crash: ", ("killed by SIGABRT", "killed by SIGSEGV")),
    "exhaust": ("", ("out of memory",)),
}


@dataclass(frozen=True)
class Place:
    """An executor, a ``job`` whose process behaves as an event says (``answer``, or one of those above, or ``hang``), what runs there."""

    executor: Executor
    job: Callable[[str], MeasureJob]
    running: Callable[[], list]


def _children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]


def _ends(number: int) -> bool:
    """Whether a process is gone, or goes at once: a busy machine takes its time with what was killed."""
    try:
        psutil.Process(number).wait(5)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    return True


@pytest.fixture
def local(shelf, recording):
    events = {"refuse": "raise", "crash": "abort", "hang": "hang", "exhaust": "exhaust", "answer": "answer"}

    def job(event: str) -> MeasureJob:
        artifact, samples = (shelf.put(path).key for path in recording(event, events={"5": events[event]}))
        return MeasureJob(artifact=artifact, samples=samples, runtime="replay", provider="cpu", threads=1, load=LOAD)

    return Place(LocalExecutor(1, shelf), job, _children)


@pytest.fixture
def phone(shelf, tmp_path, monkeypatch):
    stand_in = attach(tmp_path, monkeypatch)
    artifact = shelf.put(saved(signed(), tmp_path, "small")).key
    samples = shelf.put(Samples({"image": np.zeros((3, 8, 8, 3), np.float32)}, None).save(tmp_path / "samples")).key

    def job(event: str) -> MeasureJob:
        stand_in.says(event=event)
        return MeasureJob(artifact=artifact, samples=samples, runtime="litert", provider="cpu", threads=1, load=LOAD)

    def running() -> list:
        left = stand_in.folder / "hanging"
        return [*_children(), *([left] if left.exists() and not _ends(int(left.read_text())) else [])]

    return Place(PhoneExecutor(find_phone()[0], LocalExecutor(1, shelf)), job, running)


@pytest.fixture(params=["local", "phone"])
def place(request):
    return request.getfixturevalue(request.param)


def _cancel(place: Place, end: Callable[[], None]) -> None:
    """A job that hangs and that another thread ends with ``end`` once it runs is told to be cancelled, at once."""
    place.executor.run(place.job("answer"), 120)  # what it needs is where it runs by then

    def wait_and_end():
        deadline = time.monotonic() + 60
        while not place.running() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(2.0)
        end()

    thread = threading.Thread(target=wait_and_end)
    thread.start()
    begun = time.monotonic()
    with pytest.raises(CancelledError, match=r"^cancelled: the job was ended before it was done$"):
        place.executor.run(place.job("hang"), 300)
    thread.join()
    assert time.monotonic() - begun < 40  # the event hangs for a minute or more


def test_a_result_is_plain_json(place):
    found = place.executor.run(place.job("answer"), 120)
    assert json.loads(json.dumps(found)) == found
    assert found["values_ns"]


def test_a_job_that_came_as_json_is_run_like_any_other(place):
    sent = json.dumps(place.job("answer").to_json())
    assert os.sep not in sent
    assert place.executor.run(Job.from_json(json.loads(sent)), 120)["values_ns"]


@pytest.mark.parametrize("event", FAILURES)
def test_a_failure_is_words_and_costs_that_job_alone(place, event):
    start, parts = FAILURES[event]
    with pytest.raises(TrialError) as caught:
        place.executor.run(place.job(event), 120)
    words = str(caught.value)
    assert words.startswith(start)
    assert any(part in words for part in parts), words
    assert "\n" not in words
    # What came of the moment is tried again in another run; a refusal is not.
    assert is_tried_again(Reason(caught.value.kind, words), "2000-01-01T00:00:00.000+00:00") is (event != "refuse")
    assert place.executor.run(place.job("answer"), 120)["values_ns"]


def test_a_hang_ends_at_its_timeout_and_costs_that_job_alone(place):
    place.executor.run(place.job("answer"), 120)
    begun = time.monotonic()
    with pytest.raises(TrialError, match=r"^timeout: no answer"):
        place.executor.run(place.job("hang"), 6)
    assert time.monotonic() - begun < 40
    assert place.running() == []
    assert place.executor.run(place.job("answer"), 120)["values_ns"]


def test_an_artifact_that_is_not_there_is_said_before_anything_runs(place):
    with pytest.raises(StudyError, match=r"artifact absent is not in .*; run the conversion step first"):
        place.executor.run(replace(place.job("answer"), artifact="absent"), 120)


def test_lines_reach_whoever_listens(place):
    lines: list[str] = []
    with pytest.raises(TrialError):
        place.executor.run(place.job("refuse"), 120, lines.append)
    assert any("the recording says: raise" in line or "Benchmarking failed" in line for line in lines)


def test_another_thread_can_end_a_job(place):
    _cancel(place, place.executor.cancel)
    assert place.running() == []
    assert place.executor.run(place.job("answer"), 120)["values_ns"]


def test_ending_a_job_where_none_runs_does_nothing(place):
    place.executor.cancel()
    assert place.executor.run(place.job("answer"), 120)["values_ns"]


def test_shutting_down_ends_what_runs_and_takes_no_more(place):
    _cancel(place, place.executor.shut_down)
    place.executor.shut_down()
    assert place.running() == []
    with pytest.raises(StudyError, match="this executor was shut down; open another one"):
        place.executor.run(place.job("answer"), 120)


def test_leaving_a_with_shuts_down(place):
    with place.executor as executor:
        assert executor is place.executor
    with pytest.raises(StudyError, match="was shut down"):
        executor.run(place.job("answer"), 120)


def test_an_executor_keeps_all_of_the_contract():
    class Half(Executor):
        def _end(self):
            """Runs nothing."""

    with pytest.raises(TypeError, match="abstract"):
        Half()
