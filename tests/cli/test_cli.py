"""Bad input as a user meets it: one clear message, exit status 2, nothing half-written left behind."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from studylib.cli.console import Console
from tests import ROOT
from tests.command_line import cli, said
from tests.planted_peaks import plant_peaks
from tests.recorded_results import run_facts


def _refused(done, *words):
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def _content(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--hw", "jetsn"], ["Unknown hardware set (HW) 'jetsn'", "Did you mean 'jetson'?"]),
        (["--hw", "../params/cpu"], ["Unknown hardware set"]),
        (["--effort", "fast"], ["Unknown effort (EFFORT) 'fast'. Known: full, quick, smoke."]),
        (["--model", "mnist_cn"], ["Unknown model 'mnist_cn'", "Did you mean 'mnist_cnn'?"]),
        (["--recipe", "static_w8a8"], ["Unknown recipe 'static_w8a8'", "Did you mean 'static_wi8_ai8'?"]),
        (["--runtime", "onnxrt"], ["Unknown runtime 'onnxrt'", "Did you mean 'onnxruntime'?"]),
        (["--runtime", "onnxruntime/cudaa"], ["Unknown provider of onnxruntime 'cudaa'", "Did you mean 'cuda'?"]),
        (["--runtime", "litert,litert/"], ["runtimes.1 is 'litert/'"]),
        (["--hw", "x" * 10_000], ["Unknown hardware set"]),
        (["--batch", "1,1"], ["batch_sizes is", "it should name each once; twice: 1"]),
        (["--batch", "eight"], ["BATCH is 'eight'; it must be a whole number"]),
        (["--batch", "0"], ["batch_sizes.0 is 0", "greater than or equal to 1"]),
        (["--scenario", "sever"], ["Unknown scenario 'sever'", "Did you mean 'server'?"]),
        (["--driver", "hand"], ["driver is 'hand'"]),
        (["--qps", "many"], ["QPS is 'many'; it must be a number, 100 or 0.5 for example"]),
        (["--bound", "0"], ["latency_bound_ms is 0.0", "greater than 0"]),
        (["--seed", "x"], ["SEED is 'x'"]),
        (["--seed", "-1"], ["seed is -1"]),
        (["--colour", "red"], ["unrecognized arguments: --colour red"]),
    ],
)
def test_bad_arguments(tmp_path, arguments, words):
    _refused(said("study", *arguments, outputs=tmp_path), *words)
    assert _content(tmp_path) == []


@pytest.mark.parametrize("text", ["hardware: [", "hardware: 3", "- a", "study: {modles: [mnist_cnn]}"])
def test_a_bad_hardware_file(tmp_path, text):
    shutil.copytree(ROOT / "params", tmp_path / "project" / "params")
    (tmp_path / "project" / "params" / "cpu.yaml").write_text(text)
    (tmp_path / "out").mkdir()
    done = said("study", outputs=tmp_path / "out", STUDYLIB_ROOT=str(tmp_path / "project"))
    _refused(done, "params/cpu.yaml")
    assert _content(tmp_path / "out") == []


def test_strict_refuses_before_any_work(tmp_path):
    for verb in ("study", "plan"):
        _refused(said(verb, "--hw", "jetson", "--strict", outputs=tmp_path), "STRICT=1: this machine is not 'jetson'", "Nothing was run.")
    assert _content(tmp_path) == []


@pytest.mark.parametrize(
    ("redirect", "status"), [("> /dev/full", 2), ("| true", None), (">&-", 0), ("2>&-", 0)], ids=["full", "gone", "closed", "mute"]
)
@pytest.mark.slow
def test_output_that_nobody_takes_ends_without_a_traceback(tmp_path, redirect, status):
    command = f"{sys.executable} -m studylib plan --effort smoke {redirect}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "STUDYLIB_OUTPUTS": str(tmp_path)}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60)
    assert "Traceback" not in done.stderr
    assert status is None or done.returncode == status


@pytest.mark.slow
def test_a_terminal_that_cannot_show_a_character(tmp_path):
    shutil.copytree(ROOT / "params", tmp_path / "project" / "params")
    path = tmp_path / "project" / "params" / "cpu.yaml"
    path.write_text(path.read_text().replace("Server, desktop", "Sërver → desktop"))
    done = cli("plan", outputs=tmp_path, STUDYLIB_ROOT=str(tmp_path / "project"), LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr


def test_a_root_without_hardware_sets_is_named(tmp_path):
    done = said("plan", outputs=tmp_path, STUDYLIB_ROOT=str(tmp_path))
    _refused(done, str(tmp_path / "params"), "STUDYLIB_ROOT must name the project's folder")


def test_too_few_rounds_for_the_bench(tmp_path):
    _refused(said("bench", "--rounds", "2", outputs=tmp_path), "ROUNDS is 2; an interval needs at least")


def test_an_unknown_benchmark_is_answered_with_the_known_ones(tmp_path):
    _refused(said("bench", "--bench", "compresion", outputs=tmp_path), "compresion", "compression")


def test_a_lock_that_cannot_be_written(tmp_path):
    (tmp_path / ".lock").mkdir()
    _refused(said("study", "--effort", "smoke", outputs=tmp_path), "cannot write to")


def test_an_unknown_verb_is_answered_with_the_known_ones():
    done = said("stduy")
    assert done.returncode == 2
    assert "study" in done.stderr
    assert "--help" in done.stderr


@pytest.mark.parametrize("verb", ["", "study", "plan", "report", "advise", "compare", "bench"])
def test_every_verb_helps(verb):
    done = said(*filter(None, [verb]), "--help")
    assert done.returncode == 0
    assert "usage: studylib" in done.stdout


@pytest.mark.slow
def test_a_plan_runs_nothing(tmp_path):
    done = cli("plan", "--hw", "jetson", outputs=tmp_path)
    assert done.returncode == 0
    assert "REHEARSAL of NVIDIA Jetson Orin Nano" in done.stdout
    assert "mnist_cnn onnxruntime/tensorrt fp32, " in done.stdout
    assert "no NVIDIA GPU is visible" in done.stdout
    assert "is this machine fit to measure?" in done.stdout
    assert re.search(r"^to measure: \d+ trials x 8 rounds, \d+ repetitions$", done.stdout, re.MULTILINE)
    assert re.search(r"^  efficientnet_lite0 litert, offline, \d+ threads?: fp32 x8, fp16 x8, ", done.stdout, re.MULTILINE)
    assert re.search(r"^time: measuring takes \d+ min \d+ s to \d+ min \d+ s, depending on", done.stdout, re.MULTILINE)
    assert re.search(r"^disk: \d+ artifacts, none is made yet; [\d.,]+ GB are free$", done.stdout, re.MULTILINE)
    assert _content(tmp_path) == []


def test_reporting_what_never_ran(tmp_path):
    _refused(said("report", "--hw", "cpu", outputs=tmp_path), "no study ran here yet")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--latency-ms", "fast"], ["LATENCY_MS is 'fast'; it must be a positive number of milliseconds."]),
        (["--latency-ms", "0"], ["LATENCY_MS is '0'"]),
        (["--latency-ms", "nan"], ["LATENCY_MS is 'nan'"]),
        (["--rss-mb", "-1"], ["RSS_MB is '-1'; it must be a positive number of megabytes."]),
        (["--size-mb", "inf"], ["SIZE_MB is 'inf'"]),
        (["--loss", "5"], ["LOSS is '5'; it must be a share between 0 and 1, 0.01 for one point."]),
        (["--hw", "cpuu"], ["Unknown hardware set (HW) 'cpuu'"]),
        ([], ["no study ran here yet"]),
    ],
)
def test_bad_limits_of_advice(tmp_path, arguments, words):
    _refused(said("advise", *arguments, outputs=tmp_path), *words)


def test_advice_is_printed_with_its_limits(recorded):
    folder = recorded().folder
    done = said("advise", "--loss", "0.05", "--size-mb", "0.001", outputs=folder.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Native: measured on a test host. Fit to measure: a trial against itself reads 1.00x [")
    assert "mnist_cnn: use onnxruntime, provider cpu, recipe fp32, 2 threads, batch 1" in done.stdout
    assert "tensorflow fp32: out, file 0.00400 MB: 4.00 times the limit; slower: takes 2.0" in done.stdout
    _refused(said("advise", "--model", "mnist", outputs=folder.parent), "Unknown model of these results 'mnist'")


def test_limits_that_nothing_keeps_end_with_3_and_say_so_last(recorded):
    folder = recorded().folder
    done = said("advise", "--size-mb", "0.0000001", outputs=folder.parent)
    assert done.returncode == 3
    assert "nothing can be advised" in done.stdout
    *_, why, last = done.stderr.splitlines()
    assert why == "mnist_cnn has no advice: none of the 2 configurations that were timed keeps every limit."
    assert last == "exit status 3: 1 of 1 model: mnist_cnn."


def test_a_model_without_a_timed_row_is_found_in_the_results(recorded):
    """Of two models one was timed: the other is named with what its rows say, and the status is 3."""
    from studylib.cli.cli import _told, _without_timing

    results = recorded()
    missing = _without_timing(results, ["mnist_cnn", "other"])
    assert missing == {"other": "no trial of it is planned"}
    assert (_told(missing, "has no timed row", 2), _told({}, "has no timed row", 2)) == (3, 0)
    results.save_plan([replace(trial, reason="no such recipe here") for trial in results.plan()], run_facts(), [])
    assert _without_timing(results, ["mnist_cnn"]) == {"mnist_cnn": "skipped: no such recipe here"}


@pytest.mark.slow
def test_a_study_in_which_nothing_can_run_ends_with_3_and_a_report(tmp_path, graph_of_no_runtime):
    plant_peaks(tmp_path)
    done = cli("study", "--effort", "smoke", "--recipe", "fp32", "--model", str(graph_of_no_runtime), outputs=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    *_, why, last = done.stderr.splitlines()
    assert why.startswith("strange has no timed row: ")
    assert "Nowhere" in why
    assert last == "exit status 3: 1 of 1 model: strange."
    assert (tmp_path / "cpu" / "report" / "index.html").exists()


@pytest.fixture
def graph_of_no_runtime(tmp_path):
    """A whole ONNX file with an operator that no runtime knows."""
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Nowhere", ["x"], ["y"], domain="of.mine")], "g", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("of.mine", 1)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "strange.onnx")
    return tmp_path / "strange.onnx"


def test_an_outputs_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    _refused(said("study", "--effort", "smoke", outputs=tmp_path / "out"), "cannot write to", "STUDYLIB_OUTPUTS")


def test_two_studies_at_once_are_refused(tmp_path):
    import fcntl

    with (tmp_path / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        _refused(said("study", "--effort", "smoke", outputs=tmp_path), "another study is running in")


class _Terminal(io.StringIO):
    def __init__(self, live: bool):
        super().__init__()
        self.live = live

    def isatty(self):
        return self.live


def test_progress_replaces_its_line_on_a_terminal_and_is_plain_in_a_log():
    for live, expected in ((False, "one\ntwo\nkept\n"), (True, "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[Kkept\n\r\x1b[Kx\r\x1b[K")):
        console = Console(_Terminal(live))
        console.line("one")
        console.line("two")
        console.line("kept", keep=True)
        if live:
            console.line("x")
        console.close()
        assert console._stream.getvalue() == expected


def test_a_long_line_never_wraps_on_a_terminal():
    console = Console(_Terminal(True))
    console.line("x" * 5000)
    assert len(console._stream.getvalue()) < 1000


@pytest.fixture
def small_disk(tmp_path):
    """Function that mounts a file system of a given size; needs root on Linux."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if sys.platform != "linux" or os.geteuid() != 0:
            pytest.skip("mounting a small file system needs root on Linux")
        if (done := subprocess.run(command, capture_output=True, text=True)).returncode:
            pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_read_only_outputs_folder(small_disk):
    folder = small_disk("size=1m,ro")
    _refused(cli("study", "--effort", "smoke", outputs=folder), "cannot write to", "Read-only file system", "Make it writable")


@pytest.mark.slow
def test_a_full_disk_before_the_study(small_disk):
    folder = small_disk("size=32k")
    _refused(cli("study", "--effort", "smoke", outputs=folder), "No space left on device", "Free some space")
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("room", [60_000, 400_000, 3_000_000])
def test_a_disk_that_fills_up_during_the_study(small_disk, mnist, room):
    """The trained model is there, and room for little more: the study ends in words and leaves nothing half-written."""
    folder = small_disk("size=8m")
    plant_peaks(folder)
    key = mnist.plan.origins["mnist_cnn"].source
    shutil.copytree(mnist.stock.store.folder / key[:2] / key, folder / ".artifacts" / key[:2] / key)
    with (folder / "filler").open("wb") as filler:
        free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        filler.write(b"\0" * (free - 80_000 - room))
    done = cli("study", "--effort", "smoke", "--recipe", "fp32", "--runtime", "onnxruntime", "--further", "0", outputs=folder)
    _refused(done, "No space left on device", "Free some space")
    assert not [path for path in folder.rglob("*") if ".writing-" in str(path) or path.name.endswith((".tmp", ".running.ipynb"))]
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
