"""SavedModel to ONNX: fast for large models, and nothing is called converted before ONNX Runtime has opened it."""

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from studylib.errors import RefusedError, said
from studylib.formats import rewrites
from studylib.formats.mixed_precision import refuse_half
from studylib.formats.onnx_files import LIMIT_BYTES, save
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe
from studylib.recipes.convert import lean_tf2onnx

OPSET = 18
# Before this one, weights had to be inputs of the graph, and half of the operators were missing.
_OLDEST_OPSET = 9


@dataclass(frozen=True)
class ToOnnx(Recipe):
    """SavedModel to ONNX with named inputs and outputs, a dynamic batch and a chosen opset. Source: tf2onnx."""

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "onnx"
    source_format: ClassVar[str] = "saved_model"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "tf2onnx", "onnx")

    opset: int = OPSET

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> tuple[Path, dict]:
        refuse_half(source, "ONNX has no convolutions or matrix products for that which a CPU runs", ("bfloat16",))
        found = convert(source, folder, self.opset)
        notes = {"seconds": found["seconds"], "rewrites": found["rewrites"]}
        if found["optimizer"] != "lean":
            notes["optimizer"] = found["optimizer"]
        if found["external_data"]:
            notes["weights"] = "lie beside the graph, which alone would exceed what one file can hold"
        return folder / found["file"], notes


def convert(saved_model: Path, destination: Path, opset: int, limit_bytes: int = LIMIT_BYTES) -> dict:
    """Convert the serving signature of ``saved_model`` into the folder ``destination``; returns notes on how it went.

    Writes ``model.onnx``, or above ``limit_bytes`` a folder ``model`` with ``model.onnx`` and its weights beside it. Notes:
    ``file`` (which of the two), ``opset``, ``external_data``, ``rewrites`` (name: times applied), ``optimizer`` (``lean``, or
    why it was tf2onnx' own call) and ``seconds`` (stage: seconds). Raises `RefusedError` when an operator has no ONNX
    counterpart (named with its layer) and when the checker or ONNX Runtime refuses the result.
    """
    _refuse_opset(opset)
    watch = _Watch()
    with _refusals(opset) as failed:
        with watch("load"):
            traced = lean_tf2onnx.trace(saved_model)
        model, how = lean_tf2onnx.converted(traced, opset, watch)
    with watch("rewrite"):
        applied = rewrites.apply(model)
        _name_axes(model)
    _refuse_unknown(model, opset, failed)
    with watch("save"):
        path = save(model, destination, limit_bytes)
    del model, traced
    with watch("check"):
        _open(path)
    external = path.parent != destination
    return {
        "file": "model" if external else "model.onnx",
        "opset": opset,
        "external_data": external,
        "rewrites": applied,
        "optimizer": how,
        "seconds": watch.seconds,
    }


def convert_plainly(saved_model: Path, destination: Path, opset: int) -> Path:
    """What most people type, ``tf2onnx.convert.from_function`` and ``onnx.save``: the baseline of `studylib.bench.conversion_cost`."""
    import onnx

    onnx.save(lean_tf2onnx.plainly(lean_tf2onnx.trace(saved_model), opset), destination / "model.onnx")
    return destination / "model.onnx"


class _Watch:
    """``with watch("stage"):`` adds the seconds of the block to ``seconds["stage"]``."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str):
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)


class _Failures(logging.Handler):
    """What tf2onnx could not translate, as (operator, name of the node, reason); it only logs that and goes on."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.unmapped: list[tuple[str, str]] = []
        self.broken: list[tuple[str, str]] = []
        self.reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "Tensorflow op [%s: %s] is not supported":
            self.unmapped.append((record.args[1], record.args[0]))
        elif str(record.msg).startswith("Failed to convert node"):
            operator = str(record.args[2]).split("\n")[0].removeprefix("OP=")
            self.broken.append((operator or record.args[0].split("/")[-1], record.args[0]))
            self.reason = self.reason or f"{record.exc_info[1]}"


@contextmanager
def _refusals(opset: int):
    """Collect what tf2onnx says it cannot do, instead of printing it; an exception becomes a refusal that names the layer."""
    logger, failures = logging.getLogger("tf2onnx"), _Failures()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(failures)
    try:
        yield failures
    except RefusedError:
        raise
    except Exception as error:
        found = failures.broken + [one for one in failures.unmapped if one[0] not in rewrites.REWRITES]
        if found:
            raise _refusal(found, opset, failures.reason) from error
        stopped = f"tf2onnx stops at this SavedModel: {type(error).__name__}: {error}"
        raise RefusedError(f"{stopped}. Is it whole, and does it run? If so, use another format") from error
    finally:
        logger.removeHandler(failures)
        logger.propagate = propagate


def _refuse_unknown(model, opset: int, failures: _Failures) -> None:
    """Raise `RefusedError` for nodes that tf2onnx gave up on and for those of the standard domain that ONNX does not have."""
    unknown = [(node.op_type, node.name) for graph in rewrites.graphs(model.graph) for node in graph.node if not _known(node, opset)]
    if failures.broken or unknown:
        raise _refusal(failures.broken + unknown, opset, failures.reason)


def _refusal(found: list[tuple[str, str]], opset: int, reason: str = "") -> RefusedError:
    (operator, node), others = found[0], sorted({operator for operator, _ in found} - {found[0][0]})
    layer = "/".join([part for part in node.split("/") if part not in ("StatefulPartitionedCall", "PartitionedCall")][:-1])
    return RefusedError(
        f"ONNX opset {opset} has no counterpart of operator {operator} of layer {layer or node}"
        + (f" ({reason})" if reason else "")
        + (f", nor of {', '.join(others)}" if others else "")
        + ". Replace the layer by one made of standard operators"
        + (f", use a newer opset (tf2onnx writes up to {_newest_opset()})" if opset < _newest_opset() else "")
        + ", or use another format: saved_model runs every operator."
    )


def _known(node, opset: int) -> bool:
    """Whether ONNX has the operator at ``opset``. Other domains belong to runtimes, which decide when they open the file."""
    import onnx

    try:
        return node.domain not in ("", "ai.onnx") or not onnx.defs.get_schema(node.op_type, opset, "").deprecated
    except onnx.defs.SchemaError:
        return False


def _refuse_opset(opset: int) -> None:
    if opset not in range(_OLDEST_OPSET, _newest_opset() + 1):
        raise RefusedError(f"ONNX opset {opset} cannot be written; tf2onnx writes {_OLDEST_OPSET} to {_newest_opset()}")


def _newest_opset() -> int:
    from tf2onnx import constants

    return max(constants.OPSET_TO_IR_VERSION)


def _name_axes(model) -> None:
    """Call the dynamic first axis ``batch`` and the others after their tensor; tf2onnx numbers them differently each time."""
    batched = any(_is_dynamic(axis) for value in model.graph.input for axis in value.type.tensor_type.shape.dim[:1])
    for value in (*model.graph.input, *model.graph.output):
        for index, axis in enumerate(value.type.tensor_type.shape.dim):
            if _is_dynamic(axis):
                axis.dim_param = "batch" if index == 0 and batched else f"{value.name}_axis{index}"


def _is_dynamic(axis) -> bool:
    return not axis.HasField("dim_value")


def _open(path: Path) -> None:
    """Raise `RefusedError` unless the checker accepts the file and ONNX Runtime opens it. By path: a message ends at 2 GB."""
    import onnx
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    steps = {
        "The ONNX checker": lambda: onnx.checker.check_model(str(path), full_check=True),
        f"ONNX Runtime {onnxruntime.__version__}": lambda: onnxruntime.InferenceSession(
            str(path), settings, providers=["CPUExecutionProvider"]
        ),
    }
    for judge, step in steps.items():
        try:
            step()
        except Exception as error:
            advice = "Replace the layer that the operator comes from, or use another format: saved_model runs every operator."
            raise RefusedError(f"{judge} refuses the converted model: {said(error)}. {advice}") from error
