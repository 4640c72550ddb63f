"""How a table is shown where somebody looks at it: whole sentences, and numbers of three digits. Its values stay what they are."""

import pandas as pd

from studylib.wording import digits


class Table(pd.DataFrame):
    """A frame that shows itself so, without changing how pandas shows anything else."""

    @property
    def _constructor(self):
        return Table

    def __repr__(self) -> str:
        with _shown():
            return super().__repr__()

    def _repr_html_(self) -> str | None:
        with _shown():
            return super()._repr_html_()


def _shown():
    return pd.option_context("display.max_colwidth", None, "display.float_format", digits)
