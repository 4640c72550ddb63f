"""Fixtures of what is reported."""

import pytest

from studylib.report.figures import drawing


@pytest.fixture
def no_pictures(monkeypatch):
    """Reports without their figures, which take a second to draw: for what stands in the text."""
    monkeypatch.setattr(drawing, "draw_all", lambda findings: [])
