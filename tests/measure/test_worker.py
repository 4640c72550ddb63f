"""Evaluation in the worker: a wrong artifact is refused, and the layer where it goes wrong is named."""

from dataclasses import replace

import numpy as np
import pytest

from studylib.build.jobs import LocateJob
from studylib.build.site import Site
from studylib.measure import worker


@pytest.fixture
def job(mnist):
    """The job that evaluates the smoke study's ONNX file."""
    return mnist.bench._evaluation(next(t for t in mnist.trials if (t.runtime, t.recipe) == ("onnxruntime", "fp32")))


@pytest.fixture
def site(mnist):
    return Site(store=str(mnist.store.folder))


@pytest.fixture
def spoilt(job, site, mnist, tmp_path):
    """The evaluation of a spoilt copy, with the words of the search for the first difference as ``where``."""
    import onnx

    def evaluated(spoil) -> dict:
        model = onnx.load(site.path(job.artifact))
        spoil(model.graph)
        onnx.save(model, tmp_path / "wrong.onnx")
        wrong, origin = site.artifacts.put(tmp_path / "wrong.onnx").key, mnist.plan.origins["mnist_cnn"]
        found = worker.evaluate(replace(job, artifact=wrong), site)
        search = LocateJob(
            artifact=wrong, format="onnx", source=origin.source, source_format=origin.source_format, samples=job.samples,
            sample=found.get("worst_sample", 0), precision="fp32", runtime="onnxruntime",
        )  # fmt: skip
        return found | {"where": worker.locate(search, site)["text"]}

    return evaluated


def test_the_right_artifact_passes(job, site):
    found = worker.evaluate(job, site)
    assert (found["status"], found["reason"]) == ("ok", "")
    assert found["n"] == len(found["agreeing"]) == len(found["correct"]) == 1000


def test_one_wrong_weight_is_refused_and_its_layer_named(spoilt):
    import onnx

    def spoil(graph):
        kernel = next(tensor for tensor in graph.initializer if list(tensor.dims) == [64, 32, 1, 1])
        values = onnx.numpy_helper.to_array(kernel).copy()
        values[0] += 1
        kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))

    found = spoilt(spoil)
    assert found["status"] == "failed"
    assert found["reason"].startswith("parity: SQNR")
    # The second convolution, or what the converter fused with it.
    assert any(name in found["where"] for name in ("conv2d_1", "batch_normalization_2", "re_lu_2"))


def test_a_zeroed_output_and_swapped_classes_are_refused(spoilt):
    import onnx

    def zero(graph):
        last = graph.node[-1]
        name, last.output[0] = last.output[0], "before"
        graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
        graph.node.append(onnx.helper.make_node("Mul", ["before", "nothing"], [name]))

    def swap(graph):
        last = graph.node[-1]
        name, last.output[0] = last.output[0], "before"
        graph.initializer.append(onnx.numpy_helper.from_array(np.arange(10)[::-1].copy(), "order"))
        graph.node.append(onnx.helper.make_node("Gather", ["before", "order"], [name], axis=1))

    for spoil in (zero, swap):
        found = spoilt(spoil)
        assert found["status"] == "failed", spoil
        assert "parity:" in found["reason"]


def test_outputs_of_another_shape_are_refused_by_parity(spoilt):
    import onnx

    def cut(graph):
        last = graph.node[-1]
        name, last.output[0] = last.output[0], "before"
        graph.initializer.append(onnx.numpy_helper.from_array(np.arange(9), "nine"))
        graph.node.append(onnx.helper.make_node("Gather", ["before", "nine"], [name], axis=1))
        graph.output[0].type.tensor_type.shape.dim[1].dim_value = 9

    found = spoilt(cut)
    assert found["status"] == "failed"
    assert "parity: outputs 'output_0' have the shape (1000, 1, 9)" in found["reason"]
