"""Figures from the results and nothing else. `studylib.report.sections` lists them."""
