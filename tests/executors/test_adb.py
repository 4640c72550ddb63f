"""Finding a device and talking to it, on a stand-in (see stand_in_phone)."""

import os
import time

import pytest

from studylib.errors import TrialError
from studylib.executors.phone import adb
from studylib.executors.phone.adb import attached
from tests.executors.stand_in_phone import SERIAL, attach

pytestmark = pytest.mark.slow


@pytest.fixture
def phone(tmp_path, monkeypatch):
    return attach(tmp_path, monkeypatch)


def test_without_adb_the_words_say_what_to_install():
    found, why = attached({"PATH": "/nowhere"})
    assert found is None
    assert why == "adb cannot be found (install Android's platform tools, or name adb with ADB=path)"
    assert attached({"PATH": os.environ["PATH"], "ADB": "/no such/adb"})[1].startswith("/no such/adb cannot be found")


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ("", "adb lists no device (plug the phone in, and switch USB debugging on"),
        ("A\tunauthorized\n", "has not authorised this computer (unlock it and accept the dialog"),
        ("A\toffline\n", "adb calls the device offline (plug it in again"),
        ("A\tno permissions (missing udev rules?); see [http://x]\n", "adb says 'no permissions (missing udev rules?); see [http://x]'"),
        ("A\tdevice\nB\tdevice\n", "adb lists 2 devices (set ANDROID_SERIAL to one that `adb devices` names)"),
    ],
)
def test_why_no_device_is_used(tmp_path, monkeypatch, devices, words):
    attach(tmp_path, monkeypatch, f"* daemon started successfully\nList of devices attached\n{devices}\n")
    found, why = attached()
    assert found is None
    assert words in why


def test_a_serial_number_chooses_and_stays_out_of_the_words(tmp_path, monkeypatch):
    attach(tmp_path, monkeypatch, f"List of devices attached\nB\tunauthorized\n{SERIAL}\tdevice\n")
    assert attached()[0].serial == SERIAL  # the only one that may be used
    monkeypatch.setenv("ANDROID_SERIAL", "B")
    assert "has not authorised" in attached()[1]
    monkeypatch.setenv("ANDROID_SERIAL", "secret")
    assert attached() == (None, "adb lists no device with the serial number in ANDROID_SERIAL (`adb devices` names those it has)")


def test_an_adb_that_hangs_or_fails_costs_seconds(phone, monkeypatch):
    (phone.folder / "broken").touch()
    assert attached()[1].startswith("adb failed: ")
    (phone.folder / "slow").touch()
    monkeypatch.setattr(adb, "ANSWER_S", 1.0)
    begun = time.monotonic()
    assert attached()[1] == "adb gave no answer within 1 s (`adb kill-server`, then again)"
    assert time.monotonic() - begun < 10


def test_words_arrive_as_they_were_given_and_the_status_comes_back(phone):
    found, _ = attached()
    odd = ["two  words", "it's", 'a "quote"', "$HOME `id` $(id)", "a;b&c|d>e", "{}%s", "*", "ü", ""]
    assert found.shell(["printf", "[%s]\n", *odd], 20) == (0, [f"[{word}]" for word in odd])
    assert found.shell(["sh", "-c", "echo last; exit 3"], 20) == (3, ["last"])
    assert found.shell(["no-such-program"], 20)[0] == 127


def test_files_with_odd_names_are_copied_both_ways(phone, tmp_path):
    found, _ = attached()
    path = tmp_path / "it's $HOME; a `file`"
    path.write_bytes(b"\r\n\0content")
    found.push(path, "/data/local/tmp/there", 20)
    found.pull("/data/local/tmp/there", tmp_path / "back & here", 20)
    assert (tmp_path / "back & here").read_bytes() == b"\r\n\0content"
    with pytest.raises(TrialError, match="adb pull failed: adb: error: failed to stat remote object"):
        found.pull("/data/local/tmp/nothing", tmp_path / "x", 20)


def test_what_hangs_is_killed_on_the_device_too(phone):
    found, _ = attached()
    with pytest.raises(TrialError, match=r"timeout: no answer from the device within 2 s; what ran there is ended"):
        found.shell(["sh", "-c", "echo $$ > /data/local/tmp/id; exec sleep 60"], 2)
    process = int((phone.folder / "data/local/tmp/id").read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("it still runs")


def test_a_device_that_goes_away_is_said(phone):
    found, _ = attached()
    assert found.why_gone(0) == ""
    (phone.folder / "unplugged").touch()
    with pytest.raises(TrialError, match=r"the device went away: error: device '.*' not found"):
        found.shell(["true"], 20)
    assert found.why_gone(0) == "adb lists it no more (plug it in again)"
