"""The manifest as it is read back from a run that anybody may have made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from tasks.errors import one_line
from tasks.evidence.chain import RUN_ID, SHA256, Predecessor
from tasks.evidence.envelope import PublicKey
from tasks.evidence.manifest import OWN, PREDICATE_TYPE, RESULTS, STATEMENT_TYPE
from tasks.evidence.opening import json_values
from tasks.persist import canonical

#: names that lead nowhere but to a folder under reports/
_NAME = re.compile(r"[^/\\\x00.][^/\\\x00]{0,199}")


@dataclass(frozen=True)
class Statement:
    """What a manifest says.

    Attributes:
        files: path in the run → SHA-256, of every file but the manifest's own.
        sizes: path in the run → bytes.
        inputs: name → SHA-256.
        signer: the key that signed the run; None: it is not signed.
    """

    run_id: str
    name: str
    verdict: str
    files: Mapping[str, str]
    sizes: Mapping[str, int]
    inputs: Mapping[str, str]
    previous: Predecessor | None
    signer: PublicKey | None


def read_statement(content: bytes) -> Statement:
    """A manifest's content as it was meant.

    Raises:
        ValueError: not JSON, not in its canonical form, or not the manifest of a run; the text says which.
    """
    value = json_values(content)
    try:
        if canonical(value) != content:
            raise ValueError("is not in canonical form")
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    try:
        return _statement(value)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError("is not the manifest of a run") from error


def _statement(value: Any) -> Statement:
    if value["_type"] != STATEMENT_TYPE or value["predicateType"] != PREDICATE_TYPE:
        raise ValueError("is not an in-toto Statement about a test")
    files = _files(value["subject"])
    predicate = value["predicate"]
    told = predicate["annotations"]
    run_id, name, verdict = told["run_id"], told["name"], told["verdict"]
    if not (isinstance(run_id, str) and RUN_ID.fullmatch(run_id)):
        raise ValueError("has no run id")
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError("has no audit's name")
    if predicate["result"] != RESULTS.get(verdict):
        raise ValueError("has a result that is not its verdict's")
    inputs = {str(one["name"]): str(one["digest"]["sha256"]) for one in predicate["configuration"]}
    signer = None if told["signer"] is None else PublicKey.from_json(told["signer"])
    sizes = {one["name"]: one["annotations"]["bytes"] for one in value["subject"]}
    if not all(type(size) is int and 0 <= size < 1 << 63 for size in sizes.values()):
        raise ValueError("has a size that is none")
    previous = Predecessor.from_json(told["predecessor"])
    return Statement(run_id, name, verdict, files, sizes, inputs, previous, signer)


def _files(subjects: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for subject in subjects:
        name, digest = subject["name"], subject["digest"]
        if not isinstance(name, str) or not name or not _is_inside(name):
            raise ValueError(f"names a file that is not in the run: {one_line(name, 120)}")
        if digest.keys() != {"sha256"} or not SHA256.fullmatch(digest["sha256"]):
            raise ValueError(f"has no SHA-256 of {one_line(name, 120)}")
        if name in found:
            raise ValueError(f"names {one_line(name, 120)} twice")
        found[name] = digest["sha256"]
    if list(found) != sorted(found):
        raise ValueError("does not name its files in order")
    return found


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return (
        name not in OWN
        and all(part not in ("", ".", "..") for part in parts)
        and not PurePosixPath(name).is_absolute()
        and "\x00" not in name
    )
