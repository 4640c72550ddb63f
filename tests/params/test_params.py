import json
import shutil

import pytest

from studylib.errors import InputError, ParameterError, UnknownNameError
from studylib.params.efforts import EFFORTS
from studylib.params.known import check_names
from studylib.params.paths import root
from studylib.params.sets import hardware_sets, resolve


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder whose params/cpu.yaml a test may spoil."""
    shutil.copytree(root() / "params", tmp_path / "params")
    monkeypatch.setenv("STUDYLIB_ROOT", str(tmp_path))
    return tmp_path / "params" / "cpu.yaml"


@pytest.mark.parametrize("effort", list(EFFORTS))
@pytest.mark.parametrize("name", list(hardware_sets()))
def test_every_hardware_set_resolves_at_every_effort(name, effort):
    resolved = resolve(name, effort)
    assert resolved.hardware.name == name
    assert resolved.settings.name == effort


def test_the_nine_hardware_sets_are_there():
    named = {"cpu", "jetson", "jetson-agx", "raspberry-pi", "raspberry-pi-4", "android", "ios", "movidius", "cloud-gpu"}
    assert set(hardware_sets()) >= named


def test_effort_narrows_and_command_line_wins():
    assert resolve("cpu", "smoke").choice.models == ("mnist_cnn",)
    assert resolve("cpu", "quick").choice.models == ("mnist_cnn", "efficientnet_lite0")
    assert resolve("cpu", "smoke", models=("efficientnet_lite0",)).choice.models == ("efficientnet_lite0",)


def test_what_notebooks_are_given_resolves_to_the_same_study():
    resolved = resolve("cpu", "smoke", batch_sizes=(1, 4))
    assert resolved.changes() == {"batch_sizes": [1, 4]}
    assert resolve("cpu", "smoke", **json.loads(json.dumps(resolved.changes()))) == resolved


def test_unknown_hardware_set_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"Unknown hardware set \(HW\) 'jetsn'\. Known: .*Did you mean 'jetson'\?"):
        resolve("jetsn")


def test_unknown_effort():
    with pytest.raises(UnknownNameError, match=r"Unknown effort \(EFFORT\) 'fast'\. Known: full, quick, smoke\."):
        resolve("cpu", "fast")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  batch_sizes:", "  batch_size:", r"unknown key 'study\.batch_size'\. Known: .*Did you mean 'batch_sizes'\?"),
        ("[1, 8]", "[1, '8']", r"study\.batch_sizes\.1 is '8'; it should be a valid integer \(remove the quotes\)"),
        ("[1, 8]", "[0]", r"study\.batch_sizes\.0 is 0; it should be greater than or equal to 1"),
        ("[1, 8]", "[true]", r"study\.batch_sizes\.0 is True; it should be a valid integer"),
        ("[1, 8]", "[1, 8]\n  max_steal: 1e-1", r"study\.max_steal is '1e-1'; .*write 1\.0e-3"),
        ("[mnist_cnn, efficientnet_lite0]", "[]", r"study\.models is \[\]; .*at least 1 item"),
        ("[x86_64, aarch64, arm64]", "[x86]", r"hardware\.host\.machines\.0 is 'x86'; it should be 'x86_64', 'aarch64'"),
        ("  name: cpu", "  name: other", r"hardware\.name is 'other'; it must be the file's name, 'cpu'"),
        ("study:", "studdy:", r"unknown key 'studdy'\. Known: hardware, study, efforts\. Did you mean 'study'\?"),
        ("hardware:", "hardware: [", r"not readable as YAML"),
        ("efforts:", "study: {}\nefforts:", r"the key 'study' stands twice"),
    ],
)
def test_bad_content_is_refused_with_file_key_value_and_what_is_allowed(project, old, new, message):
    text = project.read_text()
    assert old in text
    project.write_text(text.replace(old, new, 1))
    with pytest.raises(ParameterError, match=message) as caught:
        resolve("cpu")
    assert "params/cpu.yaml" in str(caught.value)


def test_a_file_that_is_no_mapping_or_not_text(project):
    project.write_text("- just\n- a list\n")
    with pytest.raises(ParameterError, match="holds list; it must hold keys with values"):
        resolve("cpu")
    project.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParameterError, match="not readable as YAML"):
        resolve("cpu")
    project.unlink()
    project.mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        resolve("cpu")


def test_yaml_cannot_make_python_objects(project):
    project.write_text("hardware: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ParameterError, match="not readable as YAML"):
        resolve("cpu")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hardware: &a {b: 1}\nstudy: *a\n", "aliases"),
        ("hardware: {title: 2020-13-45}\n", "not readable as YAML"),
        ("hardware: !!int abc\n", "not readable as YAML"),
        ("[" * 5000, "not readable as YAML"),
        ("", "holds NoneType"),
    ],
)
def test_odd_yaml_is_refused_in_words(project, text, words):
    project.write_text(text)
    with pytest.raises(ParameterError, match=words) as caught:
        resolve("cpu")
    assert len(str(caught.value)) < 2000


def test_numbers_beyond_any_machine_are_refused_and_shown_short(project):
    project.write_text(project.read_text().replace("study:", "  memory_bytes: 1" + "0" * 400 + "\nstudy:", 1))
    with pytest.raises(ParameterError, match=r"hardware\.memory_bytes") as caught:
        resolve("cpu")
    assert len(str(caught.value)) < 300


def test_a_bad_item_is_told_once(project):
    with pytest.raises(ParameterError) as caught:
        resolve("cpu", batch_sizes=(0,))
    assert len(str(caught.value).splitlines()) == 1


def test_names_are_checked_against_the_tables():
    resolved = resolve("cpu", "smoke", models=("mnist_cn",))
    with pytest.raises(ParameterError, match=r"models: Unknown model 'mnist_cn'\. Known: .*Did you mean 'mnist_cnn'\?"):
        check_names(resolved, ["mnist_cnn"], [], {})


def test_a_provider_is_checked_too():
    resolved = resolve("cpu", "smoke", runtimes=("onnxruntime/cudaa",))
    with pytest.raises(ParameterError, match=r"Unknown provider of onnxruntime 'cudaa'\. Known: cpu, cuda\. Did you mean 'cuda'\?"):
        check_names(resolved, resolved.choice.models, resolved.choice.recipes, {"onnxruntime": ("cpu", "cuda")})
    resolved = resolve("cpu", "smoke", runtimes=("tensorrt",))
    with pytest.raises(ParameterError, match=r"Unknown provider of tensorrt 'cpu'\. Known: cuda, dla\. Did you mean 'cuda'\?"):
        check_names(resolved, resolved.choice.models, resolved.choice.recipes, {"tensorrt": ("cuda", "dla")})


@pytest.mark.parametrize(
    "choice", [{"batch_sizes": (1, 1)}, {"recipes": ("fp32", "fp32")}, {"runtimes": ("onnxruntime", "onnxruntime/cpu")}]
)
def test_a_name_that_stands_twice_is_refused(choice):
    with pytest.raises(ParameterError, match="it should name each once; twice: "):
        resolve("cpu", "smoke", **choice)


def test_the_command_that_runs_a_study_again_names_what_was_chosen():
    assert resolve("cpu", "smoke").command() == "make study HW=cpu EFFORT=smoke"
    chosen = resolve("cpu", "quick", runtimes=("litert",), batch_sizes=(1, 16), seed=3)
    assert chosen.command() == "make study HW=cpu EFFORT=quick RUNTIME=litert BATCH=1,16 SEED=3"


def test_the_command_names_scenarios_beside_the_usual_ones():
    chosen = resolve("cpu", "smoke", scenarios=("single_stream", "offline", "server"), driver="loadgen", target_qps=50.0)
    assert chosen.command() == "make study HW=cpu EFFORT=smoke SCENARIO=server DRIVER=loadgen QPS=50.0"
    assert resolve("cpu", "smoke", latency_bound_ms=20.0).command().endswith(" BOUND=20.0")


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"driver": "hand"}, r"driver is 'hand'; it should be 'auto', 'loadgen' or 'loop'"),
        ({"target_qps": 0.0}, r"target_qps is 0\.0; it should be greater than 0"),
        ({"latency_bound_ms": -1.0}, r"latency_bound_ms is -1\.0; it should be greater than 0"),
        ({"scenarios": ("server", "server")}, "it should name each once; twice: server"),
    ],
)
def test_how_queries_come_is_checked(choice, words):
    with pytest.raises(ParameterError, match=words):
        resolve("cpu", "smoke", **choice)


def test_a_bad_name_on_the_command_line_is_refused():
    with pytest.raises(ParameterError, match=r"command line: models\.0 is 'a\\nb'"):
        resolve("cpu", "smoke", models=("a\nb",))
    with pytest.raises(ParameterError, match=r"command line: recipes\.0 is '\.\./x'"):
        resolve("cpu", "smoke", recipes=("../x",))
    with pytest.raises(ParameterError, match=r"command line: task is 'vision'; it should be 'classification', "):
        resolve("cpu", "smoke", task="vision")


def test_the_command_of_a_study_of_an_own_model_can_be_typed_again():
    chosen = resolve("cpu", "smoke", models=("/my models/a.onnx",), data="/d.npz", task="other", trust=True)
    assert chosen.command() == "make study HW=cpu EFFORT=smoke MODEL='/my models/a.onnx' DATA=/d.npz TASK=other TRUST=1"


def test_the_command_quotes_what_a_shell_would_read():
    """A dollar stays one: make hands over what was typed, as it stands."""
    chosen = resolve("cpu", "smoke", models=("/it's/price$5, a/m.onnx",), data="/a b.npz")
    assert chosen.command() == """make study HW=cpu EFFORT=smoke MODEL='/it'"'"'s/price$5, a/m.onnx' DATA='/a b.npz'"""
