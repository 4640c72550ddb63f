"""Memory and processor time of another process, with all that it started."""

import ctypes
import os
import subprocess
import sys
import time

import pytest

from studylib.machine import process_memory

# Two processes with 60 MB each, of which the second spins.
_BOTH = """
import subprocess, sys
held = bytearray(b"1" * 60_000_000)
inner = "held = bytearray(b'1' * 60_000_000); print('ready', flush=True)\\nwhile True: pass"
child = subprocess.Popen([sys.executable, "-c", inner], stdout=sys.stdout)
child.wait()
"""


@pytest.fixture
def both():
    with subprocess.Popen([sys.executable, "-c", _BOTH], stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout.readline().strip() == "ready"
        yield process.pid
        os.killpg(process.pid, 9)


def test_it_counts_the_process_and_its_children(both):
    found = process_memory.memory(both)
    assert 120_000_000 < found["rss"] <= found["rss_peak"]
    assert found["rss"] < found["vms"] <= found["vms_peak"]
    assert process_memory.memory_at("after_first", both).keys() == {"rss_after_first", "vms_after_first"}


_FREED = """
import resource, sys
from studylib.machine import process_memory
kept = sys.argv[1] == "kept" and process_memory.keep_freed_memory()
faults = resource.getrusage(0).ru_minflt
for _ in range(100):
    message = [b"1" * 600_000 for _ in range(4)]
    del message
print(kept, resource.getrusage(0).ru_minflt - faults)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library is told nothing of the kind (mallopt, glibc)")
def test_a_process_that_keeps_what_it_frees_asks_for_fewer_pages():
    told = {}
    for name in ("kept", "given"):
        answer = subprocess.run([sys.executable, "-c", _FREED, name], capture_output=True, text=True, check=True).stdout.split()
        assert answer[0] == str(name == "kept")
        told[name] = int(answer[1])
    # 100 times 2.4 MB are 58,600 pages.
    assert told["kept"] * 4 < told["given"]


def test_processor_time_grows_while_it_computes(both):
    before = process_memory.usage_of(both)
    time.sleep(0.5)
    after = process_memory.usage_of(both)
    assert after.cpu_s > before.cpu_s
    assert after.rss > 120_000_000


def test_one_that_has_ended_uses_nothing():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert process_memory.usage_of(process.pid) == process_memory.Usage(0, 0, 0.0)
    assert process_memory.memory()["rss"] > 1_000_000
