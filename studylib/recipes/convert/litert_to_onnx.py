"""LiteRT to ONNX, so that a model of which only the ``.tflite`` file is left runs elsewhere too."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from studylib.errors import RefusedError
from studylib.formats import quantized
from studylib.formats.litert_names import ends
from studylib.models.zoo import Samples
from studylib.recipes.base import Recipe

_VARIABLES = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
_ADVICE = "Keep this model in LiteRT, or convert the model it was made from"


@dataclass(frozen=True)
class LiteRTToOnnx(Recipe):
    """A float ``.tflite`` file to ONNX, inputs and outputs named as in its signature. Source: ``tf2onnx.convert.from_tflite``.

    The GELU operator, which tf2onnx does not know, is written as its definition; the notes count it. Raises `RefusedError`
    with the operators that have no translation, or when the checker or ONNX Runtime do not take the result.
    """

    name: ClassVar[str] = "fp32"
    target: ClassVar[str] = "onnx"
    source_format: ClassVar[str] = "tflite"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "tf2onnx", "onnx", "onnxruntime")

    opset: int = 18

    def write(self, source: Path, folder: Path, calibration: Samples | None) -> tuple[Path, dict]:
        import onnx

        inputs, outputs = _names(source)
        _require_no_variables(source)
        model = _translated(source, self.opset)
        rewritten = _rewrite_gelu(model.graph)
        _require_onnx_operators(model)
        _put_names(model.graph, inputs, outputs)
        for value in (*model.graph.input, *model.graph.output):
            axes = value.type.tensor_type.shape.dim
            if axes and not axes[0].HasField("dim_value"):
                axes[0].dim_param = "batch"
        path = folder / "model.onnx"
        onnx.save(model, path)
        _require_opens(path)
        return path, {"rewritten": f"TFL_GELU as its definition with Erf or Tanh, {rewritten} times"} if rewritten else {}


def _names(source: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Names of inputs and of outputs to the tensors that carry them. Raises `RefusedError` for a file that does not open."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        sides = ends(Interpreter(str(source)))
    except (ValueError, RuntimeError) as error:
        raise RefusedError(f"{source.name} is no LiteRT file that opens: {str(error)[:200]}") from None
    return tuple({name: tensor["name"] for name, tensor in side.items()} for side in sides)


def _require_no_variables(source: Path) -> None:
    """Raise `RefusedError` where weights or a state lie in variables: tf2onnx has no translation for those and stops anywhere."""
    found = sorted({name for name in quantized.litert_operator_names(source.read_bytes(), source.name) if name in _VARIABLES})
    if found:
        raise RefusedError(
            f"{source.name} keeps weights or a state in variables ({', '.join(found)}), for which ONNX has no operators. {_ADVICE}"
        )


def _translated(source: Path, opset: int):
    import tf2onnx

    try:
        model, _ = tf2onnx.convert.from_tflite(str(source), opset=opset)
    # What tf2onnx raises where its handlers meet something they were not written for.
    except (ValueError, RuntimeError, LookupError, AttributeError, TypeError, AssertionError, NotImplementedError) as error:
        raise RefusedError(f"tf2onnx stopped in the middle of the LiteRT file ({type(error).__name__}: {error}). {_ADVICE}") from None
    return model


def _rewrite_gelu(graph) -> int:
    """Write each TFL_GELU in ONNX operators, in place, and return how many there were."""
    from onnx import numpy_helper

    found = [node for node in graph.node if node.op_type == "TFL_GELU"]
    for node in found:
        index = list(graph.node).index(node)
        approximate = any(attribute.name == "approximate" and attribute.i for attribute in node.attribute)
        constants, nodes = _gelu(node.input[0], node.output[0], approximate)
        graph.initializer.extend(numpy_helper.from_array(np.float32(value), name) for name, value in constants.items())
        graph.node.remove(node)
        for place, new in enumerate(nodes):
            graph.node.insert(index + place, new)
    return len(found)


def _gelu(x: str, y: str, approximate: bool) -> tuple[dict[str, float], list]:
    """x/2 (1 + erf(x/√2)), or x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))). Source: Hendrycks and Gimpel, 2016."""
    from onnx import helper

    def step(operator: str, inputs: str, output: str):
        return helper.make_node(operator, [names.get(name, f"{y}/{name}") for name in inputs.split()], [names.get(output, f"{y}/{output}")])

    names = {"x": x, "y": y}
    constants = {f"{y}/half": 0.5, f"{y}/one": 1.0, f"{y}/scale": np.sqrt(2 / np.pi) if approximate else np.sqrt(0.5)}
    if approximate:
        constants[f"{y}/cubic"] = 0.044715
        steps = [("Mul", "x x", "square"), ("Mul", "square x", "cube"), ("Mul", "cube cubic", "small"), ("Add", "x small", "bent")]
    else:
        steps = [("Identity", "x", "bent")]
    steps += [("Mul", "bent scale", "scaled"), ("Tanh" if approximate else "Erf", "scaled", "curve"), ("Add", "curve one", "gate")]
    steps += [("Mul", "x half", "halved"), ("Mul", "halved gate", "y")]
    return constants, [step(*each) for each in steps]


def _require_onnx_operators(model) -> None:
    """Raise `RefusedError` with the operators that tf2onnx left as it found them."""
    from onnx import defs

    foreign = [node for node in _nodes(model.graph) if not defs.has(node.op_type, node.domain)]
    left = sorted({f"{node.op_type.removeprefix('TFL_')} (at {node.output[0]})" for node in foreign})
    if left:
        raise RefusedError(f"ONNX has no translation for the LiteRT operators {', '.join(left)}. {_ADVICE}")


def _require_opens(path: Path) -> None:
    import onnx
    import onnxruntime

    try:
        onnx.checker.check_model(path, full_check=True)
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        path.unlink()
        raise RefusedError(f"the ONNX file was written and does not open: {' '.join(str(error).split())[:300]}. {_ADVICE}") from None


def _put_names(graph, inputs: dict[str, str], outputs: dict[str, str]) -> None:
    """Name the values as the signature does. A tensor may have several names there; in ONNX each output is a value of its own."""
    from onnx import helper

    names = {tensor: name for name, tensor in inputs.items()}
    types = {value.name: value.type for value in graph.output}
    for name, tensor in outputs.items():
        if names.setdefault(tensor, name) != name:
            graph.node.append(helper.make_node("Identity", [tensor], [name]))
    for node in _nodes(graph):
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for part in (graph, *_bodies(graph)):
        for value in (*part.input, *part.output, *part.value_info, *part.initializer):
            value.name = names.get(value.name, value.name)
    del graph.output[:]
    graph.output.extend(helper.make_value_info(name, types[tensor]) for name, tensor in outputs.items())


def _nodes(graph):
    """Nodes of the graph and of every body inside it."""
    yield from graph.node
    for body in _bodies(graph):
        yield from body.node


def _bodies(graph):
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
                yield from _bodies(attribute.g)
