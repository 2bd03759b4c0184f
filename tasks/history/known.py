"""What was read of summaries before, so that a thousand of them need not be read again for one more.

`reports/.index.json` may be deleted at any time. It serves the index and the list, and nothing else: a value in it is
looked at as one in a summary is, and it is used only while the summary's size and times and the run's manifest.sha256
are those of the reading.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = ".index.json"
_VERSION = 1
_MAX_BYTES = 256 << 20


@dataclass
class Known:
    """Run → (key, brief). `used` are those that were asked for or read: only they are kept."""

    briefs: dict[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    used: dict[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, reports: Path) -> Known:
        """What lies in the reports folder; empty where there is nothing, or nothing that can be read."""
        path = reports / FILE
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(handle, "rb") as stream:
                values = json.loads(stream.read(_MAX_BYTES))
            if values["version"] != _VERSION:
                return cls()
            found: dict[str, tuple[str, Mapping[str, Any]]] = {
                run: (key, brief)
                for run, (key, brief) in values["runs"].items()
                if isinstance(key, str) and isinstance(brief, dict)
            }
        except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return cls()
        return cls(found)

    def key(self, folder: Path) -> str:
        """What a reading depends on.

        Raises:
            OSError: there is no summary.
        """
        about = os.lstat(folder / "summary.json")
        try:
            handle = os.open(folder / "manifest.sha256", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(handle, "rb") as stream:
                manifest = stream.read(64).decode("ascii", errors="replace")
        except OSError:
            manifest = ""
        return f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {about.st_mode} {manifest}"

    def get(self, run: str, key: str) -> Mapping[str, Any] | None:
        known = self.briefs.get(run)
        return known[1] if known is not None and known[0] == key else None

    def put(self, run: str, key: str, brief: Mapping[str, Any]) -> None:
        self.used[run] = (key, brief)

    def content(self) -> bytes:
        """The file's content: runs that are gone are left out."""
        runs = {run: list(pair) for run, pair in sorted(self.used.items())}
        return json.dumps({"version": _VERSION, "runs": runs}, ensure_ascii=True, separators=(",", ":")).encode()
