"""Each module imports only modules that stand above it here, and frameworks only where and when they are needed."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

LAYERS = (
    ("errors", "stats", "progress", "processes", "memory", "runs", "whose"),
    (
        "sysfs",
        "nvml",
        "counters",
        "limits",
        "energy",
        "memory_limit",
        "params",
        "hardware",
        "fitness",
        "deciding",
        "artifact",
        "provenance",
        "arrays",
        "input_names",
        "rows",
        "records",
        "peak_record",
        "roof",
        "assumed",
        "long_table",
        "doubles",
        "results",
        "recording",
    ),
    (
        "zoo",
        "training",
        "runtimes",
        "sweeps",
        "recipes",
        "scenarios",
        "quality",
        "varying",
        "batch_check",
        "inside",
        "divergence",
        "own",
        "steadiness",
        "integer_parity",
        "sources",
        "descriptions",
        "adaptive",
        "searching",
        "peaks",
        "parity",
    ),
    ("worker", "checking", "building", "measure", "wording", "compare"),
    ("executors",),
    (
        "targets",
        "plan",
        "tables",
        "resource_tables",
        "batch_tables",
        "variants",
        "losses",
        "compression",
        "adaptive_verdicts",
        "halving",
        "narrowing",
        "stock",
        "study",
        "opening",
        "passport",
        "grounds",
        "scenario_tables",
        "formats",
        "contenders",
        "decisions",
        "winners",
        "constraints",
        "projects",
        "advised",
        "behind",
        "advice",
        "optimization",
        "sensitivity",
        "why",
        "roofline",
        "drawing",
        "format_figures",
        "compression_figures",
        "precision_figures",
        "swept",
        "roofline_figures",
        "scenario_figures",
        "figures",
        "findings",
        "report",
        "notebooks",
        "machines",
        "drivers",
        "entry_points",
        "overhead",
        "recording_cost",
        "conversion_cost",
        "compression_cost",
        "verdict_rates",
        "search_cost",
    ),
    ("benchmarks",),
    ("arguments", "console"),
    ("cli", "__main__"),
)
ORDER = [name for layer in LAYERS for name in layer]
HEAVY = {
    "tensorflow",
    "keras",
    "tf_keras",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "openvino",
    "ai_edge_litert",
    "ai_edge_quantizer",
    "torch",
    "coremltools",
    "tensorrt",
    "cuda",
    "tensorflow_model_optimization",
    "mlperf_loadgen",
}
HEAVY_HOMES = {"zoo", "training", "recipes", "runtimes", "inside", "divergence", "own", "adaptive", "scenarios", "peaks"}


def _files():
    return sorted((ROOT / "studylib").rglob("*.py"))


def _unit(path: Path) -> str:
    return path.relative_to(ROOT / "studylib").parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> set[str]:
    """Dotted names imported anywhere in a syntax tree."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def breaches(unit: str, tree: ast.AST) -> set[str]:
    """Modules of studylib that ``unit`` imports although they do not stand above it."""
    used = {name.split(".")[1] for name in imports(tree) if name.startswith("studylib.")}
    return {name for name in used if name in ORDER and name != unit and ORDER.index(name) >= ORDER.index(unit)}


def heavy_at_import(tree: ast.Module) -> set[str]:
    """Frameworks imported outside functions."""
    outside = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return {name.split(".")[0] for node in outside for name in imports(node)} & HEAVY


def test_every_module_has_its_place():
    assert {_unit(path) for path in _files()} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT / "studylib")))
def test_modules_import_only_from_above(path):
    tree, unit = ast.parse(path.read_text()), _unit(path)
    if unit != "__init__":
        assert breaches(unit, tree) == set()
        used = {name.split(".")[0] for name in imports(tree)} & HEAVY
        assert not used or unit in HEAVY_HOMES, f"{unit} imports {used}"
    assert heavy_at_import(tree) == set()


def test_the_check_sees_a_breach():
    assert breaches("stats", ast.parse("from studylib.study import Study")) == {"study"}
    assert breaches("params", ast.parse("def f():\n    from studylib import hardware")) == {"hardware"}
    assert heavy_at_import(ast.parse("import tensorflow as tf")) == {"tensorflow"}
    assert heavy_at_import(ast.parse("def f():\n    import tensorflow")) == set()
