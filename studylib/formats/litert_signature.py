"""One way to ask every LiteRT file: the graph to ask stands first, and the file's only signature names its inputs and outputs.

Files of other makers have no signature, or several, each a graph of its own. The interpreter runs the first graph, quantizers ask by
signature: so what the user brings is written once more, and all that follows knows one kind of file (docs/decisions/0029).
"""

from collections.abc import Iterator

import numpy as np

from studylib.errors import ArtifactError
from studylib.formats.litert_names import ask, ends, plain_names

KEY = "serving_default"
# As flatbuffers allow, and above which a file keeps its weights behind its end.
_MOST_BYTES = 2**31 - 1
# The interpreter reads weights where they lie: the schema asks for them at multiples of 16.
_ALIGNED = 16


def signed(content: bytes, name: str, wanted: str | None = None) -> tuple[bytes, str]:
    """The file with one signature, on its first graph, and what was done in words; the same bytes and no words where it is so already.

    ``wanted``: the signature to take; otherwise that of the first graph. ``name`` tells the file in messages. Raises `ArtifactError`
    when there is no such signature, or when the file cannot be written again with equal answers.
    """
    model = parsed(content, name)
    known = _signatures(model)
    key = _chosen(known, name, wanted)
    told = _told(model, known, key, wanted)
    if not told:
        return content, ""
    _require_rewritable(model, content, name)
    _put_first(model, key, known)
    written = _written(model, content)
    _require_equal(content, written, key, name)
    return written, told


def words(content: bytes, name: str, wanted: str | None = None) -> str:
    """What `signed` does to the file, in words, without doing it."""
    model = parsed(content, name)
    known = _signatures(model)
    return _told(model, known, _chosen(known, name, wanted), wanted)


def _signatures(model) -> dict:
    return {_text(one.signatureKey): one for one in model.signatureDefs or []}


def _chosen(known: dict, name: str, wanted: str | None) -> str | None:
    """The signature to take, None where the file has none."""
    if wanted is not None and wanted not in known:
        told = f"the signatures {', '.join(known)}" if known else "no signature"
        raise ArtifactError(f"the card asks for the signature '{wanted}' of {name}; the file has {told}")
    first = next((key for key, one in known.items() if one.subgraphIndex == 0), next(iter(known), None))
    return wanted or first


def _told(model, known: dict, key: str | None, wanted: str | None) -> str:
    """What has to be done to the file, in words; empty where nothing has."""
    old = "its operators are numbered as files before 2020 did, which quantizers misread" if _is_old(model) else ""
    return "; ".join(filter(None, (_told_of_signatures(known, key, wanted), f"{old}: they are in a copy as today" if old else "")))


def _is_old(model) -> bool:
    """Whether operators are named in the first, narrow field alone."""
    return any(code.builtinCode < code.deprecatedBuiltinCode for code in model.operatorCodes)


def _told_of_signatures(known: dict, key: str | None, wanted: str | None) -> str:
    if key is None:
        return "the file has no signature: its inputs and outputs are called as their tensors are"
    if len(known) == 1 and known[key].subgraphIndex == 0:
        return ""
    others = ", ".join(f"'{other}'" for other in known if other != key)
    if not others:
        return f"the file's only signature, '{key}', is not of its first graph: measured is a copy with that graph in front"
    why = "as the card says" if wanted else "its graph stands first" if known[key].subgraphIndex == 0 else "it stands first"
    return (
        f"of the file's signatures '{key}' was taken ({why}), in a copy without the others, which are {others}; "
        "`signature:` in the card chooses"
    )


def parsed(content: bytes, name: str):
    """The file as the schema's objects. Raises `ArtifactError` when it is none."""
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != b"TFL3":
        raise ArtifactError(f"{name} cannot be read as tflite: its magic is {content[4:8]!r}, not b'TFL3'. Give a LiteRT flatbuffer.")
    return schema.ModelT.InitFromPackedBuf(content)


def custom_operators(model) -> list[str]:
    """The custom operators of a parsed file, by their names."""
    return list(dict.fromkeys(_text(code.customCode) for code in model.operatorCodes if code.customCode))


def _require_rewritable(model, content: bytes, name: str) -> None:
    """Raise `ArtifactError` for a file that flatbuffers cannot hold, or whose weights lie in files beside it."""
    advice = "export it again with one signature"
    if model.externalBuffers:
        raise ArtifactError(f"{name} keeps its weights in other files and has not exactly one signature; {advice}")
    if len(content) > _MOST_BYTES:
        raise ArtifactError(
            f"{name} has {len(content) / 1e9:.1f} GB and not exactly one signature; above 2 GB it cannot be written again; {advice}"
        )


def _put_first(model, key: str | None, known: dict) -> None:
    """Leave the graph of signature ``key`` and those that it calls, itself in front, under one signature."""
    from ai_edge_litert import schema_py_generated as schema

    chosen = 0 if key is None else known[key].subgraphIndex
    order = _reached(model, chosen)
    places = {old: new for new, old in enumerate(order)}
    for graph in (model.subgraphs[index] for index in order):
        for options, field, indices in _calls(graph):
            renumbered = [places[index] for index in indices]
            setattr(options, field, renumbered if field == _MANY else renumbered[0])
    model.subgraphs = [model.subgraphs[index] for index in order]
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    _forget_unused(model)
    if key is not None:
        signature = known[key]
        signature.subgraphIndex = 0
    else:
        graph, signature = model.subgraphs[0], schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = KEY, 0
        signature.inputs, signature.outputs = (_mapped(schema, graph, side) for side in (graph.inputs, graph.outputs))
    model.signatureDefs = [signature]


def _mapped(schema, graph, indices) -> list:
    names = plain_names([_text(graph.tensors[index].name) for index in indices])
    entries = []
    for name, index in zip(names, indices, strict=True):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, int(index)
        entries.append(entry)
    return entries


_MANY = "branchSubgraphIndices"


def _calls(graph) -> Iterator[tuple[object, str, list[int]]]:
    """(options, field, graphs) of every operator that runs other graphs: loops, branches, initialisations, calls, composites."""
    for operator in graph.operators or []:
        for options in (operator.builtinOptions, operator.builtinOptions2):
            for field, value in vars(options).items() if options is not None else ():
                if field == _MANY:
                    yield options, field, [int(index) for index in (() if value is None else value)]
                elif (field == "subgraph" or field.endswith("SubgraphIndex")) and value >= 0:
                    yield options, field, [int(value)]


def _reached(model, chosen: int) -> list[int]:
    """The graph ``chosen`` and all that it leads to."""
    order = [chosen]
    for index in order:
        order += dict.fromkeys(inner for _, _, indices in _calls(model.subgraphs[index]) for inner in indices if inner not in order)
    return order


def _forget_unused(model) -> None:
    """Empty the buffers that no graph left reads, so that a file without its other graphs is without their weights."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or []} | set(model.metadataBuffer if model.metadataBuffer is not None else ())
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data, buffer.offset, buffer.size = None, 0, 0


def _written(model, content: bytes) -> bytes:
    """The bytes of the model; what lay behind the end of the flatbuffer comes into it."""
    import flatbuffers

    class Builder(flatbuffers.Builder):
        def StartVector(self, size, count, alignment):
            return super().StartVector(size, count, _ALIGNED if size == 1 and count >= _ALIGNED else alignment)

    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    for operator in (operator for graph in model.subgraphs for operator in graph.operators or []):
        if operator.largeCustomOptionsOffset > 1:
            operator.customOptions = np.frombuffer(content, np.uint8, operator.largeCustomOptionsSize, operator.largeCustomOptionsOffset)
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
    builder = Builder(len(content) + 2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _require_equal(before: bytes, after: bytes, key: str | None, name: str) -> None:
    """Raise `ArtifactError` when the copy answers one query otherwise than the file did; a file that does not open is left to others."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        old = Interpreter(model_content=before)
        old.allocate_tensors()
    except (RuntimeError, ValueError):
        return  # its operators need what is not here, and whoever opens it says so
    new = Interpreter(model_content=after)
    query = _query(ends(new)[0])
    try:
        wanted = old.get_signature_runner(key)(**query) if key is not None else ask(old, query)
    except (RuntimeError, ValueError):
        return
    found = ask(new, query)
    differing = [name for name, values in wanted.items() if not _same(values, found.get(name))]
    if differing or set(wanted) != set(found):
        raise ArtifactError(
            f"{name} was written again with one signature and answers otherwise (output {', '.join(differing) or sorted(found)}): "
            "it may draw random numbers. Export it with one signature"
        )


def _same(values: np.ndarray, other: np.ndarray | None) -> bool:
    return other is not None and values.dtype == other.dtype and values.shape == other.shape and values.tobytes() == other.tobytes()


def _query(inputs: dict) -> dict[str, np.ndarray]:
    """One query of seeded values, dynamic axes one long; whole numbers are zero, which every table has."""
    rng, query = np.random.default_rng(0), {}
    for name, detail in inputs.items():
        shape, dtype = [max(1, int(size)) for size in detail["shape"]], np.dtype(detail["dtype"])
        if dtype.kind == "f":
            query[name] = rng.standard_normal(shape).astype(dtype)
        elif dtype.kind in "iu" and detail["quantization"][0]:
            limits = np.iinfo(dtype)
            query[name] = rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
        else:
            query[name] = np.zeros(shape, dtype) if dtype.kind in "iub" else np.full(shape, b"", object)
    return query


def _text(name) -> str:
    return name.decode() if isinstance(name, bytes) else str(name or "")
