"""``sl.tables.<name>(results)`` and ``sl.figures.<name>(results)``: every table and figure by its name, in a notebook or at a prompt."""

import functools
from collections.abc import Callable

from studylib.errors import UnknownNameError
from studylib.report.sections import FIGURES, TABLES, Section, named


class _ByName:
    """What it makes of a section is called with results, or with `studylib.verdicts.findings.Findings`."""

    _kind: str
    _sections: tuple[Section, ...]

    def __getattr__(self, name: str) -> Callable:
        try:
            return self._called(named(self._sections, self._kind, name))
        except UnknownNameError as error:
            raise AttributeError(str(error)) from None

    def __dir__(self) -> list[str]:
        return sorted(section.name for section in self._sections)


class Tables(_ByName):
    """Tables, which hold numbers and sentences as they are and are rounded where they are shown."""

    _kind, _sections = "table", TABLES

    @staticmethod
    def _called(section: Section) -> Callable:
        make = section.make

        @functools.wraps(make)
        def table(*arguments, **options):
            from studylib.report.tables.shown import Table

            return Table(make(*arguments, **options))

        return table


class Figures(_ByName):
    """Figures, which are saved with the results and shown. Each says in words whether it is native or a rehearsal, where and when."""

    _kind, _sections = "figure", FIGURES

    @staticmethod
    def _called(section: Section) -> Callable:
        @functools.wraps(section.make)
        def figure(results):
            from studylib.report.figures import drawing

            return drawing.show(results, section)

        return figure


tables, figures = Tables(), Figures()
