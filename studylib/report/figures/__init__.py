"""Figures, each a function of the results."""
