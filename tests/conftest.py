"""Shared fixtures. All results of one pytest run, the notebooks' too, go to one temporary outputs folder."""

import ast
import contextlib
import functools
import gc
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import psutil
import pytest

from studylib.machine.lean_imports import import_leanly
from tests import ROOT
from tests.frameworks import skip_what_imports_them

# Fixtures that are the smoke study, its store or its `Study` object.
_STUDY = {"smoke_study", "store", "mnist"}
# The longest files begin after all that needs the smoke study, so that no process is left alone with one of them at the end.
_LONGEST = [
    "tests/recipes/test_zoo_conversions.py",
    "tests/recipes/test_keras_table.py",
    "tests/cli/test_make.py",
    "tests/study/test_own_models.py",
    "tests/serving/test_hostile_requests.py",
    "tests/training/test_structured.py",
    "tests/models/zoo/test_image_references.py",
    "tests/fuzz/test_fuzz.py",
    "tests/training/test_distillation.py",
    "tests/test_install.py",
    "tests/recipes/test_compressed_models.py",
    "tests/build/test_failures.py",
]
# Files whose tests may run in different processes: they are dealt out one by one.
_SHARING_NOTHING = {"tests/recipes/test_zoo_conversions.py"}
# Folders of tests that need no second core, files that say ``ALL_CORES = True`` aside.
_ABOUT_MODELS = {"adaptive", "contracts", "formats", "models", "quality", "recipes", "runtimes"}
# Set before studylib is imported and before any kernel starts, so that notebooks under nbval write here as well.
_OUTPUTS = tempfile.TemporaryDirectory(prefix="studylib-tests-")
os.environ["STUDYLIB_OUTPUTS"] = _OUTPUTS.name
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Kernels import the same sources, whoever built the environment.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
import_leanly()


def pytest_addoption(parser):
    parser.addoption("--fast", choices=("0", "1"), default="0", help="1: only what needs no framework (make test FAST=1)")


def pytest_configure(config):
    if config.getoption("fast") == "1":
        skip_what_imports_them()


def pytest_collection_modifyitems(config, items):
    """The order in which files are dealt out; notebooks after the tests of the smoke study, whose artifacts they find."""
    items.sort(key=_order)
    if config.getoption("fast") == "1":
        notebooks = [item for item in items if item.path.suffix == ".ipynb"]
        config.hook.pytest_deselected(items=notebooks)
        items[:] = [item for item in items if item not in notebooks]
        for item in items:
            if item.get_closest_marker("slow") or {"smoke_study", "tiny"} & set(item.fixturenames):
                item.add_marker(pytest.mark.skip(reason="FAST=1: starts other processes, trains, converts or runs a whole study"))


def _order(item) -> tuple[int, bool]:
    name = str(item.path.relative_to(ROOT))
    if _needs_study(item.path):
        return -1, item.path.suffix == ".ipynb"
    return (_LONGEST.index(name) if name in _LONGEST else len(_LONGEST)), False


@pytest.hookimpl(optionalhook=True)  # a single process needs no xdist
def pytest_xdist_make_scheduler(config, log):
    """Which process runs what (`make test JOBS=2`): all that needs the smoke study stays in one, so that it runs once.

    Other files stay whole, for the sake of what their tests share, but for those of `_SHARING_NOTHING`. Each process has an outputs
    folder of its own.
    (xdist's own groups do not reach pytest 9: they are written into a name that it no longer keeps.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class BySharing(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            name = nodeid.split("::")[0]
            if name in _SHARING_NOTHING:
                return nodeid
            return "smoke study" if _needs_study(ROOT / name) else name

    return BySharing(config, log)


@functools.cache
def _needs_study(path: Path) -> bool:
    """Whether a notebook, or a test file of which a test or a fixture asks for the smoke study or what comes from it."""
    if path.suffix == ".ipynb":
        return True
    functions = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
    asking = [one for one in functions if one.name.startswith("test_") or "fixture" in ast.unparse(one.decorator_list)]
    asked = {argument.arg for one in asking for argument in one.args.args}
    return bool((asked - {one.name for one in functions}) & _STUDY)


@pytest.fixture(scope="module", autouse=True)
def _frozen():
    """What is alive before a file's tests stays: frameworks look for garbage often, and would look through all of it each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _one_core(request):
    """A core for each process of `make test` where tests are about models: idle threads of runtimes wait busily, on the other's core."""
    beside = "PYTEST_XDIST_WORKER" in os.environ
    place = request.path.relative_to(ROOT).parts[1]
    about_models = place in _ABOUT_MODELS or request.path.stem == "test_own_models"
    if not beside or not about_models or getattr(request.module, "ALL_CORES", False) or not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores, busy = os.sched_getaffinity(0), psutil.cpu_percent(interval=0.1, percpu=True)
    _run_on({min(cores, key=lambda core: busy[core])})
    yield
    _run_on(set(cores))


def _run_on(cores: set[int]) -> None:
    """All threads of this process, and those that they start."""
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # one that ended meanwhile
            os.sched_setaffinity(int(thread.name), cores)


@pytest.fixture(scope="session")
def smoke_study(tmp_path_factory):
    """The main job at its smallest size, run once as a user runs it: (completed process, results folder)."""
    from tests.command_line import cli

    done = cli("study", "--hw", "cpu", "--effort", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    return done, Path(os.environ["STUDYLIB_OUTPUTS"]) / "cpu"


@pytest.fixture(scope="session")
def store(smoke_study):
    """The store of the smoke study: the trained mnist_cnn in every format and precision."""
    from studylib.artifacts.store import Store

    return Store(smoke_study[1].parent / ".artifacts")


@pytest.fixture(scope="session")
def mnist(smoke_study):
    """The smoke study's `Study` object, everything in it made and measured."""
    from studylib.study.opening import open_study

    return open_study("cpu", "smoke", write=lambda line: None)


@pytest.fixture
def shelf(tmp_path):
    """A store of this test's own: what is `put` there has a key."""
    from studylib.artifacts.store import Store

    return Store(tmp_path / "shelf")


@pytest.fixture
def recording(tmp_path):
    """Function that writes a recording for the replay runtime and samples to go with it."""
    from studylib.models.zoo import Samples

    samples = Samples({"x": np.zeros((4, 2), np.float32)}, np.zeros(4, np.int64)).save(tmp_path / "samples-of-recording")

    def write(name: str, **content) -> tuple[Path, Path]:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"values_ns": [1000]} | content))
        return path, samples

    return write


@pytest.fixture
def samples():
    """Twelve samples whose first value is their number."""
    from studylib.models.zoo import Samples

    return Samples({"x": np.arange(24, dtype=np.float32).reshape(12, 2) // 2}, None)


@pytest.fixture
def recorded(tmp_path):
    """Function that records a small study."""
    from tests.recorded_results import small_study

    return functools.partial(small_study, tmp_path / "cpu")


@pytest.fixture
def variants(tmp_path):
    """Function that records variants of one model."""
    from tests.recorded_results import study_of_variants

    return functools.partial(study_of_variants, tmp_path / "cpu")


@pytest.fixture
def sleeper():
    """Class of sessions that sleep."""
    from tests.small_sessions import Sleeper

    return Sleeper


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A real ONNX Runtime session of some 100 µs, and samples for it."""
    from tests.small_sessions import tiny_session

    return tiny_session(tmp_path_factory.mktemp("tiny"))
