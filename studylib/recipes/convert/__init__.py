"""Recipes from one format to another, in float32."""
