"""The notebooks of a run share a kernel, and each finds it empty."""

import os
import signal

import nbformat
import papermill
import pytest
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

from studylib.study.kernel import Kernel

FIRST = ("import sys, os\nleft = os.getpid()", "left")
NEXT = ("'left' in dir(), 'os' in dir(), 'sys' in dir()", "import os\nos.getpid()")


def _run(kernel: Kernel, folder, *cells: str) -> list:
    """What the cells of a notebook show, and how they were counted."""
    path = folder / "notebook.ipynb"
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=metadata), path)
    done = papermill.execute_notebook(path, path, kernel_name="python3", language="python", progress_bar=False, km=kernel.manager)
    return [(cell.execution_count, *(output.data["text/plain"] for output in cell.outputs)) for cell in done.cells]


@pytest.mark.slow
def test_a_notebook_finds_nothing_of_the_one_before_in_the_same_process(tmp_path):
    with Kernel() as kernel:
        (_, (_, process)) = _run(kernel, tmp_path, *FIRST)
        kernel.empty()
        assert _run(kernel, tmp_path, *NEXT) == [(1, "(False, False, False)"), (2, process)]
        manager = kernel.manager
    assert not manager.has_kernel


@pytest.mark.slow
def test_it_is_the_emptying_that_does_it(tmp_path):
    with Kernel() as kernel:
        _run(kernel, tmp_path, *FIRST)
        assert _run(kernel, tmp_path, *NEXT)[0] == (3, "(True, True, True)")


@pytest.mark.slow
@pytest.mark.parametrize("code", ["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", None])
def test_one_that_died_is_told_as_such_whether_in_a_notebook_or_between_two(tmp_path, code):
    with Kernel() as kernel, pytest.raises(DeadKernelError):
        if code is not None:
            _run(kernel, tmp_path, code)
        (_, (_, process)) = _run(kernel, tmp_path, *FIRST)
        os.kill(int(process), signal.SIGKILL)
        kernel.empty()


@pytest.mark.slow
def test_one_that_cannot_be_emptied_runs_no_other_notebook(tmp_path):
    with Kernel() as kernel:
        _run(kernel, tmp_path, "get_ipython().reset = None")
        with pytest.raises(DeadKernelError, match="could not be emptied"):
            kernel.empty()


def test_a_kernel_that_no_notebook_needed_was_never_started():
    with Kernel() as kernel:
        kernel.empty()
        assert not kernel.manager.has_kernel
