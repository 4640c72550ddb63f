"""LiteRT files of any maker, as they come in at the door: opened once, with one signature, and what is special about them told."""

from pathlib import Path

from studylib.errors import ArtifactError
from studylib.formats import litert_operators, litert_signature
from studylib.formats.litert_names import keeps_state

_STATE = (
    "the file keeps a state from query to query: each sample is judged from the state that the file begins with, and while it is "
    "timed the state goes on"
)


def taken_in(path: Path, signature: str | None) -> bytes:
    """The file as it is measured. Raises `ArtifactError` in words when it does not open here."""
    content = path.read_bytes()
    model = litert_signature.parsed(content, path.name)
    _require_opens(content, path.name, litert_signature.custom_operators(model))
    return litert_signature.signed(content, path.name, signature)[0]


def remarks(source: Path, path: Path, signature: str | None) -> list[str]:
    """What was chosen of the file at ``path``, and what is special about the copy ``source``, in words."""
    from ai_edge_litert.interpreter import Interpreter

    words = litert_signature.words(path.read_bytes(), path.name, signature)
    return [*([words] if words else []), *([_STATE] if keeps_state(Interpreter(model_path=str(source))) else [])]


def _require_opens(content: bytes, name: str, custom: list[str]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    try:
        Interpreter(model_content=content).allocate_tensors()
    except (RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        missing = [operator for operator in custom if not litert_operators.is_here(operator)]
        if missing and ("unresolved custom op" in said or "Select TensorFlow" in said):
            raise ArtifactError(f"{name} does not run in LiteRT's interpreter: {' '.join(litert_operators.told(missing))}") from None
        raise ArtifactError(
            f"{name} does not open in LiteRT's interpreter: {said[:300]}. Convert the model again with a current converter"
        ) from None
