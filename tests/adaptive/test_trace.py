import json

from studylib.adaptive.trace import Trace

HEADER = {"inputs": "abc", "budget": {"max_accuracy_loss": 0.01}, "threads": (1, 2)}


def traced(path, *keys):
    trace = Trace(path, HEADER)
    for key in keys:
        if trace.known(key) is None:
            trace.add({"key": key, "seconds": 1.0})
    return trace


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_step_is_in_the_file_at_once(tmp_path):
    trace = traced(tmp_path / "t", "a")
    assert [line.get("key") for line in lines(tmp_path / "t")] == [None, "a"]
    trace.add({"key": "b", "seconds": 2.0})
    assert lines(tmp_path / "t")[-1] == {"key": "b", "seconds": 2.0}


def test_known_steps_are_not_repeated(tmp_path):
    traced(tmp_path / "t", "a", "b")
    again = Trace(tmp_path / "t", HEADER)
    assert again.known("a") == {"key": "a", "seconds": 1.0} and again.known("b") is not None and again.known("c") is None


def test_a_torn_last_line_is_dropped(tmp_path):
    traced(tmp_path / "t", "a", "b")
    content = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(content[:-7])
    again = Trace(tmp_path / "t", HEADER)
    assert again.known("a") is not None and again.known("b") is None
    again.add({"key": "b2", "seconds": 1.0})
    assert [line.get("key") for line in lines(tmp_path / "t")] == [None, "a", "b2"]


def test_a_line_without_its_end_is_torn_even_if_it_reads(tmp_path):
    traced(tmp_path / "t", "a", "b")
    (tmp_path / "t").write_bytes((tmp_path / "t").read_bytes()[:-1])
    again = Trace(tmp_path / "t", HEADER)
    assert again.known("a") is not None and again.known("b") is None


def test_another_header_begins_anew(tmp_path):
    traced(tmp_path / "t", "a")
    other = Trace(tmp_path / "t", HEADER | {"inputs": "other"})
    assert other.known("a") is None and len(lines(tmp_path / "t")) == 1


def test_where_the_course_differs_the_old_one_ends(tmp_path):
    traced(tmp_path / "t", "a", "b", "c")
    again = Trace(tmp_path / "t", HEADER)
    assert again.known("a") is not None and again.known("x") is None and again.known("c") is None
    assert [line.get("key") for line in lines(tmp_path / "t")] == [None, "a"]


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "t").write_bytes(b"\xff\x00 no json\n")
    assert Trace(tmp_path / "t", HEADER).known("a") is None
