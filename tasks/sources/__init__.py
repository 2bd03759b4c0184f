"""Where a disparity comes from: features that stand for a group, and the slices of the rows that fare worst."""

from tasks.sources.stage import trace_sources

__all__ = ["trace_sources"]
