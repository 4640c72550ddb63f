"""How a process of ours begins and ends."""

import subprocess
import sys

from tests import ROOT

CODE = """
import atexit, ctypes, os
from studylib.machine.processes import leave
class Crashing:
    def __del__(self):
        os.abort()
kept = Crashing()
atexit.register(print, "registered")
print("said", end=" ")
ctypes.CDLL(None).printf(b"by a library ")
{end}
"""


def _ended(end: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", CODE.format(end=end)], capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_what_crashes_while_an_interpreter_is_taken_apart_does_not_fail_a_job_that_is_done():
    done = _ended("leave()")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"said", "registered", "by", "a", "library"}


def test_the_crash_is_real():
    assert _ended("").returncode != 0
