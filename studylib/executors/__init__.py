"""Where jobs run. Today: this machine, one process at a time."""

from studylib.executors.local import LocalExecutor as LocalExecutor
