"""An option of a study is declared once, and everything else follows from that."""

import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from studylib.cli import arguments
from studylib.errors import InputError, ParameterError
from studylib.params.sets import resolve
from studylib.params.study_options import Choice, options
from studylib.params.typed import Typed
from studylib.study.sweeps import SWEEPS
from tests import ROOT

_BEFORE = "    # Share of the busy"
_DECLARATION = f"""    inner_warmth: Annotated[
        StrictInt, Field(ge=0), Typed("INNER_WARMTH", "how warm it should be (default: 3)", whole_number, "3")
    ] = 3
{_BEFORE}"""
_HEARD = """
import json, os, sys
from studylib.cli import arguments, cli
from studylib.study.notebooks import Runner
from studylib.study.opening import open_study
words, notes = arguments.typed("plan", os.environ)
given = arguments.parser("", cli.VERBS).parse_args([*sys.argv[1:], *words])
study = open_study(given.hw, given.effort, write=lambda line: None, **arguments.choice(given))
run = json.loads(study.params.model_dump_json())
print(json.dumps({"notes": notes, "run.json": run["choice"]["inner_warmth"], "command": study.params.command(),
                  "notebooks": Runner(study)._parameters}))
"""


def test_every_option_of_a_study_says_how_it_is_typed():
    unsaid = set(Choice.model_fields) - set(options())
    assert unsaid == {"max_steal"}  # of the machine, which the hardware set knows
    assert all(isinstance(one, Typed) and one.help and one.variable.isupper() for one in options().values())
    assert len({one.variable for one in options().values()}) == len(options())


def test_the_help_names_what_there_is():
    assert all(name in options()["sweeps"].help for name in SWEEPS)


@pytest.mark.slow
def test_adding_an_option_is_one_edit(tmp_path):
    """In a copy: one field, and make, the command line, notebooks, run.json, the reproducing command and `make help` have it."""
    for name in ("studylib", "params", "notebooks", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    declared = tmp_path / "studylib" / "params" / "study_options.py"
    text = declared.read_text()
    assert text.count(_BEFORE) == 1
    declared.write_text(text.replace(_BEFORE, _DECLARATION))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STUDYLIB")}
    clean |= {"STUDYLIB_ROOT": str(tmp_path), "PYTHONPATH": str(tmp_path), "STUDYLIB_OUTPUTS": str(tmp_path / "outputs")}

    def heard(*words: str, **more: str) -> dict:
        command = [sys.executable, "-c", _HEARD, *words]
        done = subprocess.run(command, capture_output=True, text=True, env=clean | more, cwd=tmp_path, timeout=120, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    typed = heard("plan", "--effort", "smoke", STUDYLIB_TYPED="INNER_WARMTH", INNER_WARMTH="7")  # as make hands it over
    spoken = heard("plan", "--effort", "smoke", "--inner-warmth", "7")
    assert (
        typed
        == spoken
        == {
            "notes": [],
            "run.json": 7,
            "command": "make study HW=cpu EFFORT=smoke INNER_WARMTH=7",
            "notebooks": {"hardware": "cpu", "effort": "smoke", "choice": {"inner_warmth": 7}},
        }
    )
    shown = subprocess.run([sys.executable, tmp_path / "requirements" / "options.py"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^  INNER_WARMTH= *how warm it should be", shown, re.MULTILINE)


def _drawn(rng: random.Random) -> dict:
    """A choice with some of its options drawn at random."""

    def some(names, least: int = 1) -> tuple:
        return tuple(rng.sample(list(names), rng.randint(least, 3)))

    def path() -> str:
        return "/there is/" + "".join(rng.choice("ab ,'\"$%#`;&\\é模()*~!=") for _ in range(rng.randint(1, 20)))

    drawn = {
        "models": some(("mnist_cnn", "efficientnet_lite0", "handmade", "/there is/none.onnx")),
        "recipes": some(("fp32", "fp16", "static_wi8_ai8", "all")),
        "runtimes": some(("litert", "onnxruntime/cuda", "openvino")),
        "batch_sizes": some(range(1, 4097)),
        "sweeps": some(SWEEPS, 0),
        "serve": some(("own/onnxruntime", "own/tensorflow", "own/litert"), 0),
        "scenarios": ("single_stream", "offline", *some(("server", "multi_stream", "streaming"), 0)),
        "driver": rng.choice(("auto", "loadgen", "loop")),
        "target_qps": rng.uniform(0.001, 1e6),
        "latency_bound_ms": rng.uniform(0.001, 60_000),
        "search": rng.random() < 0.5,
        "seed": rng.randrange(2**32),
        "max_accuracy_loss": rng.random(),
        "least_useful": rng.random(),
        "further_s": rng.uniform(0, 1e6),
        "all_threads": rng.random() < 0.5,
        "teach": rng.random() < 0.5,
        "assignment": path(),
        "data": path(),
        "task": rng.choice(("classification", "other")),
        "trust": rng.random() < 0.5,
    }
    assert set(drawn) == set(options()), "a new option: draw it here"
    return {name: drawn[name] for name in rng.sample(list(drawn), rng.randint(0, len(drawn)))}


@pytest.mark.parametrize("seed", range(100))
def test_the_reproducing_command_gives_the_same_parameters(seed):
    resolved = resolve("cpu", "smoke", **_drawn(random.Random(seed)))
    words = dict(word.split("=", 1) for word in shlex.split(resolved.command())[2:])
    options, notes = arguments.typed("study", {arguments.TYPED: " ".join(words)} | words)
    given = arguments.parser("", {"study": print}).parse_args(["study", *options])
    assert notes == []
    assert resolve(given.hw, given.effort, **arguments.choice(given)) == resolved
    assert resolve("cpu", "smoke", **json.loads(json.dumps(resolved.changes()))) == resolved


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("seed", "1.5", "SEED is '1.5'; it must be a whole number"),
        ("batch_sizes", "1,x", "BATCH is 'x'; it must be a whole number, or several separated by commas"),
        ("max_accuracy_loss", "2", "LOSS is '2'; it must be a share between 0 and 1"),
        ("target_qps", "many", "QPS is 'many'; it must be a number"),
        ("trust", "maybe", "TRUST is 'maybe'; it must be yes"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_is_allowed(name, text, said):
    option = options()[name]
    with pytest.raises(InputError, match=re.escape(said)):
        option.reads(text, option.variable)


def test_a_prompt_completes_every_option():
    import inspect

    import studylib as sl

    signature = inspect.signature(sl.open_study)
    assert list(signature.parameters) == ["hardware_set", "effort", "write", *options()]
    assert sl.open_study.__doc__.count("sl.open_study(") >= 3


def test_a_study_and_its_results_show_themselves_in_one_line(tmp_path, monkeypatch):
    import studylib as sl

    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(tmp_path))
    study = sl.open_study("cpu", "smoke", recipes=["fp32"], runtimes=["litert"], sweeps=[])
    assert re.fullmatch(r"<Study cpu, effort smoke: 2 trials of mnist_cnn, 0 skipped; .*; in .*cpu>", repr(study))
    assert study._repr_html_().startswith("<p>Study cpu")
    assert re.fullmatch(r"<Results in .*cpu: .*>", repr(study.results))
    with pytest.raises(ParameterError, match=r"unknown key 'recipe'\. Known: .*Did you mean 'recipes'"):
        sl.open_study("cpu", "smoke", recipe=["fp32"])


def test_a_switch_that_a_hardware_set_turns_on_can_be_turned_off(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "params", tmp_path / "params")
    path = tmp_path / "params" / "cpu.yaml"
    path.write_text(path.read_text().replace("  batch_sizes: [1, 8]\n", "  batch_sizes: [1, 8]\n  search: true\n", 1))
    monkeypatch.setenv("STUDYLIB_ROOT", str(tmp_path))
    assert resolve("cpu", "smoke").choice.search
    off = resolve("cpu", "smoke", search=False)
    assert off.command() == "make study HW=cpu EFFORT=smoke SEARCH=0"
    words, _ = arguments.typed("study", {arguments.TYPED: "SEARCH", "SEARCH": "0"})
    given = arguments.parser("", {"study": print}).parse_args(["study", "--effort", "smoke", *words])
    assert resolve("cpu", "smoke", **arguments.choice(given)) == off


def test_an_effort_may_say_any_option(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "params", tmp_path / "params")
    path = tmp_path / "params" / "cpu.yaml"
    path.write_text(path.read_text().replace("    sweeps: [xnnpack]\n", "    sweeps: [xnnpack]\n    driver: loop\n", 1))
    monkeypatch.setenv("STUDYLIB_ROOT", str(tmp_path))
    assert [resolve("cpu", effort).choice.driver for effort in ("smoke", "quick")] == ["loop", "auto"]


def test_what_is_given_at_a_prompt_is_found_from_elsewhere(tmp_path, monkeypatch):
    import studylib as sl

    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        sl.open_study("cpu", "smoke", models=["mnist_cnn"], data="there is none.npz")
    assert "DATA belongs to one MODEL that is a file" in str(caught.value)
    study = sl.open_study("cpu", "smoke", recipes=["fp32"], models=["handmade"], runtimes=["onnxruntime"], sweeps=[], assignment="a.json")
    assert study.params.choice.assignment == str(tmp_path / "a.json")
    with pytest.raises(ParameterError, match=r"models is 'mnist_cnn'; it should be a valid tuple"):
        sl.open_study("cpu", "smoke", models="mnist_cnn")
