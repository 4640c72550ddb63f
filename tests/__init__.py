"""The folders of `studylib` again, and `contracts`: what every recipe, runtime, scenario and executor promises."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
