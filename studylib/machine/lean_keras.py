"""TensorFlow without what its Keras loads for notebooks: with it, every process that opens a SavedModel starts 1.5 s later.

Keras looks for plots, scikit-learn's interface and tables as soon as TensorFlow is imported, and goes on where they are not installed,
as on a machine that serves models. That they are installed beside a study is its own affair, and no part of a cold start.
"""

import sys
from importlib.abc import MetaPathFinder

_HIDDEN = frozenset(("matplotlib", "pandas", "sklearn"))


class _HiddenFromKeras(MetaPathFinder):
    def find_spec(self, name, path=None, target=None) -> None:
        if name in _HIDDEN and _importing().partition(".")[0] == "keras":
            raise ModuleNotFoundError(f"No module named {name!r} for Keras in this process (studylib.machine.lean_keras)", name=name)


def load_lean_keras() -> None:
    """From now on Keras finds none of the packages that it only looks for; everybody else in this process does."""
    sys.meta_path.insert(0, _HiddenFromKeras())


def _importing() -> str:
    """The name of the module whose import statement is being carried out."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame.f_globals.get("__name__", "")
