"""What must never be in the repository, and what the documents promise."""

import fnmatch
import re
import subprocess

from studylib.cli import arguments
from studylib.params.sets import hardware_sets
from studylib.recipes import RETRAINED, chain, names
from tests import ROOT


def _tracked():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_folder_of_tests_is_left_out(request):
    left_out = request.config.getini("norecursedirs")
    folders = {folder.name for path in _tracked() for folder in path.relative_to(ROOT).parents if folder.parts[:1] == ("tests",)}
    assert {"build", "cli"} <= folders
    assert [name for name in folders if any(fnmatch.fnmatch(name, pattern) for pattern in left_out)] == []


def test_no_file_is_over_one_megabyte():
    assert [path.name for path in _tracked() if path.stat().st_size > 1_000_000] == []


def test_nothing_generated_is_tracked():
    assert [path for path in _tracked() if "outputs" in path.relative_to(ROOT).parts[:1] and path.name != ".gitignore"] == []


def test_no_absolute_path_of_a_machine_is_tracked():
    pattern = re.compile(r"/(?:root|home/[a-z]+|Users/[A-Za-z]+|work)/")
    texts = [
        path for path in _tracked() if path.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".ipynb", ".txt", ".svg", ".json", ".sh"}
    ]
    found = [path.name for path in texts if path.name != "test_repository.py" and pattern.search(path.read_text())]
    assert set(found) <= {"test_notebooks.py"}


def test_the_documents_are_there():
    names = ("README.md", "GLOSSARY.md", "CONTRIBUTING.md", "REPRODUCING.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "environment.yml")
    assert [name for name in names if not (ROOT / name).is_file()] == []


def test_every_make_target_and_variable_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text()
    readme = "".join((ROOT / name).read_text() for name in ("README.md", "docs/commands.md", "docs/own-model.md", "docs/hardware.md"))
    targets = set(re.findall(r"[`\n(]make ([a-z]+)", readme))
    assert targets
    assert targets <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    commands = re.findall(r"\bmake [a-z]+((?: [A-Z]+=\S+)+)", readme)
    variables = {name for command in commands for name in re.findall(r"([A-Z]+)=", command)}
    named = re.findall(r"^SETTINGS := (.*)$", makefile, re.MULTILINE)
    assert variables <= {*" ".join(named).split(), *arguments.variables()}


def test_every_link_of_the_documents_leads_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "example").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_can_be_read_in_two_minutes():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 200
    assert len(text.encode()) <= 12_000
    block = text.split("<!-- generated: begin")[1].split("<!-- generated: end")[0]
    assert len(re.sub(r"!\[[^]]*\]\([^)]*\)|[|\-]+", " ", block).split()) <= 200


def test_the_example_is_small():
    files = list((ROOT / "docs" / "example").rglob("*"))
    assert {"index.html", "report.md"} <= {path.name for path in files}
    assert sum(path.stat().st_size for path in files) <= 1_000_000


def test_the_readme_lists_every_hardware_set():
    readme = (ROOT / "README.md").read_text()
    assert [name for name in hardware_sets() if f"`{name}`" not in readme] == []


def test_the_techniques_list_every_recipe_and_where_it_exists():
    """What trains may be quantized as well, and that is said once instead of listed."""
    rows = re.findall(
        r"^\| ((?:`[a-z0-9_]+`(?:, )?)+) \| [^|]+ \| (●?) ?\| (●?) ?\|$", (ROOT / "docs" / "techniques.md").read_text(), re.MULTILINE
    )
    listed = {name: (lite, onnx) for names_, lite, onnx in rows for name in re.findall(r"`([a-z0-9_]+)`", names_)}
    trained_and_quantized = {f"{base}_static_wi8_ai8" for base in RETRAINED}
    assert set(listed) == set(names()) - trained_and_quantized - {"fp32"}
    for name, marks in listed.items():
        assert marks == tuple("●" if chain(name, target, "keras") else "" for target in ("tflite", "onnx")), name
