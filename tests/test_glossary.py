"""The glossary and the code use the same words."""

import ast
import re

import pytest

import studylib as sl
from studylib.results.rows import PERCENTILES
from studylib.results.states import Status
from studylib.scenarios import SCENARIOS
from studylib.stats import Verdict
from studylib.verdicts.passport import Fit
from tests import ROOT

TEXT = (ROOT / "GLOSSARY.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ")][2:]
HEADWORDS = [re.sub(r"[`*]", "", row.split("|")[1]).strip() for row in ROWS]


def _names(tree: ast.Module) -> set[str]:
    """What a module calls its functions, classes, fields, arguments and constants."""
    bodies = [tree.body, *(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    assigned = [node for body in bodies for node in body if isinstance(node, ast.Assign)]
    found = {target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.FunctionDef):
            found |= {argument.arg for argument in node.args.args}
        if isinstance(node, ast.ClassDef):
            found |= {field.target.id for field in node.body if isinstance(field, ast.AnnAssign)}
    return {name for name in found if not name.startswith("_")}


def _words(name: str) -> list[str]:
    """``SpeedUp`` and ``speed_up``: speed, up."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


@pytest.fixture(scope="module")
def words():
    paths = list((ROOT / "studylib").rglob("*.py"))
    names = {path.stem for path in paths}
    for path in paths:
        names |= _names(ast.parse(path.read_text(encoding="utf-8")))
    return {word for name in names for word in _words(name)} | {f"p{number}" for number in PERCENTILES}


def _missing(headword: str, words: set[str]) -> list[str]:
    return [word for word in re.findall(r"[a-z0-9]+", headword.lower()) if not {word, word.removesuffix("s"), f"{word}s"} & words]


def test_the_glossary_is_in_the_order_of_the_alphabet():
    assert len(HEADWORDS) > 50
    assert [word.lower() for word in HEADWORDS] == sorted(word.lower() for word in HEADWORDS)


@pytest.mark.parametrize("headword", [word for row in HEADWORDS for word in row.split(", ")])
def test_every_headword_is_a_word_of_the_code(headword, words):
    assert _missing(headword, words) == []


def test_a_word_that_the_code_does_not_know_is_found(words):
    assert _missing("frobnicated trial", words) == ["frobnicated"]


def test_what_the_code_calls_its_own_is_explained():
    classes = [name for name in sl.__all__ if name[0].isupper()]
    told = [*classes, *Status, *Verdict, *Fit, *SCENARIOS]
    assert [str(name) for name in told if str(name).lower() not in TEXT.lower()] == []
