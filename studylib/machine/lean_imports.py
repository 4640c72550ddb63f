"""Libraries without what they only look for and do not need, which costs more time than they do themselves.

As soon as TensorFlow is imported, its Keras looks for plots, tables and scikit-learn's interface, 1.5 s in every process that opens a
SavedModel, and jsonschema, which reads notebooks, for a grammar of web addresses, 0.9 s. Both go on where those are not installed, as on a
machine that only serves models: that they are installed beside a study is no part of a model's cold start.

TensorFlow's import makes half a million objects that stay. Looking for garbage among them meanwhile takes 0.7 s of it, and 0.2 s each time
that its converter looks again; so nobody looks before they are all there, and nobody looks through them afterwards.
"""

import gc
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder

# What is not there for a library that looks for it.
_HIDDEN = {"keras": frozenset(("matplotlib", "pandas", "sklearn")), "jsonschema": frozenset(("rfc3987_syntax",))}


class _Lean(MetaPathFinder):
    def find_spec(self, name, path=None, target=None) -> ModuleSpec | None:
        looking = _importing().partition(".")[0]
        if name in _HIDDEN.get(looking, ()):
            raise ModuleNotFoundError(f"No module named {name!r} for {looking} in this process ({__name__})", name=name)
        spec = PathFinder.find_spec(name, path, target) if name == "tensorflow" else None
        if spec is not None and spec.loader is not None:
            _execute_uncollected(spec.loader)
        return spec


def import_leanly() -> None:
    """From now on these libraries find nothing that they only look for; everybody else in this process does."""
    if not any(isinstance(finder, _Lean) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Lean())


def _execute_uncollected(loader) -> None:
    """Let ``loader`` run its module while no garbage is collected, and leave what it made out of later collections."""
    execute = loader.exec_module

    def executed(module) -> None:
        collects = gc.isenabled()
        gc.disable()
        try:
            execute(module)
        finally:
            gc.freeze()
            if collects:
                gc.enable()

    loader.exec_module = executed


def _importing() -> str:
    """The name of the module whose import statement is being carried out."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame.f_globals.get("__name__", "")
