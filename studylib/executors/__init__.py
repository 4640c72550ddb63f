"""Where jobs run: this machine, one process at a time, or a phone that adb reaches."""

from studylib.build.executor import Executor as Executor
from studylib.executors.local import LocalExecutor as LocalExecutor
from studylib.executors.phone.on_phone import PhoneExecutor as PhoneExecutor
from studylib.executors.phone.phone import Phone as Phone
from studylib.executors.phone.phone import find_phone as find_phone
