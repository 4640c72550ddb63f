"""Whether calibration samples can give ranges that mean something, for the model that they are made for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from studylib.errors import RefusedError
from studylib.formats.litert_names import ends
from studylib.models.zoo import Samples

Shape = Sequence[int | None]


def check(samples: Samples, wanted: Mapping[str, Shape | None]) -> dict[str, str]:
    """Notes for the lineage about what is odd in ``samples``, where it does no harm.

    ``wanted``: shape of a query by input name, None where an axis is open, or where the rank is. Reads one sample at a time.
    Raises `RefusedError` when there are none, when an input is missing or has another shape, holds NaN or infinity, or when
    no float input ever varies.
    """
    if not samples.inputs or not len(samples):
        raise RefusedError("calibration data is empty: ranges are measured on samples; give at least one training sample, better 100")
    samples = samples.under(wanted)
    if set(samples.inputs) != set(wanted):
        raise RefusedError(
            f"calibration data has the inputs {sorted(samples.inputs)}; the model takes {sorted(wanted)}. Give one array for each of these"
        )
    query = samples.batch(0, 1)
    for name, shape in wanted.items():
        _require_shape(name, query[name].shape, shape)
    floats = {name: values for name, values in samples.inputs.items() if values.dtype.kind == "f"}
    still = {name: value for name, values in floats.items() if (value := _only_value(name, values)) is not None}
    if still and len(still) == len(floats):
        told = ", ".join(f"'{name}' is always {value:g}" for name, value in still.items())
        raise RefusedError(f"calibration data never varies ({told}): ranges made from it are empty; give real training samples")
    notes = [f"the input '{name}' is always {value:g}" for name, value in still.items()]
    if len(samples) > 1 and all((values[1:] == values[0]).all() for values in samples.inputs.values()):
        notes.append(f"all {len(samples)} samples are equal, so ranges are those of one sample")
    return {"calibration": "; ".join(notes)} if notes else {}


def _require_shape(name: str, found: tuple[int, ...], wanted: Shape | None) -> None:
    if wanted is None:
        return
    if len(found) != len(wanted) or any(size not in (None, given) for given, size in zip(found, wanted, strict=True)):
        told = tuple("any" if size is None else size for size in wanted)
        raise RefusedError(
            f"calibration data for the input '{name}' has the shape {_shape(found)} a query; the model takes {_shape(told)}. "
            "Give samples as the model was trained on"
        )


def _shape(sizes: Sequence) -> str:
    return "×".join(map(str, sizes)) or "()"


def _only_value(name: str, values: np.ndarray) -> float | None:
    """The one value that all samples of a float input consist of, or None when they vary."""
    first, varies = None, False
    for index, sample in enumerate(values):
        if not np.isfinite(sample).all():
            raise RefusedError(
                f"calibration data for the input '{name}' holds {np.sum(~np.isfinite(sample))} values that are NaN or infinite in "
                f"sample {index}: no range holds them; repair or remove this sample"
            )
        first = np.ravel(sample)[0] if first is None and np.size(sample) else first
        varies = varies or bool((sample != first).any())
    return None if varies or first is None else float(first)


def onnx_inputs(path: Path) -> dict[str, Shape | None]:
    """Name and shape of what a query gives to an ONNX file."""
    import onnx

    graph = onnx.load(path / "model.onnx" if path.is_dir() else path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    return {value.name: _onnx_shape(value.type.tensor_type) for value in graph.input if value.name not in weights}


def _onnx_shape(tensor) -> Shape | None:
    if not tensor.HasField("shape"):
        return None
    # Some exporters write a dynamic axis as the size -1.
    return [axis.dim_value if axis.HasField("dim_value") and axis.dim_value >= 0 else None for axis in tensor.shape.dim]


def saved_model_inputs(path: Path, signature: str) -> dict[str, Shape | None]:
    """Name and shape of what a query gives to a SavedModel's signature. Reads the graph only."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    inputs = model.meta_graphs[0].signature_def[signature].inputs
    shapes = {name: info.tensor_shape for name, info in inputs.items()}
    return {name: None if s.unknown_rank else [axis.size if axis.size >= 0 else None for axis in s.dim] for name, s in shapes.items()}


def litert_inputs(path: Path) -> dict[str, Shape | None]:
    """Name and shape of what a query gives to a LiteRT file."""
    from ai_edge_litert.interpreter import Interpreter

    details, _ = ends(Interpreter(model_path=str(path)))
    return {name: [size if size >= 0 else None for size in map(int, one["shape_signature"])] for name, one in details.items()}
