"""The promises that every runtime keeps, on the trained mnist_cnn (the replay runtime on a recording)."""

from dataclasses import replace

import numpy as np
import pytest

from studylib.machine import hardware
from studylib.runtimes import RUNTIMES, Options, split_name
from tests.outputs import only
from tests.parts_of_a_study import artifact_of, reference_of, samples_of

REAL = [name for name in RUNTIMES if name != "replay"]
# What every installation holds; the others need a machine or packages that most do not have.
EVERYWHERE = ("tensorflow", "litert", "onnxruntime", "openvino")


def _skip_unless_here(runtime):
    """Skip what opens a file in a runtime that cannot run here, with the reason that the runtime itself gives."""
    reason = None if runtime.name == "replay" else runtime.why_not(runtime.providers[0], hardware.probe())
    if reason:
        assert runtime.name not in EVERYWHERE, reason
        pytest.skip(f"{runtime.name}: {reason}")


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    return RUNTIMES[request.param]


@pytest.fixture
def opened(runtime, mnist, recording):
    """(session, samples, reference outputs) of the runtime on its own fp32 artifact."""
    _skip_unless_here(runtime)
    samples = samples_of(mnist)
    reference = reference_of(mnist)
    if runtime.name == "replay":
        path, _ = recording("contract", values_ns=[1], outputs=reference[:40].tolist())
    else:
        path = artifact_of(mnist, runtime)
    # Threads are set once in a process, which this one may have done long ago; the worker's own process activates.
    return runtime.load(path, Options(runtime.providers[0], threads=1)), samples, reference


def test_it_names_itself_its_format_and_its_version(runtime, mnist):
    assert RUNTIMES[runtime.name] is runtime
    assert runtime.format
    assert runtime.providers
    assert type(runtime).__doc__
    _skip_unless_here(runtime)
    assert runtime.name == "replay" or runtime.version[0].isdigit()


@pytest.mark.parametrize("name", EVERYWHERE)
def test_what_every_installation_holds_runs_on_the_cpu_of_this_host(name):
    assert RUNTIMES[name].why_not("cpu", hardware.probe()) is None


def test_an_unknown_provider_is_refused_with_the_known_ones(runtime):
    reason = runtime.why_not("warp", hardware.probe())
    assert reason == f"{runtime.name} has no provider 'warp'; it has {', '.join(runtime.providers)}"


def test_every_accelerator_is_refused_in_words_on_a_host_without_it(runtime):
    host = replace(hardware.probe(), nvidia_gpu="", device_tree="", system="Linux")
    for provider in runtime.providers:
        if provider != "cpu":
            assert runtime.why_not(provider, host)


def test_its_answers_are_those_of_the_source_model(opened):
    session, samples, reference = opened
    outputs = np.concatenate([only(session.run(samples.batch(index, 1))) for index in range(20)])
    assert outputs.dtype == np.float32
    assert np.allclose(outputs, reference[:20], atol=1e-4)


def test_a_batch_gives_the_answers_of_its_samples_in_order(opened):
    session, samples, reference = opened
    assert np.allclose(only(session.run(samples.batch(0, 8))), reference[:8], atol=1e-4)


def test_batch_sizes_may_change_from_query_to_query(opened, runtime):
    session, samples, reference = opened
    start = 0
    for size in (1, 5, 2):
        assert np.allclose(only(session.run(samples.batch(start, size))), reference[start : start + size], atol=1e-4)
        start += size


def test_it_does_not_change_its_inputs(opened):
    session, samples, _ = opened
    batch = samples.batch(0, 2)
    before = {name: values.copy() for name, values in batch.items()}
    session.run(batch)
    assert all(np.array_equal(batch[name], before[name]) for name in batch)


def test_its_outputs_are_its_own(opened):
    """The next query must not overwrite the last answer."""
    session, samples, _ = opened
    first = only(session.run(samples.batch(0, 1)))
    kept = first.copy()
    session.run(samples.batch(7, 1))
    assert np.array_equal(first, kept)


def test_it_says_where_it_really_ran(opened, runtime):
    assert opened[0].placement() in {"CPU", "CPUExecutionProvider", "replay"} or "cpu" not in runtime.providers


def test_its_clock_counts_nanoseconds_forward(opened):
    session, samples, _ = opened
    before = session.clock()
    session.run(samples.batch(0, 1))
    assert session.clock() > before


@pytest.mark.parametrize("name", REAL)
def test_a_file_that_is_no_model_is_refused(name, tmp_path):
    _skip_unless_here(RUNTIMES[name])
    path = tmp_path / "model"
    path.write_bytes(b"not a model")
    with pytest.raises(Exception, match=r".+"):
        RUNTIMES[name].open(path, Options(RUNTIMES[name].providers[0]))


def test_names_with_and_without_a_provider():
    assert split_name("onnxruntime/cuda") == ("onnxruntime", "cuda")
    assert split_name("litert") == ("litert", "cpu")
    assert split_name("tensorrt/dla") == ("tensorrt", "dla")


def test_it_tells_what_it_takes_and_gives(opened, runtime):
    session, samples, _ = opened
    if runtime.name not in EVERYWHERE:
        pytest.skip(f"{runtime.name} is not served, and tells no signature")
    signature, query = session.signature(), samples.batch(0, 2)
    outputs = session.run({spec.name: values for spec, values in zip(signature.inputs, query.values(), strict=True)})
    assert [spec.name for spec in signature.outputs] == list(outputs)
    for specs, values in ((signature.inputs, query), (signature.outputs, outputs)):
        for spec, one in zip(specs, values.values(), strict=True):
            assert (spec.dtype, len(spec.shape)) == (one.dtype.name, one.ndim)
            assert all(size in (None, 1, real) for size, real in zip(spec.shape, one.shape, strict=True))
    assert signature.inputs[0].shape[1:] == query[next(iter(query))].shape[1:]
