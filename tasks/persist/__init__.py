"""Files: tables and images of a run, and the run's way to its final name."""

from tasks.persist.manifest import values_digest
from tasks.persist.store import Workspace, file_digest

__all__ = ["Workspace", "file_digest", "values_digest"]
