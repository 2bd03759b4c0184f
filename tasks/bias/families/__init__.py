"""Metrics of a group and comparisons of groups: a file a family, listed in `tasks/bias/registry.py`."""
