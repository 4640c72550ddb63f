"""Print the options that may be typed after a verb, for `make help`, with any Python 3 and before anything is installed.

They are declared in the sources, as ``Typed("VARIABLE", "help", …)``: read here without importing them, which needs packages.
"""

import ast
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DECLARED_IN = ("studylib/params/study_options.py", "studylib/cli/arguments.py")


def options() -> dict[str, list[str]]:
    """The help of each variable, in the order of the sources; several where verbs mean different things by it."""
    found: dict[str, list[str]] = {}
    for name in DECLARED_IN:
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        constants = {
            node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Typed"]
        for call in sorted(calls, key=lambda call: call.lineno):
            variable, words = (ast.literal_eval(constants.get(getattr(part, "id", None), part)) for part in call.args[:2])
            found.setdefault(variable, []).append(words)
    return found


def main() -> None:
    sets = sorted(path.stem for path in (ROOT / "params").glob("*.yaml"))
    print("\nOptions, after a verb (make plan MODEL=my.onnx EFFORT=smoke); `python -m studylib <verb> --help` lists those of one verb:")
    for variable, helps in options().items():
        text = " | ".join(helps) + (f": {', '.join(sets)}" if variable == "HW" else "")
        print(textwrap.fill(text, 110, initial_indent=f"  {variable + '=':<13}", subsequent_indent=" " * 15, break_on_hyphens=False))
    print("They are taken from the command line, not from the environment. A list has commas; yes or no is 1 or 0.")


if __name__ == "__main__":
    main()
