"""Which code decides a key: an edit of what decides changes it; words, comments, moves and other code do not."""

import shutil
from pathlib import Path

import pytest

import studylib
from studylib.artifacts.code import Code, code_digest
from studylib.executors.phone.on_phone import PhoneExecutor
from studylib.measure import worker
from studylib.measure.rounds import Bench
from studylib.recipes import RECIPES, RETRAINED
from studylib.runtimes import RUNTIMES
from studylib.study.plan import _ON_PHONE

HOME = Path(studylib.__file__).parent
LITERT = ("studylib.recipes.convert.to_litert", "ToLiteRT")
MEASURING = (("studylib.measure.worker", "measure"), ("studylib.runtimes.litert", "LiteRT"))


@pytest.fixture
def copy(tmp_path):
    """Edits a copy of the library, and gives what decides there."""
    count = iter(range(1000))

    def edited(edit=lambda folder: None) -> Code:
        folder = tmp_path / str(next(count))
        shutil.copytree(HOME, folder, ignore=shutil.ignore_patterns("__pycache__"))
        edit(folder)
        return Code(folder)

    return edited


def _replaced(file: str, old: str, new: str):
    def edit(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text, f"{old} is not in {file} any more"
        (folder / file).write_text(text.replace(old, new, 1))

    return edit


def _moved(module: str, to: str):
    """Moves a module, and follows it with every import, as one does."""

    def edit(folder: Path) -> None:
        old, new = folder / f"{module.replace('.', '/')}.py", folder / f"{to.replace('.', '/')}.py"
        new.parent.mkdir(exist_ok=True)
        old.rename(new)
        (new.parent / "__init__.py").touch()
        before, after = f"studylib.{module}", f"studylib.{to}"
        parent, name = before.rsplit(".", 1)
        above, called = after.rsplit(".", 1)
        for file in folder.rglob("*.py"):
            text = file.read_text().replace(before, after)
            lines = [
                f"from {above} import {called} as {name}" if line.strip() == f"from {parent} import {name}" else line
                for line in text.splitlines()
            ]
            file.write_text("\n".join(lines) + "\n")

    return edit


def test_an_edit_of_what_decides_changes_the_key(copy):
    before = copy()
    beside = copy(_replaced("formats/litert_names.py", "\ndef ", "\nADDED = 1\n\n\ndef "))
    assert before.digest(LITERT) == beside.digest(LITERT), "a new name that nobody uses decides nothing"
    for file, old, new in (
        ("recipes/convert/to_litert.py", "class ToLiteRT(Recipe):", "class ToLiteRT(Recipe):\n    added_here = 1"),
        ("recipes/base.py", "class Recipe(ABC):", "class Recipe(ABC):\n    added_here = 1"),
        ("models/zoo/base.py", "class Samples:", "class Samples:\n    added_here = 1"),  # what its parameters are
        ("artifacts/arrays.py", "def load(", "added_here = 1\n\n\ndef load("),
    ):
        edited = copy(_replaced(file, old, new))
        same = before.digest(LITERT) == edited.digest(LITERT)
        assert same == (file == "artifacts/arrays.py"), file


def test_loose_statements_of_a_module_decide_with_whatever_is_taken_from_it(copy):
    def edit(folder: Path) -> None:
        path = folder / "formats" / "mixed_precision.py"
        path.write_text(path.read_text() + "\nprint('switched')\n")

    assert copy().digest(LITERT) != copy(edit).digest(LITERT)


@pytest.mark.parametrize(
    "edit",
    [
        _replaced("recipes/convert/to_litert.py", "class ToLiteRT(Recipe):\n", "# Why it is so.\nclass ToLiteRT(Recipe):\n"),
        _replaced("recipes/convert/to_litert.py", '"""', '"""Said otherwise. '),
        _replaced("executors/phone/on_phone.py", "class PhoneExecutor(Executor):", "class PhoneExecutor(Executor):\n    added_here = 1"),
        _replaced("recipes/quantize/onnx.py", "class Static(", "ADDED_HERE = 1\n\n\nclass Static("),
        _replaced("errors.py", "def told(", "def added_here(): ...\n\n\ndef told("),
        _moved("recipes.convert.to_litert", "attic.to_litert"),
        _moved("formats.mixed_precision", "attic.mixed"),
        _moved("artifacts.arrays", "attic.arrays"),
        _moved("scenarios.loop", "attic.looped"),
    ],
    ids=["comment", "docstring", "phone", "another recipe", "words", "moved", "helper moved", "deep one moved", "scenario moved"],
)
def test_what_does_not_decide_leaves_the_key(copy, edit):
    before, after = copy(), copy(edit)
    place = next(module for module in ("studylib.recipes.convert.to_litert", "studylib.attic.to_litert") if after.file(module))
    assert before.digest(LITERT) == after.digest((place, "ToLiteRT"))
    assert before.digest(*MEASURING) == after.digest(*MEASURING)


def test_a_module_that_is_run_by_its_name_may_move_too(copy):
    """``-m studylib.measure.worker`` stands in a text of the executor, and says where and not what."""
    executor = ("studylib.executors.local", "LocalExecutor")
    before, after = copy(), copy(_moved("measure.worker", "attic.worked"))
    assert "studylib.attic.worked" in (after.folder / "executors" / "local.py").read_text()
    assert before.digest(executor) == after.digest(executor)


def test_an_edit_of_a_runtime_makes_its_own_measurements_old_and_no_others(copy):
    edit = _replaced("runtimes/openvino.py", "class OpenVino(Runtime):", "class OpenVino(Runtime):\n    added_here = 1")
    before, after = copy(), copy(edit)
    theirs = (MEASURING[0], ("studylib.runtimes.openvino", "OpenVino"))
    assert before.digest(*theirs) != after.digest(*theirs)
    assert before.digest(*MEASURING) == after.digest(*MEASURING)


def test_what_is_asked_and_counted_beside_a_measurement_decides_it():
    reached = {path.name for path, _ in Code(HOME).reached(*MEASURING, ("studylib.measure.rounds", "Bench"))}
    assert {
        "worker.py",
        "disturbances.py",
        "sysfs.py",
        "energy.py",
        "nvml.py",
        "memory_limit.py",
        "disturbance_limits.py",
        "arrays.py",
    } <= reached
    evaluated = {path.name for path, _ in Code(HOME).reached(("studylib.measure.worker", "evaluate"))}
    assert {"metrics.py", "parity.py", "varying.py", "batch_check.py", "integer_parity.py", "stats.py"} <= evaluated


def _home(recipe) -> str:
    return f"studylib.training.{recipe.technique}"


@pytest.mark.parametrize("name", RETRAINED)
def test_what_trains_in_another_process_decides(name):
    """By whatever the technique's module imports, read here without `studylib.artifacts.code`."""
    recipe = RETRAINED[name]
    reached = {path for path, _ in Code(HOME).reached(*((module, "") for module in recipe.modules))}
    training, waiting, used = HOME / "training", [HOME / "training" / f"{recipe.technique}.py"], set()
    while waiting:
        path = waiting.pop()
        used.add(path)
        text = path.read_text(encoding="utf-8")
        imported = {other for other in training.glob("[a-z]*.py") if f"training.{other.stem} import" in text}
        lists = [line.split(" import ")[1] for line in text.splitlines() if line.startswith("from studylib.training import ")]
        waiting += (imported | {training / f"{part.strip()}.py" for line in lists for part in line.split(",")}) - used
    assert used <= reached


def test_every_recipe_has_a_key_of_its_own():
    recipes = [*(one for table in RECIPES.values() for listed in table.values() for one in listed), *RETRAINED.values()]
    keys = {recipe.key("parent", "lessons") for recipe in recipes if not recipe.missing()}
    assert len(keys) == sum(not recipe.missing() for recipe in recipes)


def test_the_job_that_is_asked_decides_and_no_other_kind_of_job_does():
    roots = [(f"studylib.measure.{module}", name) for module, name in (("worker", "measure"), ("rounds", "Bench"))]
    reached = {(path.name, name) for path, name in Code(HOME).reached(*roots, ("studylib.executors.local", "LocalExecutor"))}
    jobs = {name for file, name in reached if file == "jobs.py"}
    assert {"MeasureJob", "EvaluateJob", "CheckJob", "FindRateJob", "SessionJob", "Job"} <= jobs
    assert not {"BuildJob", "Target", "PeaksJob", "KINDS"} & jobs
    assert {("executor.py", "Executor"), ("within_memory.py", "run_within"), ("criteria.py", "Criteria")} <= reached


def test_what_reads_a_phone_s_answers_decides_its_measurements():
    reached = {(path.name, name) for path, name in Code(HOME).reached(*((root.__module__, root.__name__) for root in _ON_PHONE))}
    assert {("parity.py", "pack"), ("parity.py", "phone_answers"), ("parity.py", "judge_batch"), ("adb.py", "Adb")} <= reached


def test_a_phone_s_measurements_depend_on_the_phone_s_executor_too():
    assert code_digest(worker.measure, Bench) != code_digest(worker.measure, Bench, PhoneExecutor)


def test_every_runtime_and_scenario_can_be_followed():
    assert len({code_digest(worker.measure, type(runtime)) for runtime in RUNTIMES.values()}) == len(RUNTIMES)


def test_a_class_of_a_test_counts_with_its_own_file():
    class Here:
        pass

    assert code_digest(Here) != code_digest(Bench)


def test_a_module_that_is_not_there_is_said():
    with pytest.raises(ModuleNotFoundError, match=r"studylib\.nowhere is no module"):
        code_digest("studylib.nowhere")
