"""The house: its folders stand in rows, each imports only from rows above it, and frameworks only where and when they are needed."""

import ast
import functools
from pathlib import Path

import pytest

from tests import ROOT
from tests.frameworks import FRAMEWORKS

# One row a line, the ground first; a later row may import from every earlier one.
ROWS = (
    ("errors", "stats", "wording", "progress"),
    ("params",),
    ("machine",),
    ("artifacts",),
    ("results",),
    ("formats",),
    ("models",),
    ("runtimes",),
    ("training",),
    ("recipes",),
    ("quality",),
    ("adaptive",),
    ("scenarios",),
    ("serving",),
    ("build",),
    ("measure",),
    ("executors",),
    ("verdicts",),
    ("claims",),
    ("study",),
    ("cases",),
    ("report",),
    ("bench",),
    ("cli",),
    ("__main__",),
)
# Rooms that issues to come will build.
NOT_YET = {"claims"}
ROW = {name: number for number, row in enumerate(ROWS) for name in row}
FRAMEWORK_HOMES = {"formats", "models", "training", "recipes", "runtimes", "quality", "adaptive", "scenarios", "measure"}
# What the verdicts, claims and pages about stored results must never need.
RUNNING = {"runtimes", "recipes", "measure", "executors"}
READERS = {"results", "verdicts", "claims", "report"}


@functools.cache
def _files():
    return sorted((ROOT / "studylib").rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(ROOT / "studylib").parts[0].removesuffix(".py")


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> set[str]:
    """Dotted names imported anywhere in a syntax tree."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def breaches(room: str, tree: ast.AST) -> set[str]:
    """Rooms that ``room`` imports from although they do not stand in a row above it."""
    used = {name.split(".")[1] for name in imports(tree) if name.startswith("studylib.")}
    return {name for name in used if name != room and (name not in ROW or ROW[name] >= max(1, ROW[room]))}


def circles(modules: dict[str, set[str]]) -> list[str]:
    """Modules that import each other, however far round. ``modules``: what each imports at its top."""
    found, done = [], set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            found.append(" > ".join((*way[way.index(name) :], name)))
        elif name not in done:
            for other in sorted(modules.get(name, ())):
                visit(other, (*way, name))
            done.add(name)

    for name in modules:
        visit(name, ())
    return found


@functools.cache
def _modules() -> set[str]:
    return {_module(file) for file in _files()}


def _at_the_top(path: Path) -> set[str]:
    known = _modules()
    tree = ast.parse(path.read_text())
    names = {name for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for name in imports(node)}
    return {name if name in known else name.rpartition(".")[0] for name in names if name.startswith("studylib.")}


def heavy_at_import(tree: ast.Module) -> set[str]:
    """Frameworks imported outside functions."""
    outside = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return {name.split(".")[0] for node in outside for name in imports(node)} & FRAMEWORKS


def test_the_house_has_these_rooms_and_no_others():
    rooms = {path.name.removesuffix(".py") for path in (ROOT / "studylib").iterdir() if path.name != "__pycache__"}
    assert rooms - {"__init__"} == set(ROW) - NOT_YET
    loose = {path.stem for path in (ROOT / "studylib").glob("*.py")}
    assert loose == {*ROWS[0], "__init__", "__main__"}


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT / "studylib")))
def test_modules_import_only_from_rows_above(path):
    tree, room = ast.parse(path.read_text()), _room(path)
    if room != "__init__":
        assert breaches(room, tree) == set()
        used = {name.split(".")[0] for name in imports(tree)} & FRAMEWORKS
        assert not used or room in FRAMEWORK_HOMES, f"{room} imports {used}"
    assert heavy_at_import(tree) == set()


@pytest.mark.parametrize("path", [path for path in _files() if _room(path) in READERS], ids=_module)
def test_what_reads_results_needs_nothing_that_runs_a_model(path):
    used = {name.split(".")[1] for name in imports(ast.parse(path.read_text())) if name.startswith("studylib.")}
    assert used & RUNNING == set()


def test_no_modules_import_each_other_in_a_circle():
    assert circles({_module(path): _at_the_top(path) for path in _files()}) == []


def test_every_folder_says_what_lives_in_it():
    for folder in sorted({path.parent for path in _files()}):
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def too_many(tree: ast.AST) -> list[str]:
    """Functions with more than seven parameters, ``self`` and ``cls`` aside."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            if len([name for name in names if name not in ("self", "cls")]) > 7:
                found.append(node.name)
    return found


def test_modules_functions_and_folders_stay_small():
    lines = {path: len(path.read_text().splitlines()) for path in _files()}
    assert {_module(path): count for path, count in lines.items() if count > 300} == {}
    assert {_module(path): found for path in lines if (found := too_many(ast.parse(path.read_text())))} == {}
    folders = {folder: sum(count for path, count in lines.items() if path.parent == folder) for folder in {path.parent for path in lines}}
    assert {folder.name: count for folder, count in folders.items() if count > 2500} == {}


def test_the_checks_see_a_breach():
    assert too_many(ast.parse("class A:\n    def f(self, a, b, c, d, e, f, g): ...\n    def h(self, a, b, c, d, e, f, *, g, h): ...")) == [
        "h"
    ]
    assert breaches("stats", ast.parse("from studylib.study.study import Study")) == {"study"}
    assert breaches("params", ast.parse("def f():\n    from studylib.machine import hardware")) == {"machine"}
    assert breaches("cli", ast.parse("from studylib.attic import old")) == {"attic"}
    assert breaches("results", ast.parse("from studylib import errors, stats")) == set()
    assert heavy_at_import(ast.parse("import tensorflow as tf")) == {"tensorflow"}
    assert heavy_at_import(ast.parse("def f():\n    import tensorflow")) == set()
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a > b > c > a"]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
