"""A library in a process of ours loads nothing that it only looks for; everybody else there finds all there is."""

import subprocess
import sys

import pytest

from tests import ROOT

CODE = """
import gc, sys
{begin}
import {library}
print(gc.isenabled(), gc.get_freeze_count() > 0, file=sys.stderr)
print(*sorted(set(sys.modules) & set({looked_for})))
for name in {looked_for}:
    __import__(name)
{use}
"""
LEAN = "from studylib.machine.lean_imports import import_leanly; import_leanly(); import_leanly()"
PLOTS_AND_TABLES = {"matplotlib", "pandas", "sklearn"}
ADDRESSES = {"rfc3987_syntax"}


def _loaded(begin: str, library: str, looked_for: set[str], use: str) -> tuple[set[str], str]:
    """What of ``looked_for`` is there after a library was imported; all of it can be imported afterwards, and the library works.

    And whether garbage is collected then, and whether something is left out of that.
    """
    code = CODE.format(begin=begin, library=library, looked_for=sorted(looked_for), use=use)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split()), done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "looked_for", "use", "collected"),
    [
        ("tensorflow", PLOTS_AND_TABLES, "import keras; keras.layers.Dense(1)", "True True"),
        ("papermill", ADDRESSES, "import nbformat; nbformat.validate(nbformat.v4.new_notebook())", "True False"),
    ],
)
def test_it_is_not_loaded_and_everybody_else_finds_it(library, looked_for, use, collected):
    assert _loaded(LEAN, library, looked_for, use) == (set(), collected)
    assert _loaded("", library, looked_for, use) == (looked_for, "True False")
