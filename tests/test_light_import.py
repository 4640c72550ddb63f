"""``import studylib`` loads no framework; what it takes in time is printed by `make bench`."""

import subprocess
import sys

import pytest

from tests import ROOT
from tests.frameworks import FRAMEWORKS

HEAVY = sorted(FRAMEWORKS | {"pandas", "matplotlib", "scipy", "numpy", "pydantic", "papermill"})
HELP = """
import contextlib, io
from studylib.cli import cli
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    cli.main(["--help"])
"""
NAMES = """
import studylib as sl
for name in sl.__all__:
    getattr(sl, name)
try:
    sl.opne_study
except AttributeError as error:
    assert "open_study" in str(error)
else:
    raise AssertionError("an unknown name was accepted")
"""


def loaded_after(code: str) -> set[str]:
    """Which of the heavy packages a fresh interpreter holds after running ``code``."""
    command = f"import sys\n{code}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=120, check=True)
    return set(done.stdout.split())


def test_importing_studylib_loads_nothing_heavy():
    assert loaded_after("import studylib") == set()


def test_the_check_sees_a_heavy_import():
    assert "numpy" in loaded_after("import studylib; studylib.stats")


def test_the_command_line_helps_without_loading_more_than_its_declarations():
    assert loaded_after(HELP) <= {"pydantic"}  # options are fields of a model, with their help beside them


@pytest.mark.slow
def test_planning_and_reading_results_load_no_framework():
    for name in ("cpu", "jetson", "cloud-gpu", "android"):
        assert loaded_after(f"import studylib as sl; sl.open_study('{name}', 'smoke').trials") & FRAMEWORKS == set()
    assert loaded_after("import studylib as sl; sl.tables, sl.figures") & FRAMEWORKS == set()


def test_a_process_that_measures_loads_no_reader_of_parameters_before_its_runtime():
    """Every repetition starts one: what it loads in vain costs a study more than the queries do."""
    job = "import studylib.measure.worker, studylib.build.jobs, studylib.models.zoo, studylib.runtimes, studylib.scenarios"
    assert loaded_after(f"{job}; from studylib.machine import disturbances, energy, nvml") == {"numpy"}


def test_every_public_name_resolves_and_an_unknown_one_is_named():
    loaded_after(NAMES)
