"""A server that several files ask."""

import pytest

from tests.serving import served_models
from tests.serving.served_models import Served


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Our own server of the small model, with narrow limits."""
    folder = tmp_path_factory.mktemp("served")
    served_models.write(folder)
    with Served(folder, "--body-mb", "1", "--samples", "8") as server:
        yield server
