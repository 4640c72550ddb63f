"""The command line as a user runs it, and what it prints."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import ROOT


def cli(*arguments: str, outputs: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Run the command line as a user does, in another folder."""
    env = os.environ | environment | ({"STUDYLIB_OUTPUTS": str(outputs)} if outputs else {}) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "studylib", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=tempfile.gettempdir(), timeout=900)


def plan_lines(printed: str) -> list[str]:
    """What a plan says that it would measure: model, label, scenario and threads."""
    return re.findall(r"^  to measure, \d+ repetitions: (.*)$", printed, re.MULTILINE)
