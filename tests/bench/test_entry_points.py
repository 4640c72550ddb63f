"""The runtimes' own benchmarks: found or absent in words, really run, and judged by the noise floor."""

from dataclasses import replace

import pytest

from studylib import stats
from studylib.bench import entry_points
from studylib.executors import LocalExecutor

ORT, LITERT = entry_points.ENTRY_POINTS


def _ratio(low, high):
    return stats.Comparison((low * high) ** 0.5, low, high, 0.95, 10, "")


def test_both_wheels_ship_one():
    assert (ORT.why_not(), LITERT.why_not()) == (None, None)


def test_an_absent_one_is_looked_for_and_said(monkeypatch):
    lines = []
    monkeypatch.setattr(entry_points, "ENTRY_POINTS", (replace(ORT, module="onnxruntime.tools.gone"), replace(LITERT, module="gone.tool")))
    assert entry_points.run(write=lines.append) == {}
    assert lines[0] == (
        "onnxruntime: looked for onnxruntime.tools.gone: absent, so this build of onnxruntime ships no benchmark of its own"
    )
    assert lines[1].startswith("litert: looked for gone.tool: absent")


def test_within_noise_is_as_near_as_two_of_ours():
    assert entry_points.Agreement(_ratio(0.95, 1.02), _ratio(0.97, 1.04)).within_noise
    assert not entry_points.Agreement(_ratio(1.10, 1.20), _ratio(0.97, 1.04)).within_noise


def test_onnxruntimes_own_tool_is_really_run(tiny):
    assert 1_000 < ORT.read(tiny.path, 1) < 50_000_000


@pytest.mark.slow
def test_litert_s_own_tool_is_really_run(mnist):
    trial = next(t for t in mnist.trials if (t.runtime, t.recipe) == ("litert", "fp32"))
    assert 0 < LITERT.read(mnist.artifact(trial.artifact_key).path, 1) < 50_000_000


def test_ours_comes_from_a_process_of_its_own(tiny, tmp_path, shelf):
    keys = shelf.put(tiny.path).key, shelf.put(tiny.samples.save(tmp_path)).key
    with LocalExecutor(1, shelf) as executor:
        assert 1_000 < entry_points._ours(ORT, executor, *keys, 1) < 50_000_000
