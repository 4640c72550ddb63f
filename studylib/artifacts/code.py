"""Which of our own code decides a result: a digest of the definitions that it uses, found by following names and imports.

A definition counts by what it does and not by where it stands: comments, docstrings, import lines and the names of modules
leave the digest as it is, so that a file may move. Followed are names and attributes of imported modules, in the whole of a
definition, annotations included (the class of a parameter decides as well). What is found by a string while running is not
seen: name it among the roots. A module whose definitions decide nothing says so by ``DECIDES_NOTHING = "why"`` (words, storing);
one of which only some do not, by their names in a tuple: tables, in which is found by name what the key names anyhow.
"""

import ast
import functools
import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MARK = "DECIDES_NOTHING"
DECIDES_NOTHING = "which code decides"
_PACKAGE = "studylib"
_MODULE = re.compile(rf"{_PACKAGE}(\.\w+)+")
# Annotations of functions, which say what code decides and are followed, but do not decide by how they are written.
_ANNOTATED = {ast.FunctionDef: "returns", ast.AsyncFunctionDef: "returns", ast.arg: "annotation"}


def code_digest(*roots: type | Callable | str) -> str:
    """The digest of everything that ``roots`` use of our own code: classes, functions, or modules by their dotted name.

    A class or function from outside the package (a test's) counts with its own file.
    """
    return Code(Path(__file__).parents[1]).digest(*(_named(root) for root in roots))


def _named(root: type | Callable | str) -> tuple[str | Path, str]:
    """Module (or file, outside the package) and definition of a root; an empty definition is the whole module."""
    if isinstance(root, str):
        return root, ""
    name = root.__qualname__.split(".")[0]
    module = root.__module__
    if module == "__main__" or module.split(".")[0] != _PACKAGE:
        return Path(inspect.getfile(root)), name
    return module, name


@dataclass(frozen=True, eq=False)
class Module:
    """What stands at the top of one file: definitions by name, imported names, and statements that only do something.

    Files with the same content share one.
    """

    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, list[tuple[str, str]]]
    loose: list[ast.stmt]
    marked: str | tuple[str, ...]

    def decides(self, name: str) -> bool:
        """Whether the definition of ``name`` is one to follow."""
        return not (isinstance(self.marked, str) and self.marked) and name not in self.marked


@dataclass(frozen=True)
class Code:
    """The package in ``folder``: our own, or a copy of it."""

    folder: Path

    def digest(self, *roots: tuple[str | Path, str]) -> str:
        """SHA-256 over the texts of all definitions that are reached from ``roots``, in no order."""
        return _digest(self.folder, roots)

    def reached(self, *roots: tuple[str | Path, str]) -> dict[tuple[Path, str], str]:
        """The hash of each definition that decides, by its file and name; ``""`` stands for a module's loose statements."""
        todo = [place for root, name in roots for place in self._begun(root, name)]
        found: dict[tuple[Path, str], str] = {}
        while todo:
            file, name = todo.pop()
            if (file, name) in found:
                continue
            found[file, name], used = _read(_module(file), name)
            todo += [(file, "")] if name else []
            todo += [place for chain in used for place in self._resolved(file, chain)]
        return found

    def _begun(self, root: str | Path, name: str) -> list[tuple[Path, str]]:
        file = root if isinstance(root, Path) else self.file(root)
        if file is None:
            raise ModuleNotFoundError(f"{root} is no module of {self.folder}")
        if name in _module(file).definitions:
            return [(file, name)]
        return self._whole(file)  # a module, or what is defined inside a function

    def file(self, module: str) -> Path | None:
        """The file of a module of the package, or None for other packages."""
        return _file(self.folder, module)

    def _whole(self, file: Path) -> list[tuple[Path, str]]:
        module = _module(file)
        return [(file, ""), *((file, name) for name in module.definitions if module.decides(name))]

    def _resolved(self, file: Path, chain: tuple[str, ...]) -> list[tuple[Path, str]]:
        """Where the name ``chain`` (``quantized.told``), as it stands in ``file``, is defined; nothing for other packages."""
        module, (first, *rest) = _module(file), chain
        if first in module.definitions:
            return [(file, first)] if module.decides(first) else []
        return [place for target in module.imports.get(first, ()) for place in self._imported(*target, tuple(rest))]

    def _imported(self, module: str, name: str, rest: tuple[str, ...]) -> list[tuple[Path, str]]:
        file = self.file(module)
        if file is None:
            return []
        if not name and rest:
            name, rest = rest[0], rest[1:]
        if not name:  # a module that is handed on as it is
            return self._whole(file) if file.name != "__init__.py" else []
        known, submodule = _module(file), f"{module}.{name}"
        is_itself = (module, name) in known.imports.get(name, ())  # ``from package import part`` in the package's own __init__
        if name not in known.definitions and (is_itself or name not in known.imports) and self.file(submodule):
            return self._imported(submodule, "", rest)
        return self._resolved(file, (name, *rest))


@functools.lru_cache(maxsize=4096)
def _digest(folder: Path, roots: tuple[tuple[str | Path, str], ...]) -> str:
    return hashlib.sha256("\n".join(sorted(set(Code(folder).reached(*roots).values()))).encode()).hexdigest()


@functools.lru_cache(maxsize=4096)
def _file(folder: Path, module: str) -> Path | None:
    package, *parts = module.split(".")
    if package != _PACKAGE:
        return None
    base = folder.joinpath(*parts)
    places = (base / "__init__.py", *([base.with_suffix(".py")] if parts else []))
    return next((file for file in places if file.is_file()), None)


@functools.lru_cache(maxsize=4096)
def _module(file: Path) -> Module:
    return _parsed(file.read_bytes())


@functools.lru_cache(maxsize=4096)
def _parsed(content: bytes) -> Module:
    tree = ast.parse(content)
    definitions: dict[str, list[ast.stmt]] = {}
    loose = []
    for statement in tree.body:
        names = _defines(statement)
        for name in names:
            definitions.setdefault(name, []).append(statement)
        if not names and not _says_nothing(statement):
            loose.append(statement)
    return Module(definitions, _imports(tree), loose, _marked(definitions))


def _marked(definitions: dict[str, list[ast.stmt]]) -> str | tuple[str, ...]:
    return ast.literal_eval(definitions[MARK][0].value) if MARK in definitions else ()


def _defines(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    if not isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        return []
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def _says_nothing(statement: ast.stmt) -> bool:
    """Imports, docstrings, and what runs only when the file is the program."""
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    is_program = isinstance(statement, ast.If) and "__main__" in ast.dump(statement.test)
    return is_text or is_program or isinstance(statement, (ast.Import, ast.ImportFrom))


def _imports(tree: ast.Module) -> dict[str, list[tuple[str, str]]]:
    """What imported names stand for, wherever in the file they are imported: module and name, or module and nothing."""
    found: dict[str, list[tuple[str, str]]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found.setdefault(alias.asname or alias.name, []).append((node.module, alias.name))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                found.setdefault(name, []).append((alias.name if alias.asname else name, ""))
    return found


@functools.lru_cache(maxsize=65536)
def _read(module: Module, name: str) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """The hash of a definition without what decides nothing, and the names it uses."""
    statements = module.definitions[name] if name else module.loose
    used = dict.fromkeys(chain for statement in statements for chain in _chains(statement))
    text: list[str] = []
    for statement in statements:
        _spell(statement, text)
    return hashlib.sha256("\n".join(text).encode(errors="surrogatepass")).hexdigest(), tuple(used)


def _spell(node: ast.AST, text: list[str]) -> None:
    """Append a tree, without docstrings, import lines, annotations of functions, and the places of our modules in texts
    (``-m studylib.…``).
    """
    text.append(type(node).__name__)
    left_out = _ANNOTATED.get(type(node))
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            if name != left_out:
                _spell(value, text)
        elif isinstance(value, list):
            kept = [one for one in value if not _says_nothing(one)] or [ast.Pass()] if name == "body" else value
            text.append(f"{name} of {len(kept)}")
            for one in kept:
                if isinstance(one, ast.AST):
                    _spell(one, text)
                else:
                    text.append(repr(one))
        elif isinstance(value, str) and _MODULE.fullmatch(value):
            text.append(_PACKAGE)
        else:
            text.append(repr(value))


def _chains(statement: ast.AST):
    """Every name that a statement uses, with the attributes that follow it."""
    todo = [statement]
    while todo:
        node = todo.pop()
        chain, inner = [], node
        while isinstance(inner, ast.Attribute):
            chain, inner = [inner.attr, *chain], inner.value
        if isinstance(inner, ast.Name):
            yield (inner.id, *chain)
        else:
            todo += ast.iter_child_nodes(inner)
