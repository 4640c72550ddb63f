"""Tables as people read them."""

import numpy as np
import pandas as pd

from studylib.wording import blanked


def test_what_is_missing_is_empty_and_whole_columns_keep_their_type():
    shown = blanked(pd.DataFrame({"whole": [1.5, 2.5], "part": [1.5, np.nan], "text": ["a", None]}))
    assert shown.whole.dtype == float
    assert shown.to_dict("list") == {"whole": [1.5, 2.5], "part": [1.5, ""], "text": ["a", ""]}
