"""The command line as a user runs it, and what it prints."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from studylib.cli import cli as command_line
from tests import ROOT


def cli(*arguments: str, outputs: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Run the command line as a user does, in a process of its own and in another folder."""
    env = os.environ | environment | ({"STUDYLIB_OUTPUTS": str(outputs)} if outputs else {}) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "studylib", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=tempfile.gettempdir(), timeout=900)


def said(*arguments: str, outputs: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """The same in this process, for what a command line answers before anything runs: many cases share one interpreter."""
    env = environment | ({"STUDYLIB_OUTPUTS": str(outputs)} if outputs else {})
    stdout, stderr, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    try:
        heard = contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr)
        with mock.patch.dict(os.environ, env), contextlib.chdir(tempfile.gettempdir()), heard[0], heard[1]:
            status = command_line.main(list(arguments))
    except SystemExit as left:
        status = left.code or 0
    finally:
        signal.signal(signal.SIGTERM, before)
    return subprocess.CompletedProcess(arguments, status, stdout.getvalue(), stderr.getvalue())


def plan_lines(printed: str) -> list[str]:
    """What ``plan -v`` says that it would measure: model, label, scenario and threads."""
    return re.findall(r"^  (.*, \d+ threads)$", printed.split("\nto measure: ")[1], re.MULTILINE)
