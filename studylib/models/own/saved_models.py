"""A user's SavedModel as everything here reads one: a single graph, tagged ``serve``, with the signature ``serving_default``.

Projects of TensorFlow 1 keep a graph for training beside the one for serving, and many name their signature otherwise. Converters
and runtimes choose differently among them, so the choice is made once, when the model is taken in, and told.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from studylib.errors import ArtifactError, said

SERVE, DEFAULT = "serve", "serving_default"
_INTERNAL = ("__saved_model_init_op", "__saved_model_train_op")
# Tried for dynamic axes beyond the batch when the rewritten model is held against the original one.
_SIZES = (1, 32, 224)


def normalise(folder: Path, signature: str | None) -> None:
    """Write the SavedModel in ``folder`` anew, with the chosen graph and signature alone, unless it is so already.

    ``signature``: its name where the user chose one. Raises `ArtifactError` when there is none or none can be chosen, naming what
    is there, and when the rewritten model answers otherwise.
    """
    tags, name, is_plain = _chosen(folder, signature)
    if is_plain:
        return
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".rewriting-") as scratch:
        written = Path(scratch) / "model"
        try:
            _rewrite(folder, tags, name, written)
        except ArtifactError:
            raise
        except Exception as error:  # TensorFlow raises what it likes for a file it cannot load or save again
            raise ArtifactError(
                f"{folder.name}: its graph {tags} with the signature '{name}' cannot be written alone: {said(error)}. "
                f"Export it again with one graph, tagged {SERVE}, and the signature {DEFAULT}"
            ) from error
        shutil.rmtree(folder)
        written.rename(folder)


def remarks(original: Path, signature: str | None) -> list[str]:
    """What `normalise` chose among several, in words; empty where there was nothing to choose."""
    tags, name, is_plain = _chosen(original, signature)
    if is_plain:
        return []
    graphs = _read(original).meta_graphs
    known = _names(graphs[_graph(original.name, graphs)])
    found = []
    if len(graphs) > 1:
        others = "; ".join(", ".join(graph.meta_info_def.tags) or "no tag" for graph in graphs)
        found.append(f"of its graphs ({others}) the one tagged {', '.join(tags)} is measured")
    if signature:
        found.append(f"its signature '{name}' is measured, as the card says (it has {', '.join(known)})")
    elif name != DEFAULT:
        found.append(f"its only signature, '{name}', is measured")
    return found


def _chosen(folder: Path, wanted: str | None) -> tuple[list[str], str, bool]:
    """(tags of the graph, name of the signature, whether the file is so already)."""
    graphs = _read(folder).meta_graphs
    graph = graphs[_graph(folder.name, graphs)]
    name = _signature(folder.name, _names(graph), wanted)
    tags = list(graph.meta_info_def.tags)
    return tags, name, len(graphs) == 1 and SERVE in tags and name == DEFAULT


def _read(folder: Path):
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        return SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except DecodeError:
        raise ArtifactError(f"{folder.name}/saved_model.pb is damaged or cut off: it does not decode. Export it again") from None


def _graph(name: str, graphs) -> int:
    """The position of the graph to serve: the only one, or the one with the tag ``serve`` and the fewest others."""
    tagged = [(len(graph.meta_info_def.tags), index) for index, graph in enumerate(graphs) if SERVE in graph.meta_info_def.tags]
    if tagged or len(graphs) == 1:
        return min(tagged)[1] if tagged else 0
    found = "; ".join(", ".join(graph.meta_info_def.tags) or "no tag" for graph in graphs) or "none"
    raise ArtifactError(f"{name} has several graphs and none is tagged {SERVE} (found: {found}); export the one to serve with that tag")


def _names(graph) -> list[str]:
    return sorted(name for name in graph.signature_def if name not in _INTERNAL)


def _signature(folder: str, known: list[str], wanted: str | None) -> str:
    named = ", ".join(known)
    if not known:
        raise ArtifactError(
            f"{folder} has no signature, so nothing says what goes in and comes out; export it with one: model.export(folder) of Keras, "
            "or tf.saved_model.save(model, folder, signatures=...)"
        )
    if wanted is not None and wanted not in known:
        raise ArtifactError(f"the card chooses the signature '{wanted}', and {folder} has {named}; name one of these in the card")
    if wanted is not None or DEFAULT in known or len(known) == 1:
        return wanted or (DEFAULT if DEFAULT in known else known[0])
    raise ArtifactError(
        f"{folder} has the signatures {named}, and none is called {DEFAULT}; say which one to measure in a card beside it, "
        f"{folder}.yaml: `signature: {known[0]}`"
    )


def _rewrite(source: Path, tags: list[str], name: str, target: Path) -> None:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(source), tags=tags)
    chosen = loaded.signatures[name]
    specs = {key: tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in chosen.structured_input_signature[1].items()}
    module = tf.Module()
    module.loaded = loaded  # owns the variables
    module.serve = tf.function(lambda **inputs: chosen(**inputs))
    tf.saved_model.save(module, str(target), signatures={DEFAULT: module.serve.get_concrete_function(**specs)})
    again = tf.saved_model.load(str(target))
    _require_same(chosen, again.signatures[DEFAULT], specs, source.name)


def _require_same(before, after, specs: dict, name: str) -> None:
    """Raise `ArtifactError` when the two answer ones differently. What no size makes answer, or what is no number, is not asked."""
    import tensorflow as tf

    for size in _SIZES:
        try:
            inputs = {key: tf.ones([_length(axis, index, size) for index, axis in enumerate(spec.shape)], spec.dtype)
                      for key, spec in specs.items()}  # fmt: skip
            first, second = before(**inputs), before(**inputs)
        except (ValueError, TypeError, tf.errors.OpError):
            continue
        third = after(**inputs)
        for key, values in first.items():
            steady = np.array_equal(values.numpy(), second[key].numpy(), equal_nan=values.dtype.is_floating)
            if steady and values.dtype.is_floating and not np.allclose(values.numpy(), third[key].numpy(), rtol=1e-4, equal_nan=True):
                raise ArtifactError(
                    f"{name} answers otherwise once its graph and signature stand alone (output '{key}'); "
                    f"export it again with one graph, tagged {SERVE}, and the signature {DEFAULT}"
                )
        return


def _length(axis: int | None, index: int, size: int) -> int:
    return axis if axis is not None else 1 if index == 0 else size
