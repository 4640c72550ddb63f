"""How TensorFlow Serving is started: its own program where it is, asked on its own wires. Here our server stands in for the program.

What this shows is what we tell it and where we ask; that the product itself answers so is seen only where it is installed.
"""

import sys
from pathlib import Path

import pytest

from studylib.errors import TrialError
from studylib.serving.clients import connected
from studylib.serving.requests import Request
from studylib.serving.servers import SERVERS, Wishes
from studylib.serving.servers.tensorflow_serving import PROGRAM, batching_file
from tests import ROOT
from tests.serving.served_models import SIGNATURE, answers, query, write

_STANDS_IN = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(ROOT)!r})
if "--version" in sys.argv:
    print("TensorFlow ModelServer: 2.99.0+stands.in")
    sys.exit()
told = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
assert told["tensorflow_intra_op_parallelism"] == told["tensorflow_inter_op_parallelism"] == "1", told
if "enable_batching" in told:
    assert "max_batch_size {{ value: 8 }}" in open(told["batching_parameters_file"]).read()
from studylib.serving.own.__main__ import main
ports = ["--rest-port", told["rest_api_port"], "--grpc-port", told["port"]]
sys.exit(main([told["model_base_path"], "--model", told["model_name"], "--runtime", "onnxruntime", *ports, "--with-parent"]))
"""


@pytest.fixture
def stands_in(tmp_path, monkeypatch):
    program = tmp_path / "bin" / PROGRAM
    program.parent.mkdir()
    program.write_text(_STANDS_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return SERVERS["tensorflow_serving"]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 8])
def test_it_is_told_its_model_ports_threads_and_batching_and_asked_on_its_own_wires(stands_in, tmp_path, batch):
    assert stands_in.why_not("tensorflow") is None
    assert stands_in.version() == "2.99.0+stands.in"
    path = write(tmp_path / "made") / "model.onnx"
    with stands_in.start(Wishes(path, "tensorflow", batch=batch, wait_ms=2)) as running:
        assert running.pid == running.process.pid
        for wire in stands_in.wires:
            client = connected(wire, running.address, SIGNATURE)
            assert client.ask(Request(query())).outputs["n"].tolist() == answers(query())["n"].tolist()
            client.close()
    assert not Path(running.folder).exists()


@pytest.mark.slow
def test_a_program_that_ends_at_once_says_its_last_words(stands_in, tmp_path):
    (tmp_path / "bin" / PROGRAM).write_text(f"#!{sys.executable}\nraise SystemExit('no such flag')\n")
    with pytest.raises(TrialError, match="the server ended with status 1; it said: no such flag"):
        stands_in.start(Wishes(write(tmp_path / "made") / "model.onnx", "tensorflow"), timeout_s=20)


def test_its_batching_file_has_its_own_names():
    told = batching_file(Wishes(Path("m"), "tensorflow", sessions=2, batch=16, wait_ms=1.5))
    assert told.splitlines() == [
        "max_batch_size { value: 16 }",
        "batch_timeout_micros { value: 1500 }",
        "num_batch_threads { value: 2 }",
        "max_enqueued_batches { value: 256 }",
    ]
