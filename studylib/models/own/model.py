"""A model that the user brings: a file or folder in any known format, with or without data and a card."""

import hashlib
import importlib.util
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from studylib.artifacts.store import content_hash, package_version
from studylib.errors import ArtifactError, InputError
from studylib.formats import inside
from studylib.formats.inside.precision import FLOAT32, precision
from studylib.formats.mixed_precision import precision_remarks
from studylib.models.own import data as own_data
from studylib.models.own import integers, litert_files, onnx_files, saved_models
from studylib.models.own.card import Card, read_card
from studylib.models.own.damage import why_damaged
from studylib.models.own.input_names import input_names
from studylib.models.own.safety import why_unsafe
from studylib.models.own.weight_files import weight_files
from studylib.models.zoo import Model, Samples

SUFFIXES = {".keras": "keras", ".h5": "keras_h5", ".hdf5": "keras_h5", ".onnx": "onnx", ".tflite": "tflite", ".pt2": "torch"}
_MAGIC = {"keras": (0, b"PK\x03\x04"), "keras_h5": (0, b"\x89HDF\r\n\x1a\n"), "tflite": (4, b"TFL3"), "torch": (0, b"PK\x03\x04")}
_FACTORY = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
_KNOWN = "a SavedModel folder, .keras, .h5, .hdf5, .onnx, .tflite, .pt2 or module:factory (PyTorch)"


# Files that people have and that cannot be measured as they are: what they are, and what to give instead.
_FOREIGN = {
    (".pth", ".pt", ".ckpt", ".safetensors", ".bin"): "holds a PyTorch model's weights, or code that would have to run to open it. "
    "Build the model in Python and give module:factory, or save it with torch.export.save as .pt2, or as .onnx",
    (".ort",): "ONNX Runtime's own format, which only ONNX Runtime opens. Give the .onnx file that it was made from",
    (".pb",): "a TensorFlow graph by itself. Give the folder of its SavedModel (saved_model.pb with its variables beside it)",
    (".mlmodel", ".mlpackage"): "a Core ML model, of which nothing else can be made. Give the model that it was made from",
    (".engine", ".plan", ".trt"): "a TensorRT engine, which belongs to one GPU and one version. Give the .onnx file that it was made from",
    (".xml",): "an OpenVINO model, of which nothing else can be made. Give the model that it was made from",
    (".pkl", ".pickle", ".joblib"): "a pickle, which runs code when it is opened. Give the model in its framework's format, or as .onnx",
}  # fmt: skip


def is_own(text: str) -> bool:
    """Whether a MODEL is a file, folder or factory rather than a name of the zoo."""
    return "/" in text or "\\" in text or _is_file_name(text) or bool(_FACTORY.match(text)) or Path(text).is_dir()


def _is_file_name(text: str) -> bool:
    return Path(text).suffix.lower() in {*SUFFIXES, *(ending for endings in _FOREIGN for ending in endings)}


@dataclass(frozen=True)
class OwnModel(Model):
    """The user's model. Raises `InputError` when the path cannot be one; what the file holds is read later."""

    location: str
    data_path: str | None = None
    declared_task: str | None = None
    trust: bool = False
    # Why it was refused before anything ran, where others of the same study go on.
    refusal: str = ""
    name: str = field(default="", kw_only=True)

    weights = "own"
    reads_file = True
    inputs = {}

    def __post_init__(self):
        object.__setattr__(self, "name", self.name or slug(self.location))
        if self.refusal:
            return
        if not self.is_factory:
            check_file(self.path, self.source_format)
        if self.source_format == "torch" and importlib.util.find_spec("torch") is None:
            raise InputError(f"MODEL {self.location}: the package torch is not installed; `make converters` brings it.")
        if self.is_factory:
            _module_file(self.location)
        if self.data_path:
            own_data.check_path(Path(self.data_path))
        _ = self.task  # reads the card and the names in the data: what is wrong with them is said here, before anything runs

    @property
    def is_factory(self) -> bool:
        return bool(_FACTORY.match(self.location)) and not Path(self.location).exists()

    @property
    def path(self) -> Path:
        return Path(self.location)

    @cached_property
    def source_format(self) -> str:
        if self.refusal:
            # Only to plan rows that will say why: a format whose packages are always here.
            found = SUFFIXES.get(self.path.suffix.lower(), "onnx")
            return "onnx" if found == "torch" else found
        return "torch" if self.is_factory else format_of(self.path)

    @property
    def packages(self) -> tuple[str, ...]:
        # Which versions ONNX Runtime opens decides what is done to an ONNX file at the door.
        return ("numpy", "onnx", "onnxruntime") if self.source_format == "onnx" else ("numpy",)

    @cached_property
    def card(self) -> Card:
        return Card() if self.is_factory or self.refusal else read_card(self.path)

    @property
    def task(self) -> str:
        return self.declared_task or self.card.task or ("classification" if self.has_labels else "other")

    @property
    def data(self) -> str:
        return "real" if self.data_path else "synthetic"

    @cached_property
    def has_labels(self) -> bool:
        if not self.data_path or self.refusal:
            return False
        # What is called as labels are may be an input of the model.
        return own_data.has_labels(Path(self.data_path), lambda: input_names(self.path, self.source_format))

    @property
    def test_samples(self) -> int:
        return 1000 if self.data_path else 32

    @property
    def train_samples(self) -> int:
        return 4000 if self.data_path else 500

    def source_facts(self) -> dict:
        return {"format": self.source_format, "sha256": self._hash, "trust": self.trust, "refusal": self.refusal} | self._chosen

    @cached_property
    def precision(self) -> str:
        if self.refusal or self.is_factory:
            return FLOAT32
        try:
            return precision(self.path, self.source_format)
        except ArtifactError:
            return FLOAT32  # a file that cannot be read is refused, with these words, where it is made

    @property
    def _chosen(self) -> dict:
        """What the card says of the file itself."""
        return {"signature": self.card.signature} if self.card.signature else {}

    def data_facts(self) -> dict:
        return {"data": self._data_hash, "card": self.card.model_dump(mode="json")}

    @cached_property
    def _data_hash(self) -> str | None:
        return content_hash(Path(self.data_path)) if self.data_path and not self.refusal else None

    @cached_property
    def _hash(self) -> str:
        if self.refusal:
            return ""
        if self.is_factory:
            # What the factory imports and loads besides cannot be seen from here.
            return hashlib.sha256(
                f"{self.location} {package_version('torch')} {content_hash(_module_file(self.location))}".encode()
            ).hexdigest()
        files = [self.path, *(weight_files(self.path) if self.source_format == "onnx" else [])]
        return hashlib.sha256("".join(content_hash(file) for file in files).encode()).hexdigest()

    def write(self, folder: Path, seed: int) -> Path:
        """Copy the file; refuse one that is damaged, or that would run code and is not trusted."""
        if self.refusal:
            raise ArtifactError(self.refusal)
        if self.is_factory:
            from studylib.formats.torch_files import export_factory

            return export_factory(self.location, folder, seed)
        # Its own name, so that what is said of it later is understood; readers know endings in small letters.
        target = folder / (self.path.name if self.path.is_dir() else f"{self.path.stem}{self.path.suffix.lower()}")
        if self.source_format == "onnx":
            invented = replace(self, data_path=None)
            target = onnx_files.taken_in(self.path, folder, lambda file, ask: invented.described_samples("test", 2, seed, file, ask)[0])
        elif self.source_format == "tflite":
            target.write_bytes(litert_files.taken_in(self.path, self.card.signature))
        elif self.path.is_dir():
            shutil.copytree(self.path, target)
        else:
            shutil.copyfile(self.path, target)
        reason = None if self.trust else why_unsafe(target, self.source_format)
        if reason:
            advice = "; if you trust its author, run again with TRUST=1" if self.source_format == "saved_model" else ""
            raise ArtifactError(reason + advice)
        if self.source_format == "saved_model":
            saved_models.normalise(target, self.card.signature)
        found = inside.look(target, self.source_format, trust=self.trust)
        if not found["inputs"]:
            raise ArtifactError(found["macs_why"] or f"{self.path.name} has no inputs, so there is nothing to ask it")
        return target

    def notes(self, source: Path) -> dict:
        """What was put right in the file that `write` wrote, for the lineage."""
        if self.refusal:
            return {}
        remarks = []
        if self.source_format == "saved_model":
            remarks = saved_models.remarks(self.path, self.card.signature)
        elif self.source_format == "tflite":
            remarks = litert_files.remarks(source, self.path, self.card.signature)
        elif self.source_format.startswith("keras"):
            remarks = precision_remarks(source)
        elif self.source_format == "onnx":
            remarks = onnx_files.told(source)
        return {"at the door": remarks} if remarks else {}

    def described_samples(
        self, split: str, n: int, seed: int, source: Path | None, ask: Callable[[dict], tuple[dict | None, str | None]] | None
    ) -> tuple[Samples, dict]:
        """Samples that fit what the file says, and what was assumed. ``ask``: asks the model a query, as `studylib.build.sources.asked`."""
        tensors = inside.look(source, self.source_format, trust=self.trust)["inputs"]
        # Keras puts the batch first by contract; a factory's exporter does so too.
        certain = self.source_format.startswith("keras") or self.is_factory

        selection = own_data.Selection(split, n, seed)

        def make(tensors, card, ask):
            return own_data.samples(tensors, card, self.data_path and Path(self.data_path), selection, ask, certain)

        return integers.samples(make, tensors, self.card, source, self.source_format, bool(self.data_path), ask)

    def samples(self, split: str, n: int, seed: int) -> Samples:
        raise NotImplementedError("what samples fit is known from the file: `described_samples` reads it")


def slug(location: str) -> str:
    """A name for tables from a path or factory: ``/data/My Model.onnx`` to ``my_model``."""
    stem = location.split(":")[-1] if _FACTORY.match(location) else (Path(location).stem or Path(location).name)
    return re.sub(r"[^a-z0-9_.-]+", "_", stem.lower()).strip("_.-")[:60] or "model"


def format_of(path: Path) -> str:
    """The format of a file or folder by its name. Raises `InputError` naming what is known."""
    foreign = next((words for endings, words in _FOREIGN.items() if path.suffix.lower() in endings), None)
    if foreign:
        raise InputError(f"MODEL {path}: {foreign}.")
    if path.is_dir():
        return "saved_model"
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise InputError(f"MODEL {path}: the ending '{path.suffix}' is not known. Give {_KNOWN}.") from None


def check_file(path: Path, format: str) -> None:
    """Refuse what can be seen from outside: nothing there, another kind of file, cut off. Raises `InputError`."""
    if path.is_symlink() and not path.exists():
        raise InputError(f"MODEL {path}: a link to {path.readlink()}, which is not there. Fetch that file, or give another.")
    if not path.exists():
        raise InputError(f"MODEL {path}: no such file or folder. Give {_KNOWN}.")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise InputError(f"MODEL {path}: a folder without saved_model.pb is no SavedModel. Give the folder that holds that file.")
        _check_whole(path, format)
        return
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise InputError(f"MODEL {path}: cannot be read: {error.strerror}.") from None
    if not head:
        raise InputError(f"MODEL {path}: the file is empty.")
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"MODEL {path}: this is a Git LFS pointer, not the model. Run `git lfs pull` where it lies.")
    offset, magic = _MAGIC.get(format, (0, b""))
    if head[offset : offset + len(magic)] != magic:
        raise InputError(f"MODEL {path}: not a {path.suffix} file: it begins with {head[:8]!r}. Give {_KNOWN}.")
    _check_whole(path, format)


def _check_whole(path: Path, format: str) -> None:
    reason = why_damaged(path, format)
    if reason:
        raise InputError(f"MODEL {path}: the file is damaged or cut off: {reason}. Copy or export it again.")


def _module_file(location: str) -> Path:
    """The file of a factory's module. Raises `InputError` when nothing of that name can be imported."""
    module = location.split(":")[0]
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise InputError(f"MODEL {location}: no module '{module}' can be imported from here. Name one, or set PYTHONPATH.")
    return Path(spec.origin)
