"""The process in which the ways of a case take turns: ``python -m studylib.cases GIVEN``."""

import sys
from pathlib import Path

from studylib.cases.turns import answer
from studylib.machine.lean_imports import import_leanly
from studylib.machine.processes import die_with_parent

if __name__ == "__main__":
    die_with_parent()
    import_leanly()
    answer(Path(sys.argv[1]))
