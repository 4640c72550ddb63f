"""PyTorch programs exported by ``torch.export.save`` (``.pt2``): opened without running what such a file may hold besides a graph."""

import importlib
import importlib.util
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from studylib.errors import RefusedError

_TRUST = "which can run code while it is loaded; if you trust the file's author, set TRUST=1"
# A target is resolved attribute by attribute from the module torch, which also leads to os.
_TARGET = re.compile(r"(torch\.ops\.(?:aten\.(?!from_file)|higher_order\.)\w+(\.\w+)?|_operator\.\w+|math\.\w+|torch\.sym_\w+)$")
# Sizes like "Symbol('s40', positive=True, integer=True)" or "Max(1, s40)" are evaluated as Python, word by word from these.
_SIZE_WORD = re.compile(r"'[A-Za-z0-9]+'|[a-z]{1,3}\d+|[A-Z][A-Za-z]*|positive|integer|nonnegative|real|int_oo|oo|\d+|[-+*/%(),.=<>&|~]")


def missing_torch(*packages: str) -> str | None:
    """Which of the packages of the extra ``torch`` is not installed, in words that say what brings it, or None."""
    absent = next((package for package in packages if importlib.util.find_spec(package) is None), None)
    return absent and f"no path out of PyTorch yet: the package {absent.replace('_', '-')} is not installed; `make converters` brings it"


def why_unsafe(path: Path) -> str | None:
    """Why loading the ``.pt2`` file could run code, or None. ``torch.export.load`` unpickles whatever is pickled in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return next(_complaints(path, archive), None)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return f"{path.name} is damaged or no exported program: {str(error)[:200]}"


def _complaints(path: Path, archive: zipfile.ZipFile) -> Iterator[str]:
    # The names stand under a folder that has the file's name at the time it was saved.
    files = {name.partition("/")[2]: name for name in archive.namelist()}
    if len(files) != len(archive.namelist()) or "models/model.json" not in files:
        yield f"{path.name} is no exported program of torch 2.8 or newer; load it where it was made and write it by torch.export.save"
        return
    for name in files:
        if name.startswith("data/aotinductor/"):
            yield f"the file holds compiled code ({name}), {_TRUST}"
        elif name.startswith("data/constants/") and not Path(name).name.startswith(("tensor_", "model_constants_config")):
            yield f"the file holds a pickled object ({name}), {_TRUST}"
        elif name.startswith("data/sample_inputs/") and not _plain_tensors(archive.read(files[name])):
            yield f"the file holds pickled objects as its sample inputs, {_TRUST}"
        elif name.endswith(".json"):
            yield from _complaints_of_json(json.loads(archive.read(files[name])))


def _plain_tensors(content: bytes) -> bool:
    """Whether torch's own restricted unpickler takes it; where it does not, ``torch.export.load`` takes the other one."""
    import pickle

    import torch

    if not content:
        return True
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):
        return False
    return True


def _complaints_of_json(value) -> Iterator[str]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
            if value.get("use_pickle"):
                yield f"the file holds a pickled tensor ({value.get('path_name')}), {_TRUST}"
            if "inputs" in value and not _TARGET.match(str(value.get("target", "math.floor"))):
                yield f"the file calls '{value['target']}', {_TRUST}"
            if not _is_size(str(value.get("expr_str", ""))):
                yield f"the file computes a size by '{value['expr_str']}', {_TRUST}"


def _is_size(expression: str) -> bool:
    return all(_SIZE_WORD.fullmatch(word) for word in re.findall(r"'?\w+'?|\S", expression))


def load_program(path: Path) -> Callable[[dict], dict]:
    """The exported program as a function from inputs by name to outputs ``output_0`` …; `why_unsafe` was asked before."""
    import torch

    program = torch.export.load(path)
    module, names = program.module(), program.graph_signature.user_inputs

    def run(inputs: dict) -> dict:
        with torch.no_grad():
            outputs = module(*(torch.from_numpy(inputs[name].copy()) for name in names))
        outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
        return {f"output_{index}": values.numpy() for index, values in enumerate(outputs)}

    return run


def export_factory(location: str, folder: Path, seed: int) -> Path:
    """``module:factory`` to ``model.pt2``. The factory returns (module, example inputs as a tuple of tensors).

    The first axis of every example input of at least one axis is the batch. Raises `RefusedError` when it cannot be had.
    """
    import torch

    torch.manual_seed(seed)
    module_name, _, name = location.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise RefusedError(
            f"MODEL {location}: {type(error).__name__}: {error}. Give an importable module and a function without arguments"
        ) from None
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], torch.nn.Module) and isinstance(made[1], tuple)):
        raise RefusedError(f"MODEL {location} returned {type(made).__name__}; it must return (torch.nn.Module, tuple of example tensors)")
    module, examples = made
    # Two samples: torch takes an example of one for a batch that is always one.
    examples = tuple(value if value.dim() == 0 or len(value) > 1 else value.repeat(2, *[1] * (value.dim() - 1)) for value in examples)
    batch = torch.export.Dim("batch")
    dynamic = tuple({0: batch} if value.dim() else None for value in examples)
    torch.export.save(torch.export.export(module.eval(), examples, dynamic_shapes=dynamic), folder / "model.pt2")
    return folder / "model.pt2"
