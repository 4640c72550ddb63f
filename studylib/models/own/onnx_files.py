"""ONNX files at the door, of any age and maker: what cannot be used is refused, what only stands in the way is put right and told."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from studylib.errors import ArtifactError, RefusedError, said
from studylib.formats import onnx_versions
from studylib.formats.inside.onnx import read_by, sort
from studylib.formats.rewrites import graphs
from studylib.models.own.weight_files import whole_model
from studylib.models.zoo import Samples

_NOTE = "studylib.taken_in"
_STANDARD = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training")
# Who brings operators of another domain.
_BROUGHT_BY = {
    "ai.onnx.contrib": "the package onnxruntime-extensions, which this study does not load",
    "org.pytorch.aten": "PyTorch alone: export with opset 18 or newer and without `operator_export_type=ONNX_ATEN_FALLBACK`",
    "aten": "PyTorch alone: export with opset 18 or newer and without `operator_export_type=ONNX_ATEN_FALLBACK`",
    "mmdeploy": "MMDeploy's own ONNX Runtime library",
    "mmcv": "MMCV's own ONNX Runtime library",
    "com.nvidia": "TensorRT's plugins",
    "trt": "TensorRT's plugins",
}
_OF_RUNTIME = ("com.microsoft", "com.microsoft.nchwc", "com.microsoft.experimental", "com.ms.internal.nhwc")
_KINDS = {"sequence_type": "a sequence", "map_type": "a map", "optional_type": "an optional value", "sparse_tensor_type": "a sparse tensor"}
# More than this apart, relative to the largest value, is another answer and no rounding.
_APART = 1e-3


def taken_in(path: Path, folder: Path, invent: Callable[[Path, Callable], Samples]) -> Path:
    """The file as `copied` writes it; where something had to be put right, both are asked, and must answer the same.

    ``invent(file, ask)`` makes a few samples that ``ask`` answers. Raises `ArtifactError`.
    """
    target, changes = copied(path, folder)
    if not changes:
        return target
    try:
        original, by = asked(path)
        changed, _ = asked(target)
        samples = invent(target, _asking(original))
        queries = [samples.batch(index, 1) for index in range(len(samples))]
        reason = why_different(original, changed, queries)
        steady = not reason or not why_different(original, original, queries)
    except ArtifactError as error:
        note(target, f"whether it still answers as the original was not asked: {error}")
        return target
    if reason and steady:
        raise ArtifactError(
            f"{path.name} was changed ({'; '.join(changes)}) and answers differently since: {reason}. "
            "Export it again with an opset that ONNX Runtime opens"
        )
    same = "it answers as the original does" if steady else "it answers differently each time, so it was not compared"
    note(target, f"after this {same} ({by})")
    return target


def copied(path: Path, folder: Path) -> tuple[Path, list[str]]:
    """A copy in ``folder`` that every reader takes, and what was changed, in words; byte for byte where nothing had to be.

    One file, or a folder with the weights beside the graph where those are too large for one. Raises `ArtifactError`.
    """
    from studylib.formats.onnx_files import save

    model, apart = whole_model(path)
    _refuse_unusable(model, path.name)
    model, changes = _put_right(model, path.name)
    if not changes and not apart:
        return Path(shutil.copyfile(path, folder / f"{path.stem}.onnx")), []
    if changes:
        model.metadata_props.add(key=_NOTE, value="\n".join(changes))
    written = save(model, folder)
    return (written.rename(folder / f"{path.stem}.onnx") if written.parent == folder else written.parent), changes


def told(path: Path) -> list[str]:
    """What `copied` changed in the file that it wrote."""
    import onnx

    entries = onnx.load(_graph_of(path), load_external_data=False).metadata_props
    return next((entry.value.splitlines() for entry in entries if entry.key == _NOTE), [])


def note(path: Path, text: str) -> None:
    """Tell one thing more in the file that `copied` wrote."""
    import onnx

    model = onnx.load(_graph_of(path), load_external_data=False)
    entry = next((entry for entry in model.metadata_props if entry.key == _NOTE), None) or model.metadata_props.add(key=_NOTE)
    entry.value = "\n".join([*entry.value.splitlines(), text])
    _graph_of(path).write_bytes(model.SerializeToString())


def _graph_of(path: Path) -> Path:
    return path / "model.onnx" if path.is_dir() else path


# --- what cannot be used ---------------------------------------------------------------------------------------------


def _refuse_unusable(model, name: str) -> None:
    graph = model.graph
    if not model.opset_import or not (graph.node or graph.output or graph.input):
        raise ArtifactError(f"{name} cannot be read as onnx: it holds no operators. Give an ONNX model file.")
    if not graph.output:
        raise ArtifactError(f"{name} has no outputs, so there is no answer to measure or to compare. Export it again with its outputs.")
    if not graph.node:
        raise ArtifactError(f"{name} holds no operators: its outputs are its inputs or constants. There is nothing to measure.")
    for value, end in (*((value, "output") for value in graph.output), *((value, "input") for value in graph.input)):
        _refuse_kind(value, end, name, {output: node for node in graph.node for output in node.output})
    made = Counter(output for node in graph.node for output in node.output if output)
    twice = next((output for output, count in made.items() if count > 1), None)
    if twice:
        makers = " and ".join(f"{node.op_type} '{node.name}'" for node in graph.node if twice in node.output)
        raise ArtifactError(f"{name} is no valid ONNX model: the value '{twice}' is made twice, by {makers}. Export it again.")
    missing = next((output.name for output in graph.output if output.name not in {*made, *_given(graph)}), None)
    if missing is not None:
        raise ArtifactError(f"{name} is no valid ONNX model: nothing makes its output '{missing}'. Export it again.")
    _refuse_domains(model, name)


def _given(graph) -> set[str]:
    sparse = {tensor.values.name for tensor in graph.sparse_initializer}
    return {value.name for value in (*graph.input, *graph.initializer)} | sparse


def _refuse_kind(value, end: str, name: str, makers: dict) -> None:
    """Only tensors can be given, compared and counted."""
    kind = value.type.WhichOneof("value")
    if kind in _KINDS:
        maker = makers.get(value.name)
        what = f"the {end} '{value.name}' of {name} is {_KINDS[kind]}, not a tensor"
        if maker is not None and maker.op_type == "ZipMap":
            raise ArtifactError(
                f"{what}: scikit-learn's exporter zips classes and probabilities into it. Export again with "
                "`convert_sklearn(…, options={id(model): {'zipmap': False}})`"
            )
        if end == "input":
            raise ArtifactError(f"{what}; only tensors can be given to it here. Export it with tensors, an input for each")
        raise ArtifactError(f"{what}; only tensors can be compared here. Remove it from the outputs, or export what it is made of")
    from onnx import TensorProto

    if end == "output" and value.type.tensor_type.elem_type == TensorProto.STRING:
        raise ArtifactError(
            f"the output '{value.name}' of {name} is text; only numbers can be compared here. Train with whole numbers as classes, "
            "or remove it from the outputs (onnx.utils.extract_model names the outputs that stay)"
        )


def _refuse_domains(model, name: str) -> None:
    """Refuse operators that no package here has, and say who brings them."""
    local = {(function.domain, function.name) for function in model.functions}
    found = Counter(
        (node.domain, node.op_type)
        for graph in graphs(model.graph)
        for node in graph.node
        if node.domain not in (*_STANDARD, *_OF_RUNTIME) and (node.domain, node.op_type) not in local
    )
    if found:
        domain, _ = next(iter(found))
        operators = ", ".join(f"{operator} ({count}x)" for (place, operator), count in found.items() if place == domain)
        brought = _BROUGHT_BY.get(domain, "a library of whoever made the file")
        raise ArtifactError(
            f"{name} has the custom operators {operators} of the domain {domain}: they need {brought}. "
            "Export it with standard operators, or without these (often pre- or post-processing)"
        )


# --- what is put right -----------------------------------------------------------------------------------------------


def _put_right(model, name: str):
    """The model as every reader here takes it, and what was changed, in words."""
    import onnx.inliner

    changes = []
    if len(model.functions):
        changes.append(f"{len(model.functions)} local functions were written out where they are called")
        model = onnx.inliner.inline_local_functions(model)
    if _sorted(model.graph):
        changes.append("nodes were put behind what they read, as ONNX asks for")
    negative = sorted({value.name for value in (*model.graph.input, *model.graph.output) if _name_negative(value)})
    if negative:
        changes.append(f"axes of {', '.join(negative)} written as negative sizes are read as dynamic, as ONNX Runtime does")
    for value in model.graph.value_info:
        _name_negative(value)
    weights = {tensor.name for tensor in model.graph.initializer}
    both = [value for value in model.graph.input if value.name in weights]
    if both:
        kept = [value for value in model.graph.input if value.name not in weights]
        del model.graph.input[:]
        model.graph.input.extend(kept)
        changes.append(f"{len(both)} weights were listed as inputs too, and are constants now, which runtimes can optimize")
    try:
        model, lower = onnx_versions.lowered(model, name)
    except RefusedError as error:
        raise ArtifactError(str(error)) from None
    if not lower and model.ir_version < onnx_versions.SEPARATE_WEIGHTS and len(model.graph.initializer):
        changes.append(
            f"IR version {model.ir_version}, which wants weights among the inputs, was raised to {onnx_versions.SEPARATE_WEIGHTS}"
        )
        model.ir_version = onnx_versions.SEPARATE_WEIGHTS
    return model, changes + lower


def _sorted(graph) -> bool:
    """Put nodes behind what they read, in place, where they are not; whether they were not."""
    made, of_nodes = set(), {name for node in graph.node for name in node.output}
    for node in graph.node:
        if any(name in of_nodes and name not in made for name in read_by(node)):
            sort(graph)
            return True
        made.update(node.output)
    return False


def _name_negative(value) -> bool:
    """Give dynamic axes that are written as negative sizes a name; whether there were some."""
    found = False
    for index, axis in enumerate(value.type.tensor_type.shape.dim):
        if axis.HasField("dim_value") and axis.dim_value < 0:
            axis.dim_param = "batch" if index == 0 else f"{value.name}_axis{index}"
            found = True
    return found


# --- whether it is still the same ------------------------------------------------------------------------------------


def asked(path: Path) -> tuple[Callable[[dict], list[np.ndarray]], str]:
    """The file as a function from inputs to its outputs in order, and who answers: ONNX Runtime, or onnx itself where that refuses."""
    import onnx.reference
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(_graph_of(path)), settings, providers=["CPUExecutionProvider"])
        return lambda inputs: session.run(None, inputs), "ONNX Runtime"
    except Exception as error:  # its classes derive from nothing else
        try:
            evaluator = onnx.reference.ReferenceEvaluator(str(_graph_of(path)))
        except Exception:
            raise ArtifactError(said(error, f"opening {path.name}")) from None
        return lambda inputs: evaluator.run(None, inputs), "onnx itself: no runtime here opens the original"


def _asking(answer: Callable) -> Callable[[dict], tuple[dict | None, str | None]]:
    """``answer``, a function from inputs to outputs in order, as `studylib.build.sources.asked` asks a model."""

    def ask(inputs: dict) -> tuple[dict | None, str | None]:
        try:
            return {str(number): values for number, values in enumerate(answer(inputs))}, None
        except Exception as error:  # whatever a runtime or an evaluator raises at a shape: that is the answer
            return None, said(error) or type(error).__name__

    return ask


def why_different(original: Callable, changed: Callable, queries: list[dict[str, np.ndarray]]) -> str:
    """In which output, and by how much, the changed file answers differently; nothing where it answers the same."""
    for query in queries:
        wanted, found = original(query), changed(query)
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            one, other = np.asarray(one), np.asarray(other)
            if one.shape != other.shape:
                return f"output {index} has the shape {list(other.shape)} instead of {list(one.shape)}"
            if np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
                continue
            apart = np.abs(one.astype(float) - other.astype(float)).max(initial=0)
            if not apart <= _APART * max(np.abs(one.astype(float)).max(initial=0), 1e-6):
                return f"output {index} differs by {apart:.3g}"
    return ""
