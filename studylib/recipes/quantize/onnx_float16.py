"""ONNX files in float16. Source: ONNX Runtime's ``convert_float_to_float16``, told which operators to leave alone."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np

from studylib import stats
from studylib.errors import RefusedError, said
from studylib.formats import quantized
from studylib.formats.rewrites import graphs
from studylib.recipes.convert import onnx_opening

# Operators whose types the converter leaves inconsistent in some graphs: of shapes, of random numbers, with graphs inside.
_FRAGILE = (
    "Cast", "CastLike", "Range", "Resize", "Upsample", "If", "Loop", "Scan", "RandomNormalLike", "RandomUniformLike", "RandomNormal",
    "RandomUniform", "ConstantOfShape", "EyeLike", "NonZero", "TopK", "CumSum", "Einsum", "GridSample", "RoiAlign", "Mod", "Pow",
    "LayerNormalization", "InstanceNormalization", "LSTM", "GRU", "RNN",
)  # fmt: skip
_LARGEST = 65504.0
# As the parity gate asks of fp16.
_NEAR_DB = 35.0


def write(source: Path, target: Path, query: onnx_opening.Query | None) -> dict:
    """Write ``source`` in float16, in the way that leaves most to float16 and still answers nearly as ``source`` does on ``query``.

    Notes name what stayed in float32, and why. Where none comes near, the first that runs is written: the parity gate judges it.
    """
    import onnx

    types = sorted({node.op_type for graph in graphs(onnx.load(source, load_external_data=False).graph) for node in graph.node})
    fragile = [name for name in types if name in _FRAGILE]
    others = [name for name in types if name not in (*quantized.ONNX_OPERATORS, "Relu", "Add", "Mul")]
    told, ran = [], None
    for without in ([], fragile, others):
        try:
            notes = _convert(source, target, without)
            onnx_opening.require_runs(target, query)
            found = _sqnr_db(source, target, query)
        except Exception as error:  # whatever the converter raises where it does not know an operator: the next way leaves it alone
            told.append(str(error) if isinstance(error, RefusedError) else said(error, "converting to float16"))
            continue
        if found >= _NEAR_DB:
            return notes | _kept(without, told)
        ran = without if ran is None else ran
        told.append(f"with all in float16 the answers are {found:.0f} dB from float32's")
    if ran is None:
        raise RefusedError(told[-1])
    return _convert(source, target, ran) | _kept(ran, told)


def _kept(without: list[str], told: list[str]) -> dict:
    return {"kept in float32": f"{', '.join(without)}: {told[0]}"} if without and told else {}


def _sqnr_db(source: Path, target: Path, query: onnx_opening.Query | None) -> float:
    """How near the worst output of ``target`` comes to that of ``source`` on ``query``; infinite where nothing was asked."""
    if query is None:
        return np.inf
    worst = np.inf
    for wanted, found in zip(*(onnx_opening.opened(path, path.name).run(None, query) for path in (source, target)), strict=True):
        if wanted.dtype.kind == "f" and np.isfinite(wanted).all():
            worst = min(worst, stats.sqnr_db(wanted, found) if wanted.shape == found.shape and np.isfinite(found).all() else -np.inf)
    return worst


def _convert(source: Path, target: Path, without: list[str]) -> dict:
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    model = onnx.load(source)
    large = [tensor.name for graph in graphs(model.graph) for tensor in graph.initializer if _beyond(tensor)]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)
        model = convert_float_to_float16(model, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *without])
    onnx.save(model, target)
    return {"cut off": f"at {_LARGEST:g}, the largest float16, in {len(large)} constants (first {large[0]})"} if large else {}


def _beyond(tensor) -> bool:
    from onnx import TensorProto, numpy_helper

    if tensor.data_type != TensorProto.FLOAT:
        return False
    values = numpy_helper.to_array(tensor)
    return bool((np.abs(values[np.isfinite(values)]) > _LARGEST).any())
