"""What the inputs and outputs of a LiteRT file are called: as its signature says, or, where it has none, as its tensors are."""

import re
from collections import Counter

import numpy as np

from studylib.formats.input_names import as_known

Details = dict[str, dict]
# TensorFlow numbers the outputs of an operator: ``image:0``.
_NUMBER = re.compile(r":\d+$")
# Operators that write what the next query reads.
_KEEPING = ("ASSIGN_VARIABLE", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN")


def plain_names(names: list[str]) -> list[str]:
    """Names to ask a file by, from its tensors': ``serving_default_image:0`` is ``image``. No name is empty, and none comes twice."""
    short = [_NUMBER.sub("", name.removeprefix("serving_default_")) for name in names]
    counts = Counter(short)
    # Where shortening makes two alike, both keep what they were.
    kept = [name if counts[name] == 1 else whole for name, whole in zip(short, names, strict=True)]
    found: list[str] = []
    for place, name in enumerate(kept):
        name = name or f"tensor_{place}"
        while name in found:
            name = f"{name}_{place}"
        found.append(name)
    return found


def signature(interpreter) -> str | None:
    """The signature that the file's first graph answers to, or None: the interpreter itself runs that graph and no other."""
    inputs, outputs = (_named(side) for side in (interpreter.get_input_details(), interpreter.get_output_details()))
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        if _named(runner.get_input_details().values()) == inputs and _named(runner.get_output_details().values()) <= outputs:
            return key
    return None


def _named(details) -> set[tuple[int, str]]:
    return {(detail["index"], detail["name"]) for detail in details}


def ends(interpreter) -> tuple[Details, Details]:
    """Inputs and outputs of the first graph by name, with their details."""
    key = signature(interpreter)
    if key is not None:
        runner = interpreter.get_signature_runner(key)
        return runner.get_input_details(), runner.get_output_details()
    return tuple(
        dict(zip(plain_names([detail["name"] for detail in side]), side, strict=True))
        for side in (interpreter.get_input_details(), interpreter.get_output_details())
    )


def ask(interpreter, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Answer one query by name, in the file's own types; inputs are resized where the query has other shapes."""
    taken, given = ends(interpreter)
    inputs = as_known(inputs, taken)
    resized = {name: values for name, values in inputs.items() if tuple(taken[name]["shape"]) != values.shape}
    for name, values in resized.items():
        interpreter.resize_tensor_input(taken[name]["index"], values.shape)
    # Whoever set other shapes before may not have allocated; where all is allocated, this does nothing.
    interpreter.allocate_tensors()
    for name, values in inputs.items():
        interpreter.set_tensor(taken[name]["index"], values)
    interpreter.invoke()
    return {name: interpreter.get_tensor(detail["index"]) for name, detail in given.items()}


def keeps_state(interpreter) -> bool:
    """Whether an answer depends on the queries before it: variables that are written while it answers, or tensors that are kept."""
    return any(operator["op_name"] in _KEEPING for operator in interpreter._get_ops_details())
