"""TensorRT against a stand-in for the hardware, which is absent (`stand_in_nvidia`); what only a GPU can show is not shown here."""

import gc
import importlib.metadata
import sys
from dataclasses import replace

import numpy as np
import pytest

from studylib.artifacts import store
from studylib.build.jobs import MeasureJob
from studylib.build.site import Site
from studylib.errors import ArtifactError, InputError, OutputError, RefusedError, TrialError
from studylib.machine import hardware
from studylib.machine.disturbance_limits import Limits, why_invalid
from studylib.measure import worker
from studylib.runtimes import Options, base
from studylib.runtimes.nvidia import engine_cache, tensorrt, tensorrt_engines
from studylib.runtimes.nvidia.cuda_memory import DeviceArray, Stream
from studylib.scenarios import Load, RunLength
from tests.runtimes.stand_in_nvidia import Nvidia, cudaError_t

RUNTIME = tensorrt.TensorRT()
HOST = hardware.Host("Linux", "x86_64", "A processor", ("avx2",), 8, 8, 16 * 2**30, "", "NVIDIA L4", (), "6.1")
JETSON = replace(HOST, machine="aarch64", device_tree="NVIDIA Jetson AGX Orin Developer Kit", nvidia_gpu="")
# What this machine itself may do to a short measurement, out of the way.
STILL = dict.fromkeys(("steal_share", "throttle_events", "cgroup_throttled_share", "frequency_drop_share"), 0)


@pytest.fixture
def nvidia(monkeypatch, tmp_path):
    """A stand-in machine that ``import tensorrt`` and ``import cuda.bindings.runtime`` find, with an empty outputs folder."""
    machine = Nvidia()
    for name, module in machine.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    machine.versions = {"tensorrt": "10.3.0"}

    def version(name):
        if name not in machine.versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return machine.versions[name]

    for module in (base, store):
        monkeypatch.setattr(module, "package_version", version)
    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(hardware, "_JETSON_DEVICES", ())
    tensorrt_engines.logger.cache_clear()
    yield machine
    gc.collect()  # device memory goes back to the machine it came from
    tensorrt_engines.logger.cache_clear()


def _open(path, provider="cuda", **settings):
    return RUNTIME.open(path, Options(provider, 1, settings))


def _file(path, nodes=(("MatMul", ["x", "w"], ["y"]),), shape=(2, 4), kind=np.float32, **more):
    """An ONNX file with the input ``x``, a weight ``w`` of 4 x 3 and the output ``y``."""
    import onnx
    from onnx import helper, numpy_helper

    tensor = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    ends = [helper.make_tensor_value_info("x", tensor, shape), helper.make_tensor_value_info("y", tensor, [shape[0], 3])]
    weight = numpy_helper.from_array(np.random.default_rng(1).normal(size=(4, 3)).astype(kind), "w")
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "graph", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path, **more)
    return path


def _expected(path, inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


# --- what it answers ---------------------------------------------------------------------------------------------------


def test_answers_are_onnx_runtimes_for_every_batch_size(nvidia, tiny):
    session = _open(tiny.path)
    for start, size in ((0, 1), (1, 4), (5, 1)):
        batch = tiny.samples.batch(start, size)
        (found,) = session.run(batch).values()
        assert found.dtype == np.float32
        # Exactly: TF32 would show in the third digit.
        assert np.array_equal(found, tiny.session.run(batch)["x4"])
    assert [build["shapes"]["x"] for build in nvidia.builds] == [(1, 256), (4, 256)]


def test_an_answer_is_its_own_and_inputs_stay_as_they_are(nvidia, tiny):
    session, first = _open(tiny.path), tiny.samples.batch(0, 1)
    before = first["x"].copy()
    answer = session.run(first)["x4"]
    kept = answer.copy()
    session.run(tiny.samples.batch(1, 1))
    assert np.array_equal(answer, kept)
    assert np.array_equal(first["x"], before)


def test_values_that_do_not_lie_one_after_the_other_are_copied_rightly(nvidia, tmp_path):
    path, wide = _file(tmp_path / "m.onnx"), np.random.default_rng(2).normal(size=(4, 2)).astype(np.float32)
    assert np.array_equal(_open(path).run({"x": wide.T})["y"], _expected(path, {"x": np.ascontiguousarray(wide.T)}))


def test_float16_files_take_and_give_their_own_type(nvidia, tmp_path):
    path, values = _file(tmp_path / "m.onnx", kind=np.float16), np.ones((2, 4), np.float16)
    found = _open(path).run({"x": values})["y"]
    assert found.dtype == np.float16
    assert np.array_equal(found, _expected(path, {"x": values}))


def test_weights_beside_the_graph_are_read_and_belong_to_the_engines_name(nvidia, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    more = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    _file(folder / "model.onnx", **more)
    values = {"x": np.ones((2, 4), np.float32)}
    before = _open(folder).run(values)["y"]
    assert np.array_equal(before, _expected(folder / "model.onnx", values))
    weights = np.frombuffer((folder / "weights.bin").read_bytes(), np.float32) * 2
    (folder / "weights.bin").write_bytes(weights.tobytes())
    assert np.allclose(_open(folder).run(values)["y"], 2 * before)


def test_it_names_the_gpu_and_gives_its_memory_back(nvidia, tiny):
    session = _open(tiny.path)
    session.run(tiny.samples.batch(0, 1))
    assert session.placement() == "Stand-in GPU"
    assert session.nodes() == {}
    assert len(nvidia.blocks) == 2
    session.run(tiny.samples.batch(1, 1))
    assert len(nvidia.blocks) == 2
    del session
    gc.collect()
    assert nvidia.blocks == {}


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ({"z": np.ones((2, 4), np.float32)}, ArtifactError, r"the file has the inputs \['x'\], and \['z'\] were given"),
        ({"x": np.ones((3, 4), np.float32)}, RefusedError, r"takes 'x' with the shape \[2, 4\], and \[3, 4\] was asked for"),
        ({"x": np.ones((2, 4), np.float64)}, ArtifactError, "takes 'x' as float32, and float64 was given"),
    ],
)
def test_inputs_that_the_file_does_not_take_are_refused(nvidia, tmp_path, inputs, error, words):
    session = _open(_file(tmp_path / "m.onnx"))
    with pytest.raises(error, match=words):
        session.run(inputs)


# --- engines and where they are kept -----------------------------------------------------------------------------------


def test_a_file_of_fixed_shape_is_built_when_it_is_opened(nvidia, tmp_path):
    session = _open(_file(tmp_path / "m.onnx"))
    assert [build["shapes"] for build in nvidia.builds] == [{"x": (2, 4)}]
    session.run({"x": np.ones((2, 4), np.float32)})
    assert len(nvidia.builds) == 1


def test_the_next_process_opens_what_was_built_and_reads_no_file(nvidia, tiny):
    batch = tiny.samples.batch(0, 4)
    first = _open(tiny.path)
    expected = first.run(batch)["x4"]
    assert first.disturbances() == {"engines_built": 1}
    builds, reads = len(nvidia.builds), nvidia.reads
    second = _open(tiny.path)
    assert np.array_equal(second.run(batch)["x4"], expected)
    assert (len(nvidia.builds), nvidia.reads) == (builds, reads)
    assert second.disturbances() == {"engines_built": 0}


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_engine_is_built_again_and_that_is_said(nvidia, tmp_path, caplog, damage):
    path, values = _file(tmp_path / "m.onnx"), {"x": np.ones((2, 4), np.float32)}
    expected = _open(path).run(values)["y"]
    for file in engine_cache.folder().glob("*"):
        if not file.suffix:
            content = file.read_bytes()
            file.write_bytes(content[:-1] if damage == "cut" else content[:-1] + b"!")
    assert np.array_equal(_open(path).run(values)["y"], expected)
    assert len(nvidia.builds) == 2
    assert "is damaged: its bytes do not match its hash. It is built again." in caplog.text
    _open(path)
    assert len(nvidia.builds) == 2


def test_an_engine_whose_hash_was_never_written_is_not_trusted(nvidia, tmp_path):
    path = _file(tmp_path / "m.onnx")
    _open(path)
    for file in engine_cache.folder().glob("*.sha256"):
        file.unlink()
    _open(path)
    assert len(nvidia.builds) == 2


def test_whatever_makes_an_engine_is_in_its_name(nvidia, tmp_path):
    path = _file(tmp_path / "m.onnx")
    _open(path)
    _open(path, workspace_mb="256")
    _open(path, optimization="5")
    assert [(build["level"], build["pools"]) for build in nvidia.builds] == [(3, {}), (3, {"WORKSPACE": 256 * 2**20}), (5, {})]
    _open(path, provider="dla")
    nvidia.name = b"Another GPU"
    _open(path)
    nvidia.minor = 9
    _open(path)
    nvidia.versions["tensorrt"] = "11.4.1"
    _open(path)
    _open(_file(tmp_path / "other.onnx", nodes=[("MatMul", ["x", "w"], ["h"]), ("Relu", ["h"], ["y"])]))
    assert len(nvidia.builds) == 8
    assert len({file.name for file in engine_cache.folder().glob("*.sha256")}) == 2 * 8  # the shapes of each file's inputs as well


def test_where_nothing_can_be_kept_it_is_said(nvidia, tmp_path):
    (tmp_path / "outputs").write_text("a file where a folder belongs")
    with pytest.raises(OutputError, match=r"cannot write to .*set STUDYLIB_OUTPUTS to another folder"):
        _open(_file(tmp_path / "m.onnx"))


def test_a_repetition_that_built_an_engine_does_not_count_and_the_next_one_does(nvidia, tiny, tmp_path, shelf):
    keys = {"artifact": shelf.put(tiny.path).key, "samples": shelf.put(tiny.samples.save(tmp_path / "samples")).key}
    job = MeasureJob(**keys, runtime="tensorrt", provider="cuda", threads=1, load=Load("offline", 4, RunLength(3, 0.0, 5.0)))
    site = Site(store=str(shelf.folder))
    reasons = [why_invalid(worker.measure(job, site)["disturbances"] | STILL, Limits()) for _ in range(2)]
    assert reasons[0].startswith(
        "disturbed: an engine was built in this process, whose start and memory show it (built: 1; the limit is 0)"
    )
    assert reasons[1] == ""


# --- refusals ----------------------------------------------------------------------------------------------------------


def test_what_the_parser_says_is_the_reason(nvidia, tmp_path):
    with pytest.raises(RefusedError, match="TensorRT does not read this file: In node 0 with operator: NonZero: No importer registered"):
        _open(_file(tmp_path / "m.onnx", nodes=[("NonZero", ["x"], ["y"])]))
    (tmp_path / "none.onnx").write_bytes(b"not a model")
    with pytest.raises(RefusedError, match=r"TensorRT does not read this file: ."):
        _open(tmp_path / "none.onnx")
    assert not engine_cache.folder().exists()


def test_a_layer_that_the_dla_cannot_take_is_refused_in_tensorrts_words(nvidia, tmp_path):
    session = _open(_file(tmp_path / "m.onnx"), provider="dla")
    assert session.placement() == "DLA core 0 of Stand-in GPU"
    path = _file(tmp_path / "sigmoid.onnx", nodes=[("MatMul", ["x", "w"], ["h"]), ("Sigmoid", ["h"], ["y"])])
    with pytest.raises(RefusedError, match="builds no engine of this file for dla: Sigmoid cannot run on DLA and GPU fallback is not"):
        _open(path, provider="dla")
    _open(path)


def test_a_board_without_a_dla_says_so(nvidia, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["tensorrt"].Builder, "num_DLA_cores", 0)
    with pytest.raises(RefusedError, match=r"TensorRT 10\.3\.0 sees no DLA beside Stand-in GPU: .* Take tensorrt/cuda here"):
        _open(_file(tmp_path / "m.onnx"), provider="dla")


def test_an_engine_that_does_not_open_is_an_error_with_its_reason(nvidia, tmp_path, monkeypatch):
    path = _file(tmp_path / "m.onnx")
    monkeypatch.setattr(engine_cache, "kept", lambda key: None)
    monkeypatch.setattr(tensorrt_engines.Engines, "_built", lambda self, shapes: b"from another machine")
    with pytest.raises(TrialError, match=r"does not open the engine that it built: magicTag != .*The GPU's memory may be used up"):
        _open(path)


def test_settings_outside_the_list_and_unknown_providers_are_refused(nvidia, tmp_path):
    path = _file(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="tensorrt: the setting workspace_mb is '100'; allowed are default, 256, 1024, 4096"):
        _open(path, workspace_mb="100")
    with pytest.raises(InputError, match=r"Unknown setting of tensorrt 'fp16'\. Known: optimization, workspace_mb"):
        _open(path, fp16="on")
    with pytest.raises(InputError, match="tensorrt has no provider 'cpu'; it has cuda, dla"):
        _open(path, provider="cpu")


# --- CUDA --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "code", "error", "words"),
    [
        ("cudaGetDevice", cudaError_t.cudaErrorNoDevice, TrialError, r"no CUDA-capable device is detected \(cudaErrorNoDevice\)\. See"),
        ("cudaMalloc", cudaError_t.cudaErrorMemoryAllocation, MemoryError, r"out of memory \(cudaErrorMemoryAllocation\)\. Take a smaller"),
        ("cudaMemcpyAsync", cudaError_t.cudaErrorInvalidValue, TrialError, r"invalid argument \(cudaErrorInvalidValue\)\. See"),
        ("cudaStreamSynchronize", cudaError_t.cudaErrorInvalidValue, TrialError, r"invalid argument \(cudaErrorInvalidValue\)\. See"),
    ],
)
def test_an_error_of_cuda_is_told_in_words(nvidia, tmp_path, function, code, error, words):
    nvidia.fails[function] = code
    with pytest.raises(error, match=f"CUDA: {function} failed: {words}"):
        _open(_file(tmp_path / "m.onnx")).run({"x": np.ones((2, 4), np.float32)})


def test_the_stand_in_sees_a_forgotten_wait_and_a_copy_too_long(nvidia):
    stream, room, values = Stream(), DeviceArray((3,), np.float32), np.arange(3, dtype=np.float32)
    stream.upload(values, room)
    found = stream.download(room)
    found[:] = -1
    assert found.tolist() == [-1, -1, -1]
    stream.wait()
    assert found.tolist() == [0, 1, 2]
    room.size_bytes = 16
    with pytest.raises(TrialError, match="CUDA: cudaMemcpyAsync failed: invalid argument"):
        stream.download(room)


# --- why not -----------------------------------------------------------------------------------------------------------


def test_with_everything_there_it_runs(nvidia):
    assert RUNTIME.why_not("cuda", HOST) is None
    assert [RUNTIME.why_not(provider, JETSON) for provider in RUNTIME.providers] == [None, None]


@pytest.mark.parametrize(
    ("provider", "host", "reason"),
    [
        ("cuda", replace(HOST, nvidia_gpu=""), "no NVIDIA GPU is visible; its driver must be installed"),
        ("dla", HOST, "no DLA is visible: NVIDIA's Jetson AGX Orin and Orin NX boards have one"),
        ("cpu", HOST, "tensorrt has no provider 'cpu'; it has cuda, dla"),
    ],
)
def test_what_the_machine_lacks_is_said(nvidia, provider, host, reason):
    assert RUNTIME.why_not(provider, host) == reason


def test_a_jetson_whose_name_is_hidden_is_known_by_its_device(nvidia, monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "_JETSON_DEVICES", (tmp_path,))
    assert RUNTIME.why_not("dla", replace(HOST, nvidia_gpu="")) is None


def test_a_missing_package_is_named_with_its_installation(nvidia):
    del nvidia.versions["tensorrt"]
    assert RUNTIME.why_not("cuda", HOST) == "the package tensorrt is not installed (pip install tensorrt)"


def test_missing_bindings_are_named_with_their_installation(nvidia, monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda", None)
    assert RUNTIME.why_not("cuda", HOST) == "the package cuda-python is not installed (pip install cuda-python)"


def test_a_version_that_chooses_the_precision_itself_is_refused(nvidia):
    nvidia.versions["tensorrt"] = "8.6.1"
    reason = "TensorRT 8.6.1 chooses the precision itself; 10.0 or newer keeps the file's (pip install -U tensorrt)"
    assert RUNTIME.why_not("cuda", HOST) == reason
