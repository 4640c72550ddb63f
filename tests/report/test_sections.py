"""The registry of the report's sections, and what shows them by name."""

import inspect
import pkgutil

import pandas as pd
import pytest

import studylib as sl
from studylib.report import figures, sections, tables
from studylib.report.figures.drawing import Drawing
from studylib.report.sections import FIGURES, TABLES
from studylib.verdicts.findings import Findings


@pytest.mark.parametrize("kind", [TABLES, FIGURES], ids=["tables", "figures"])
def test_ids_and_orders_are_given_once(kind):
    assert len({section.id for section in kind}) == len(kind)
    orders = [section.order for section in kind if section.order is not None]
    assert len(set(orders)) == len(orders)
    assert [section.order for section in sections.in_report(kind)] == sorted(orders)


@pytest.mark.parametrize("section", TABLES, ids=lambda section: section.id)
def test_every_table_is_made_of_results_and_of_findings(section, recorded):
    results = recorded()
    made = section.make(results)
    assert isinstance(made, pd.DataFrame)
    pd.testing.assert_frame_equal(made, section.make(Findings(results)))
    assert inspect.getdoc(section.make)
    pd.testing.assert_frame_equal(pd.DataFrame(getattr(sl.tables, section.name)(results)), made)


@pytest.mark.parametrize("section", FIGURES, ids=lambda section: section.id)
def test_every_figure_is_drawn_or_there_is_nothing_to_draw(section, recorded):
    made = section.make(recorded())
    assert (made is not None) == (section.id in {"within-budget", "trade-off", "speed-up", "latency", "size"})
    assert made is None or (isinstance(made, Drawing) and made.alt and made.caption)


def _of_findings(package) -> set[str]:
    """What the modules of a package make of findings: ``module:function``."""
    found = set()
    for module in pkgutil.iter_modules(package.__path__):
        loaded = __import__(f"{package.__name__}.{module.name}", fromlist=["_"])
        own = [value for value in vars(loaded).values() if inspect.isfunction(value) and value.__module__ == loaded.__name__]
        made = [value.__name__ for value in own if hasattr(value, "__wrapped__") and not inspect.isgeneratorfunction(value.__wrapped__)]
        found |= {f"{module.name}:{name}" for name in made}
    return found


@pytest.mark.parametrize(("package", "kind"), [(tables, TABLES), (figures, FIGURES)], ids=["tables", "figures"])
def test_what_is_made_of_findings_is_shown(package, kind):
    """But for what sections are made of: points under a roof, sentences, a note."""
    registered = {section.home.split(".")[1] for section in kind}
    assert _of_findings(package) - registered <= {"roofline:points", "scenarios:sentences", "scenarios:note", "served:sentences"}
    assert registered <= _of_findings(package)


def test_names_complete_at_a_prompt():
    assert "winners" in dir(sl.tables) and "trade_off" in dir(sl.figures)
    with pytest.raises(AttributeError, match="Unknown figure 'trade'"):
        sl.figures.trade  # noqa: B018
