"""What LiteRT's tool is asked, and what is read from its words. The logs are the real tool's, as users published them."""

from dataclasses import replace

import pytest

from studylib.build.jobs import MeasureJob
from studylib.errors import TrialError
from studylib.executors.phone.benchmark_model import Query, checked, command, parsed, placed, timing
from studylib.scenarios import Load, RunLength

# github.com/tensorflow/tensorflow/issues/43541, an Arm phone, 2020: no prefix, no percentiles.
GPU_2020 = """STARTING!
Min num runs: [50]
Use gpu: [1]
Loaded model /data/local/tmp/tflite/denoising_32bit.tflite
INFO: Initialized TensorFlow Lite runtime.
INFO: Created 1 GPU delegate kernels.
Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.
The input model file size (MB): 7.07479
Initialized session in 870.557ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=4 first=130565 curr=120829 min=117370 max=130565 avg=122373 std=4930

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=119212 curr=118055 min=113737 max=124776 avg=119375 std=1948

Inference timings in us: Init: 870557, First inference: 130565, Warmup (avg): 122373, Inference (avg): 119375
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual memory footprint.
"""
# github.com/tensorflow/tensorflow/issues/56301, 2022: through logcat.
_PARTIAL = "the model graph will be partially executed by the delegate w/ 44 delegate kernels."
NNAPI_2022 = f"""I tflite  : Explicitly applied NNAPI delegate, and {_PARTIAL}
I tflite  : Initialized session in 126.059ms.
I tflite  : count=40 first=32942 curr=12594 min=11340 max=32942 avg=12581.9 std=3331
I tflite  : count=75 first=12840 curr=11853 min=11787 max=13649 avg=12167.6 std=325
I tflite  : Inference timings in us: Init: 126059, First inference: 32942, Warmup (avg): 12581.9, Inference (avg): 12167.6
"""
# A board's documentation of 2025: percentiles, and seconds written with an exponent.
CPU_2025 = """INFO: Use xnnpack: [0]
INFO: Initialized session in 5.579ms.
INFO: count=1 curr=1357602 p5=1357602 median=1357602 p95=1357602

INFO: count=50 first=1249964 curr=1240143 min=1238588 max=1252566 avg=1.24027e+06 std=2565 p5=1238753 median=1239807 p95=1247415

INFO: Inference timings in us: Init: 5579, First inference: 1357602, Warmup (avg): 1.3576e+06, Inference (avg): 1.24027e+06
INFO: Memory footprint delta from the start of the tool (MB): init=6.36328 overall=109.832
"""
JOB = MeasureJob(
    artifact="a",
    samples="s",
    runtime="litert",
    provider="cpu",
    threads=4,
    load=Load("single_stream", 1, RunLength(140, 0.5, 8.0)),
    warmup_s=0.3,
)


def test_the_numbers_of_a_gpu_run():
    told = parsed(GPU_2020.splitlines())
    assert (told.load_ns, told.first_ns, told.warmup_ns) == (870_557_000, 130_565_000, 122_373_000)
    assert (told.mean_ns, told.count) == (119_375_000, 50)
    assert told.summary == {
        "count": 50, "first_us": 119212, "curr_us": 118055, "min_us": 113737, "max_us": 124776, "avg_us": 119375, "std_us": 1948,
    }  # fmt: skip
    assert told.added_bytes is None


def test_prefixes_exponents_and_percentiles_are_read():
    told = parsed(NNAPI_2022.splitlines())
    assert (told.mean_ns, told.count, told.load_ns) == (12_167_600, 75, 126_059_000)
    told = parsed(CPU_2025.splitlines())
    assert (told.mean_ns, told.warmup_ns, told.count) == (1_240_270_000, 1_357_600_000, 50)
    assert told.summary["median_us"] == 1239807
    assert told.added_bytes == round(109.832 * 2**20)


def test_what_really_ran_is_what_the_tool_says():
    assert placed("gpu", GPU_2020.splitlines()) == ("GPU", "")
    assert placed("cpu", CPU_2025.splitlines()) == ("CPU", "")
    words = "fell back: the NNAPI delegate took only part of the graph (in 44 pieces); the rest ran on the CPU"
    assert placed("nnapi", NNAPI_2022.splitlines()) == ("NNAPI, CPU", words)
    none = ["Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."]
    assert placed("gpu", none) == ("CPU", "fell back: the GPU delegate took none of the graph")
    # A delegate that could not even be made leaves no line of its own; another delegate's line is not its.
    assert placed("gpu", CPU_2025.splitlines())[1] == "fell back: benchmark_model does not say that the GPU delegate took the graph"
    assert placed("nnapi", GPU_2020.splitlines())[0] == "CPU"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no times at all",
        CPU_2025.replace("Inference (avg): 1.24027e+06", "Inference (avg): nan"),
        CPU_2025.replace("Inference (avg): 1.24027e+06", "Inference (avg): 0"),
        CPU_2025.replace("Inference (avg): 1.24027e+06", "Inference (avg): -4"),
        CPU_2025.replace("Init: 5579", "Init: inf"),
        CPU_2025.replace("count=50 first", "first"),
        CPU_2025.replace("count=50 first", "count=0 first"),
        CPU_2025[: CPU_2025.index("INFO: Inference timings")],
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(TrialError, match=r"error: benchmark_model told (no times|what are no times)"):
        parsed(text.splitlines())


@pytest.mark.parametrize(
    ("status", "lines", "words"),
    [
        (1, ["ERROR: Failed to allocate tensors!", "ERROR: Benchmarking failed."], "error: benchmark_model ended with 1: ERROR: Bench"),
        (139, ["INFO: Loaded model", "Segmentation fault"], "crash: benchmark_model was killed by SIGSEGV; its last words: Seg"),
        (127, [], "error: benchmark_model ended with 127: no message"),
        (0, ["WARN: Unconsumed cmdline flags: --output_filepath=x"], "this benchmark_model does not know --output_filepath=x; give"),
    ],
)
def test_how_it_ended_is_said(status, lines, words):
    with pytest.raises(TrialError) as failure:
        checked(status, lines)
    assert str(failure.value).startswith(words)


def test_the_command_line_asks_for_what_the_job_says():
    query = Query([[1, 28, 28, 1], [1, 4]], ["/f/a", "/f/b"])
    words = command("/f/tool", "/f/file", query, JOB, timing(JOB))
    assert words == [
        "/f/tool", "--graph=/f/file", "--num_threads=4", "--input_layer=in0,in1", "--input_layer_shape=1,28,28,1:1,4",
        "--input_layer_value_files=in0:/f/a,in1:/f/b", "--num_runs=140", "--min_secs=0.5", "--max_secs=8", "--warmup_runs=3",
        "--warmup_min_secs=0.3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ({"provider": "gpu"}, ["--use_gpu=true", "--gpu_precision_loss_allowed=false"]),
        ({"provider": "gpu", "recipe": "pruned_2by4_fp16"}, ["--use_gpu=true", "--gpu_precision_loss_allowed=true"]),
        ({"provider": "nnapi"}, ["--use_nnapi=true"]),
        ({"options": "xnnpack=off"}, ["--use_xnnpack=false"]),
    ],
)
def test_provider_and_settings_become_flags(change, flags):
    assert command("t", "g", Query([[1]], ["f"]), replace(JOB, **change), [])[6:] == flags
