"""Names that were asked for and do not exist."""

from collections.abc import Iterable

from studylib.errors import ParameterError, UnknownNameError, lookup
from studylib.params.sets import StudyParams


def check_names(
    params: StudyParams,
    models: Iterable[str],
    recipes: Iterable[str],
    providers: dict[str, Iterable[str]],
    scenarios: Iterable[str] = ("single_stream", "offline"),
) -> None:
    """Refuse models, recipes, runtimes, providers (known ones by runtime) and scenarios that do not exist, saying where they stand."""
    choice = params.choice
    wanted = [("models", "model", name, models) for name in choice.models]
    wanted += [("recipes", "recipe", name, recipes) for name in choice.recipes]
    wanted += [("scenarios", "scenario", name, scenarios) for name in choice.scenarios]
    for name in choice.runtimes:
        runtime, _, provider = name.partition("/")
        wanted.append(("runtimes", "runtime", runtime, providers))
        if runtime in providers:
            wanted.append(("runtimes", f"provider of {runtime}", provider or "cpu", providers[runtime]))
    for field, kind, name, known in wanted:
        try:
            lookup(dict.fromkeys(known), kind, name)
        except UnknownNameError as error:
            raise ParameterError(f"params/{params.hardware.name}.yaml or command line, {field}: {error}") from None
