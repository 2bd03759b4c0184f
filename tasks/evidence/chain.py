"""The chain: each run of a name holds the digest of the manifest of the run that was published before it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.evidence.manifest import DIGEST, MANIFEST, digest_line
from tasks.evidence.opening import MAX_TEXT, Unreadable, json_values, read_file

RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
SHA256 = re.compile(r"[0-9a-f]{64}")
#: runs that are looked at, one after the other; a daily audit has as many in 27 years
MOST_RUNS = 10_000


@dataclass(frozen=True)
class Predecessor:
    """The run that was published before: its id, and the SHA-256 of its manifest.json.

    The digest is None where the manifest could not be read then: `latest` named a run that somebody had removed.
    """

    run_id: str
    sha256: str | None

    def as_json(self) -> dict[str, str | None]:
        return {"run_id": self.run_id, "manifest_sha256": self.sha256}

    @classmethod
    def from_json(cls, value: Any) -> Predecessor | None:
        """What a manifest says of its predecessor; None: it is the first.

        Raises:
            ValueError: not what `as_json` gives.
        """
        if value is None:
            return None
        if not isinstance(value, dict) or value.keys() != {"run_id", "manifest_sha256"}:
            raise ValueError("not a predecessor")
        run_id, sha256 = value["run_id"], value["manifest_sha256"]
        if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id):
            raise ValueError("not the id of a run")
        if sha256 is not None and not (isinstance(sha256, str) and SHA256.fullmatch(sha256)):
            raise ValueError("not a SHA-256")
        return cls(run_id, sha256)


def predecessor_of(folder: Path | None) -> Predecessor | None:
    """The link to a run that was published; None where there is none."""
    if folder is None:
        return None
    try:
        return Predecessor(folder.name, hashlib.sha256(read_file(folder, MANIFEST)).hexdigest())
    except Unreadable:
        return Predecessor(folder.name, None)


@dataclass(frozen=True)
class Followed:
    """The chain as far as it could be followed: how many runs before this one fit, what is wrong, what is said."""

    fitting: int
    problems: tuple[str, ...] = ()
    note: str = ""


def follow(previous: Predecessor | None, run_id: str, places: Sequence[Path]) -> Followed:
    """Holds each run before this one against the digest that its successor recorded, back to the first.

    Args:
        previous: as this run's manifest names it.
        run_id: this run's.
        places: folders in which the runs of the name may lie, the nearest first.
    """
    seen, fitting = {run_id}, 0
    while previous is not None:
        before = f"the run before it, {previous.run_id}," if not fitting else f"{previous.run_id}, further back,"
        if previous.run_id in seen or len(seen) > MOST_RUNS:
            return Followed(fitting, (f"chain: {previous.run_id} comes before itself",))
        seen.add(previous.run_id)
        folder = next((place / previous.run_id for place in places if _is_there(place / previous.run_id)), None)
        if previous.sha256 is None:
            return Followed(fitting, note=f"{before} had no manifest when this one was published")
        if folder is None:
            return Followed(fitting, note=f"{before} is not here, so it was not compared")
        try:
            content = read_file(folder, MANIFEST)
            line = read_file(folder, DIGEST, MAX_TEXT)
            if hashlib.sha256(content).hexdigest() != previous.sha256 or line != digest_line(content):
                raise ValueError("differs")
            previous = Predecessor.from_json(json_values(content)["predicate"]["annotations"]["predecessor"])
        except (Unreadable, ValueError, KeyError, TypeError):
            return Followed(
                fitting, (f"chain: {before} is not what this one was published after: its manifest differs",)
            )
        fitting += 1
    return Followed(fitting)


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:
        return False
