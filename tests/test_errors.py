import pytest

from studylib.errors import UnknownNameError, lookup, suggestion


def test_unknown_name_says_what_is_known_and_what_is_near():
    with pytest.raises(UnknownNameError) as caught:
        lookup({"static_wi8_ai8": 1, "fp16": 2}, "recipe", "static_w8a8")
    assert str(caught.value) == "Unknown recipe 'static_w8a8'. Known: fp16, static_wi8_ai8. Did you mean 'static_wi8_ai8'?"
    assert caught.value.exit_status == 2


def test_nothing_is_suggested_when_nothing_is_near():
    assert suggestion("zzz", ["fp16", "fp32"]) == ""


def test_known_name_is_found():
    assert lookup({"a": 1}, "thing", "a") == 1
