"""Where a disparity comes from: features that stand for a group, and the slices of the rows that fare worst."""

from tasks.sources.proxies import STRONG
from tasks.sources.stage import trace_sources

__all__ = ["STRONG", "trace_sources"]
