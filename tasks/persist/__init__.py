"""Files: tables and images of a run, and the run's way to its final name."""

from tasks.persist.canonical import canonical, values_digest
from tasks.persist.publish import runs
from tasks.persist.store import Workspace, file_digest
from tasks.persist.turn import turn
from tasks.persist.unfinished import Unfinished
from tasks.persist.unfinished import take as take_unfinished

__all__ = ["Unfinished", "Workspace", "canonical", "file_digest", "runs", "take_unfinished", "turn", "values_digest"]
