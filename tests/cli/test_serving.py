"""`make serve`, `make load` and `make deploy` as a user types them, on the results of the smoke study."""

import re
import subprocess
import sys

import pytest

from studylib.serving.servers.base import free_port
from tests import ROOT
from tests.command_line import cli, said
from tests.serving.served_models import awaited


@pytest.mark.slow
def test_what_was_advised_is_served_and_asked(smoke_study):
    rest, grpc = str(free_port()), str(free_port())
    command = [sys.executable, "-m", "studylib", "serve", "--rest-port", rest, "--grpc-port", grpc]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as server:
        try:
            first, second = server.stdout.readline(), server.stdout.readline()
            assert re.match(rf"serving .+ as 'mnist-cnn': REST on 127\.0\.0\.1:{rest}, gRPC on 127\.0\.0\.1:{grpc}\n", first)
            assert "a newer version is swapped in from" in second
            awaited(lambda: '"ready": true' in server.stdout.readline(), 60)
            for port, wire in ((grpc, "v2_grpc"), (rest, "tfs_rest")):
                told = ["--target", f"127.0.0.1:{port}", "--wire", wire, "--model", "mnist-cnn", "--seconds", "1"]
                done = cli("load", *told, "--clients", "2")
                assert "failed: 0" in done.stdout, done.stdout + done.stderr
                assert "medians: queue" in done.stdout
                done = cli("load", *told, "--qps", "20")
                assert "counted from when each query was due" in done.stdout, done.stdout + done.stderr
            other = cli("load", "--target", f"127.0.0.1:{rest}", "--wire", "v2_json", "--model", "other")
            assert other.returncode == 2
            assert "'other' is not served here; expected mnist-cnn" in other.stderr
        finally:
            server.terminate()
    assert server.returncode == 0


@pytest.mark.slow
def test_what_was_advised_is_packed(smoke_study):
    for _ in range(2):  # what lies there is replaced whole
        done = cli("deploy")
        assert done.returncode == 0, done.stderr
    folder = smoke_study[1] / "deployment" / "mnist-cnn"
    assert {one.name for one in folder.iterdir()} == {
        "Containerfile", "compose.yaml", "kubernetes.yaml", "nginx.conf", "requirements.txt", "studylib", "versions",
    }  # fmt: skip
    assert not list(folder.parent.glob(".writing-*"))
    assert oct(folder.stat().st_mode)[-3:] == "755"  # whoever builds the image may be another user


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("load",), "load needs TARGET=host:port and MODEL=name"),
        (("load", "--target", "nowhere", "--model", "m"), "TARGET is 'nowhere'; it must be host:port, 127.0.0.1:8500 for example"),
        (("load", "--target", "a:1", "--model", "m", "--wire", "v2_grcp"), "Unknown wire 'v2_grcp'. Known: tfs_grpc"),
        (("load", "--target", "a:1", "--model", "m", "--clients", "0"), "CLIENTS from 1 to 1024"),
        (("load", "--target", "127.0.0.1:9", "--model", "m", "--wire", "v2_json"), "Check TARGET, WIRE and MODEL"),
        (("serve", "--hw", "nowhere"), "Unknown hardware set (HW) 'nowhere'"),
        (("bench", "--bench", "stress", "--seconds", "-1"), "SECONDS is -1; it must be above 0"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, words, tmp_path):
    done = said(*arguments, outputs=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr


def test_without_results_there_is_nothing_to_serve(tmp_path):
    for verb in ("serve", "deploy"):
        done = said(verb, outputs=tmp_path)
        assert done.returncode == 2
        assert "error: " in done.stderr
        assert "make study" in done.stderr
