"""Each advice from a planted machine that deserves it, and none from one that does not."""

import pytest

from studylib.machine.fitness import fitness
from studylib.machine.hardware import probe
from tests.machine.planted import plant

CPU = "sys/devices/system/cpu"
GOOD = {
    "proc/self/status": "Cpus_allowed_list:\t0-3",
    "proc/stat": "cpu 100 0 0 900 0 0 0 0",
    "proc/loadavg": "0.10 0.10 0.10 1/100 7",
    "proc/meminfo": "MemTotal: 8000000 kB\nSwapTotal: 2000000 kB\nSwapFree: 2000000 kB",
    "proc/cpuinfo": "model name\t: Some CPU\nflags\t\t: fpu avx2",
    f"{CPU}/intel_pstate/no_turbo": "1",
    "sys/class/thermal/thermal_zone0/temp": "45000",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "passive",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "90000",
    "sys/class/power_supply/BAT0/type": "Battery",
    "sys/class/power_supply/BAT0/status": "Full",
    **{f"{CPU}/cpu{cpu}/cpufreq/scaling_governor": "performance" for cpu in range(4)},
    **{f"{CPU}/cpu{cpu}/topology/thread_siblings_list": siblings for cpu, siblings in enumerate(("0,2", "1,3", "0,2", "1,3"))},
}


def _advice(root, files, threads=2, later=None):
    root = plant(root, GOOD | files)
    return [(advice.cause, advice.remedy) for advice in fitness(probe(), threads, root, lambda seconds: plant(root, later or {}))]


def test_nothing_speaks_against_a_good_machine(tmp_path):
    assert _advice(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("files", "cause", "remedy"),
    [
        ({f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave"}, "the frequency governor is powersave", "frequency-set -g performance"),
        ({f"{CPU}/intel_pstate/no_turbo": "0"}, "turbo is on", "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"),
        ({f"{CPU}/intel_pstate/no_turbo": "", f"{CPU}/cpufreq/boost": "1"}, "turbo is on", "echo 0 | sudo tee /sys/devices/system/cpu"),
        ({f"{CPU}/intel_pstate/no_turbo": ""}, "whether the processor boosts its clock is unknown", "the firmware's settings"),
        (
            {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"},
            "a CPU quota grants 1.5 of the 4 processors that are allowed",
            "pin processors instead",
        ),
        ({"proc/meminfo": "SwapTotal: 2000000 kB\nSwapFree: 1000000 kB"}, "1024 MB are swapped out", "swapoff"),
        ({"sys/class/thermal/thermal_zone0/temp": "84000"}, "a sensor shows 84 °C; at 90 °C the machine slows down", "let it cool"),
        ({"proc/loadavg": "99.0 1 1 1/1 1"}, "the load of the last minute is 99.0 on", "wait until"),
        ({"proc/cpuinfo": "flags: hypervisor"}, "this is a virtual machine: who else uses its cores is not seen", "interleaved"),
        (
            {"proc/cpuinfo": "flags: hypervisor", "proc/stat": "cpu 80 0 0 900 0 0 0 20"},
            "others have taken 20.0% of its busy time since it started",
            "dedicated cores",
        ),
        ({"sys/class/power_supply/BAT0/status": "Discharging"}, "it runs on battery", "plug it in"),
    ],
)  # fmt: skip
def test_each_thing_is_said_with_its_remedy(tmp_path, files, cause, remedy):
    (found,) = _advice(tmp_path, files)
    assert cause in found[0]
    assert remedy in found[1]


def test_threads_that_share_cores(tmp_path):
    (found,) = _advice(tmp_path, {}, threads=4)
    assert found == (
        "4 threads share 2 cores (SMT): two on one core slow each other down, and not evenly",
        "taskset -c 0,1 make study …, or declare threads: 2",
    )


def test_what_others_do_right_now_is_looked_at(tmp_path):
    (found,) = _advice(tmp_path, {}, later={"proc/stat": "cpu 130 0 0 970 0 0 0 0"})
    assert found[0] == "other programs keep 30% of the processors busy right now"
    assert _advice(tmp_path, {}, later={"proc/stat": "cpu 105 0 0 995 0 0 0 0"}) == []


def test_a_machine_that_tells_nothing_says_that(tmp_path):
    told = fitness(probe(), 2, tmp_path, lambda seconds: None)
    assert [advice.cause for advice in told] == ["clock and governor cannot be read here"]
