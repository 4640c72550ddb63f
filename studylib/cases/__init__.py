"""Case studies by name: one question of a product team each. Adding one: a folder here, a line in the table."""

from collections.abc import Callable

from studylib.cases.base import Case, Wishes
from studylib.cases.image import Image
from studylib.errors import lookup
from studylib.results.case_results import CaseResult

CASES: dict[str, Case] = {case.name: case for case in (Image(),)}


def run_case(
    name: str, hardware: str = "cpu", effort: str = "quick", data: str = "", force: bool = False, write: Callable[[str], None] = print
) -> CaseResult:
    """Answer the question of a case on this machine. ``data``: your own input; what is unchanged is measured again only by ``force``.

    >>> result = sl.run_case("image", effort="smoke")  # doctest: +SKIP
    >>> sl.case_decision(result)                       # doctest: +SKIP
    """
    return lookup(CASES, "case", name).run(Wishes(hardware, effort, data or None, force), write)
