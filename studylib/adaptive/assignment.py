"""Which layer gets which precision: a recipe that can be saved, read and applied to the next version of the model."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from studylib.adaptive.formats import FORMATS
from studylib.adaptive.layers import FLOAT, PRECISIONS, Layer, check_assignment
from studylib.errors import InputError, suggestion

_KIND = "adaptive quantization"


@dataclass(frozen=True)
class Assignment:
    """``layers``: layer name to precision, unnamed layers stay fp32. ``facts``: how it was found, plain JSON."""

    format: str
    layers: dict[str, str]
    facts: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.format not in FORMATS:
            raise InputError(f"Unknown format '{self.format}' of an assignment. Known: {', '.join(FORMATS)}.")
        for name, precision in self.layers.items():
            if precision not in PRECISIONS:
                words = f"Unknown precision '{precision}' of layer '{name}'. Known: {', '.join(PRECISIONS)}."
                raise InputError(words + suggestion(precision, PRECISIONS))

    @property
    def digest(self) -> str:
        return digest(self.layers)

    @property
    def is_quantized(self) -> bool:
        """Whether any layer is not fp32."""
        return any(precision != FLOAT for precision in self.layers.values())

    def check(self, format: str, layers: list[Layer] | tuple[Layer, ...]) -> None:
        """Raise `InputError` when it was made for another format, or names a layer that a model with ``layers`` lacks."""
        if format != self.format:
            raise InputError(f"This assignment is for {self.format} and the model is {format}; search again for {format}.")
        check_assignment(self.layers, layers)

    def save(self, path: Path) -> None:
        content = {"kind": _KIND, "format": self.format, "layers": self.layers, "facts": self.facts}
        Path(path).write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Assignment":
        """Read what `save` wrote. Raises `InputError` with what is wrong in the file."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as an assignment ({error}); give the JSON file that a search wrote.") from None
        if not isinstance(content, dict) or content.get("kind") != _KIND:
            raise InputError(f"{path} is no assignment: its kind is not '{_KIND}'; give the JSON file that a search wrote.")
        layers, facts = content.get("layers"), content.get("facts", {})
        if not isinstance(layers, dict) or not all(isinstance(value, str) for value in layers.values()) or not isinstance(facts, dict):
            raise InputError(f"{path}: 'layers' must be a table of layer names and precisions ({', '.join(PRECISIONS)}).")
        return cls(str(content.get("format")), layers, facts)


def digest(layers: dict[str, str]) -> str:
    """A short name of an assignment; layers in fp32 do not count."""
    content = sorted((name, precision) for name, precision in layers.items() if precision != FLOAT)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
