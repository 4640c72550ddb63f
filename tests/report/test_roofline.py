import pytest

from studylib.report import report
from studylib.report.by_name import tables
from studylib.report.figures.roofline import roofline as figure_of
from studylib.report.tables import roofline
from studylib.results.peaks import Peaks
from studylib.results.results import Results
from studylib.study.opening import open_study
from tests.recorded_results import measurement, run_facts, trial

# 1 M multiply-accumulates, 40 kB of weights and 1 kB of inputs and outputs a sample.
_INSIDE = {
    "macs": 10**6, "macs_why": None, "weight_bytes": {"float32": 40_000}, "operators": {"Conv": 2}, "float_islands": None,
    "inputs": [{"name": "x", "shape": [None, 20, 10], "dtype": "float32"}],
    "outputs": [{"name": "y", "shape": [1, 50], "dtype": "float32"}],
}  # fmt: skip
_INT8 = {"weight_bytes": {"int8": 10_000}, "float_islands": {"operators": [], "count": 0}}


def _peak(per_s: float, how: str = "numpy matmul 512") -> dict:
    return {"per_s": per_s, "slowest_round_per_s": 0.9 * per_s, "rounds": 5, "how": how}


def _peaks(float32=100e9, int8=400e9, memory=((2**18, 80e9), (2**26, 10e9)), **changes) -> dict:
    facts = {
        "host_id": "h", "threads": 2, "float32": _peak(float32), "int8": int8 and _peak(int8, "onnxruntime MatMulInteger u8 x s8 512"),
        "memory": [{"working_set_bytes": size, "peak": _peak(per_s, "copy")} for size, per_s in memory],
        "cache_bytes": 2**24, "without": {}, "others_share": 0.0, "measured_at": "2026-01-01T00:00:00+00:00", "seconds": 15.0,
    }  # fmt: skip
    return facts | changes


@pytest.fixture
def timed(tmp_path):
    """Function that records trials: (changes of the trial, changes of what is inside, latency in ns) each; and the host's peaks."""

    def record(*of, peaks: dict | None = None, host_id: str = "h") -> Results:
        results, trials, inside = Results(tmp_path / "cpu"), [], {}
        for number, (changes, within, latency_ns) in enumerate(of):
            key = f"{number:064}"
            trials.append(trial(**{"artifact_key": key, "evaluation_id": ""} | changes))
            inside[key] = within if within is None else _INSIDE | within
            for repetition in range(8):
                # Repetitions differ by a few per cent around the latency.
                values = [round(latency_ns * (0.965 + 0.01 * repetition))] * 20
                results.record(measurement(trials[-1], repetition, values, host_id=host_id))
        results.save_plan(trials, run_facts(), [], (), {"inside": {key: facts for key, facts in inside.items() if facts}})
        results.save_peaks({2: _peaks()} if peaks is None else peaks)
        return results

    return record


def _only(results):
    (point,) = roofline.points(results)
    return point


def test_a_trial_is_held_against_the_arithmetic_of_the_host(timed):
    point = _only(timed(({}, {}, 100_000)))
    assert point.reason == ""
    assert point.operations == 2e6
    assert point.least_bytes == 40_000 + 4 * 200 + 4 * 50
    assert point.intensity == pytest.approx(2e6 / 41_000)
    assert (point.arithmetic, point.bound, point.roof_per_s) == ("float32", "compute", 100e9)
    # 2 M operations in 0.1 ms are 20 G a second: a fifth of the peak.
    assert point.fraction.value == pytest.approx(0.2, rel=0.015)
    assert point.fraction.low < point.fraction.value < point.fraction.high
    assert point.achieved.n == 160
    assert not point.is_suspicious


def test_the_interval_is_the_latencys_turned_round(timed):
    results = timed(({}, {}, 100_000))
    point, table = _only(results), results.table().set_index("metric")
    assert point.achieved.low == pytest.approx(2e6 / table.loc["latency_p50", "ci_high"] * 1e9)
    assert point.achieved.high == pytest.approx(2e6 / table.loc["latency_p50", "ci_low"] * 1e9)


def test_the_long_table_has_the_operations_and_the_share_of_the_peak(timed):
    results = timed(({}, {}, 100_000), ({"recipe": "fp16"}, {"macs": None, "macs_why": "a loop"}, 100_000))
    table, point = results.table(), roofline.points(results)[0]
    found = table[table.recipe == "fp32"].set_index("metric")
    assert (found.loc["flops", "value"], found.loc["flops", "unit"]) == (2e6, "op/sample")
    told = found.loc["fraction_of_peak"]
    assert (told.value, told.ci_low, told.ci_high) == (point.fraction.value, point.fraction.low, point.fraction.high)
    assert (told.unit, told.n) == ("1", 160)
    assert not {"flops", "fraction_of_peak"} & set(table[table.recipe == "fp16"].metric)


def test_new_peaks_are_heeded_by_the_long_table(timed):
    results = timed(({}, {}, 100_000))
    before = results.table().set_index("metric").value["fraction_of_peak"]
    results.save_peaks({2: _peaks(float32=200e9)})
    assert results.table().set_index("metric").value["fraction_of_peak"] == pytest.approx(before / 2)


def test_few_operations_for_each_byte_are_bound_by_memory(timed):
    large = {"macs": 10**8, "weight_bytes": {"float32": 4 * 10**8}}
    point = _only(timed(({}, large, 100_000_000)))
    # 400 MB at 10 GB/s take 40 ms, which bounds 0.2 Gop to 5 Gop/s.
    assert (point.bound, point.level.working_set_bytes) == ("memory", 2**26)
    assert point.roof_per_s == pytest.approx(5e9, rel=1e-4)
    assert point.fraction.value == pytest.approx(0.4, rel=0.015)
    row = tables.roofline(timed(({}, large, 100_000_000))).iloc[0]
    assert row["bound by"] == "memory (64 MiB working set)"
    assert row["op/byte"] == "0.500"


def test_weights_that_stay_in_the_cache_are_not_bound_by_main_memory(timed):
    small = {"macs": 30_000, "weight_bytes": {"float32": 40_000}}
    point = _only(timed(({}, small, 10_000)))
    assert point.intensity < 2
    assert (point.level.working_set_bytes, point.bound) == (2**18, "compute")
    slower = {2: _peaks(memory=((2**18, 5e9), (2**26, 4e9)))}
    assert _only(timed(({}, small, 10_000), peaks=slower)).bound == "memory"


def test_a_batch_moves_its_weights_once(timed):
    point = _only(timed(({"batch_size": 8, "scenario": "offline"}, {}, 800_000)))
    assert point.operations == 16e6
    assert point.least_bytes == 40_000 + 8 * 1000
    assert point.fraction.value == pytest.approx(0.2, rel=0.015)


def test_what_computes_in_integers_is_held_against_int8(timed):
    results = timed(
        ({"recipe": "static_wi8_ai8"}, _INT8, 100_000), ({"recipe": "weight_only_wi8_afp32"}, _INT8 | {"float_islands": None}, 100_000)
    )
    integers, weights_only = roofline.points(results)
    assert (integers.arithmetic, integers.roof_per_s) == ("int8", 400e9)
    assert integers.fraction.value == pytest.approx(0.05, rel=0.015)
    assert (weights_only.arithmetic, weights_only.roof_per_s) == ("float32", 100e9)


def test_a_mixed_file_says_that_its_roof_is_too_high(timed):
    mixed = _INT8 | {"weight_bytes": {"int8": 7_500, "float32": 2_500}}
    assert _only(timed(({}, mixed, 100_000))).remarks == (
        "25% of the weights are float: held against int8, the roof is higher than it could reach",
    )
    assert _only(timed(({}, _INT8, 100_000))).remarks == ()


def test_lookup_tables_are_a_caveat_where_memory_bounds(timed):
    table = {"macs": 10**8, "weight_bytes": {"float32": 4 * 10**8}, "operators": {"Gather": 1}}
    assert _only(timed(({}, table, 100_000_000))).remarks == ("its lookup tables are read only in part, so fewer bytes may be enough",)
    assert _only(timed(({}, table | {"weight_bytes": {"float32": 4}}, 100_000_000))).remarks == ()


@pytest.mark.parametrize(("wrong", "times"), [({"macs": 10**7}, 2.0), ({"macs": 6 * 10**6}, 1.2)])
def test_more_than_the_roof_is_flagged_and_never_cut_off(timed, wrong, times):
    results = timed(({}, {}, 100_000), ({"recipe": "fp16"}, wrong, 100_000))
    right, planted = roofline.points(results)
    assert not right.is_suspicious
    assert planted.is_suspicious
    assert planted.fraction.value == pytest.approx(times, rel=0.015)
    rows = tables.roofline(results).set_index("recipe")
    assert rows.loc["fp16", "remarks"].startswith(
        f"SUSPICIOUS: {planted.fraction.value:.2f} times the roof. Either the peaks are too low (FORCE=1"
    )
    assert float(rows.loc["fp16", "% of roof"].split()[0]) > 100
    assert rows.loc["fp32", "remarks"] == ""
    assert "SUSPICIOUS: 1 of 2 points lie above their roof" in figure_of(results).caption


def test_a_peak_measured_too_low_is_found_out(timed):
    low = {2: _peaks(float32=10e9, others_share=0.5)}
    remarks = tables.roofline(timed(({}, {}, 100_000), peaks=low)).remarks[0]
    assert remarks.startswith("SUSPICIOUS: 2.0")
    assert remarks.endswith("something else took 50% of the processors while the peaks were measured: they may be too low")


@pytest.mark.parametrize(
    ("changes", "within", "peaks", "reason"),
    [
        ({}, {"macs": None, "macs_why": "a loop"}, None, "the operations are not known: a loop"),
        ({}, {"macs": 0}, None, "the file holds no multiply-accumulates with weights"),
        ({}, None, None, "the file was not looked into, so its operations are not known"),
        ({"provider": "cuda"}, {}, None, "it runs on cuda; the peaks are the processor's"),
        ({"scenario": "server"}, {}, None, "the latency of a server query includes waiting"),
        ({"threads": 1}, {}, None, "no peaks were measured with 1 thread"),
        ({}, {}, {}, "no peaks were measured with 2 threads"),
        ({}, {}, {2: _peaks(host_id="another")}, "timed on host h; the peaks were measured on host another"),
        ({}, {}, {2: {"reason": "could not be measured: crash"}}, "could not be measured: crash"),
        ({}, {}, {2: {"memory": "?"}}, "the peaks cannot be read; `make study FORCE=1` measures them again"),
        ({}, _INT8, {2: _peaks(int8=None)}, "it computes in integers, and no library here measures that peak"),
    ],
)  # fmt: skip
def test_a_trial_without_a_place_under_the_roof_says_why(timed, changes, within, peaks, reason):
    results = timed((changes, within, 100_000), peaks=peaks)
    row = tables.roofline(results).iloc[0]
    assert row.remarks == reason
    assert row["% of roof"] == "–"
    assert figure_of(results) is None


def test_a_sweep_of_settings_is_in_the_table_and_not_in_the_figure(timed):
    results = timed(({}, {}, 100_000), ({"options": "graph=basic", "sweep": "graph"}, {}, 110_000))
    assert list(tables.roofline(results).setting) == ["", "graph=basic"]
    assert len(figure_of(results).figure.axes[0].containers) == 1


def test_queries_of_several_samples_wait_for_nothing(timed):
    results = timed(({}, {}, 100_000), ({"scenario": "multi_stream", "batch_size": 8}, {}, 800_000))
    assert [point.fraction.value for point in roofline.points(results)] == pytest.approx([0.2, 0.2], rel=0.015)
    assert list(tables.roofline(results).setting) == ["", "multi_stream"]


def test_controls_and_trials_without_times_are_left_out(timed):
    results = timed(({}, {}, 100_000), ({"control": True}, {}, 100_000))
    assert len(tables.roofline(results)) == 1


def test_a_larger_working_set_is_never_faster():
    found = Peaks.from_json(_peaks(memory=((2**18, 50e9), (2**20, 80e9), (2**24, 20e9), (2**28, 10e9))))
    assert [found.bandwidth(size)[0] for size in (0, 2**18, 2**20, 2**24 - 1, 2**24, 2**40)] == [80e9, 80e9, 80e9, 80e9, 20e9, 10e9]
    assert found.bandwidth(2**18)[1].working_set_bytes == 2**20


def test_the_peaks_are_a_table(timed):
    results = timed(({}, {}, 100_000), peaks={2: _peaks(without={"openvino MatMul": "absent"}), 1: {"threads": 1, "reason": "it crashed"}})
    table = tables.peaks(results)
    assert list(table.what) == ["float32", "int8", "memory, 256 KiB", "memory, 64 MiB", "–"]
    assert list(table.peak) == ["100 Gop/s", "400 Gop/s", "80.0 GB/s", "10.0 GB/s", ""]
    assert table["slowest round"][0] == "90.0 Gop/s"
    assert table.remarks[0] == "host h, 2026-01-01; openvino MatMul: absent"
    assert table.remarks[3] == ""
    assert table.remarks[4] == "it crashed"


@pytest.mark.parametrize(
    ("cache_bytes", "words"),
    [
        (2**25, "the system states a cache of 32 MiB: this may partly be that"),
        (None, "the system does not state its caches: this may partly be one of them"),
    ],
)
def test_main_memory_that_may_be_a_cache_says_so(timed, cache_bytes, words):
    assert tables.peaks(timed(({}, {}, 100_000), peaks={2: _peaks(cache_bytes=cache_bytes)})).remarks.iloc[-1] == words


def test_the_figure_has_the_roofs_and_every_point(timed):
    many = [({"recipe": recipe, "runtime": runtime}, _INT8 if "wi8" in recipe else {}, latency)
            for latency, recipe in ((90_000, "fp32"), (60_000, "static_wi8_ai8"), (30_000, "fp16"))
            for runtime in ("onnxruntime", "litert")]  # fmt: skip
    results = timed(*many, ({"model": "other"}, {"macs": 10**7}, 100_000))
    made = figure_of(results)
    figure, caption, alt = made.figure, made.caption, made.alt
    assert [axes.get_title() for axes in figure.axes] == ["mnist_cnn, 2 threads", "other, 2 threads"]
    assert [len(axes.containers) for axes in figure.axes] == [6, 1]
    # Two flat roofs at the peaks, two slopes at the bandwidths.
    flat = [line.get_ydata()[0] for line in figure.axes[0].lines if len(set(line.get_ydata())) == 1 and len(line.get_ydata()) == 2]
    assert flat == [100.0, 400.0]
    assert "mnist_cnn, 2 threads: onnxruntime fp16 reaches most of its roof, 67 %." in alt
    assert "SUSPICIOUS: 1 of 7 points" in caption
    labels = [text for text in figure.axes[0].texts if text.get_text().endswith(("%", "here)"))]
    assert labels
    boxes = [label.get_window_extent(figure.canvas.get_renderer()) for label in labels]
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])


def test_the_report_shows_both_tables_and_the_figure(timed):
    page = report.build(timed(({}, {}, 100_000)))
    text = page.read_text()
    assert "onnxruntime MatMulInteger u8 x s8 512" in text
    assert "compute (float32)" in text
    assert (page.parent / "roofline.png").stat().st_size > 1000


def test_a_study_measures_the_peaks_before_it_times(smoke_study):
    done, folder = smoke_study
    lines = done.stdout.splitlines()
    measuring = next(number for number, line in enumerate(lines) if line.startswith("peaks: measuring what this host can do"))
    assert measuring < next(number for number, line in enumerate(lines) if line.startswith("repetition 1 of"))
    results = Results(folder)
    assert {record["host_id"] for record in results.peaks().values()} == {results.run()["host_id"]}
    shown = tables.roofline(results)
    assert len(shown) == len([t for t in results.distinct() if not t.control and results.state(t).ok])
    assert set(shown["% of roof"]) != {"–"}
    assert (folder / "figures" / "roofline.svg").exists()


def test_nothing_is_measured_when_nothing_is_to_be_timed(smoke_study):
    lines = []
    study = open_study("cpu", "smoke", write=lines.append)
    before = (study.results.folder / "peaks.json").read_bytes()
    study.measure()
    assert not [line for line in lines if line.startswith("peaks")]
    assert (study.results.folder / "peaks.json").read_bytes() == before
