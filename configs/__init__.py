"""Audit definitions: the schema, and ready YAML files beside it."""
