"""Files that deploy a configuration: what must be in them, and that they hold together."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from studylib.errors import InputError
from studylib.models.zoo import MODELS
from studylib.serving.deployment import files
from studylib.serving.deployment.chosen import Chosen, served_name
from studylib.serving.replicas import is_old, why_not


@pytest.fixture
def chosen(tmp_path):
    (tmp_path / "model").mkdir()
    return Chosen("my-model", "onnxruntime fp32", MODELS["handmade"].write(tmp_path / "model", 0), "onnxruntime", 8, "spinning=off")


@pytest.fixture
def folder(chosen, tmp_path):
    return files.write(chosen, tmp_path / "deployment")


def test_kubernetes_has_three_replicas_of_two_processors_and_four_gib_and_scales_to_ten(folder):
    objects = {one["kind"]: one for one in yaml.safe_load_all((folder / "kubernetes.yaml").read_text())}
    assert set(objects) == {"Deployment", "Service", "HorizontalPodAutoscaler"}
    deployment = objects["Deployment"]["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    assert deployment["replicas"] == 3
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "4Gi"}
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"] == objects["Service"]["spec"]["selector"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in objects["Service"]["spec"]["ports"]} == set(ports) == {"rest", "grpc"}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"].startswith("/v2/health/")
    scaler = objects["HorizontalPodAutoscaler"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 10)
    assert scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    assert scaler["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    assert container["securityContext"]["runAsNonRoot"] is True
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] > 20 + 5


def test_compose_has_the_same_replicas_behind_nginx_on_this_machine_alone(folder):
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    deploy = services["server"]["deploy"]
    assert deploy["replicas"] == 3
    assert deploy["resources"]["limits"] == {"cpus": "2", "memory": "4G"}
    assert all(port.startswith("127.0.0.1:") for port in services["nginx"]["ports"])


def test_the_image_starts_what_was_chosen_with_no_more_threads_than_processors(folder):
    text = (folder / "Containerfile").read_text()
    command = json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)[1])
    assert command[:4] == ["python", "-m", "studylib.serving.own", "/models/my-model"]
    told = dict(zip(command[4::2], command[5::2], strict=True))
    assert told == {
        "--host": "0.0.0.0", "--model": "my-model", "--runtime": "onnxruntime", "--threads": "2", "--options": "spinning=off",
    }  # fmt: skip
    assert "USER server" in text
    assert "--require-hashes" in text


def test_its_packages_are_those_of_the_lock_with_their_hashes_and_no_framework_more(folder):
    text = (folder / "requirements.txt").read_text()
    names = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    assert {"onnxruntime", "fastapi", "grpcio", "uvicorn", "numpy"} <= set(names)
    assert not {"tensorflow", "openvino", "jupyterlab", "pandas"} & set(names)
    assert text.count("--hash=sha256:") >= len(names)


@pytest.mark.slow
def test_the_server_starts_with_these_packages_alone(folder):
    """In a process that finds nothing else."""
    allowed = sorted(re.findall(r"^([a-z0-9-]+)==", (folder / "requirements.txt").read_text(), re.MULTILINE))
    start = f"""
import importlib.metadata, re, sys
allowed = {{re.sub("[-_.]+", "-", name).lower() for name in {allowed!r}}}
homes = importlib.metadata.packages_distributions()
class Only:
    def find_spec(self, name, path=None, target=None):
        owners = homes.get(name.partition(".")[0])
        if owners and not any(re.sub("[-_.]+", "-", owner).lower() in allowed for owner in owners):
            raise ModuleNotFoundError(f"No module named {{name!r}} in the image", name=name)
sys.meta_path.insert(0, Only())
from studylib.serving.own.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
    told = ["--model", "my-model", "--runtime", "onnxruntime", "--rest-port", "0", "--grpc-port", "0", "--with-parent"]
    command = [sys.executable, "-c", start, str(folder / "versions"), *told]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        line = process.stdout.readline()
        process.terminate()
        said = process.stderr.read()
    assert line.startswith('{"ready": true'), said


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "")
def test_nginx_takes_its_configuration(tmp_path):
    servers = [{"host": "127.0.0.1", "rest": 8501, "grpc": 8500, "resolve": False}]
    told = {"servers": servers, "listen": "127.0.0.1", "rest_port": 18080, "grpc_port": 18081, "folder": str(tmp_path)}
    (tmp_path / "nginx.conf").write_text(files.rendered("nginx.conf", **told, old_nginx=is_old()))
    command = [shutil.which("nginx"), "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_same_model_again_is_no_new_version_and_another_is(chosen, tmp_path):
    versions = chosen.versions(tmp_path / "served")
    assert [one.name for one in versions.iterdir()] == ["1"]
    chosen.versions(tmp_path / "served")
    assert [one.name for one in versions.iterdir()] == ["1"]
    from studylib.models.zoo import handmade

    handmade.save(chosen.path, more=1)
    chosen.versions(tmp_path / "served")
    assert sorted(one.name for one in versions.iterdir()) == ["1", "2"]


@pytest.mark.parametrize(("model", "name"), [("mnist_cnn", "mnist-cnn"), ("My Model.v2!", "my-model-v2"), ("é", "model")])
def test_a_model_s_name_becomes_one_that_paths_and_kubernetes_take(model, name):
    assert served_name(model) == name


def test_what_cannot_be_packed_is_refused(chosen, tmp_path):
    from dataclasses import replace

    with pytest.raises(InputError, match="coreml cannot be packed into an image here"):
        files.write(replace(chosen, runtime="coreml"), tmp_path / "deployment")
