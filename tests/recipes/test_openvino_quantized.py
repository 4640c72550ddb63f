"""OpenVINO's files in int8: really in integers, without islands that are none, still the same model; and refusals in words."""

import numpy as np
import pytest

from studylib import stats
from studylib.errors import RefusedError
from studylib.formats.inside import look
from studylib.models.zoo import Samples
from studylib.recipes.convert.to_openvino import openvino_without_telemetry
from studylib.recipes.quantize.openvino import Static
from studylib.runtimes import RUNTIMES, Options

RNG = np.random.default_rng(5)
SAMPLES = Samples({"x": RNG.normal(size=(40, 3, 8, 8)).astype(np.float32)}, None)


@pytest.fixture
def written(tmp_path):
    """Function that writes a model in float32, with two convolutions or with no product."""

    def write(products: bool = True):
        openvino = openvino_without_telemetry()
        from openvino import opset13 as ops

        x = value = ops.parameter([-1, 3, 8, 8], np.float32, name="x")
        x.output(0).set_names({"x"})
        for size, of in ((8, 3), (4, 8)) if products else ():
            kernel = ops.constant((RNG.normal(size=(size, of, 3, 3)) / 5).astype(np.float32))
            value = ops.convolution(value, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
            value = ops.relu(ops.add(value, ops.constant(RNG.normal(size=(1, size, 1, 1)).astype(np.float32))))
        value = value if products else ops.relu(value)
        value.output(0).set_names({"y"})
        openvino.save_model(openvino.Model([value], [x], "m"), tmp_path / "source" / "model.xml", compress_to_fp16=False)
        return tmp_path / "source"

    return write


@pytest.mark.slow
def test_it_computes_in_integers_and_is_still_the_same_model(written, tmp_path):
    source = written()
    (tmp_path / "new").mkdir()
    path, _ = Static().write(source, tmp_path / "new", SAMPLES)
    inside = look(path, "openvino", {"x": (1, 3, 8, 8)})
    assert inside["weight_bytes"]["int8"] == 8 * 3 * 9 + 4 * 8 * 9
    # Bias and activation between two quantizers are fused with the product: they are no islands.
    assert [one for one in inside["float_islands"]["operators"] if one["where"] == "between"] == []
    query = SAMPLES.batch(0, 4)
    before, after = (RUNTIMES["openvino"].load(one, Options(threads=1)).run(query)["y"] for one in (source, path))
    assert 25 < stats.sqnr_db(before, after) < 60


@pytest.mark.slow
def test_what_cannot_be_quantized_is_refused_in_words(written, tmp_path):
    with pytest.raises(RefusedError, match="holds no product or convolution: there is nothing to compute in int8"):
        Static().write(written(products=False), tmp_path, SAMPLES)
    with pytest.raises(RefusedError, match="calibration data has the inputs"):
        Static().write(written(), tmp_path, Samples({"other": SAMPLES.inputs["x"], "x": SAMPLES.inputs["x"]}, None))
