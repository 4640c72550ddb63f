"""The verb that installs tools and servers of others."""

from studylib.artifacts import environments
from studylib.bench import peers
from studylib.cli.cli import main


def test_tools_and_servers_of_others_are_installed_each_by_its_name(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "root", lambda: tmp_path)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    assert main(["peers", "--peer=tritn/onnxruntime"]) == 2
    assert "Did you mean 'triton/onnxruntime'" in capsys.readouterr().err
    assert main(["peers", "--peer=NNCF,triton/onnxruntime"]) == 1
    told = capsys.readouterr()
    assert [line.partition(":")[0] for line in told.out.splitlines()] == ["NNCF", "triton/onnxruntime"]
    assert told.err.count("it could not be installed and is left out") == 2
    (peers.environments()["NNCF"].folder / ".complete").touch()
    assert main(["peers", "--peer=NNCF"]) == 0
    assert capsys.readouterr().out == f"NNCF: {peers.environments()['NNCF'].folder}\n"
