"""How ONNX Runtime adds products of int8 on this processor: exactly, where its faster way would saturate (docs/decisions/0048).

Without VNNI, an x86 processor adds pairs of products in 16 bits, which whole int8 weights overflow. So files with such weights are opened
with sums of 32 bits, and beside ``static_wi8_ai8`` there is a file whose weights have 7 bits, for which 16 are enough.
"""

from studylib.formats.inside.precision import FLOAT32
from studylib.machine.hardware import Host
from studylib.params.recipe_names import split_recipe
from studylib.results.records import is_plain
from studylib.runtimes import split_name
from studylib.runtimes.onnxruntime import INT8_SUMS, OnnxRuntime

# Made for sums of 16 bits, of this one.
REDUCED, WHOLE = "static_wi8_ai8_reduce_range", "static_wi8_ai8"
# Recipes whose products are of integers, by how their names begin.
_INTEGER = ("static_wi8_ai8", "dynamic_wi8", "adaptive_wi8", "wi8_ai8")


def settings(runtime: str, provider: str, recipe: str, precision: str, host: Host) -> dict[str, str]:
    """What ONNX Runtime is told of its sums; nothing where they cannot saturate. ``precision``: of the source model."""
    own = split_recipe(recipe)[1]
    integer = own.startswith(_INTEGER) or (is_plain(own) and precision != FLOAT32)
    if (runtime, provider) != (OnnxRuntime.name, "cpu") or not host.saturates_int8 or not integer:
        return {}
    return {INT8_SUMS: "16" if own == REDUCED else "32"}


def more_recipes(runtime: str, recipes: list[str], precision: str, host: Host) -> list[str]:
    """The recipe that is worth its time on such a processor alone, where it was not asked for anyhow. ``runtime``: with its
    provider, as it is asked for. ``precision``: as in `settings`.
    """
    told = settings(*split_name(runtime), REDUCED, precision, host)
    return [REDUCED] if told and precision == FLOAT32 and WHOLE in recipes and REDUCED not in recipes else []
