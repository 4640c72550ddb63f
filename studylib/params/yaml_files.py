"""Reading YAML that people wrote: nothing runs, and what is wrong is said with file, key, value and what is allowed."""

import reprlib
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from studylib.errors import InputError, ParameterError, suggestion


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses aliases, and a key that stands twice instead of silently taking the last."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not used here; write the value", self.peek_event().start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep) for key, _ in node.value]
        for key, (key_node, _) in zip(keys, node.value, strict=True):
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", key_node.start_mark)
        return super().construct_mapping(node, deep)


class Section(BaseModel):
    """Part of a YAML file: unknown keys are refused, nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_yaml(path: Path, shown: str) -> dict:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"{shown}: not readable as YAML: {reason}. Correct the file and run again.") from None
    except OSError as error:
        raise InputError(f"{shown}: cannot be read: {error.strerror}.") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{shown}: holds {type(content).__name__}; it must hold keys with values.")
    return content


def validated(model: type[BaseModel], content: dict, shown: str):
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = error.errors()
        # A list whose items were refused is reported as too short as well: that says nothing.
        refused = {problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"]))}
        told = [problem for problem in problems if problem["type"] != "too_short" or problem["loc"] not in refused]
        raise ParameterError("\n".join(_explain(model, problem, shown) for problem in told)) from None


def _explain(model: type[BaseModel], problem: dict, shown: str) -> str:
    """One problem as: file, key, value, what is allowed, the nearest name."""
    location = ".".join(str(part) for part in problem["loc"])
    value = problem["input"]
    if problem["type"] == "extra_forbidden":
        known = list(_section_at(model, problem["loc"][:-1]).model_fields)
        return f"{shown}: unknown key '{location}'. Known: {', '.join(known)}." + suggestion(problem["loc"][-1], known)
    if problem["type"] == "missing":
        return f"{shown}: key '{location}' is missing. Add it."
    advice = problem["msg"].replace("Input should", "it should").removeprefix("Value error, ")
    if isinstance(value, str) and _is_number(value):
        advice += " (YAML 1.1 reads 1e-3 as text; write 1.0e-3)" if "e" in value.lower() else " (remove the quotes)"
    return f"{shown}: {location} is {reprlib.repr(value)}; {advice}."


def _section_at(model: type[BaseModel], location: tuple) -> type[BaseModel]:
    for part in location:
        # Inside a table of sections (``inputs: {name: …}``) the name itself is no field.
        model = model.model_fields[part].annotation if hasattr(model, "model_fields") else get_args(model)[-1]
    return model


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
