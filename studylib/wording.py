"""Numbers and tables as people read them."""

import math

import numpy as np
import pandas as pd

from studylib.stats import Estimate


def digits(value: float) -> str:
    """Three significant digits, never an exponent: 29,600 or 0.0312 or 3.00."""
    rounded = float(f"{value:.3g}")
    if not np.isfinite(rounded) or rounded == 0:
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def ratio_text(comparison) -> str:
    """``2.1x [1.9, 2.4]``; without an interval, only the ratio and a word."""
    if comparison.low is None:
        return f"{digits(comparison.ratio)}x (no interval)"
    return f"{digits(comparison.ratio)}x [{digits(comparison.low)}, {digits(comparison.high)}]"


def percent(estimate: Estimate) -> str:
    text = f"{100 * estimate.value:.1f}"
    return text if estimate.low is None else f"{text} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def interval(values: pd.DataFrame, metric: str, unit: float, interval: bool = True) -> str:
    """A value in three digits with its interval; a dash where there are too few values."""
    if metric not in values.index:
        return "–"
    row = values.loc[metric]
    text = digits(row.value / unit)
    if interval and not np.isnan(row.ci_low):
        text += f" [{digits(row.ci_low / unit)}, {digits(row.ci_high / unit)}]"
    return text


def typical_ms(values: pd.DataFrame) -> str:
    """The median time of a query in ms with its interval; ``mean 1.23 [1.20, 1.26]`` where nothing but means is known of it."""
    if "latency_p50" in values.index or "latency_mean" not in values.index:
        return interval(values, "latency_p50", 1e6)
    return f"mean {interval(values, 'latency_mean', 1e6)}"


def estimated(estimate: Estimate | None, unit: float) -> str:
    """A value with its interval where it has one; a dash where there are too few values."""
    if not estimate:
        return "–"
    text = digits(estimate.value / unit)
    return text if estimate.low is None else f"{text} [{digits(estimate.low / unit)}, {digits(estimate.high / unit)}]"


def some(names: list[str], most: int = 5, between: str = ", ") -> str:
    """The first ``most`` names, and how many more there are: ``a, b and 62 more``."""
    rest = len(names) - most
    return between.join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def plain(text: str) -> str:
    """Text that stays text in Markdown."""
    return " ".join(text.split()).replace("<", "&lt;").replace("[", "\\[").replace("`", "'")


def markdown(frame: pd.DataFrame) -> str:
    """A GitHub-flavoured table."""

    def cells(values) -> str:
        return (
            "| "
            + " | ".join(" ".join(_cell(value).split()).replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(") for value in values)
            + " |"
        )

    return "\n".join([cells(frame.columns), cells(["---"] * len(frame.columns)), *(cells(row) for row in frame.itertuples(index=False))])


def lines(rows: list[dict]) -> str:
    """A table as plain text for a terminal."""
    return pd.DataFrame(rows).to_string(index=False, max_colwidth=None, float_format=digits) if rows else "nothing was timed"


def _cell(value) -> str:
    return digits(value) if isinstance(value, float) else str(value)


def blanked(table: pd.DataFrame) -> pd.DataFrame:
    """Empty text where a value is missing; a column that misses nothing keeps its type."""
    missing = [name for name in table.columns if table[name].isna().any()]
    return table.assign(**{name: table[name].astype(object).where(table[name].notna(), "") for name in missing})


def without_empty(frame: pd.DataFrame, column: str = "LoadGen") -> pd.DataFrame:
    """The table without a column that says nothing."""
    return frame.drop(columns=column) if column in frame and (frame[column] == "").all() else frame
