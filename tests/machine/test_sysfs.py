import pytest

from studylib.machine import sysfs
from tests.machine.planted import plant


def test_what_cannot_be_read_is_absent(tmp_path):
    assert sysfs.text(tmp_path / "none") == ""
    assert sysfs.number(plant(tmp_path, {"n": "no number"}) / "n") is None
    assert sysfs.processor_ticks(tmp_path) == {}
    assert sysfs.allowed_cpus(tmp_path) == []
    assert sysfs.temperatures_c(tmp_path) == []
    assert sysfs.cpu_quota(tmp_path) is None


def test_lists_of_processors():
    assert sysfs.cpu_list("0-2,8") == [0, 1, 2, 8]
    assert sysfs.cpu_list("") == []


def test_ticks(tmp_path):
    root = plant(tmp_path, {"proc/stat": "cpu  10 20 30 400 50 6 7 8 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1"})
    assert sysfs.processor_ticks(root) == {"all": 531, "busy": 81, "steal": 8}


def test_unbelievable_temperatures_are_left_out_and_the_lower_limit_counts(tmp_path):
    zone, chip = "sys/class/thermal/thermal_zone0", "sys/class/hwmon/hwmon0"
    root = plant(
        tmp_path,
        {
            f"{zone}/temp": "61000", f"{zone}/trip_point_0_type": "active", f"{zone}/trip_point_0_temp": "40000",
            f"{zone}/trip_point_1_type": "passive", f"{zone}/trip_point_1_temp": "85000",
            f"{zone}/trip_point_2_type": "critical", f"{zone}/trip_point_2_temp": "105000",
            "sys/class/thermal/thermal_zone1/temp": "-273000",
            f"{chip}/temp1_input": "70000", f"{chip}/temp1_crit": "100000",
        },
    )  # fmt: skip
    assert sysfs.temperatures_c(root) == [(61.0, 85.0), (70.0, 100.0)]


V2 = {"proc/self/cgroup": "0::/job/inner"}
V1 = {"proc/self/cgroup": "4:cpu,cpuacct:/job\n0::/"}


@pytest.mark.parametrize(
    ("files", "quota", "folder"),
    [
        (V2 | {"sys/fs/cgroup/job/cpu.max": "150000 100000", "sys/fs/cgroup/job/inner/cpu.max": "max 100000"}, 1.5, "job"),
        (V2 | {"sys/fs/cgroup/job/cpu.max": "150000 100000", "sys/fs/cgroup/job/inner/cpu.max": "50000 100000"}, 0.5, "job/inner"),
        # A container that sees its host's path and only its own group.
        (V2 | {"sys/fs/cgroup/cpu.max": "200000 100000"}, 2.0, "."),
        (
            V1 | {"sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "250000", "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000"},
            2.5,
            "cpu/job",
        ),
    ],
)
def test_the_smallest_quota_around_the_process_counts(tmp_path, files, quota, folder):
    root = plant(tmp_path, files)
    assert sysfs.cpu_quota(root) == (quota, root / "sys/fs/cgroup" / folder)


def test_no_quota(tmp_path):
    files = {"sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000"}
    assert sysfs.cpu_quota(plant(tmp_path, V1 | files)) is None
