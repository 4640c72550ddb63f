"""One real measurement of this host, about 15 s, and what is made of it."""

import json
import logging

import numpy as np
import pytest

from studylib.artifacts.store import Store
from studylib.build.executor import Executor
from studylib.build.jobs import PeaksJob
from studylib.errors import TrialError
from studylib.executors import LocalExecutor
from studylib.machine.hardware import granted_threads
from studylib.measure import peaks
from studylib.measure.peaks import bandwidth, measuring, products
from studylib.results.peaks import Peaks
from tests.scripted_jobs import scripted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(record of this host, what was said meanwhile)."""
    said = []
    threads = min(2, granted_threads())
    found = LocalExecutor(threads, Store(tmp_path_factory.mktemp("empty"))).run(PeaksJob(threads=threads), 120, said.append)
    return found | {"host_id": "h", "threads": threads}, said


class _Execute(Executor):
    """Gives the same result for every job, or fails, and counts."""

    def __init__(self, found: dict, **changes):
        super().__init__()
        self.found, self.jobs = found | changes, []

    def _end(self):
        """Nothing runs between two answers."""

    def _answer(self, job, timeout_s, on_line):
        self.jobs.append(job)
        on_line('{"stage": "round 1 of 5"}')
        on_line("a library's chatter")
        return {key: value for key, value in self.found.items() if key not in ("host_id", "threads")}


def test_the_peaks_of_this_host_are_plausible(measured):
    found = Peaks.from_json(measured[0])
    assert 1e9 < found.float32.per_s < 1e14
    assert found.int8.per_s >= 0.3 * found.float32.per_s
    assert all(1e8 < level.peak.per_s < 1e13 for level in found.memory)
    assert found.float32.rounds >= 3
    assert found.memory[0].working_set_bytes == 2**18
    assert found.main_memory.working_set_bytes >= 2**25
    assert 0 <= found.others_share <= 1
    assert found.float32.how.rsplit(" ", 1)[0] in products.FLOAT32
    assert found.int8.how.rsplit(" ", 1)[0] in products.INT8
    assert found.seconds < 60


def test_the_measurement_says_what_it_is_doing(measured):
    stages = [json.loads(line)["stage"] for line in measured[1] if line.startswith('{"stage": ')]
    assert stages[0] == "looking for the fastest float32 matrix product"
    assert "round 3 of 5" in stages


@pytest.mark.parametrize(("name", "make"), [*products.FLOAT32.items(), *products.INT8.items()])
def test_every_candidate_computes_the_product(name, make):
    product = make(64, 1)
    product.run()
    wanted = product.left.astype(np.float64) @ product.right.astype(np.float64)
    if "QLinear" in name:
        wanted = np.clip(np.round(wanted / 256), 0, 255)
    assert product.operations == 2 * 64**3
    np.testing.assert_allclose(product.answer(), wanted, rtol=0, atol=0.01)
    assert not np.allclose(product.answer(), wanted + 1, rtol=0, atol=0.01)


def test_what_does_not_run_here_is_named_with_its_reason(monkeypatch):
    def absent(size, threads):
        raise ModuleNotFoundError("No module named 'such'")

    monkeypatch.setattr(products, "SIZES", (32,))
    without = {}
    found = measuring.finalists({"such library": absent, "numpy matmul": products.numpy_float32}, 1, without)
    assert list(found) == ["numpy matmul 32"]
    assert without == {"such library": "ModuleNotFoundError: No module named 'such'"}


def test_the_fastest_block_counts():
    now, costs = [0.0], iter([9.0, 1.0, *[0.5] * 10, *[0.25] * 10, *[2.0] * 100])

    def run():
        now[0] += next(costs) / 1000

    assert measuring.fastest_block_s(run, 0.1, lambda: now[0]) == pytest.approx(0.25e-3)


def test_the_share_of_others_is_what_could_not_be_avoided():
    assert measuring.others_share(7.0, 10.0, 2, 2) == pytest.approx(0.35)
    assert measuring.others_share(7.0, 10.0, 2, 4) == 0
    assert measuring.others_share(31.0, 10.0, 2, 4) == pytest.approx(0.55)
    assert measuring.others_share(0.0, 10.0, 2, 2) == 0


@pytest.mark.parametrize(
    ("cache", "available", "largest"),
    [(32 * 2**20, 2**36, 2**27), (None, 2**36, 2**26), (2**29, 2**36, 2**30), (2**29, 2**30, 2**27), (None, 2**19, 2**18)],
)
def test_arrays_are_far_beyond_the_cache_as_far_as_memory_allows(monkeypatch, cache, available, largest):
    monkeypatch.setattr(bandwidth, "cache_bytes", lambda: cache)
    sizes = bandwidth.working_sets(available)
    assert sizes[0] == 2**18
    assert sizes[-1] == largest
    assert sizes == sorted(set(sizes))


def test_kernels_move_the_bytes_that_are_counted():
    streams = bandwidth.Streams(2, 2**20)
    for array in streams._arrays:
        array[:] = np.arange(len(array))
    kernels = {name: (run, moved) for name, run, moved in streams.kernels(2**20)}
    # Every thread passes over its half of the working set 16 MiB / 512 KiB = 32 times.
    assert kernels["read"][1] == kernels["copy"][1] == 32 * 2**20
    assert kernels["add"][1] == pytest.approx(32 * 2**20, rel=1e-4)
    kernels["copy"][0]()
    for array in streams._arrays:
        half = len(array) // 2
        assert np.array_equal(array[half : 2 * half], array[:half])
    streams.close()


def test_peaks_are_measured_once_and_kept(measured, tmp_path):
    execute, lines = _Execute(measured[0], others_share=0.0), []
    first = peaks.of_host("h", 2, tmp_path, execute, 60, lines.append)
    assert lines[0] == "peaks: measuring what this host can do with 2 threads; it takes about 15 s and is kept"
    assert lines[1] == "peaks: round 1 of 5"
    assert lines[2].startswith("peaks: float32 ")
    assert len(lines) == 3
    assert peaks.of_host("h", 2, tmp_path, execute, 60, lines.append) == first
    assert execute.jobs == [PeaksJob(threads=2)]
    peaks.of_host("h", 1, tmp_path, execute, 60, lines.append)
    peaks.of_host("h", 2, tmp_path, execute, 60, lines.append, again=True)
    assert [job.threads for job in execute.jobs] == [2, 1, 2]


@pytest.mark.parametrize("damage", [lambda text: text.replace('"rounds": ', '"rounds": 1', 1), lambda text: text[:100], lambda text: "[]"])
def test_a_damaged_record_is_measured_again(measured, tmp_path, damage, caplog):
    execute = _Execute(measured[0], others_share=0.0)
    first = peaks.of_host("h", 2, tmp_path, execute, 60, lambda line: None)
    path = tmp_path / "h-2.json"
    path.write_text(damage(path.read_text()))
    with caplog.at_level(logging.WARNING):
        assert peaks.of_host("h", 2, tmp_path, execute, 60, lambda line: None) == first
    assert "h-2.json is damaged; it is ignored and measured again." in caplog.text
    assert len(execute.jobs) == 2
    peaks.of_host("h", 2, tmp_path, execute, 60, lambda line: None)
    assert len(execute.jobs) == 2


def test_another_version_measures_again(measured, tmp_path, monkeypatch):
    execute = _Execute(measured[0], others_share=0.0)
    peaks.of_host("h", 2, tmp_path, execute, 60, lambda line: None)
    monkeypatch.setattr(peaks, "_PACKAGES", ("numpy",))
    peaks.of_host("h", 2, tmp_path, execute, 60, lambda line: None)
    assert len(execute.jobs) == 2


def test_a_busy_host_is_said_and_measured_again(measured, tmp_path):
    execute, lines = _Execute(measured[0], others_share=0.4), []
    for _ in range(2):
        peaks.of_host("h", 2, tmp_path, execute, 60, lines.append)
    assert len(execute.jobs) == 2
    assert lines[3] == (
        "peaks: something else took 40% of the processors while the peaks were measured: they may be too low; "
        "the next measurement takes them again."
    )


def test_a_process_that_dies_costs_no_study(tmp_path):
    def execute(job, timeout_s, on_line):
        raise TrialError("crash: the process was killed by SIGILL")

    found = peaks.of_host("h", 2, tmp_path, scripted(execute), 60, lambda line: None)
    assert found["reason"] == "the peaks of this host could not be measured: crash: the process was killed by SIGILL"
    assert Peaks.from_json(found) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"memory": []}, {"float32": None}, {"memory": [{"working_set_bytes": 1}]}])
def test_what_is_no_peak_is_not_read(measured, change):
    assert Peaks.from_json(measured[0]) is not None
    assert Peaks.from_json(measured[0] | change) is None


def test_a_peak_is_a_positive_number(measured):
    wrong = measured[0]["float32"] | {"per_s": -1.0}
    assert Peaks.from_json(measured[0] | {"float32": wrong}) is None
