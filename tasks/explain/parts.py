"""A local technique's explanations, part by part, and where a stopped audit goes on.

A part is a fixed number of rows: what becomes a row group of the technique's table. Within it the technique is given
its own batches. So memory is bounded by a part, and tables and tallies are the same bits however far an earlier run
came: finished batches that it kept (`tasks/persist/unfinished.py`) are the technique's own numbers, bit for bit.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa

from tasks.errors import DeadlinePassed, OutputError, Stopped
from tasks.explain.base import OF_BATCH, Attribution, LocalExplainer, Problem, Saliency, Settings, Technique
from tasks.load import forget, trusted_modules
from tasks.persist import Unfinished, Workspace, take_unfinished
from tasks.program import code_digest, environment
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.load import Subject

#: seconds of work that a killed audit may lose, beside the batch that it was at
KEEP_EVERY = 10.0
_OVERFLOW = "the model or its gradient overflows there; leave the technique out"
#: settings of an audit that no explanation depends on
_APART = {"expectations", "sensitive", "intersections"}

Explanation = Attribution | Saliency


@dataclass(frozen=True)
class Local:
    """A local technique at work on an audit's rows.

    Attributes:
        ids: (n,) of problem.rows.
        part: rows of a part, a multiple of technique.batch.
        kept: what an earlier run left, and where this one leaves what it has; None where nothing is kept.
    """

    technique: Technique
    problem: Problem
    ids: pa.Array
    explain: LocalExplainer
    part: int
    kept: Unfinished | None

    def parts(self, watch: Watch) -> Iterator[tuple[slice, Any]]:
        """Consecutive rows (without a step) and their explanation; counts them as they are done.

        Raises:
            OutputError: the model or the technique came to NaN or infinity; rows are named by their ids.
            Stopped, DeadlinePassed: the watch says so; the hint tells where the next run goes on.
        """
        n = len(self.problem.rows)
        done = 0
        try:
            for start in range(0, n, self.part):
                rows = slice(start, min(start + self.part, n))
                pieces = []
                for found, stop in self._pieces(rows, several=n > self.part):
                    pieces.append(found)
                    watch.advance(stop - done)
                    done = stop
                yield rows, joined(pieces)
                forget(self.problem.rows[rows])
        except (Stopped, DeadlinePassed) as error:
            self._resumable(error, watch)

    def work_out(self, rows: slice, watch: Watch) -> bool:
        """Has pieces of these rows kept, for a run that joins them; False where they cannot be kept.

        Args:
            rows: without a step, from a multiple of the technique's batch to another, or to the end.

        Raises:
            OutputError, Stopped, DeadlinePassed: as `parts`.
        """
        at = rows.start
        while at < rows.stop:
            stop = min((at // self.part + 1) * self.part, rows.stop)
            done = at
            for _, end in self._pieces(slice(at, stop), several=True):
                watch.advance(end - done)
                done = end
            if self.kept is None or not self.kept.covers(at, stop):
                return False
            forget(self.problem.rows[at:stop])
            at = stop
        return True

    def _pieces(self, rows: slice, *, several: bool) -> Iterator[tuple[Explanation, int]]:
        """Explanations of consecutive rows of a part, and where each ends; those of an earlier run as they are.

        Args:
            several: whether the end of these rows is to be kept: others come after them, or elsewhere.
        """
        at, kept = rows.start, self.kept
        fresh: list[Explanation] = []  # not yet kept
        since, last = rows.start, time.monotonic()
        while at < rows.stop:
            found, stop = self._of_earlier(at, rows.stop)
            if found is None:
                stop = min(at + self.technique.batch, rows.stop)
                found = self._batch(slice(at, stop))
                fresh.append(found)
            # A short audit keeps nothing; a piece ends where its part does, or where the next one is there.
            ends = several and (stop == rows.stop or kept.stop_of(stop) is not None) if kept is not None else False
            if kept is not None and fresh and (ends or time.monotonic() - last >= KEEP_EVERY):
                kept.write(since, stop, packed(joined(fresh)))
                fresh = []
            if not fresh:
                since, last = stop, time.monotonic()
            yield found, stop
            at = stop

    def _of_earlier(self, start: int, end: int) -> tuple[Explanation | None, int]:
        stop = None if self.kept is None else self.kept.stop_of(start)
        if self.kept is None or stop is None:
            return None, start
        content = self.kept.read(start) if start < stop <= end else None
        found = None if content is None else unpacked(content, stop - start)
        if found is None:
            self.kept.drop(start)
            return None, start
        return found, stop

    def _batch(self, rows: slice) -> Explanation:
        explained = np.ascontiguousarray(self.problem.explained[rows])
        try:
            found = self.explain(self.problem.rows[rows], explained)
        except OutputError as error:
            if error.code != OF_BATCH:
                raise
            places = [rows.start + int(str(place)) for place in error.values]
            raise self._of_rows(error.what, places, error.hint) from error
        if isinstance(found, Attribution):
            finite = np.isfinite(found.values).all(axis=(1, 2)) & np.isfinite(found.base).all(axis=1)
            if not finite.all():
                what = f"{self.technique.title} came to NaN or infinity for rows"
                raise self._of_rows(what, (rows.start + np.flatnonzero(~finite)[:5]).tolist(), _OVERFLOW)
        return found

    def _of_rows(self, what: str, places: list[int], hint: str | None) -> OutputError:
        return OutputError(what, where="model.path", values=[self.ids[place].as_py() for place in places], hint=hint)

    def _resumable(self, error: Stopped | DeadlinePassed, watch: Watch) -> NoReturn:
        """Tells a user who stops, or whose deadline passed, that the work is not lost."""
        rows = self.kept.rows if self.kept is not None else 0
        if not rows:
            raise error
        told = f"{rows:,} of {len(self.problem.rows):,} rows are kept: the same audit, run again, goes on with them"
        watch.tell(told)
        raise type(error)(error.what, where=error.where, hint=told, code=error.code) from error


@contextmanager
def local(
    technique: Technique,
    settings: Settings,
    subject: Subject,
    problem: Problem,
    explain: LocalExplainer,
    workspace: Workspace,
    watch: Watch,
    *,
    part: int,
) -> Iterator[Local]:
    """A local technique over an audit's rows, with what an earlier run of the same audit left.

    Args:
        part: rows of a part at the least; made a multiple of the technique's batch.
    """
    n = len(problem.rows)
    part = whole_batches(part, technique)
    ids = subject.row_id if len(subject.row_id) == n else subject.row_id.take(pa.array(problem.positions))
    kept, name = None, folder_of(technique, settings, subject, n, part)
    if workspace.unfinished is not None and name is not None:
        stage = f"explain/{technique.name}"
        kept = take_unfinished(workspace.unfinished, name, run_id=workspace.run_id, stage=stage)
    if kept is not None and kept.found:
        watch.tell(f"{kept.found:,} of {n:,} rows were there from a run that did not end")
    try:
        yield Local(technique, problem, ids, explain, part, kept)
    finally:
        if kept is not None:
            kept.close()


def whole_batches(rows: int, technique: Technique) -> int:
    """The least multiple of the technique's batch that has so many rows."""
    return -(-max(1, rows) // technique.batch) * technique.batch


# ---------------------------------------------------------------- the key


def folder_of(technique: Technique, settings: Settings, subject: Subject, rows: int, part: int) -> str | None:
    """Where pieces of so many rows are kept; None where they are not: a single batch, or code that no digest covers."""
    if rows <= technique.batch or _outside_code(subject):
        return None
    return f"{technique.name}-{key_of(technique, settings, subject, rows, part)}"


def _outside_code(subject: Subject) -> bool:
    """Whether code runs that no digest of ours covers: what it does may change from run to run."""
    model = subject.model
    return bool(trusted_modules()) or (model.preprocessor_path is not None and model.preprocessor_sha256 is None)


def key_of(technique: Technique, settings: Settings, subject: Subject, rows: int, part: int) -> str:
    """SHA-256 of whatever an explanation depends on: data, model, config, our code, libraries and processor.

    Images that are files beside the table are covered by the digest of their digests, which is told as a limitation.
    """
    model, data, config = subject.model, subject.data, subject.config
    about: dict[str, Any] = {
        "technique": [technique.name, technique.modality, technique.batch, settings.model_dump(mode="json")],
        "rows": [rows, part],
        "model": [model.sha256, model.preprocessor_sha256],
        "data": [data.sha256, data.reference_sha256, list(subject.limitations)],
        "config": [
            config.model.model_dump(mode="json"),
            config.data.model_dump(mode="json", exclude=_APART),
            config.explain.model_dump(mode="json", exclude={"techniques"}),
            config.bias.decision.model_dump(mode="json"),
        ],
        "program": [code_digest("explain", "load"), environment()],
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


# ---------------------------------------------------------------- explanations as bytes


def joined(pieces: list[Explanation]) -> Any:
    """Explanations of consecutive rows as one. What a batch says nothing of is NaN (quality) or False (notes)."""
    if len(pieces) == 1:
        return pieces[0]
    first = pieces[0]
    lengths = [len(values_of(piece)) for piece in pieces]

    def arrays(name: str, fill: float | bool) -> dict[str, np.ndarray]:
        keys = dict.fromkeys(key for piece in pieces for key in getattr(piece, name))
        found = {}
        for key in keys:
            some = next(np.asarray(getattr(p, name)[key]) for p in pieces if key in getattr(p, name))
            parts = [
                np.asarray(getattr(p, name)[key]) if key in getattr(p, name) else np.full((n, *some.shape[1:]), fill)
                for p, n in zip(pieces, lengths, strict=True)
            ]
            found[key] = np.concatenate(parts)
        return found

    common: dict[str, Any] = {
        "quality": arrays("quality", np.nan),
        "notes": arrays("notes", False),
        "evaluations": sum(piece.evaluations for piece in pieces),
    }
    values = np.concatenate([values_of(piece) for piece in pieces])
    if isinstance(first, Saliency):
        cut = [piece.segments for piece in pieces if isinstance(piece, Saliency) and piece.segments is not None]
        segments = np.concatenate(cut) if len(cut) == len(pieces) else None
        return Saliency(values, layer=first.layer, signed=first.signed, segments=segments, **common)
    attributions = [piece for piece in pieces if isinstance(piece, Attribution)]
    errors = [piece.std_error for piece in attributions if piece.std_error is not None]
    return Attribution(
        values,
        np.concatenate([piece.base for piece in attributions]),
        np.concatenate(errors) if len(errors) == len(pieces) else None,
        **common,
    )


def values_of(found: Explanation) -> np.ndarray:
    """(n, m, …) attributions or maps."""
    return found.values if isinstance(found, Attribution) else found.maps


def packed(found: Explanation) -> bytes:
    """An explanation as bytes: its arrays as they are, bit for bit."""
    arrays: dict[str, np.ndarray] = {}
    about: dict[str, Any] = {"kind": type(found).__name__}
    for field in fields(found):
        value = getattr(found, field.name)
        if isinstance(value, np.ndarray):
            arrays[field.name] = value
        elif isinstance(value, Mapping):
            about[field.name] = list(value)
            arrays |= {f"{field.name}/{place}": np.asarray(array) for place, array in enumerate(value.values())}
        else:
            about[field.name] = value
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    return sink.getvalue()


def unpacked(content: bytes, rows: int) -> Explanation | None:
    """What `packed` made bytes of; None where it is nothing of that kind, or not of so many rows."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            kind = {"Attribution": Attribution, "Saliency": Saliency}[about.pop("kind")]
            values: dict[str, Any] = {}
            for field in fields(kind):
                named = about.get(field.name)
                if field.name in arrays:
                    values[field.name] = arrays[field.name]
                elif isinstance(named, list):
                    values[field.name] = {key: arrays[f"{field.name}/{place}"] for place, key in enumerate(named)}
                elif field.name in about:
                    values[field.name] = named
            found: Explanation = kind(**values)
    except Exception:  # noqa: BLE001 - whatever it is, it is computed again
        return None
    return found if len(values_of(found)) == rows else None
