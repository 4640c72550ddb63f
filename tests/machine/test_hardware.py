from dataclasses import replace

import pytest

from studylib.errors import NotOnThisHostError
from studylib.machine import hardware
from studylib.params.sets import resolve


@pytest.fixture
def host():
    return hardware.Host("Linux", "x86_64", "A processor", ("avx2",), 8, 8, 16 * 2**30, "", "", (), "6.1")


def test_probe_reads_this_machine():
    host = hardware.probe()
    assert 1 <= host.threads <= host.cpus
    assert host.memory_bytes > 2**28
    assert len(host.id) == 12
    assert host.id == hardware.probe().id


def test_the_cpu_set_is_native_on_an_ordinary_machine(host):
    assert hardware.mismatches(resolve("cpu").hardware, host) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("jetson", ["architecture is x86_64, not aarch64", "holds no 'Orin Nano'"]),
        ("raspberry-pi", ["holds no 'Raspberry Pi 5'"]),
        ("android", ["system is Linux, not Android"]),
        ("ios", ["system is Linux, not iOS"]),
        ("movidius", ["no USB device of vendor 03e7"]),
        ("cloud-gpu", ["no NVIDIA GPU is visible"]),
    ],
)
def test_a_rehearsal_says_why(host, name, words):
    reasons = "; ".join(hardware.mismatches(resolve(name).hardware, host))
    assert all(word in reasons for word in words)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("jetson", {"machine": "aarch64", "device_tree": "NVIDIA Jetson Orin Nano Developer Kit"}),
        ("raspberry-pi", {"machine": "aarch64", "device_tree": "Raspberry Pi 5 Model B Rev 1.0"}),
        ("movidius", {"usb_vendors": ("03e7",)}),
        ("cloud-gpu", {"nvidia_gpu": "NVIDIA L4"}),
    ],
)
def test_the_declared_machine_is_native(host, name, facts):
    assert hardware.mismatches(resolve(name).hardware, replace(host, **facts)) == []


@pytest.mark.parametrize(
    ("name", "facts", "words"),
    [
        ("raspberry-pi", {"device_tree": "Raspberry Pi 4 Model B Rev 1.4"}, "the board's name holds no 'Raspberry Pi 5'"),
        ("raspberry-pi", {"device_tree": "Raspberry Pi 5 Model B", "memory_bytes": 2 * 10**9}, "2.0 GB of memory are granted, not 4.0 GB"),
        ("jetson", {"device_tree": "NVIDIA Jetson Xavier NX"}, "the board's name holds no 'Orin Nano'"),
    ],
)
def test_a_sister_board_is_a_rehearsal(host, name, facts, words):
    assert hardware.mismatches(resolve(name).hardware, replace(host, machine="aarch64", **facts)) == [words]


def test_too_few_threads_are_a_rehearsal(host):
    jetson = replace(host, machine="aarch64", device_tree="NVIDIA Jetson Orin Nano", threads=2)
    assert hardware.mismatches(resolve("jetson").hardware, jetson) == ["2 threads are granted, not 6"]


def test_strict_refuses_in_words(host):
    with pytest.raises(NotOnThisHostError, match=r"STRICT=1: this machine is not 'jetson' .*Nothing was run\."):
        hardware.require_native(resolve("jetson").hardware, host)


@pytest.mark.parametrize(("quota", "threads"), [("150000 100000", 1), ("max 100000", 4), ("800000 100000", 4), ("20000 100000", 1)])
def test_threads_heed_affinity_and_container_quota(monkeypatch, quota, threads):
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(hardware, "_text", lambda path: quota if str(path).endswith("cpu.max") else "")
    assert hardware.granted_threads() == threads


def test_the_id_changes_with_what_changes_measurements(host):
    assert replace(host, isa=("avx2", "avx512_vnni")).id != host.id
    assert replace(host, threads=4).id != host.id
    assert replace(host, nvidia_gpu="NVIDIA L4").id != host.id
    assert replace(host, kernel="7", memory_bytes=host.memory_bytes - 10**6).id == host.id


def test_a_gpu_is_part_of_what_the_machine_is_called():
    host = replace(hardware.probe(), nvidia_gpu="NVIDIA L4")
    assert "GiB, GPU NVIDIA L4, " in host.describe()
    assert "GPU" not in replace(host, nvidia_gpu="").describe()
