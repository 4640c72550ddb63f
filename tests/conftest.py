"""Shared fixtures. All results of one pytest run, the notebooks' too, go to one temporary outputs folder."""

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
# An argument that names the smoke study, its store or its `Study` object.
_STUDY = re.compile(r"^def \w+\([^)]*\b(?:smoke_study|store|mnist)\b", re.MULTILINE)
# Set before studylib is imported and before any kernel starts, so that notebooks under nbval write here as well.
_OUTPUTS = tempfile.TemporaryDirectory(prefix="studylib-tests-")
os.environ["STUDYLIB_OUTPUTS"] = _OUTPUTS.name
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(ROOT))
# Kernels import the same sources, whoever built the environment.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def pytest_collection_modifyitems(items):
    """Notebooks last: they find the artifacts that the tests made."""
    items.sort(key=lambda item: item.path.suffix == ".ipynb")


@pytest.hookimpl(optionalhook=True)  # a single process needs no xdist
def pytest_xdist_make_scheduler(config, log):
    """Which process runs what (`make test JOBS=2`): all that needs the smoke study stays in one, so that it runs once.

    Other files stay whole, for the sake of what their tests share. Each process has an outputs folder of its own.
    (xdist's own groups do not reach pytest 9: they are written into a name that it no longer keeps.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class BySharing(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            name = nodeid.split("::")[0]
            return "smoke study" if _needs_study(ROOT / name) else name

    return BySharing(config, log)


@functools.cache
def _needs_study(path: Path) -> bool:
    """Whether a notebook, or any function of a test file that asks for the smoke study or what comes from it."""
    return path.suffix == ".ipynb" or bool(_STUDY.search(path.read_text(encoding="utf-8")))


def cli(*arguments: str, outputs: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Run the command line as a user does, in another folder."""
    env = os.environ | environment | ({"STUDYLIB_OUTPUTS": str(outputs)} if outputs else {}) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "studylib", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=tempfile.gettempdir(), timeout=900)


def plan_lines(printed: str) -> list[str]:
    """What a plan says that it would measure: model, label, scenario and threads."""
    return re.findall(r"^  to measure, \d+ repetitions: (.*)$", printed, re.MULTILINE)


@pytest.fixture(scope="session")
def smoke_study(tmp_path_factory):
    """The main job at its smallest size, run once as a user runs it: (completed process, results folder)."""
    done = cli("study", "--hw", "cpu", "--effort", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    return done, Path(os.environ["STUDYLIB_OUTPUTS"]) / "cpu"


@pytest.fixture(scope="session")
def store(smoke_study):
    """The store of the smoke study: the trained mnist_cnn in every format and precision."""
    from studylib.artifacts.store import Store

    return Store(smoke_study[1].parent / ".artifacts")


@pytest.fixture(scope="session")
def mnist(smoke_study):
    """The smoke study's `Study` object, everything in it made and measured."""
    from studylib.study.opening import open_study

    return open_study("cpu", "smoke", write=lambda line: None)


def samples_of(study, model: str = "mnist_cnn"):
    """The test samples of a study's model."""
    from studylib.models.zoo import Samples

    return Samples.load(study.artifact(study.plan.origins[model].samples).path)


def reference_of(study, model: str = "mnist_cnn") -> np.ndarray:
    """The outputs of a source model with one output, shape (samples, classes)."""
    from studylib.artifacts import arrays

    outputs, _ = arrays.load(study.artifact(study.plan.origins[model].reference).path)
    return only(outputs)[:, 0]


def artifact_of(study, runtime) -> Path:
    """The path of a study's float artifact in the format that a runtime opens."""
    cells = [cell for cell in study.plan.conversions if not cell.reason and cell.target == runtime.format]
    return study.artifact(cells[0].keys[-1]).path


def path_of(written) -> Path:
    """The path of what a recipe's ``write`` gave back, with notes or without."""
    return written[0] if isinstance(written, tuple) else written


def scripted(answer):
    """An executor that answers as a function does: ``answer(job, timeout_s, on_line)``."""
    from studylib.build.executor import Executor

    class Scripted(Executor):
        def _answer(self, job, timeout_s, on_line):
            return answer(job, timeout_s, on_line)

        def _end(self):
            """Nothing runs between two answers."""

    return Scripted()


def origin(**changes):
    """Where a model comes from, under keys that say what they are of."""
    from studylib.build.origin import Origin

    facts = {
        "source": "source", "samples": "samples", "reference": "reference", "source_format": "keras", "task": "classification",
        "independent": True, "data": "real",
    }  # fmt: skip
    return Origin(**facts | changes)


def plant(root: Path, files: dict[str, str]) -> Path:
    """Write small files as ``/proc`` and ``/sys`` show them, below ``root``."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


@pytest.fixture
def no_nvml(monkeypatch):
    """The package nvidia-ml-py is not there."""
    from studylib.machine import nvml

    monkeypatch.setitem(sys.modules, "pynvml", None)
    nvml.device.cache_clear()
    yield
    nvml.device.cache_clear()


@pytest.fixture
def gpu_tells(monkeypatch):
    """Three GPUs, of which NVML tells what is given: a value, or a function of the question's argument; the rest it refuses."""
    from studylib.machine import nvml

    class Refused(Exception):
        pass

    def tell(**answers):
        def ask(question):
            def answer(handle, *arguments):
                if question not in answers:
                    raise Refused("Not Supported")
                told = answers[question]
                return told(*arguments) if callable(told) else told

            return answer

        library = SimpleNamespace(
            NVMLError=Refused, NVML_CLOCK_SM="sm", NVML_TEMPERATURE_GPU="gpu", NVML_PERF_POLICY_THERMAL="thermal",
            NVML_PERF_POLICY_POWER="power", nvmlInit=lambda: None, nvmlSystemGetDriverVersion=lambda: "580.1",
            nvmlDeviceGetCount=lambda: 3, nvmlDeviceGetName=lambda handle: b"NVIDIA H100",
            nvmlDeviceGetHandleByIndex=lambda index: ("index", index), nvmlDeviceGetHandleByUUID=lambda uuid: ("uuid", uuid),
            **{f"nvmlDeviceGet{question}": ask(question) for question in _QUESTIONS},
        )  # fmt: skip
        monkeypatch.setitem(sys.modules, "pynvml", library)
        nvml.device.cache_clear()

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield tell
    nvml.device.cache_clear()


_QUESTIONS = ("ClockInfo", "Temperature", "ViolationStatus", "TotalEnergyConsumption", "ComputeRunningProcesses")


def only(outputs: dict) -> np.ndarray:
    """The one output of a model that has one."""
    (values,) = outputs.values()
    return np.asarray(values)


def trial(**changes):
    """A trial with sensible fields, any of which may be changed."""
    from studylib.results.records import Trial

    facts = {
        "model": "mnist_cnn", "weights": "trained", "recipe": "fp32", "format": "onnx", "runtime": "onnxruntime", "runtime_version": "1",
        "provider": "cpu", "threads": 2, "scenario": "single_stream", "batch_size": 1, "artifact_key": "a" * 64,
        "evaluation_id": "evaluation-x", "conditions": "c",
    }  # fmt: skip
    return Trial(**facts | changes)


def measurement(of, repetition=0, values=(100_000,) * 200, **changes):
    """A repetition of a trial; the hour of the day tells the round."""
    from studylib.results.records import Measurement

    facts = {
        "trial_id": of.id, "campaign": 1, "repetition": repetition, "attempt": 0, "session": "s",
        "status": "ok", "reason": "", "host_id": "h",
        "started_at": f"2026-01-01T{repetition:02}:00:00+00:00", "ended_at": f"2026-01-01T{repetition:02}:30:00+00:00",
        "values_ns": tuple(values), "warmup_ns": (1,),
        "cold_start_ns": {"process": 10**7, "activate": 10**8, "load": 10**6, "first_inference": 10**6, "total": 2 * 10**8},
        "memory_bytes": {
            "rss_before": 10**7, "rss_after_load": 2 * 10**7, "rss_after_first": 3 * 10**7, "rss_peak": 4 * 10**7, "vms_peak": 10**8,
        },
        "placement": "CPU", "disturbances": {"steal_share": 0.0},
    }  # fmt: skip
    return Measurement(**facts | changes)


def run_facts(native: bool = True, **changes) -> dict:
    """What ``run.json`` holds, for results that a test records itself."""
    facts = {
        "study": "cpu-smoke", "hardware": "cpu", "title": "Test machine", "effort": "smoke", "command": "make study HW=cpu EFFORT=smoke",
        "native": native,
        "mismatches": [] if native else ["the architecture is x86_64, not aarch64"], "threads": 2, "host_id": "h",
        "host": {"description": "a test host", "kernel": "6", "isa": ["avx2"]}, "failures": {}, "git": {}, "python": "3.11",
        "packages": {"numpy": "2"},
        "parameters": {
            "choice": {"max_accuracy_loss": 0.01},
            "settings": {"repetitions": 8, "min_values": 140, "min_duration_s": 0.1, "max_duration_s": 5, "warmup_s": 0.1},
        },
    }  # fmt: skip
    return facts | changes


@pytest.fixture
def recorded(tmp_path):
    """Function that records a small study: a baseline, a contender twice as fast, an A/A twin and a skipped trial."""
    from studylib.results.results import Results

    def record(native: bool = True, weights: str = "trained", rounds: int = 8, n: int = 1000) -> Results:
        results = Results(tmp_path / "cpu")
        slow = trial(runtime="tensorflow", format="saved_model", weights=weights, artifact_key="b" * 64, evaluation_id="evaluation-slow")
        fast = trial(weights=weights, evaluation_id="evaluation-fast")
        twin = trial(weights=weights, evaluation_id="evaluation-fast", control=True)
        skipped = trial(recipe="fp16", artifact_key="", evaluation_id="", reason="no such recipe here")
        artifact = {"path": "m", "model": "mnist_cnn", "sha256": "d" * 64, "lineage": [{"made_by": "source", "config": {}, "key": "k"}]}
        artifacts = [
            artifact | {"format": "onnx", "precision": "fp32", "key": "a" * 64, "size_bytes": 1000},
            artifact | {"format": "saved_model", "precision": "fp32", "key": "b" * 64, "size_bytes": 4000},
        ]
        results.save_plan([slow, fast, twin, skipped], run_facts(native), artifacts)
        rng = np.random.default_rng(2)
        for of, centre in ((slow, 200_000), (fast, 100_000), (twin, 100_000)):
            for repetition in range(rounds):
                values = (centre * rng.lognormal(0, 0.02, 200)).astype(int).tolist()
                results.record(measurement(of, repetition, values))
        right = [True] * (n - n // 50) + [False] * (n // 50)
        found = {
            "n": n,
            "finite": True,
            "output_mse": 1e-9,
            "sqnr": 90.0,
            "max_abs_error": 1e-4,
            "max_rel_error": 1e-4,
            "cosine": 1.0,
            "data": "real",
            "agreeing": [True] * n,
            "correct": right,
            "independent": True,
        }
        for of in (slow, fast):
            results.record_evaluation(of.evaluation_id, found | {"status": "ok", "reason": "", "placement": "CPU"})
        return results

    return record


_EVALUATED = {
    "n": 100, "finite": True, "output_mse": 1e-9, "max_abs_error": 1e-4, "max_rel_error": 1e-4, "cosine": 1.0, "data": "real",
    "agreeing": [True] * 100, "independent": True, "status": "ok", "reason": "", "placement": "CPU",
}  # fmt: skip


@pytest.fixture
def variants(tmp_path):
    """Function that records variants of one model: recipe to (median in ns, operators, right answers, SQNR in dB, more of its file).

    A median of 0 is not timed. ``more``: notes, macs, islands, sha256, evaluation, and names of an evaluation that it is
    ``without``. ``searches``: what ``search.json`` holds. ``most``: the budget of adaptive recipes.
    ``control``: the median in ns of an A/A twin of the first.
    """
    from studylib.results.results import Results

    def record(
        of: dict, isa=("avx2", "avx512_vnni"), searches: dict | None = None, most: float = 0.01, control: int = 0, **facts
    ) -> Results:
        results, trials, artifacts, inside = Results(tmp_path / "cpu"), [], [], {}
        rng = np.random.default_rng(1)
        for number, (recipe, (centre, operators, right, sqnr, more)) in enumerate(of.items()):
            key = f"{number:064}"
            made = trial(recipe=recipe, artifact_key=key, evaluation_id=f"evaluation-{number}", **facts)
            trials.append(made)
            step = {"made_by": "it", "config": {}, "key": key, "notes": more.get("notes", {})}
            known = {
                "path": "m",
                "model": made.model,
                "sha256": more.get("sha256", key),
                "lineage": [step],
                "format": "onnx",
                "precision": recipe,
            }
            sizes = {"size_bytes": 4000 // (number + 1), "gzip_bytes": 3000 // (number + 1)}
            artifacts.append(known | sizes | {"key": key})
            inside[key] = {
                "operators": operators, "macs": more.get("macs", 1000), "float_islands": more.get("islands"), "parameters": 10,
                "opset": {"": 17}, "inputs": [], "outputs": [], "consequences": [],
            }  # fmt: skip
            for repetition in range(8 if centre else 0):
                values = (centre * rng.lognormal(0, 0.02, 200)).astype(int).tolist()
                results.record(measurement(made, repetition, values))
            answers = {"correct": [True] * right + [False] * (100 - right), "sqnr": sqnr}
            found = _EVALUATED | answers | more.get("evaluation", {})
            results.record_evaluation(made.evaluation_id, {name: found[name] for name in found if name not in more.get("without", ())})
        if control:
            twin = replace(trials[0], control=True)
            trials.append(twin)
            for repetition in range(8):
                results.record(measurement(twin, repetition, (control * rng.lognormal(0, 0.02, 200)).astype(int).tolist()))
        host = {"description": "a test host", "kernel": "6", "isa": list(isa)}
        run = run_facts(host=host)
        run["parameters"] |= {"choice": {"max_accuracy_loss": most}}
        results.save_plan(trials, run, artifacts, (), {"inside": inside, "search": searches or {}})
        return results

    return record


@pytest.fixture
def shelf(tmp_path):
    """A store of this test's own: what is `put` there has a key."""
    from studylib.artifacts.store import Store

    return Store(tmp_path / "shelf")


@pytest.fixture
def recording(tmp_path):
    """Function that writes a recording for the replay runtime and samples to go with it."""
    from studylib.models.zoo import Samples

    samples = Samples({"x": np.zeros((4, 2), np.float32)}, np.zeros(4, np.int64)).save(tmp_path / "samples-of-recording")

    def write(name: str, **content) -> tuple[Path, Path]:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"values_ns": [1000]} | content))
        return path, samples

    return write


@pytest.fixture
def sleeper():
    """Class of sessions that answer after ``seconds`` of the machine's clock, remember what they were asked, and fail where told."""
    import time

    from studylib.runtimes import Session

    class Sleeper(Session):
        def __init__(self, seconds: float = 0.001, fails=()):
            self.seconds, self.fails, self.asked = seconds, fails, []

        def run(self, inputs):
            self.asked.append({name: values.copy() for name, values in inputs.items()})
            time.sleep(self.seconds)
            if len(self.asked) - 1 in self.fails:
                raise RuntimeError("planted:\n  no answer")
            return {"y": inputs["x"]}

        def placement(self):
            return "asleep"

    return Sleeper


@pytest.fixture
def samples():
    """Twelve samples whose first value is their number."""
    from studylib.models.zoo import Samples

    return Samples({"x": np.arange(24, dtype=np.float32).reshape(12, 2) // 2}, None)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A real ONNX Runtime session of some 100 µs (four products of 256 x 256) and samples for it."""
    from types import SimpleNamespace

    from onnx import TensorProto, helper, numpy_helper, save

    from studylib.models.zoo import Samples
    from studylib.runtimes import RUNTIMES, Options

    rng = np.random.default_rng(1)
    weights = [numpy_helper.from_array(rng.standard_normal((256, 256)).astype(np.float32) / 16, f"w{layer}") for layer in range(4)]
    nodes = [helper.make_node("MatMul", [f"x{layer}" if layer else "x", f"w{layer}"], [f"x{layer + 1}"]) for layer in range(4)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 256]) for name in ("x", "x4")]
    graph = helper.make_graph(nodes, "tiny", [ends[0]], [ends[1]], weights)
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    session = RUNTIMES["onnxruntime"].open(path, Options(threads=1))
    return SimpleNamespace(session=session, path=path, samples=Samples({"x": rng.standard_normal((12, 256)).astype(np.float32)}, None))
