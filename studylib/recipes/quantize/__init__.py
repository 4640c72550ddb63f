"""Recipes that compute in fewer bits."""
