"""A phone as a host, and a study of it: its facts, its tool, what is planned on it. On a stand-in (see stand_in_phone)."""

import hashlib
from dataclasses import replace

import pytest

from studylib.errors import InputError, NotOnThisHostError
from studylib.executors import LocalExecutor, PhoneExecutor, find_phone
from studylib.executors.phone.phone import disturbances
from studylib.machine import hardware
from studylib.params.sets import resolve
from studylib.study import before_timing
from studylib.study.opening import open_study
from tests.executors.stand_in_phone import SERIAL, THERMAL, attach, executable

ANDROID = resolve("android").hardware


@pytest.fixture
def attached(tmp_path, monkeypatch):
    return attach(tmp_path, monkeypatch)


def test_its_facts_are_the_hosts(attached):
    phone, why = find_phone()
    assert why == ""
    assert phone.host == hardware.Host(
        "Android", "aarch64", "SM8250", ("asimd", "asimddp", "asimdhp"), 8, 8, 7812345 * 1024, "", "", (), "5.10.198-android12"
    )
    assert hardware.mismatches(ANDROID, phone.host) == []
    assert phone.host.id != hardware.probe().id
    assert SERIAL not in repr(phone.host)


def test_a_phone_that_says_less_is_still_a_host(attached):
    for name in ("getprop", "nproc"):
        attached.program(name, "exit 1")
    (attached.folder / "sys/devices/system/cpu/present").write_text("0-3,6\n")
    host = find_phone()[0].host
    assert (host.processor, host.cpus, host.threads) == ("Qualcomm Technologies, Inc SM8250", 5, 5)


def test_a_device_that_says_nothing_is_no_phone(attached):
    (attached.folder / "proc/meminfo").unlink()
    assert find_phone() == (None, "the device does not say what it is (`adb shell uname -m` and `cat /proc/meminfo` must answer)")


def test_a_smaller_phone_is_measured_and_is_a_rehearsal(attached):
    (attached.folder / "proc/meminfo").write_text("MemTotal: 1000000 kB\n")
    study = open_study("android", "smoke")
    assert study.plan.phone is not None
    assert study.mismatches == ["1.0 GB of memory are granted, not 2.0 GB"]


def test_the_tool_is_the_users_or_the_one_on_the_phone(attached, monkeypatch):
    phone, _ = find_phone()
    digest = hashlib.sha256(attached.tool.read_bytes()).hexdigest()
    assert (phone.tool, phone.version) == (attached.tool, f"benchmark_model {digest[:12]}")
    monkeypatch.setenv("BENCHMARK_MODEL", "/no such file")
    assert find_phone()[0].why_no_tool.startswith("BENCHMARK_MODEL is '/no such file', which is no file here; give LiteRT's")
    monkeypatch.delenv("BENCHMARK_MODEL")
    assert find_phone()[0].why_no_tool.startswith("no benchmark_model is here, nor one that may run (chmod 755) at /data/local")
    executable(attached.folder / "data/local/tmp/studylib/benchmark_model", "a tool")
    phone, _ = find_phone()
    assert (phone.tool, phone.tool_sha256, phone.why_no_tool) == (None, hashlib.sha256(b"a tool").hexdigest(), "")


def test_heat_is_read_where_the_phone_tells_it(attached):
    phone, _ = find_phone()
    assert phone.thermal(20) == {"thermal_status": 0, "temperature_max_c": 41.25}
    attached.program("dumpsys", f"cat <<'END'\n{THERMAL.format(status=2)}END")
    assert disturbances({"thermal_status": 0, "temperature_max_c": 50.0}, phone.thermal(20)) == {
        "thermal_status": 2, "temperature_max_c": 50.0, "throttle_events": 1,
    }  # fmt: skip
    attached.program("dumpsys", "exit 1")
    for zone in ("thermal_zone0", "thermal_zone1"):
        (attached.folder / f"sys/class/thermal/{zone}/temp").unlink()
    assert phone.thermal(20) == {}
    assert disturbances({}, {}) == {}


def test_the_plan_says_what_is_measured_on_the_phone_and_why_not_the_rest(attached, monkeypatch, tmp_path):
    monkeypatch.setenv("STUDYLIB_OUTPUTS", str(tmp_path / "outputs"))
    study = open_study(
        "android", "smoke", runtimes=("litert", "litert/gpu", "litert/nnapi", "litert/coreml", "onnxruntime"),
        recipes=("fp32", "static_wi8_ai8", "adaptive_wi8"), scenarios=("single_stream", "multi_stream"),
    )  # fmt: skip
    assert study.native
    assert study.host.system == "Android"
    assert study.threads == 4
    measured = [trial.label for trial in study.trials if not trial.reason]
    assert measured == [
        *(f"{where} {recipe}" for where in ("litert", "litert/gpu", "litert/nnapi") for recipe in ("fp32", "static_wi8_ai8")),
        "litert fp32 (A/A)",
    ]
    assert {trial.runtime_version for trial in study.trials if not trial.reason} == {study.plan.phone.version}
    reasons = {(trial.where, trial.recipe, trial.scenario): trial.reason for trial in study.trials if trial.reason}
    said = {
        ("litert/coreml", "fp32", "single_stream"): "litert/coreml is of another kind of phone; on Android there are cpu, gpu, nnapi",
        ("onnxruntime", "fp32", "single_stream"): "on a phone litert is measured, by its tool benchmark_model; onnxruntime has no such",
        ("litert", "fp32", "multi_stream"): "benchmark_model asks one query after the other; the scenario 'multi_stream' comes otherwise",
        ("litert", "adaptive_wi8", "single_stream"): "adaptive_wi8 is searched by times of this computer, not of the phone; give an",
    }
    assert {key: reasons[key][: len(words)] for key, words in said.items()} == said
    # Other formats of the matrix are opened on this computer, as everywhere.
    assert {cell.trial.runtime for cell in study.plan.conversions if cell.trial} >= {"litert", "onnxruntime"}
    assert isinstance(study.executor, PhoneExecutor)
    assert study.bench.memory_bytes is None
    assert [advice.cause for advice in before_timing.fitness(study)] == [
        "what else a phone does is not seen from here, only how warm it says it is"
    ]
    assert not (tmp_path / "outputs").exists()


def test_without_a_tool_the_rows_say_what_to_do(attached, monkeypatch):
    monkeypatch.delenv("BENCHMARK_MODEL")
    study = open_study("android", "smoke")
    assert all("give LiteRT's android_aarch64_benchmark_model in BENCHMARK_MODEL" in trial.reason for trial in study.trials)
    assert "litert" not in {cell.trial.runtime for cell in study.plan.conversions if cell.trial}


def test_without_a_phone_it_is_a_rehearsal_that_says_why(tmp_path, monkeypatch):
    attach(tmp_path, monkeypatch, "List of devices attached\nA\tunauthorized\n")
    study = open_study("android", "smoke")
    assert study.plan.phone is None
    assert study.host.id == hardware.probe().id
    assert study.mismatches[0].startswith("no phone is reached: the device has not authorised this computer (unlock it")
    assert "the system is Linux, not Android" in study.mismatches
    assert isinstance(study.executor, LocalExecutor)
    with pytest.raises(NotOnThisHostError, match=r"STRICT=1: this machine is not 'android' .*no phone is reached: the device has not"):
        hardware.require_native(ANDROID, study.host)
    assert next(trial.reason for trial in study.trials if trial.provider == "gpu").startswith("the gpu delegate needs the LiteRT runtime")


def test_other_hardware_sets_ask_no_adb(attached):
    assert open_study("cpu", "smoke").plan.phone is None
    assert not (attached.folder / "asked").exists()


def test_a_phone_with_python_on_it_needs_no_adb(attached, monkeypatch):
    here = replace(hardware.probe(), system="Android")
    monkeypatch.setattr(hardware, "probe", lambda: here)
    assert open_study("android", "smoke").plan.phone is None


def test_a_study_that_began_on_a_phone_does_not_go_on_without_it(attached, monkeypatch):
    monkeypatch.setenv("STUDYLIB_ON_PHONE", SERIAL)
    assert open_study("android", "smoke").plan.phone.adb.serial == SERIAL
    (attached.folder / "devices").write_text("List of devices attached\n\n")
    with pytest.raises(InputError, match=r"the phone that this study began on is not reached any more: adb lists no device"):
        open_study("android", "smoke")


def test_a_study_goes_on_with_the_phone_that_it_began_on_and_no_other(attached, monkeypatch):
    monkeypatch.setenv("STUDYLIB_ON_PHONE", "another")
    with pytest.raises(InputError, match=r"that this study began on is not reached any more: another one is attached\."):
        open_study("android", "smoke")


def test_a_rehearsal_stays_one_when_a_phone_is_plugged_in_meanwhile(attached, monkeypatch):
    monkeypatch.setenv("STUDYLIB_ON_PHONE", "none")
    study = open_study("android", "smoke")
    assert study.plan.phone is None
    assert "no phone is reached: this study began without one" in study.mismatches
