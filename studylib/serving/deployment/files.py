"""Files that deploy a chosen configuration: image, compose file, Kubernetes objects and nginx."""

import importlib.metadata
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from studylib.artifacts.store import temporary_folder, write_text
from studylib.errors import InputError
from studylib.params.paths import root
from studylib.serving.deployment.chosen import Chosen

# What the server itself needs beside the packages of its runtime.
_SERVER = ("fastapi", "grpcio", "httptools", "numpy", "orjson", "pillow", "prometheus-client", "protobuf", "psutil", "pydantic", "pyyaml")
_SERVER += ("uvicorn", "uvloop")
# The messages of TensorFlow Serving need TensorFlow: elsewhere the server speaks its REST, and not its gRPC.
_RUNTIMES = {
    "onnxruntime": ("onnxruntime",),
    "litert": ("ai-edge-litert",),
    "openvino": ("openvino",),
    "tensorflow": ("tensorflow", "tensorflow-serving-api"),
}
_NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True)
class Size:
    """How large a replica is, and how many: the requirements' E6."""

    replicas: int = 3
    cpus: int = 2
    memory_gib: int = 4
    least: int = 1
    most: int = 10
    utilization: int = 70


def write(chosen: Chosen, folder: Path, size: Size | None = None) -> Path:
    """The folder with everything that the image is built of. Raises `InputError` for a runtime that cannot be packed."""
    size = size or Size()
    if chosen.runtime not in _RUNTIMES:
        raise InputError(f"{chosen.runtime} cannot be packed into an image here; what can is {', '.join(_RUNTIMES)}")
    threads = min(chosen.threads, size.cpus)
    shared = {"chosen": chosen, "arguments": arguments(chosen, threads), "threads": threads, **vars(size)}
    with temporary_folder(folder.parent) as writing:
        shutil.copytree(root() / "studylib", writing / "studylib", ignore=shutil.ignore_patterns("__pycache__"))
        chosen.versions(writing / "versions")
        write_text(writing / "requirements.txt", requirements(chosen.runtime))
        for name in ("Containerfile", "compose.yaml", "kubernetes.yaml"):
            write_text(writing / name, rendered(name, **shared))
        write_text(writing / "nginx.conf", rendered("nginx.conf", **_in_compose()))
        writing.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        writing.rename(folder)
    return folder


def arguments(chosen: Chosen, threads: int) -> list[str]:
    """What the server is told in its container, which has ``threads`` processors."""
    told = chosen.arguments
    place = told.index("--threads") + 1
    return [*told[:place], str(threads), *told[place + 1 :]]


def _in_compose() -> dict:
    """nginx inside a compose network finds every replica under the service's name."""
    servers = [{"host": "server", "rest": 8501, "grpc": 8500}]
    return {"servers": servers, "listen": "0.0.0.0", "rest_port": 8080, "grpc_port": 8081, "folder": "/tmp", "old_nginx": False}


def rendered(name: str, **values) -> str:
    """A template of this folder, filled in. Raises an error for a value that is missing."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.get_template(f"{name}.j2").render(**values)


def requirements(runtime: str) -> str:
    """The lines of the lock, with their hashes, that the server and one runtime need: they and all that they need in turn."""
    names = _closure((*_SERVER, *_RUNTIMES[runtime]))
    blocks = re.split(r"\n(?=[a-z0-9])", (root() / "requirements" / "lock.txt").read_text(encoding="utf-8"))
    found = {_plain(_NAME.match(block)[1]): block.strip() for block in blocks if _NAME.match(block)}
    missing = sorted(names - found.keys())
    if missing:
        raise InputError(f"the lock holds no {', '.join(missing)}; run requirements/compile.sh")
    return "\n".join(found[name] for name in sorted(names)) + "\n"


def _closure(names: tuple[str, ...]) -> set[str]:
    """These distributions and all that they need on this machine, by their plain names."""
    todo, found = [_plain(name) for name in names], set()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or ():
            requirement, _, marker = line.partition(";")
            if "extra" in marker or not _holds(marker):
                continue
            todo.append(_plain(_NAME.match(requirement)[1]))
    return found


def _holds(marker: str) -> bool:
    from packaging.markers import Marker

    return not marker.strip() or Marker(marker.strip()).evaluate()


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
