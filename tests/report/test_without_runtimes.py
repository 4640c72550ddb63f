"""What reads results, in an environment where no framework and no runtime is installed: its packages without them."""

import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

from tests import ROOT
from tests.frameworks import FRAMEWORKS

PACKAGES = Path(sysconfig.get_paths()["purelib"])
_READ = """
import importlib.metadata, importlib.util, sys
site, root, *frameworks = sys.argv[1:]
sys.path[:0] = [root, site]
assert [name for name in frameworks if importlib.util.find_spec(name)] == []
for name in ("onnxruntime", "tensorflow", "openvino"):
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        continue
    raise AssertionError(f"{name} is installed")
from studylib.cli import cli
for words in (["report", "--hw", "cpu"], ["advise", "--hw", "cpu"], ["compare"]):
    assert cli.main(words) == 0, words
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder of packages that holds all of this environment but what runs, trains or converts models."""
    folder = tmp_path_factory.mktemp("site")
    owners = metadata.packages_distributions()
    gone = {name for framework in FRAMEWORKS for name in owners.get(framework, ())}
    for entry in PACKAGES.iterdir():
        tells_of = metadata.PathDistribution(entry).metadata["Name"] if entry.suffix == ".dist-info" else ""
        if entry.name.split(".")[0] not in FRAMEWORKS and tells_of not in gone and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


def _read(results, site: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-I", "-S", "-c", _READ, str(site), str(ROOT), *sorted(FRAMEWORKS)]
    environment = {"STUDYLIB_OUTPUTS": str(results.folder.parent), "PATH": "/usr/bin:/bin", "HOME": str(site)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, env=environment)


def test_the_check_sees_a_runtime(recorded):
    assert "AssertionError" in _read(recorded(), PACKAGES).stderr


def test_report_advice_and_comparison_need_no_runtime(recorded, site):
    results = recorded()
    done = _read(results, site)
    assert done.returncode == 0, done.stderr
    assert (results.folder / "report" / "index.html").exists()
    assert "mnist_cnn: use onnxruntime" in done.stdout
