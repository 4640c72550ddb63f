"""Rules that the committed notebooks keep."""

import ast
import asyncio
import gc
import re

import nbformat
import papermill
import pytest
from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import DeadKernelError

from studylib import open_study
from studylib.cases import CASES
from studylib.study.kernel import Kernel
from studylib.study.notebooks import NOTEBOOKS, ON_PHONE, Runner
from tests import ROOT

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def _code(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def _defaults(path) -> dict:
    (cell,) = [cell for cell in _code(path) if "parameters" in cell.metadata.get("tags", [])]
    return {node.target.id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}


def test_every_notebook_is_run_and_every_run_notebook_is_there():
    cases = [f"05-case-{name}" for name in CASES]  # a command of their own: `make case`
    assert [path.stem for path in PATHS] == sorted([*NOTEBOOKS, *cases])


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_defaults_are_the_smoke_study(path):
    defaults = _defaults(path)
    assert defaults.pop("force", False) is False
    assert defaults == {"hardware": "cpu"} | (
        {} if path.stem == "09-findings" else {"effort": "smoke"} | ({"data": ""} if "-case-" in path.stem else {"choice": {}})
    )


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_outputs_are_kept_only_in_checked_cells(path):
    for cell in _code(path):
        checked = cell.source.startswith("# NBVAL_CHECK_OUTPUT")
        assert bool(cell.outputs) == checked
        assert (cell.execution_count is not None) == checked
        assert len(str(cell.outputs)) < 1000


def test_some_cells_are_checked_in_every_notebook():
    assert all(any(cell.source.startswith("# NBVAL_CHECK_OUTPUT") for cell in _code(path)) for path in PATHS)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebooks_are_thin(path):
    cells = _code(path)
    assert len(cells) <= 12
    for cell in cells:
        # Parameters stand one on a line, however many there are.
        assert len(cell.source.splitlines()) <= 10 or "parameters" in cell.metadata.get("tags", [])
        assert not re.search(r"^\s*(def|class) ", cell.source, re.MULTILINE)
        imported = re.findall(r"^\s*(?:import|from) (.+)", cell.source, re.MULTILINE)
        assert imported in ([], ["studylib as sl"])


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_opens_with_its_question_inputs_and_outputs(path):
    first = nbformat.read(path, 4).cells[0].source
    assert all(word in first for word in ("**Question.**", "**Reads**", "**Writes**"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_number_in_prose_was_measured_and_typed(path):
    """Prose may name a format or a precision; a figure with a unit or a percentage must come from a cell."""
    prose = " ".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    assert re.findall(r"\d+(?:\.\d+)?\s*(?:%|ms|µs|us|MB|kB|GB|dB|x\b|times\b|s\b)", prose) == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_metadata_is_what_papermill_needs_and_no_more(path):
    notebook = nbformat.read(path, 4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "/home/" not in path.read_text()


def test_after_ctrl_c_nothing_tells_of_the_cell_that_was_under_way(monkeypatch, caplog):
    """Seen when the machine was busy: the cell's task ended with its kernel, and asyncio told of it after the study's own last words."""

    def stopped(*_, **__):
        async def cell():
            raise DeadKernelError("Kernel died")

        loop = ensure_event_loop()
        under_way = loop.create_task(cell())  # as long as the interruption has this frame in its traceback
        loop.run_until_complete(asyncio.sleep(0.01))
        raise KeyboardInterrupt(under_way.done())

    monkeypatch.setattr(papermill, "execute_notebook", stopped)
    for name in ("STUDYLIB_HEADLESS", ON_PHONE):  # set for the kernel's sake, and not for the tests after this one
        monkeypatch.setenv(name, "")
    try:
        with Kernel() as kernel:
            Runner(open_study("cpu", "smoke"))._execute(kernel, "01-conversion", force=False)
    except KeyboardInterrupt:
        gc.collect()
    else:
        pytest.fail("Ctrl-C was swallowed")
    gc.collect()
    ensure_event_loop().set_exception_handler(None)
    assert "never retrieved" not in caplog.text
