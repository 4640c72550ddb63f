"""Readings from planted files: a machine at the beginning and at the end of a repetition."""

import mmap
import time

import pytest

from studylib.machine import disturbances
from tests.machine.planted import plant

CPU = "sys/devices/system/cpu/cpu{}"
GROUP = "sys/fs/cgroup/job"


def _machine(root, ghz=(3.0, 2.9), ticks=(0, 100), throttled=(2, 1), celsius=50, stat="cpu 100 0 0 900 0 0 0 10", periods=(10, 1, 500)):
    files = {
        "proc/stat": stat,
        "proc/loadavg": "0.52 0.48 0.40 1/200 999",
        "proc/self/status": "Name:\tpython\nCpus_allowed_list:\t0-1",
        "proc/self/cgroup": "0::/job",
        f"{GROUP}/cpu.max": "150000 100000",
        f"{GROUP}/cpu.stat": "usage_usec 5\nnr_periods {}\nnr_throttled {}\nthrottled_usec {}".format(*periods),
        "sys/class/thermal/thermal_zone0/temp": str(1000 * celsius),
    }
    for cpu in (0, 1):
        here = CPU.format(cpu)
        files |= {
            f"{here}/cpufreq/scaling_governor": "schedutil",
            f"{here}/cpufreq/scaling_cur_freq": str(int(ghz[cpu] * 1e6)),
            f"{here}/cpufreq/stats/time_in_state": f"1200000 {ticks[0]}\n3000000 {ticks[1]}",
            f"{here}/thermal_throttle/core_throttle_count": str(throttled[0]),
            f"{here}/thermal_throttle/package_throttle_count": str(throttled[1]),
        }
    return plant(root, files)


def _read(root):
    return disturbances.usage(root) | disturbances.sensors(root)


def test_every_disturbance_is_seen(tmp_path):
    before = _read(_machine(tmp_path))
    later = {"stat": "cpu 160 0 20 920 0 0 0 30", "celsius": 71, "throttled": (3, 2), "periods": (30, 6, 2500)}
    after = _read(_machine(tmp_path, ghz=(2.4, 2.1), ticks=(5, 150), **later))
    found = disturbances.between(before, after)
    assert found["steal_share"] == 20 / 100
    assert found["throttle_events"] == 2 + 1  # a core each, the package once although both of its processors tell of it
    assert found["cgroup_throttled_share"] == 5 / 20
    assert found["cgroup_throttled_ns"] == 2_000_000
    assert found["frequency_drop_share"] == pytest.approx(0.2)
    # 1.2 GHz was never read as the clock of the moment; the kernel's own account shows that time was spent there.
    assert (found["frequency_min_hz"], found["frequency_max_hz"]) == (1.2e9, 3.0e9)
    assert found["temperature_max_c"] == 71
    assert (found["governor"], found["affinity"], found["quota_cpus"], found["load_1min"]) == ("schedutil", "0-1", 1.5, 0.52)


def test_a_quiet_machine_shows_nothing(tmp_path):
    before = _read(_machine(tmp_path))
    found = disturbances.between(before, _read(_machine(tmp_path, stat="cpu 160 0 20 920 0 0 0 10")))
    names = ("steal_share", "throttle_events", "cgroup_throttled_share", "frequency_drop_share")
    assert [found[name] for name in names] == [0, 0, 0, 0]


def test_what_cannot_be_read_is_absent(tmp_path):
    found = disturbances.between(_read(tmp_path), _read(tmp_path))
    assert set(found) == {"major_faults", "minor_faults", "involuntary_switches", "voluntary_switches"}


def test_version_1_counts_nanoseconds(tmp_path):
    group = "sys/fs/cgroup/cpu/job"
    files = {"proc/self/cgroup": "4:cpu:/job", f"{group}/cpu.cfs_quota_us": "50000", f"{group}/cpu.cfs_period_us": "100000"}
    before = disturbances.usage(plant(tmp_path, files | {f"{group}/cpu.stat": "nr_periods 1\nnr_throttled 1\nthrottled_time 7000"}))
    after = disturbances.usage(plant(tmp_path, files | {f"{group}/cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 9000"}))
    found = disturbances.between(before, after)
    assert (found["cgroup_throttled_share"], found["cgroup_throttled_ns"], found["quota_cpus"]) == (0.25, 2000, 0.5)


@pytest.mark.parametrize(("word", "events"), [("0x0", 0), ("50000", 0), ("50005", 1)])
def test_a_raspberry_pi_tells_of_under_voltage_now_and_not_of_long_ago(tmp_path, word, events):
    root = plant(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": word})
    assert disturbances.between(_read(root), _read(root))["throttle_events"] == events


def test_this_process_is_counted():
    before = disturbances.usage()
    with mmap.mmap(-1, 16 * 2**20) as fresh:  # malloc would hand out pages that were touched before
        fresh[::4096] = b"x" * (len(fresh) // 4096)
    time.sleep(0.01)
    found = disturbances.between(before, disturbances.usage())
    assert found["minor_faults"] >= 8
    assert found["voluntary_switches"] >= 1


def test_reading_is_quick():
    """The readings stand beside the values: in the middle of many, below two milliseconds."""
    times = []
    for _ in range(21):
        begun = time.perf_counter()
        disturbances.usage()
        times.append(time.perf_counter() - begun)
    assert sorted(times)[10] < 2e-3
