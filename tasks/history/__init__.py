"""History: what all published runs came to, read from their summaries, as entries and as reports/index.html."""

from tasks.history.entries import CheckEntry, Entry, as_json, entries, listed
from tasks.history.index import INDEX, index_runs, write_index

__all__ = ["INDEX", "CheckEntry", "Entry", "as_json", "entries", "index_runs", "listed", "write_index"]
