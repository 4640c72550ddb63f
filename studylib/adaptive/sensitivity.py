"""How much each layer costs: the loss when only it is quantized, and when only it stays float."""

import tempfile
from pathlib import Path

from studylib.adaptive.budget import Judge, check_apart
from studylib.adaptive.formats import surgeon_of
from studylib.adaptive.layers import DYNAMIC, STATIC, Layer, uniform
from studylib.adaptive.task import SearchTask
from studylib.artifacts.disk import remove
from studylib.machine.hardware import granted_threads


def sensitivity(task: SearchTask) -> list[dict]:
    """One dict a layer, the most harmful first: ``layer``, ``operator``, ``parameters``, ``precision`` and what was lost.

    ``alone_quantized`` and ``alone_float`` hold ``sqnr_db`` and ``loss``: of accuracy where there are labels, of answers
    that agree with the source model's where there are none; a share (0.01 is one point), None without scores.
    ``precision`` is what the layer was quantized to: static where its format can, otherwise dynamic.
    Raises `RefusedError` for a model without such layers, samples that are empty, or held-back ones that calibrate as well.
    """
    surgeon, judge = surgeon_of(task.format), Judge(task.held_back, task.reference, task.kind)
    check_apart(task.calibration, task.held_back)
    with tempfile.TemporaryDirectory(dir=task.scratch, prefix="sensitivity-") as folder:
        model = task.model or surgeon.calibrated(task.path, task.calibration, Path(folder))
        everything = quantized_most(model.layers)
        threads = granted_threads()

        def lost(assignment: dict[str, str]) -> dict:
            target = Path(folder) / f"one.{task.format}"
            found = judge(surgeon.open(surgeon.apply(model, assignment, target), threads))
            remove(target)
            return {"sqnr_db": found.sqnr_db, "loss": found.loss}

        rows = []
        for layer in model.layers:
            rest = {name: precision for name, precision in everything.items() if name != layer.name}
            facts = {"layer": layer.name, "operator": layer.operator, "parameters": layer.parameters, "precision": everything[layer.name]}
            row = facts | {"alone_quantized": lost({layer.name: everything[layer.name]}), "alone_float": lost(rest)}
            rows.append(row)
            if task.on_step:
                task.on_step(row | {"done": len(rows), "layers": len(model.layers)})
    return sorted(rows, key=lambda row: row["alone_quantized"]["sqnr_db"])


def quantized_most(layers: tuple[Layer, ...]) -> dict[str, str]:
    """Every layer static where it can be, otherwise dynamic."""
    return uniform(layers, DYNAMIC) | uniform(layers, STATIC)
