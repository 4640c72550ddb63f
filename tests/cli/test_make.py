"""`make` as a user types it: values reach Python as they were typed, no shell and no make reads them, and what is not taken is told."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from studylib.cli import arguments
from studylib.errors import InputError
from studylib.params.sets import resolve
from tests import ROOT
from tests.command_line import plan_lines, said

pytestmark = pytest.mark.slow

_SWITCHES = ("TRUST", "SEARCH", "STRICT", "FORCE")

PLACES = (
    "team's models/my model.onnx", "模型/识别.onnx", "模型/检测.onnx", "a, b/m.onnx", "x/model.onnx", "y/model.onnx", "price$5/m.onnx",
    "caps/NET.ONNX", "a#b/$(touch x).onnx", 'say "hi"/back\\slash.onnx', "é=1/%d.onnx", "100% & more;/`touch x`.onnx",
)  # fmt: skip


_HEARD = """import json, os, sys
from studylib.cli import arguments
print(json.dumps(arguments.typed(sys.argv[1], os.environ)))"""


def _make(venv: Path, python: str):
    """Function that runs `make` in this checkout with an environment that stands in for `.venv`. ``python``: the shell script in it."""
    spec = importlib.util.spec_from_file_location("environment", ROOT / "requirements" / "environment.py")
    environment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(environment)
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").write_text(f"#!/bin/sh\n{python}\n")
    (venv / "bin" / "python").chmod(0o755)
    (venv / ".complete").write_text("\n".join([environment.lock_hash(), str(environment.ROOT), str(venv)]) + "\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name not in arguments.variables()}

    def run(*words: str, outputs=None, **more: str) -> subprocess.CompletedProcess:
        kept = clean | {"STUDYLIB_VENV": str(venv)} | more | ({"STUDYLIB_OUTPUTS": str(outputs)} if outputs else {})
        return subprocess.run(["make", *words], capture_output=True, text=True, env=kept, cwd=ROOT, timeout=600)

    return run


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """`make` with the environment that runs this."""
    return _make(tmp_path_factory.mktemp("made") / "venv", f'exec {shlex.quote(sys.executable)} "$@"')


@pytest.fixture(scope="module")
def hear(tmp_path_factory):
    """Function that gives what Python hears of words typed after `make`: the options of the verb, and what is said of the rest."""
    told = f'if [ "$1" = -m ]; then exec {shlex.quote(sys.executable)} -c {shlex.quote(_HEARD)} "$3"; fi'
    made = _make(tmp_path_factory.mktemp("heard") / "venv", f'{told}\nexec {shlex.quote(sys.executable)} "$@"')

    def run(*words: str, **more: str) -> tuple[list[str], list[str]]:
        done = made(*words, **more)
        assert (done.returncode, done.stderr) == (0, "")
        options, notes = json.loads(done.stdout)
        return options, notes

    return run


@pytest.fixture(scope="module")
def plan(hear):
    """Function that plans what is typed after `make plan`, as Python hears it: here, where many plans share an interpreter."""

    def run(*words: str, outputs) -> subprocess.CompletedProcess:
        options, notes = hear("plan", *words)
        assert notes == []
        return said("plan", *options, outputs=outputs)

    return run


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """One small model under names that people give their folders."""
    from onnx import TensorProto, helper, numpy_helper, save

    folder = tmp_path_factory.mktemp("places")
    for number, name in enumerate(PLACES):
        weights = numpy_helper.from_array(np.full((6, 4), number, np.float32), "w")
        ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["batch", size]) for end, size in (("x", 6), ("y", 4))]
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "m", ends[:1], ends[1:], [weights])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as file:
            save(model, file)
    return folder


def _planned(done) -> dict[str, str]:
    """The models of a plan and where they lie."""
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(re.findall(r"^  (\S+) is (/.*)$", done.stdout, re.MULTILINE))


@pytest.mark.parametrize("name", ["team's models/my model.onnx", "a, b/m.onnx", "price$5/m.onnx", "caps/NET.ONNX"])
def test_a_path_of_any_name_is_planned(plan, places, tmp_path, name):
    done = plan("HW=cpu", "EFFORT=smoke", f"MODEL={places / name}", outputs=tmp_path)
    assert list(_planned(done).values()) == [str(places / name)]
    assert not (ROOT / "x").exists()


def test_many_in_one_list_are_all_found_and_told_apart(make, places, tmp_path):
    done = make("plan", "EFFORT=smoke", "MODEL=" + " , ".join(str(places / name) for name in PLACES), outputs=tmp_path)
    planned = _planned(done)
    assert list(planned.values()) == [str(places / name) for name in PLACES]
    assert len(planned) == len(PLACES)


def test_data_of_any_name_is_taken_as_it_is(plan, places, tmp_path):
    data = tmp_path / "it's $(touch x), 数据 $5.npz"
    np.savez(data, x=np.zeros((8, 6), np.float32))
    words = ("EFFORT=smoke", f"MODEL={places / PLACES[0]}")
    _planned(plan(*words, f"DATA={data}", outputs=tmp_path))
    missing = plan(*words, f"DATA={data}x", outputs=tmp_path)
    assert missing.returncode == 2
    assert f"{data}x" in missing.stderr
    assert not (ROOT / "x").exists()


_ODD = (
    "it's $(touch x).onnx", "x'; touch x; '", "$(shell touch x)", "`touch x`", '"; touch x; "', "a\\", "$$(touch x)", "${SHELL}.onnx",
    " a  b ", "a#b", "-x=y", "%,$@", "名前", "a\\ b",
)  # fmt: skip


@pytest.mark.parametrize("value", _ODD)
def test_every_value_reaches_python_as_it_was_typed(hear, value):
    """In all variables at once, and neither make nor a shell runs any of it."""
    verbs = ("study", "advise", "bench")
    texts = dict.fromkeys(one.variable for verb in verbs for one in arguments.taken(verb) if not one.is_switch)
    heard = {}
    for verb in verbs:
        options, _ = hear(verb, *(f"{name}={value}" for name in texts))
        variables = {one.flag: one.variable for one in arguments.taken(verb)}
        heard |= {variables[option.split("=", 1)[0]]: option.split("=", 1)[1] for option in options}
    # make takes the blanks before a value away, as it does in its own files.
    assert heard == dict.fromkeys(texts, value.lstrip())
    assert not (ROOT / "x").exists()


@pytest.mark.parametrize("value", _ODD)
def test_what_is_in_the_environment_is_neither_run_nor_taken(hear, value):
    names = [*arguments.variables(), "JOBS"]
    for flags in ((), ("-e",)):
        options, notes = hear("study", "EFFORT=smoke", *flags, **dict.fromkeys(names, value))
        assert options == ["--effort=smoke"]
        assert "SEED of the environment is not taken; type it: `make study SEED=…`" in notes
        assert not any(words.startswith(("EFFORT", "LATENCY_MS", "JOBS")) for words in notes)
    assert not (ROOT / "x").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["HW=cpu", "MODEL=it's $(touch x).onnx"], "it's $(touch x).onnx: no such file or folder"),
        (["MODEL=My Drive/m.onnx"], "My Drive/m.onnx: no such file or folder"),
        (["MODEL=$(shell touch x)"], "Unknown model '$(shell touch x)'"),
        (["HW=x'; touch x; '"], "Unknown hardware set (HW) 'x'; touch x; ''"),
        (["MODEL=~/there is none.onnx"], f"{Path.home()}/there is none.onnx: no such file or folder"),
        (["RECIPE="], ""),
    ],
)
def test_what_cannot_be_read_is_refused_as_it_stands(make, tmp_path, words, said):
    done = make("plan", "EFFORT=smoke", *words, outputs=tmp_path)
    assert done.returncode == (2 if said else 0)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (ROOT / "x").exists()


def test_a_setting_of_make_itself_is_not_run_either(make):
    for name in ("BOOTSTRAP", "JOBS", "PYTHON"):
        for where in ({}, {name: "'; touch x; '$(shell touch x)"}):
            words = () if where else (f"{name}='; touch x; '$(shell touch x)",)
            done = make("install", *words, **where)
            assert done.returncode == (2 if name == "BOOTSTRAP" else 0)
    assert not (ROOT / "x").exists()


def test_trust_is_yes_or_no(make, tmp_path):
    done = make("plan", "EFFORT=smoke", "TRUST=maybe", outputs=tmp_path)
    assert done.returncode == 2
    assert "error: TRUST is 'maybe'; it must be yes (1, yes, true, on) or no (0, no, false, off)." in done.stderr


@pytest.mark.parametrize("name", _SWITCHES)
def test_a_switch_means_what_it_says(name):
    for value in ("1", "Yes", "ON", "true ", "0", "off", "False", "no", ""):
        options, _ = arguments.typed("study", {arguments.TYPED: name, name: value})
        said = {"": []}.get(value, [f"--{'' if value in ('1', 'Yes', 'ON', 'true ') else 'no-'}{name.lower()}"])
        assert options == said, value
    for value in ("maybe", "2", "yes please", "nope", "y"):
        with pytest.raises(InputError, match=f"{name} is '{value}'; it must be yes"):
            arguments.typed("study", {arguments.TYPED: name, name: value})


def test_what_has_no_effect_is_told(make, tmp_path):
    from studylib.adaptive.assignment import Assignment

    saved = tmp_path / "assignment.json"
    Assignment("onnx", {}, {}).save(saved)
    done = make(
        "plan",
        "EFFORT=smoke",
        "QPS=50",
        "BOUND=20",
        "LATENCY_MS=5",
        "TASK=other",
        "TRUST=1",
        f"ASSIGNMENT={saved}",
        "RECIPE=fp32",
        outputs=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "QPS has no effect without the server scenario; SCENARIO=server adds it",
        "BOUND has no effect without the server scenario; SCENARIO=server adds it",
        "LATENCY_MS has no effect on `make plan`; it is for `make advise`",
        "TASK has no effect without a MODEL of your own",
        "TRUST has no effect without a MODEL of your own",
        "ASSIGNMENT has no effect without an adaptive recipe; RECIPE=adaptive_wi8 chooses one",
    ):
        assert f"note: {words}." in done.stderr
    with_it = make("plan", "EFFORT=smoke", "QPS=50", "BOUND=20", "SCENARIO=server", outputs=tmp_path)
    assert "no effect" not in with_it.stderr
    assert "note: HW has no effect on `make help`" in make("help", "HW=cpu").stdout


def test_an_unknown_variable_ends_it_with_the_known_ones(make):
    done = make("plan", "MODLE=a b.onnx")
    assert done.returncode == 2
    assert "unknown variable MODLE. Known: HW, EFFORT" in done.stderr


def test_the_makefile_names_the_verbs_and_no_option():
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    verbs = re.search(r"^VERBS := (.*)$", makefile, re.MULTILINE)[1].split()
    assert set(verbs) == {verb for verbs in arguments.variables().values() for verb in verbs} | {"compare"}
    assert not [name for name in arguments.variables() if re.search(rf"\b{name}\b(?! ?[A-Z]*=)", makefile.split("help:")[0])]


def test_help_lists_every_option(make):
    done = make("help")
    assert done.returncode == 0, done.stderr
    listed = re.findall(r"^  ([A-Z_]+)= ", done.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(arguments.variables())
    assert listed[:3] == ["HW", "EFFORT", "STRICT"]


@pytest.mark.parametrize(
    "choice",
    [
        {"recipes": ("fp32", "fp16"), "runtimes": ("onnxruntime", "litert/cpu"), "batch_sizes": (1, 16), "seed": 7, "search": True},
        {"scenarios": ("single_stream", "offline", "server"), "target_qps": 12.5, "latency_bound_ms": 33.0, "driver": "loop"},
        {"task": "other", "trust": True, "max_accuracy_loss": 0.05},
    ],
)
def test_the_command_of_a_study_gives_the_same_study(plan, places, tmp_path, choice):
    """Typed into a shell, as it stands in run.json, the command makes the plan that it came from."""
    data = tmp_path / "it's 5$ & more.npz"
    np.savez(data, x=np.zeros((8, 6), np.float32))
    # DATA belongs to one model; several show how a list of odd names is read again.
    more = {"models": (str(places / "a, b/m.onnx"),), "data": str(data)} if "task" in choice else {}
    resolved = resolve("cpu", "smoke", **{"models": tuple(str(places / name) for name in PLACES)} | more | choice)
    words = shlex.split(resolved.command())
    assert words[:2] == ["make", "study"]
    done = plan("VERBOSE=1", *words[2:], outputs=tmp_path)
    assert list(_planned(done).values()) == list(resolved.choice.models)
    from studylib.study.opening import open_study

    wanted = open_study("cpu", "smoke", write=lambda line: None, **more | {"models": resolved.choice.models} | choice)
    assert plan_lines(done.stdout) == [f"{t.model} {t.label}, {t.scenario}, {t.threads} threads" for t in wanted.trials if not t.reason]
    assert "no effect" not in done.stderr
