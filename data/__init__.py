"""Bundled samples and demo models, and the scripts that make them again."""
