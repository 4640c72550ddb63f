"""Models that compute in half precision by a policy of Keras: which they are, and what to do where a format cannot.

Such a model keeps its weights in float32 and computes in bfloat16 (a TPU's) or float16 (a GPU's). LiteRT has no such operators and
ONNX none for bfloat16; a float32 copy with the same weights goes everywhere, and its answers differ by the rounding that is left out.
"""

from pathlib import Path

from studylib.errors import RefusedError
from studylib.formats.keras_safety import objects, read_configuration

_HALF = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16", "bfloat16": "bfloat16", "float16": "float16"}
REMEDY = (
    "save a float32 copy of the same weights and give that: model = keras.models.load_model(path); "
    '[setattr(layer, "dtype_policy", "float32") for layer in model._flatten_layers()]; model.save("float32.keras")'
)
# What carries the arithmetic; a cast alone is no computing.
_COMPUTING = ("Conv2D", "Conv3D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2", "BatchMatMulV3", "BiasAdd", "Einsum", "AddV2", "Mul")


def policies(path: Path) -> list[str]:
    """The half-precision policies that layers of a Keras file have, such as ``mixed_bfloat16``."""
    found = {}
    for described in objects(read_configuration(path)):
        if "keras_history" in described:  # a tensor between layers, which has a type and no policy
            continue
        policy = described.get("dtype")
        named = policy.get("config") if isinstance(policy, dict) else policy
        name = named.get("name") if isinstance(named, dict) else named
        if isinstance(name, str) and name in _HALF:
            found[name] = None
    return list(found)


def precision_remarks(path: Path) -> list[str]:
    """A remark for a Keras file that computes in half precision, of what that costs it elsewhere."""
    found = policies(path)
    if not found:
        return []
    named = " and ".join(found)
    return [f"it computes in half precision (policy {named}), and every format is held against those answers; to reach all, {REMEDY}"]


def refuse_half(saved_model: Path, format: str, kinds: tuple[str, ...]) -> None:
    """Raise `RefusedError` for a SavedModel that computes in one of the ``kinds`` of half precision, which ``format`` cannot."""
    kind = half_of(saved_model)
    if kind in kinds:
        raise RefusedError(
            f"the model computes in {kind} (a mixed precision policy of Keras), and {format}. The SavedModel itself runs; "
            f"for all other formats {REMEDY}"
        )


def half_of(saved_model: Path) -> str | None:
    """``bfloat16`` or ``float16``, when operators that carry the arithmetic of a SavedModel compute in it."""
    from tensorflow.core.framework.types_pb2 import DT_BFLOAT16, DT_HALF
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    names = {DT_BFLOAT16: "bfloat16", DT_HALF: "float16"}
    content = SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    for graph in (meta.graph_def for meta in content.meta_graphs):
        for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
            for node in nodes:
                if node.op in _COMPUTING and node.attr["T"].type in names:
                    return names[node.attr["T"].type]
    return None
