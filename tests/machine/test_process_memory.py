"""Memory and processor time of another process, with all that it started."""

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
