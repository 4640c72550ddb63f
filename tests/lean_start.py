"""Loaded by pytest before its plugins: nbval reads notebooks with jsonschema, which looks two seconds for what nobody here needs."""

from studylib.machine.lean_imports import import_leanly

import_leanly()
