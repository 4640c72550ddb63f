import pytest

from studylib.machine import energy
from tests.machine.planted import plant

RAPL = "sys/class/powercap/intel-rapl:{}"


def _rapl(root, package, dram, second=None):
    files = {
        f"{RAPL.format('0')}/name": "package-0", f"{RAPL.format('0')}/energy_uj": package,
        f"{RAPL.format('0')}/max_energy_range_uj": "1000000000",
        f"{RAPL.format('0:0')}/name": "core", f"{RAPL.format('0:0')}/energy_uj": package,
        f"{RAPL.format('0:1')}/name": "dram", f"{RAPL.format('0:1')}/energy_uj": dram,
        f"{RAPL.format('0:1')}/max_energy_range_uj": "500000000",
        "sys/class/powercap/intel-rapl:1/name": "psys", "sys/class/powercap/intel-rapl:1/energy_uj": "5",
    }  # fmt: skip
    return plant(root, {name: str(content) for name, content in files.items()})


def _spent(root, change, provider="cpu", seconds=(10.0, 12.0)):
    """What is told between two moments, between which ``change`` rewrites the files."""
    ticks = iter(seconds)
    reading = energy.EnergyReading(*energy.find_meters(provider, root), clock=lambda: next(ticks))
    change()
    return reading.until_now()


def test_package_and_memory_are_counted_once(tmp_path):
    """Cores are part of their package, and psys contains everything: neither is added."""
    root = _rapl(tmp_path, 1_000_000, 200_000)
    found = _spent(root, lambda: _rapl(tmp_path, 4_500_000, 700_000))
    assert found["joules"] == {"package-0": 3.5, "dram of package-0": 0.5}
    assert found["kind"] == "measured"
    assert "RAPL" in found["how"]


def test_a_counter_that_began_again_at_zero(tmp_path):
    root = _rapl(tmp_path, 999_000_000, 499_900_000)
    found = _spent(root, lambda: _rapl(tmp_path, 2_000_000, 100_000))
    assert found["joules"] == {"package-0": 3.0, "dram of package-0": pytest.approx(0.2)}


def test_without_a_known_range_a_counter_that_fell_tells_nothing(tmp_path):
    root = _rapl(tmp_path, 999_000_000, 1)
    (root / RAPL.format("0") / "max_energy_range_uj").unlink()

    def later():
        (root / RAPL.format("0") / "energy_uj").write_text("5")

    assert _spent(root, later)["joules"] == {"dram of package-0": 0.0}


def test_closed_counters_say_how_to_open_them(tmp_path):
    root = plant(tmp_path, {f"{RAPL.format('0')}/name": "package-0"})
    (root / RAPL.format("0") / "energy_uj").mkdir()  # cannot be read as a file, whoever runs the test
    assert "closed to this user; root may open them: chmod a+r" in _spent(root, lambda: None)["absent"]


def test_nothing_to_read_is_absent_with_the_reason(tmp_path):
    assert _spent(tmp_path, lambda: None) == {
        "absent": "no RAPL counters are here (a virtual machine, or no such processor); no Jetson power sensor is here"
    }


def test_a_jetson_board_tells_its_input_rail_alone(tmp_path):
    board = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    rails = {
        f"{board}/in1_label": "VDD_IN", f"{board}/in1_input": "5000", f"{board}/curr1_input": "1000",
        f"{board}/in2_label": "VDD_CPU_GPU_CV", f"{board}/in2_input": "5000", f"{board}/curr2_input": "700",
    }  # fmt: skip
    root = plant(tmp_path, rails)
    found = _spent(root, lambda: plant(root, {f"{board}/curr1_input": "3000"}))
    assert found["joules"] == {"VDD_IN": 20.0}  # 5 W and 15 W, for 2 s
    assert "before and after" in found["how"]


def test_a_gpu_is_metered_beside_the_processor(tmp_path, gpu_tells):
    """NVML as its package has it: counters in mJ."""
    counters = iter([0.0, 10_000.0, 14_000.0])
    gpu_tells(TotalEnergyConsumption=lambda: next(counters))
    root = _rapl(tmp_path, 0, 0)
    found = _spent(root, lambda: _rapl(tmp_path, 1_000_000, 0), provider="cuda")
    assert found["joules"] == {"package-0": 1.0, "dram of package-0": 0.0, "gpu0": 4.0}
    assert "gpu0" not in _spent(root, lambda: None)["joules"]


def test_a_gpu_that_counts_no_energy_says_so(tmp_path, gpu_tells):
    gpu_tells(Temperature=40)
    assert "this GPU counts no energy" in _spent(tmp_path, lambda: None, provider="cuda")["absent"]


@pytest.mark.parametrize("provider", ["gpu", "ane", "dla", "xnnpack"])
def test_nvidias_meter_tells_nothing_of_other_accelerators(tmp_path, no_nvml, provider):
    assert "NVML" not in _spent(tmp_path, lambda: None, provider=provider)["absent"]
    assert "nvidia" not in _spent(tmp_path, lambda: None, provider=provider)["absent"]


def test_a_gpu_without_the_package_says_so(tmp_path, no_nvml):
    assert "needs the package nvidia-ml-py" in _spent(tmp_path, lambda: None, provider="cuda")["absent"]
