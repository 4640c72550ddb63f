"""Any function's time and memory in the results."""

import asyncio
import functools
import gc
import mmap
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

import studylib as sl
from studylib.errors import InputError, OutputError
from studylib.machine import process_memory
from studylib.report.by_name import tables
from studylib.results import recording
from studylib.results.results import Results
from tests import ROOT

MB = 2**20


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "cpu")


def _row(results, name="work"):
    (row,) = tables.recorded(results).query("name == @name").to_dict("records")
    return row


def _pages(size: int) -> mmap.mmap:
    """Fresh memory of this size, every page of it touched: an allocator might hand out what it had kept from before."""
    found = mmap.mmap(-1, size)
    found[:: mmap.PAGESIZE] = b"1" * len(range(0, size, mmap.PAGESIZE))
    return found


def test_a_function_keeps_its_answer_its_name_and_every_raw_value(results):
    @sl.recorded("work", results)
    def work(seconds):
        """Sleep."""
        time.sleep(seconds)
        return seconds

    assert [work(seconds) for seconds in (0.01, 0.02, 0.03)] == [0.01, 0.02, 0.03]
    assert (work.__name__, work.__doc__) == ("work", "Sleep.")
    found = recording.calls(results)
    for call, seconds in zip(found, (0.01, 0.02, 0.03), strict=True):
        assert seconds * 1e9 <= call.ns < seconds * 1e9 + 50e6
    assert (results.raw / "recorded" / "work.jsonl").read_text().count("\n") == 3


def test_memory_that_stays_and_memory_that_was_needed_meanwhile(results):
    kept = []
    for name, keep in (("keeps", True), ("frees", False)):
        gc.collect()
        with sl.recorded(name, results):
            block = _pages(40 * MB)
            if keep:
                kept.append(block)
            del block
    frees, keeps = recording.calls(results)
    assert keeps.rss_after_bytes - keeps.rss_before_bytes == pytest.approx(40 * MB, abs=4 * MB)
    assert frees.rss_after_bytes - frees.rss_before_bytes == pytest.approx(0, abs=4 * MB)
    if sys.platform == "linux":
        assert frees.rss_peak_bytes - frees.rss_before_bytes == pytest.approx(40 * MB, abs=4 * MB)
        assert keeps.rss_peak_bytes - keeps.rss_before_bytes == pytest.approx(40 * MB, abs=4 * MB)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a span")
def test_an_inner_recording_does_not_take_the_peak_from_the_outer(results):
    gc.collect()  # what other tests left would be given back meanwhile
    with sl.recorded("outer", results):
        block = _pages(40 * MB)
        del block
        with sl.recorded("inner", results):
            small = _pages(10 * MB)
            del small
    inner, outer = recording.calls(results)
    assert outer.rss_peak_bytes - outer.rss_before_bytes == pytest.approx(40 * MB, abs=8 * MB)
    assert inner.rss_peak_bytes - inner.rss_before_bytes == pytest.approx(10 * MB, abs=8 * MB)
    assert inner.ns < outer.ns
    assert inner.alone
    assert outer.alone


def test_a_peak_that_the_kernel_does_not_give_is_absent(results, monkeypatch):
    """The mark of an earlier, larger need cannot be lowered: what this call needed is not known, and nothing is invented."""
    block = _pages(60 * MB)
    del block
    monkeypatch.setattr(process_memory, "lower_mark", lambda: False)
    with sl.recorded("work", results):
        pass
    (call,) = recording.calls(results)
    assert call.rss_peak_bytes is None
    assert _row(results)["rss_peak_growth_mb"] == "–"


def test_an_exception_is_recorded_and_goes_on(results):
    @sl.recorded("work", results)
    def work(value):
        if value < 0:
            raise ValueError(f"{value} is negative\nand more")
        return value

    assert work(1) == 1
    with pytest.raises(ValueError, match="-1 is negative"):
        work(-1)
    assert [(call.status, call.reason) for call in recording.calls(results)] == [("ok", ""), ("failed", "ValueError: -1 is negative")]
    row = _row(results)
    assert (row["calls"], row["failed"]) == (1, "1, the last: ValueError: -1 is negative")


def test_an_interruption_is_recorded_too(results):
    with pytest.raises(KeyboardInterrupt), sl.recorded("work", results):
        raise KeyboardInterrupt
    assert recording.calls(results)[0].reason == "KeyboardInterrupt: "


def test_methods_partials_recursion_and_defaults(results):
    class Model:
        factor = 3

        @sl.recorded("method", results)
        def times(self, value, *, plus=0):
            return self.factor * value + plus

        @staticmethod
        @sl.recorded("static", results)
        def half(value):
            return value / 2

    @sl.recorded("recursive", results)
    def fall(n):
        return n and fall(n - 1)

    assert Model().times(2, plus=1) == 7
    assert Model.half(4) == 2
    assert sl.recorded("partial", results)(functools.partial(max, 3))(5) == 5
    assert fall(3) == 0
    found = recording.calls(results)
    assert [call.name for call in found] == ["method", "partial", *["recursive"] * 4, "static"]
    assert all(call.alone for call in found)


def test_threads_write_whole_lines_and_say_that_memory_was_shared(results):
    together = threading.Barrier(4)

    @sl.recorded("work", results)
    def work():
        together.wait(timeout=20)

    threads = [threading.Thread(target=lambda: [work() for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = recording.calls(results)
    assert len(found) == 200
    assert not any(call.alone for call in found)
    row = _row(results)
    assert (row["calls"], row["rss_growth_mb"], row["memory of"]) == (200, "–", "0 calls that ran alone")


def test_asynchronous_functions_are_timed_to_their_end(results):
    @sl.recorded("wait", results)
    async def wait(seconds):
        await asyncio.sleep(seconds)
        return seconds

    async def both():
        with sl.recorded("both", results):
            return await asyncio.gather(wait(0.05), wait(0.1))

    assert asyncio.run(both()) == [0.05, 0.1]
    outer, short, long = recording.calls(results)
    assert short.ns >= 0.05e9
    assert long.ns >= 0.1e9
    assert outer.ns < 0.145e9  # they ran side by side
    assert (outer.alone, short.alone, long.alone) == (True, False, False)


def test_a_cancelled_task_is_a_failed_call(results):
    @sl.recorded("wait", results)
    async def wait():
        await asyncio.sleep(10)

    async def cut():
        await asyncio.wait_for(wait(), 0.02)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(cut())
    assert recording.calls(results)[0].status == "failed"


def _numbers():
    yield 1


async def _later():
    yield 1


class _Thing:
    pass


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_numbers, "'work' cannot record _numbers: it is a generator, and calling it runs nothing. Record the loop that consumes it"),
        (_later, "it is a generator, and calling it runs nothing"),
        (staticmethod(len), "it is a staticmethod. Put @sl.recorded below it"),
        (_Thing, "it is no function. Give it a function."),
        (3, "'work' cannot record 3: it is no function"),
    ],
)
def test_what_cannot_be_timed_by_calling_it_is_refused(results, function, words):
    with pytest.raises(InputError, match=re.escape(words)):
        sl.recorded("work", results)(function)


def test_a_function_that_only_returns_a_promise_is_refused_when_it_does(results):
    lazy = sl.recorded("work", results)(lambda: (number for number in range(3)))
    with pytest.raises(InputError, match=r"it returned a generator, whose work is still to come\. Record the loop that consumes it"):
        lazy()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "/etc/passwd", "..", ".hidden", "A", "a b", "x" * 61, "é", "a\n", None, 3, b"a"])
def test_names_never_leave_the_folder(results, name):
    with pytest.raises(InputError, match=r"the name of a recording is .*; allowed are 1 to 60 small letters"):
        sl.recorded(name, results)
    assert not results.folder.exists()


def test_results_must_be_results(tmp_path):
    with pytest.raises(InputError, match=r"was given a str; give it results: study\.results"):
        sl.recorded("work", str(tmp_path))


def test_one_recording_is_open_once_at_a_time(results):
    timer = sl.recorded("work", results)
    with timer, pytest.raises(InputError, match="this recording of 'work' is open already"), timer:
        pass
    with timer:
        pass
    assert len(recording.calls(results)) == 2


def test_a_damaged_line_is_left_out_and_the_next_one_stands_alone(results, caplog):
    with sl.recorded("work", results):
        pass
    path = results.raw / "recorded" / "work.jsonl"
    line = path.read_text()
    path.write_text(line + line.replace('"ns": ', '"ns": 9') + line[:40])  # one forged, one cut off
    with sl.recorded("work", results):
        pass
    assert len(recording.calls(results)) == 2
    assert "2 of 4 lines of work.jsonl are damaged" in caplog.text


def test_nothing_is_ever_rewritten(results):
    with sl.recorded("work", results):
        pass
    path = results.raw / "recorded" / "work.jsonl"
    before, inode = path.read_bytes(), path.stat().st_ino
    with sl.recorded("work", results):
        pass
    assert path.read_bytes().startswith(before)
    assert path.stat().st_ino == inode


def test_a_folder_that_cannot_be_written_is_said(results):
    results.raw.mkdir(parents=True)
    (results.raw / "recorded").write_text("")
    with pytest.raises(OutputError, match="cannot write to"), sl.recorded("work", results):
        pass


def _in_processes(results, processes: int, calls: int):
    code = """
import sys, time
import studylib as sl
results = sl.Results(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with sl.recorded("work", results):
        time.sleep(0.001)
"""
    for _ in range(processes):
        subprocess.run([sys.executable, "-c", code, str(results.folder), str(calls)], cwd=ROOT, check=True, timeout=120)


def test_percentiles_appear_with_enough_values_and_intervals_with_enough_processes(results):
    _in_processes(results, 1, 10)
    row = _row(results)
    assert (row["calls"], row["processes"], row["p50_ms"], row["p95_ms"]) == (10, 1, "–", "–")
    assert re.fullmatch(r"[1-9][\d.]+", row["mean_ms"])
    _in_processes(results, 2, 60)
    row = _row(results)
    assert (row["calls"], row["processes"], row["p99_ms"]) == (130, 3, "–")
    assert re.fullmatch(r"[1-9][\d.]+ \[[1-9][\d.]+, [1-9][\d.]+\]", row["p50_ms"])
    assert row["p95_ms"] != "–"


def test_a_killed_process_loses_only_the_call_it_was_in(results):
    code = """
import os, signal, sys
import studylib as sl
from studylib.report.by_name import tables
from studylib.report.by_name import tables
results = sl.Results(sys.argv[1])
for number in range(5):
    with sl.recorded("work", results):
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, str(results.folder)], cwd=ROOT, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len(recording.calls(results)) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_a_process_of_its_own(results):
    with sl.recorded("work", results):
        pass
    code = os.fork()
    if code == 0:
        with sl.recorded("work", results):
            pass
        os._exit(0)
    os.waitpid(code, 0)
    first, second = recording.calls(results)
    assert first.process != second.process


def test_nothing_recorded_is_an_empty_table(results):
    table = tables.recorded(results)
    assert table.empty
    assert "p50_ms" in table


def test_recordings_do_not_disturb_a_study(recorded):
    results = recorded()
    before = results.table()
    with sl.recorded("work", results):
        pass
    assert results.newest_campaign() == 1
    results.forget_failures()
    assert results.table().equals(before)
