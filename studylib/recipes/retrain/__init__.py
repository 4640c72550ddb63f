"""Recipes that teach the model again."""
