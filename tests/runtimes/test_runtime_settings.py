"""Settings of the runtimes: an allow-list, and each value really opens and answers."""

import numpy as np
import pytest

from studylib.errors import StudyError
from studylib.machine import hardware
from studylib.runtimes import RUNTIMES, Options
from tests.outputs import only
from tests.parts_of_a_study import artifact_of, reference_of, samples_of

# Threads of TensorFlow are set once in a process: its settings are tried by the worker's own process in the study's tests.
CASES = [
    (name, setting, value)
    for name, runtime in RUNTIMES.items()
    for setting, values in runtime.settings.items()
    for value in values
    if (name, setting) != ("tensorflow", "inter_threads")
]


def _path(mnist, runtime):
    return artifact_of(mnist, RUNTIMES[runtime])


@pytest.mark.parametrize(("name", "setting", "value"), CASES)
def test_every_allowed_value_opens_and_answers_as_the_source_does(mnist, name, setting, value):
    runtime, provider = RUNTIMES[name], RUNTIMES[name].providers[0]
    reason = runtime.why_not(provider, hardware.probe())
    if reason and provider != "cpu":
        pytest.skip(f"{name}: {reason}")
    session = runtime.load(_path(mnist, name), Options(provider, threads=8, settings={setting: value}))
    samples = samples_of(mnist)
    found = np.concatenate([only(session.run(samples.batch(index, 1))) for index in range(4)])
    assert np.allclose(found, reference_of(mnist)[:4], atol=1e-4)
    # Sessions beside each other share out a batch; of one sample only one of them would be asked.
    assert np.allclose(only(session.run(samples.batch(0, 8))), reference_of(mnist)[:8], atol=1e-4)


@pytest.mark.parametrize("name", [name for name in RUNTIMES if RUNTIMES[name].settings])
def test_an_unknown_setting_is_refused_with_the_known_ones(mnist, name):
    known = next(iter(RUNTIMES[name].settings))
    with pytest.raises(StudyError, match=f"Unknown setting of {name} 'warp'.*{known}"):
        RUNTIMES[name].load(_path(mnist, name), Options(settings={"warp": "on"}))
    with pytest.raises(StudyError, match=f"{name}: the setting {known} is 'ludicrous'; allowed are"):
        RUNTIMES[name].load(_path(mnist, name), Options(settings={known: "ludicrous"}))


def test_a_graph_level_is_really_set(mnist):
    path, runtime = _path(mnist, "onnxruntime"), RUNTIMES["onnxruntime"]
    for value, wanted in (("disable", "ORT_DISABLE_ALL"), ("basic", "ORT_ENABLE_BASIC"), ("all", "ORT_ENABLE_ALL")):
        session = runtime.load(path, Options(settings={"graph": value}))
        assert session._session.get_session_options().graph_optimization_level.name == wanted


def test_without_xnnpack_no_operator_is_delegated(mnist):
    path, runtime = _path(mnist, "litert"), RUNTIMES["litert"]
    delegated = {}
    for value in ("on", "off"):
        session = runtime.load(path, Options(settings={"xnnpack": value}))
        session.run(samples_of(mnist).batch(0, 1))
        delegated[value] = [op["op_name"] for op in session._interpreter._get_ops_details()]
    assert "DELEGATE" in delegated["on"]
    assert "DELEGATE" not in delegated["off"]
