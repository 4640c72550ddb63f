"""The main job at its smallest size, run as a user runs it, and what must hold of it afterwards."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import nbformat
import numpy as np
import pandas as pd
import pytest

from studylib.machine.hardware import probe
from studylib.params.efforts import EFFORTS
from studylib.results.records import read_measurement
from studylib.results.results import Results
from studylib.study.notebooks import NOTEBOOKS
from tests import ROOT
from tests.command_line import cli
from tests.frameworks import FRAMEWORKS
from tests.outputs import status_of
from tests.planted_peaks import plant_peaks

REPETITIONS = EFFORTS["smoke"].repetitions
# A processor that saturates sums of int8 has a file with weights of seven bits besides.
SEVEN_BITS = int(probe().saturates_int8)
CPU = ("study", "--hw", "cpu", "--effort", "smoke")
# Less of the same study, for what is not about how much there is.
FLOAT = (*CPU, "--recipe", "fp32", "--runtime", "onnxruntime", "--further", "0")


def _raw(folder):
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("raw/*/*.json")}


def _repetitions(names):
    """Files of repetitions without the number of the attempt."""
    return {re.sub(r"-a\d+\.json$", "", name) for name in names if not name.endswith("evaluation.json")}


def test_it_measures_every_planned_trial(smoke_study):
    done, folder = smoke_study
    results = Results(folder)
    statuses = [status_of(results, trial)[0] for trial in results.plan()]
    assert statuses.count("ok") == 13 + SEVEN_BITS
    assert set(statuses) == {"ok", "skipped"}
    assert "done in" in done.stdout
    assert "Traceback" not in done.stderr


def test_progress_counts_and_estimates(smoke_study):
    lines = smoke_study[0].stdout.splitlines()
    assert any(re.match(rf"repetition \d of 5: mnist_cnn, batch 1, {13 + SEVEN_BITS} in turn, .+ left$", line) for line in lines)
    assert any(line.startswith(f"plan: {17 + SEVEN_BITS} trials") for line in lines)
    assert "\r" not in smoke_study[0].stdout


def test_every_notebook_was_executed_without_an_error(smoke_study):
    for name in NOTEBOOKS:
        notebook = nbformat.read(smoke_study[1] / "notebooks" / f"{name}.ipynb", 4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert outputs
        assert not [output for output in outputs if output.output_type == "error"]


def test_everything_a_study_leaves_is_there(smoke_study):
    folder = smoke_study[1]
    wanted = ["results.parquet", "run.json", "artifacts.json", "plan.json", "report/index.html", "report/report.md", "search.json"]
    wanted += [f"figures/{name}.{kind}" for name in ("trade-off", "speed-up", "latency", "size", "sensitivity") for kind in ("svg", "png")]
    assert [name for name in wanted if not (folder / name).is_file()] == []
    assert not list(folder.rglob("*.tmp")) + list(folder.parent.rglob(".writing-*"))


def test_the_table_agrees_with_the_raw_values(smoke_study):
    folder = smoke_study[1]
    table = pd.read_parquet(folder / "results.parquet")
    assert set(table.native) == {True}
    for trial in Results(folder).plan():
        files = sorted((folder / "raw" / trial.id).glob("*.json"))
        records = [json.loads(file.read_text())["record"] for file in files]
        planned = [one for one in records if one["status"] == "ok" and one["repetition"] < REPETITIONS]  # times are of these alone
        values = [value for one in planned for value in one["values_ns"]]
        rows = table[(table.trial_id == trial.id) & (table.metric == "latency_p50")]
        if values:
            assert np.percentile(values, 10) <= rows.value.item() <= np.percentile(values, 90)
            assert rows.value.item() in values
            assert rows.n.item() == len(values)


def test_mnist_cnn_reaches_the_accuracy_it_promises(smoke_study):
    table = pd.read_parquet(smoke_study[1] / "results.parquet")
    accuracy = table[(table.metric == "top1_accuracy") & (table.recipe == "fp32")]
    assert len(accuracy) >= 3
    assert (accuracy.value >= 0.98).all()
    assert (accuracy.ci_low < accuracy.value).all()


def test_run_json_says_what_ran(smoke_study):
    run = json.loads((smoke_study[1] / "run.json").read_text())
    assert run["parameters"]["choice"]["models"] == ["mnist_cnn"]
    assert run["packages"]["onnxruntime"]
    assert run["host"]["threads"] >= 1


def test_an_unchanged_second_run_measures_nothing_and_says_when(smoke_study):
    folder = smoke_study[1]
    before = _raw(folder)
    executed = (folder / "notebooks" / "03-cross-platform-benchmarks.ipynb").stat().st_mtime_ns
    done = cli(*CPU, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    # Nothing is drawn, run or converted, so nothing that does is loaded: it would take most of the time.
    loaded = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "studylib.cli.cli" in loaded
    assert not loaded & {*FRAMEWORKS, "matplotlib", "seaborn", "scipy.stats", "papermill", "jupyter_client"}
    assert re.search(
        r"Nothing to measure: every number was taken by \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\. FORCE=1 measures again\.", done.stdout
    )
    assert _raw(folder) == before
    assert (folder / "notebooks" / "03-cross-platform-benchmarks.ipynb").stat().st_mtime_ns == executed


@pytest.fixture
def copy(smoke_study, tmp_path):
    """A copy of the finished study that a test may damage."""
    shutil.copytree(smoke_study[1].parent, tmp_path / "outputs", ignore=shutil.ignore_patterns(".lock"))
    plant_peaks(tmp_path / "outputs")
    return tmp_path / "outputs"


def test_a_corrupted_artifact_is_rebuilt_and_said(copy):
    facts = json.loads((copy / "cpu" / "artifacts.json").read_text())
    entry = next(f for f in facts if (f["format"], f["precision"]) == ("onnx", "fp16"))
    file = copy / ".artifacts" / entry["key"][:2] / entry["key"] / "content" / entry["path"]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    before = _raw(copy)
    done = cli(*CPU, "--recipe", "fp32,fp16", "--runtime", "onnxruntime", "--further", "0", outputs=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"artifact {entry['key'][:12]} is corrupted: its bytes do not match its hash. It is removed and will be rebuilt." in (
        done.stdout + done.stderr
    )
    assert file.read_bytes() != content
    assert _raw(copy) == before


def _started(outputs) -> subprocess.Popen:
    environment = os.environ | {"STUDYLIB_OUTPUTS": str(outputs), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "studylib", *FLOAT], env=environment, cwd=tempfile.gettempdir(), start_new_session=True, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        # Who runs tests in the background of a shell ignores Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def _stopped_by(number: signal.Signals, outputs, more: int) -> tuple[int, str]:
    """Start the study, send it a signal as a terminal does when ``more`` files of raw values have come; exit status and last words."""
    process, before = _started(outputs), len(_raw(outputs))
    deadline = time.monotonic() + 240
    while len(_raw(outputs)) < before + more:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, number)
    words = process.communicate(timeout=60)[1]
    time.sleep(1)
    return process.returncode, words


def test_interrupted_and_killed_it_repeats_nothing_that_had_finished(copy):
    """Stopped by Ctrl-C and then by SIGKILL while it measures, the study goes on; what had finished stays to the byte."""
    plan = Results(copy / "cpu").plan()
    trials = [t for t in plan if (t.recipe, t.runtime) == ("fp32", "onnxruntime") and not t.sweep and not t.reason]
    assert len(trials) == 2  # one is the A/A control; they take turns, and are recorded together
    files = [path for trial in trials for path in (copy / "cpu" / "raw" / trial.id).glob("c*.json")]
    removed = [path for path in files if 0 < read_measurement(path).repetition < REPETITIONS]
    for path in removed:
        path.unlink()
    kept = _raw(copy)
    status, words = _stopped_by(signal.SIGINT, copy, 2)
    assert (status, words.strip().splitlines()[-1]) == (
        130,
        "Interrupted. What was measured is kept; run the same command again to go on.",
    )
    assert "Traceback" not in words
    assert "latency_p50" in set(Results(copy / "cpu").table().metric)
    interrupted = _raw(copy)
    assert _stopped_by(signal.SIGKILL, copy, 2)[0] == -signal.SIGKILL
    finished = _raw(copy)
    assert len(kept) < len(interrupted) < len(finished) < len(kept) + len(removed)
    assert kept.items() <= interrupted.items() <= finished.items()
    done = cli(*FLOAT, outputs=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    after = _raw(copy)
    assert finished.items() <= after.items()
    # A cohort that something disturbed was measured again then, or is now: repetitions count, not attempts.
    assert _repetitions(after) >= _repetitions(map(str, (path.relative_to(copy) for path in removed)))
    records = {name: read_measurement(copy / name) for name in finished.keys() - kept.keys()}
    whole = [number for number in range(1, 5) if sum(one.repetition == number and one.status == "ok" for one in records.values()) == 2]
    tried = {one.repetition for one in records.values()}
    counted = sum(int(count) for count in re.findall(r"repetition 1 of (\d+):", done.stdout))
    assert 4 - len(tried) <= counted <= 4 - len(whole)


def test_a_rehearsal_says_so_everywhere(smoke_study, copy):
    done = cli("study", "--hw", "raspberry-pi", "--effort", "smoke", "--recipe", "fp32", "--runtime", "litert", outputs=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "REHEARSAL of Raspberry Pi 5" in done.stdout
    folder = copy / "raspberry-pi"
    assert set(pd.read_parquet(folder / "results.parquet").native) == {False}
    pictures = list((folder / "figures").glob("*.svg"))
    assert pictures
    assert all("REHEARSAL, not Raspberry Pi 5" in picture.read_text() for picture in pictures)
    assert "REHEARSAL of Raspberry Pi 5" in (folder / "report" / "index.html").read_text().split("<h2>")[0]
    done = cli("compare", outputs=copy)
    assert "raspberry-pi (REHEARSAL) p50_ms" in done.stdout
    assert "cpu (native) p50_ms" in done.stdout


def test_a_failing_notebook_is_kept_and_named(copy, tmp_path):
    project = tmp_path / "project"
    for name in ("params", "notebooks"):
        shutil.copytree(ROOT / name, project / name)
    path = project / "notebooks" / "09-findings.ipynb"
    path.write_text(path.read_text().replace("sl.tables.winners(results)", "sl.tables.tabel(results)"))
    done = cli(*CPU, outputs=copy, STUDYLIB_ROOT=str(project), PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    assert "notebook 09-findings, cell" in done.stderr
    assert "tabel" in done.stderr
    assert (copy / "cpu" / "notebooks" / "09-findings.failed.ipynb").exists()


def test_a_study_records_its_limits_and_what_was_said_of_the_machine(mnist):
    run = mnist.results.run()
    assert run["limits"]["steal_share"] == mnist.params.choice.max_steal
    said = json.loads((mnist.results.folder / "fitness.json").read_text())
    assert isinstance(said, list)
    assert all(set(advice) == {"cause", "remedy"} for advice in said)
    disturbances = [m.disturbances for trial in mnist.trials for m in mnist.results.measurements(trial.id)]
    assert all({"steal_share", "load_1min", "major_faults", "involuntary_switches", "affinity"} <= set(found) for found in disturbances)
