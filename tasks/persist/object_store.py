"""A reports folder on object storage: whatever fsspec opens for writing, S3 first.

A run is made and published in a folder on this machine, as ever, and then uploaded (`upload.py`); who reads one fetches
it into a passing folder (`fetch.py`). A run is there when its manifest.sha256 is there: until then nobody takes its
objects for one. `<name>/latest` is a text with the run's id, since object stores have no links.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tasks.errors import AuditError, DataUnavailable, StorageError, UsageError, one_line
from tasks.persist.publish import RUN_ID
from tasks.persist.store import make_folder

LATEST, MANIFEST, DIGEST, SUMMARY = "latest", "manifest.json", "manifest.sha256", "summary.json"
_PROBE = ".writable"
_AT_ONCE = 8  # requests
#: answers by which S3 says that a condition of a write was not met; a `latest` that is gone is not what it was either
_UNMET = frozenset({"412", "409", "404", "PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"})
_S3 = frozenset({"s3", "s3a"})

Item = TypeVar("Item")


@dataclass(frozen=True)
class ObjectStore:
    """A reports folder on object storage.

    Attributes:
        address: as given, `s3://bucket/prefix`.
        files: fsspec's file system.
        root: the address as the file system has it.
        folder: the local side: runs while they are made and until they are uploaded, and what is kept for later ones.
    """

    address: str
    files: Any
    root: str
    folder: Path

    def shown(self, *parts: str) -> str:
        return "/".join((self.address, *parts))

    def path(self, *parts: str) -> str:
        return "/".join((self.root, *parts))

    def write(self, name: str, content: bytes) -> None:
        """Writes an object.

        Raises:
            StorageError: it cannot be written.
        """
        with writing(self.shown(name)):
            self.files.pipe_file(self.path(name), content)

    def check(self, name: str) -> None:
        """Whether runs of a name can be read and written: told before the work, not after it. Leaves an empty object.

        Raises:
            StorageError: they cannot: no such bucket, no credentials, no server, no right; or the local side cannot be
                made.
        """
        try:
            make_folder(self.folder)
        except OSError as error:
            hint = "set XDG_CACHE_HOME to a folder that can be written"
            raise StorageError(f"cannot be made ({error.strerror})", where=str(self.folder), hint=hint) from error
        with writing(self.shown(name)):
            self.latest(name)
            self.files.pipe_file(self.path(name, _PROBE), b"")

    def latest(self, *parts: str) -> tuple[str | None, str | None]:
        """The run that `latest` names, and what tells this state of it; (None, None) where there is none.

        Raises:
            OSError: it cannot be read, or names no run.
        """
        path = self.path(*parts, LATEST)
        try:
            # Asked first: if it changes in between, the state is an older one, and what depends on it fails.
            about = self.files.info(path)
            if about["type"] != "file":
                return None, None
            content = self.files.cat_file(path) if about["size"] <= 100 else b"too long"
        except FileNotFoundError:
            return None, None
        run_id = content.decode("ascii", errors="replace").strip()
        if not RUN_ID.fullmatch(run_id):
            raise OSError(errno.EINVAL, f"latest names no run: {one_line(run_id, 60)}")
        return run_id, str(about.get("ETag") or "")

    def point(self, name: str, run_id: str, before: str | None, tag: str | None) -> bool:
        """Has `latest` name a run, if it still is what `latest()` gave; whether it does now."""
        path, content = self.path(name, LATEST), f"{run_id}\n".encode()
        if self._conditions:
            try:
                self.files.pipe_file(path, content, **({"IfMatch": tag} if tag else {"IfNoneMatch": "*"}))
                return True
            except Exception as error:
                if isinstance(error, FileExistsError) or codes_of(error) & _UNMET:
                    # An answer that was lost on its way is asked for again, and then it is done already.
                    return self.latest(name)[0] == run_id
                if not codes_of(error) & {"501", "NotImplemented"}:
                    raise
        if self.latest(name)[0] != before:
            return False
        self.files.pipe_file(path, content)
        return True

    @property
    def _conditions(self) -> bool:
        """Whether the store takes a write on condition, as far as its kind tells."""
        return bool(_S3 & set(_protocols(self.files)))

    def inside(self, *parts: str) -> list[tuple[str, str, int]]:
        """(name, `file` or `directory`, size) of what lies in a folder; nothing where there is no such folder.

        Raises:
            FileNotFoundError: there is not even a bucket.
        """
        try:
            listed = self.files.ls(self.path(*parts), detail=True)
        except FileNotFoundError:
            if self._conditions and not self.files.exists(self.root.partition("/")[0]):
                raise
            return []
        return [(one["name"].rstrip("/").rpartition("/")[2], one["type"], int(one["size"] or 0)) for one in listed]


def open_store(address: str) -> ObjectStore:
    """A reports folder by its fsspec address. Nothing is asked of the store yet.

    Raises:
        UsageError: it is no plain address, or its kind is not known, or needs a package that is not installed.
    """
    from fsspec.core import url_to_fs

    plain = address.rstrip("/")
    protocol, _, below = plain.partition("://")
    if "::" in plain or not below.strip("/") or re.search(r"[\x00-\x1f\x7f?#*\[\]]|(^|/)\.{1,2}(/|$)", below):
        told = "is no address that reports can be written under"
        raise UsageError(told, where=address, hint="give a plain one, as s3://bucket/reports")
    options = {"auto_mkdir": True} if protocol in ("file", "local") else {}
    try:
        # Without its memory of listings: other machines publish too.
        files, root = url_to_fs(plain, use_listings_cache=False, **options)
    except ImportError as error:
        hint = f"pip install 'keras-audit[s3]', or fsspec's package for {protocol}://"
        raise UsageError(
            f"needs a package that is not installed ({reason(error)})", where=address, hint=hint
        ) from error
    except (ValueError, TypeError, OSError) as error:
        raise UsageError(
            f"cannot be used ({reason(error)})", where=address, hint="see fsspec's file systems"
        ) from error
    return ObjectStore(plain, files, root.rstrip("/"), _local_side(plain, protocol))


def _local_side(address: str, protocol: str) -> Path:
    """Its name tells the address, and the server where another one than the usual answers it."""
    from fsspec.config import conf

    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    cache = given if given.is_absolute() else Path.home() / ".cache"
    servers = [os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")]
    told = [address, conf.get(protocol, {}).get("endpoint_url"), *(servers if protocol in _S3 else ())]
    name = re.sub("[^a-z0-9]+", "-", address.lower()).strip("-")[:60]
    return cache / "keras-audit" / "reports" / f"{name}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}"


def each(work: Callable[[Item], object], items: Iterable[Item], tick: Callable[[], None] = lambda: None) -> None:
    """Does the work on every item, several at once; the first error ends it, and what has not begun is left."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="objects") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
                tick()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


# ---------------------------------------------------------------- errors


@contextmanager
def writing(where: str, what: str = "cannot be written", hint: str | None = None) -> Iterator[None]:
    """Tells whatever a store raises in a block as StorageError."""
    try:
        yield
    except AuditError:
        raise
    except Exception as error:
        raise StorageError(f"{what} ({reason(error)})", where=where, hint=hint or _hint(error)) from error


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Tells whatever a store raises in a block as UsageError, or as DataUnavailable where another try may do."""
    try:
        yield
    except AuditError:
        raise
    except Exception as error:
        lasting = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError)
        kind = UsageError if lasting or _without_credentials(error) else DataUnavailable
        raise kind(f"cannot be read ({reason(error)})", where=where, hint=_hint(error)) from error


def reason(error: BaseException) -> str:
    """The first line of what a library says of its error."""
    text = str(error.strerror or error) if isinstance(error, OSError) else str(error)
    return one_line((text.strip().splitlines() or [type(error).__name__])[0], 300)


def codes_of(error: BaseException | None) -> set[str]:
    """The codes of S3's answer that an error comes from: of HTTP and its own."""
    found: set[str] = set()
    while error is not None:
        answer = getattr(error, "response", None)
        if isinstance(answer, dict):
            found |= {str(answer.get("Error", {}).get("Code"))}
            found |= {str(answer.get("ResponseMetadata", {}).get("HTTPStatusCode"))}
        error = error.__cause__
    return found


def _hint(error: BaseException) -> str:
    if _without_credentials(error):
        return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, PermissionError):
        return "check the credentials and what they may do here"
    if isinstance(error, FileNotFoundError):
        return "check the bucket's name"
    return "check the address, its server (AWS_ENDPOINT_URL) and the network"


def _without_credentials(error: BaseException) -> bool:
    return "Credentials" in type(error).__name__  # botocore's; where it is not installed nobody raises it


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)
