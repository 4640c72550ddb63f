"""Sessions beside each other, and accelerators that fall back to the CPU: on a real file, with real providers."""

from dataclasses import replace

import numpy as np
import pytest
from onnxruntime import get_available_providers

from studylib import runtimes
from studylib.artifacts import arrays
from studylib.build.jobs import EvaluateJob
from studylib.build.site import Site
from studylib.errors import StudyError
from studylib.machine import hardware
from studylib.measure import worker
from studylib.quality.criteria import Criteria
from studylib.report.by_name import tables
from studylib.results.results import Results
from studylib.runtimes import RUNTIMES, Options, Session, onnxruntime
from studylib.runtimes.base import Parallel
from tests.outputs import status_of
from tests.recorded_results import run_facts, trial

_NEEDS_AZURE = pytest.mark.skipif(
    "AzureExecutionProvider" not in get_available_providers(), reason="the usual build of ONNX Runtime has a provider that computes nothing"
)
RUNTIME = RUNTIMES["onnxruntime"]


def _open(path, **facts):
    return RUNTIME.load(path, Options(**facts))


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_each_session_answers_its_share_in_order(tiny, size):
    batch = tiny.samples.batch(0, size)
    together = _open(tiny.path, threads=2, settings={"sessions": "2"})
    assert isinstance(together, Parallel)
    assert np.allclose(together.run(batch)["x4"], tiny.session.run(batch)["x4"], atol=1e-4)


def test_threads_are_dealt_out_and_settings_go_on(tiny):
    parts = _open(tiny.path, threads=5, settings={"sessions": "2", "arena": "off"})._sessions
    options = [part._session.get_session_options() for part in parts]
    assert [one.intra_op_num_threads for one in options] == [3, 2]
    assert [one.enable_cpu_mem_arena for one in options] == [False, False]


def test_sessions_really_run_beside_each_other():
    import threading

    met = threading.Barrier(2, timeout=20)

    class Waiting(Session):
        def run(self, inputs):
            met.wait()  # broken unless the other one runs at the same time
            return {"y": inputs["x"]}

        def placement(self):
            return "waiting"

    found = Parallel([Waiting(), Waiting()]).run({"x": np.arange(4)})
    assert found["y"].tolist() == [0, 1, 2, 3]


def test_an_error_in_one_session_is_the_querys_error(sleeper):
    with pytest.raises(RuntimeError, match="planted"):
        Parallel([sleeper(), sleeper(fails=(0,))]).run({"x": np.arange(4)})


def test_more_sessions_than_threads_are_refused(tiny):
    with pytest.raises(StudyError, match="4 sessions need a thread each, and there are 2"):
        _open(tiny.path, threads=2, settings={"sessions": "4"})
    with pytest.raises(StudyError, match="the setting sessions is '3'; allowed are 1, 2, 4, 8"):
        _open(tiny.path, threads=4, settings={"sessions": "3"})


def test_every_node_says_where_it_runs(tiny):
    session = _open(tiny.path, threads=1)
    assert session.nodes() == {"CPUExecutionProvider": {"MatMul": 4}}
    assert runtimes.why_fallen_back("cpu", session) is None


@_NEEDS_AZURE
def test_a_provider_that_leaves_the_arithmetic_to_the_cpu_is_found_out(tiny, monkeypatch):
    """Azure's provider is in the package, calls itself first and takes no such node: a silent fall-back as it really happens."""
    monkeypatch.setitem(onnxruntime._PROVIDERS, "azure", "AzureExecutionProvider")
    session = _open(tiny.path, provider="azure", threads=1)
    assert session.placement() == "AzureExecutionProvider"
    reason = runtimes.why_fallen_back("azure", session)
    assert reason == "fell back: 4 of 4 nodes that compute (MatMul) ran on CPUExecutionProvider, not on AzureExecutionProvider"


class Told(Session):
    def __init__(self, nodes):
        self._nodes = nodes

    def run(self, inputs):
        raise NotImplementedError

    def placement(self):
        return "CUDA"

    def nodes(self):
        return self._nodes


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ({"CUDA": {"Conv": 5, "Relu": 5}}, None),
        ({"CUDA": {"Conv": 5}, "CPU": {"Shape": 3, "Gather": 3}}, None),
        ({"CUDA": {"Conv": 4}, "CPU": {"QLinearConv": 1, "Shape": 1}}, "fell back: 1 of 5 nodes that compute (QLinearConv) ran on CPU"),
        ({"CPU": {"Relu": 2}}, "fell back: CUDA took none of the 2 nodes"),
        ({}, None),
    ],
)
def test_what_computes_decides(nodes, reason):
    found = runtimes.why_fallen_back("cuda", Told(nodes))
    assert (found or "").startswith(reason or "") if reason else found is None


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_nvidias_providers_need_a_gpu_and_the_build_for_it(provider, monkeypatch):
    monkeypatch.setattr(onnxruntime.OnnxRuntime, "_has", lambda self, provider: False)  # also where `make nvidia` brought it
    host = replace(hardware.probe(), nvidia_gpu="", device_tree="")
    assert RUNTIME.why_not(provider, host) == "no NVIDIA GPU is visible; its driver must be installed"
    found = RUNTIME.why_not(provider, replace(host, nvidia_gpu="NVIDIA L4"))
    assert found.endswith(f"has no {onnxruntime._PROVIDERS[provider]}; {onnxruntime._REMEDY}")


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("libcublasLt.so.13", f": libcublasLt.so.13 cannot be loaded; {onnxruntime._REMEDY}"),
        ("libnvinfer.so.10", f": libnvinfer.so.10 cannot be loaded (this build asks for TensorRT 10); {onnxruntime._REMEDY}"),
    ],
)
def test_a_refused_gpu_names_the_library_that_is_missing(monkeypatch, missing, words):
    """The loader's words, as the GPU build brought them forth on a machine without CUDA, and on one without TensorRT."""

    def load(path):
        raise OSError(f"{missing}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(onnxruntime.ctypes, "CDLL", load)
    assert onnxruntime._why_not_taken("tensorrt") == words
    assert onnxruntime._why_not_taken("xnnpack") == ""


@pytest.mark.parametrize("provider", ["xnnpack", "coreml", "nnapi"])
def test_a_built_in_provider_is_there_when_the_build_says_so(monkeypatch, provider):
    import onnxruntime as package

    host, name = hardware.probe(), onnxruntime._PROVIDERS[provider]
    monkeypatch.setattr(package, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert RUNTIME.why_not(provider, host) == f"this build of ONNX Runtime ({RUNTIME.version}) has no {name}"
    monkeypatch.setattr(package, "get_available_providers", lambda: [name, "CPUExecutionProvider"])
    assert RUNTIME.why_not(provider, host) is None


@_NEEDS_AZURE
def test_an_accelerator_that_is_none_gives_an_invalid_row(tiny, monkeypatch, tmp_path, shelf):
    """The whole way: the worker's evaluation, what is kept of it, the trial's status, and the tables."""
    monkeypatch.setitem(onnxruntime._PROVIDERS, "azure", "AzureExecutionProvider")
    answers = np.stack([tiny.session.run(tiny.samples.batch(index, 1))["x4"] for index in range(12)])
    arrays.save(tmp_path / "reference", {"x4": answers})
    reference, site = shelf.put(tmp_path / "reference").key, Site(store=str(shelf.folder))
    job = EvaluateJob(
        artifact=shelf.put(tiny.path).key, samples=shelf.put(tiny.samples.save(tmp_path / "samples")).key, runtime="onnxruntime",
        provider="azure", threads=1, reference=reference, version=reference, criteria=Criteria("fp32", "other", True, "synthetic"),
    )  # fmt: skip
    found = worker.evaluate(job, site)
    assert found["status"] == "invalid"
    results, of = Results(tmp_path / "cpu"), trial(provider="azure")
    results.save_plan([of], run_facts(), [])
    results.record_evaluation(of.evaluation_id, found)
    assert status_of(results, of) == ("invalid", found["reason"])
    assert tables.quality(results).parity[0].startswith("invalid: fell back: 4 of 4 nodes that compute (MatMul)")
    (row,) = tables.placements(results).to_dict("records")
    assert (row["asked for"], row["ran on"], row["nodes"], row["kinds"]) == ("azure", "CPUExecutionProvider", 4, "MatMul 4")
    results.forget_failures()
    assert results.evaluation(of.evaluation_id) is None
    assert worker.evaluate(replace(job, provider="cpu"), site)["status"] == "ok"
