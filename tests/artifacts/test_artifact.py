import importlib.metadata
import json
import logging
import sys

import pytest

from studylib.artifacts.store import Store, content_hash, derived_key, package_version, remove_leftovers, write_text
from studylib.errors import ArtifactError, OutputError

FACTS = {"format": "onnx", "precision": "fp32", "model": "m", "lineage": ({"made_by": "test"},)}


def _writer(content: bytes, calls: list | None = None):
    def write(folder):
        if calls is not None:
            calls.append(folder)
        (folder / "model.onnx").write_bytes(content)
        return folder / "model.onnx"

    return write


def test_an_artifact_is_made_once_and_found_again(tmp_path):
    store, calls = Store(tmp_path), []
    made = store.make("ab" * 32, FACTS, _writer(b"weights", calls))
    again = store.make("ab" * 32, FACTS, _writer(b"weights", calls))
    assert len(calls) == 1
    assert again == made == store.get("ab" * 32)
    assert made.path.read_bytes() == b"weights"
    assert (made.size_bytes, made.sha256) == (7, content_hash(made.path))


def test_a_corrupted_artifact_is_detected_removed_said_and_rebuilt(tmp_path, caplog):
    store = Store(tmp_path)
    made = store.make("ab" * 32, FACTS, _writer(b"weights"))
    made.path.write_bytes(b"weightz")
    with caplog.at_level(logging.WARNING):
        assert store.get("ab" * 32) is None
    assert "is corrupted: its bytes do not match its hash. It is removed and will be rebuilt." in caplog.text
    assert store.make("ab" * 32, FACTS, _writer(b"weights")).path.read_bytes() == b"weights"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"path": "model.onnx"}'])
def test_a_damaged_description_counts_as_corruption(tmp_path, damage):
    store = Store(tmp_path)
    made = store.make("ab" * 32, FACTS, _writer(b"weights"))
    (made.path.parent.parent / "artifact.json").write_text(damage)
    assert store.get("ab" * 32) is None


def test_an_added_file_in_a_folder_changes_its_hash(tmp_path):
    (tmp_path / "a").write_text("1")
    before = content_hash(tmp_path)
    (tmp_path / "b").write_text("2")
    assert content_hash(tmp_path) != before


def test_a_failing_writer_leaves_nothing_behind(tmp_path):
    store = Store(tmp_path)

    def write(folder):
        (folder / "half").write_text("half")
        raise ValueError("converter failed")

    with pytest.raises(ValueError, match="converter failed"):
        store.make("ab" * 32, FACTS, write)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(ArtifactError, match="nothing was written"):
        Store(tmp_path).make("ab" * 32, FACTS, lambda folder: folder / "absent")


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / ".writing-x").mkdir()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_key_names_everything_that_made_it():
    base = derived_key("maker", {"bits": 8}, ("parent",), "code", ("numpy",))
    assert base == derived_key("maker", {"bits": 8}, ("parent",), "code", ("numpy",))
    others = {
        derived_key("other", {"bits": 8}, ("parent",), "code", ("numpy",)),
        derived_key("maker", {"bits": 4}, ("parent",), "code", ("numpy",)),
        derived_key("maker", {"bits": 8}, ("another",), "code", ("numpy",)),
        derived_key("maker", {"bits": 8}, ("parent",), "code", ("scipy",)),
        derived_key("maker", {"bits": 8}, ("parent",), "other code", ("numpy",)),
    }
    assert len(others | {base}) == 6


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    write_text(tmp_path / "deep" / "file.json", "{}")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.json"]


def test_writing_where_a_file_stands_says_what_to_do(tmp_path):
    (tmp_path / "outputs").write_text("a file, not a folder")
    with pytest.raises(OutputError, match=r"cannot write to .*STUDYLIB_OUTPUTS"):
        write_text(tmp_path / "outputs" / "x.json", "{}")


@pytest.mark.parametrize(
    "change", [{"path": "/etc/hostname"}, {"path": "../../x"}, {"key": "cd" * 32}, {"size_bytes": 1}, {"lineage": [1]}, {"model": 3}]
)
def test_a_description_of_something_else_is_refused(tmp_path, change):
    store = Store(tmp_path / "store")
    made = store.make("ab" * 32, FACTS, _writer(b"weights"))
    (tmp_path / "store" / "ab" / "x").write_bytes(b"weights")
    path = made.path.parent.parent / "artifact.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert store.get("ab" * 32) is None


@pytest.mark.parametrize("level", ["ab", "ab/" + "ab" * 32])
def test_a_repair_never_deletes_through_a_link(tmp_path, level):
    store = Store(tmp_path / "store")
    store.make("ab" * 32, FACTS, _writer(b"weights"))
    outside, link = tmp_path / "outside", tmp_path / "store" / level
    link.rename(outside)
    link.symlink_to(outside)
    assert store.get("ab" * 32) is None
    assert list(outside.rglob("model.onnx"))
    assert store.make("ab" * 32, FACTS, _writer(b"weights")).path.read_bytes() == b"weights"


@pytest.mark.parametrize(("name", "version"), [("onnxruntime", "1.31.1"), ("onnxruntime-gpu", "1.31.1 (onnxruntime-gpu)")])
def test_the_version_of_onnx_runtime_is_that_of_the_files_that_are_there(tmp_path, monkeypatch, name, version):
    """Two builds may be installed, of two versions, and one folder holds the files of the last."""
    (tmp_path / "onnxruntime/capi").mkdir(parents=True)
    (tmp_path / "onnxruntime/__init__.py").touch()
    (tmp_path / "onnxruntime/capi/build_and_package_info.py").write_text(f"package_name = '{name}'\n__version__ = '1.31.1'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "1.30.0")
    package_version.cache_clear()
    assert package_version("onnxruntime") == version
    package_version.cache_clear()
