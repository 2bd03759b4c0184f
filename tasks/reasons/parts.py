"""A part of the adverse decisions: their reasons, changes and letters, as a row group of each table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from string import Template
from typing import Any

import numpy as np
import pyarrow as pa

from configs.schema import AuditConfig
from tasks.errors import OutputError
from tasks.explain import Contributions
from tasks.load import Subject
from tasks.reasons.changeable import Changeable
from tasks.reasons.counterfactuals import Change, Cut, changes_of
from tasks.reasons.letters import change_text, letter
from tasks.reasons.principal import Factor, principal, settled
from tasks.reasons.texts import Language, Words
from tasks.watch import Watch


@dataclass(frozen=True, eq=False)
class Work:
    """What every part is made with."""

    config: AuditConfig
    subject: Subject
    language: Language | None
    factors: tuple[Factor, ...]
    found: Contributions
    summed: np.ndarray
    mean: np.ndarray
    changeable: tuple[Changeable, ...]
    cut: Cut | None
    watch: Watch

    @property
    def names(self) -> list[str]:
        return [factor.name for factor in self.factors]

    @property
    def decision(self) -> tuple[str, str]:
        """The adverse class and the favourable one."""
        favorable = self.subject.favorable[0]
        return self.subject.classes[1 - favorable], self.subject.classes[favorable]


@dataclass
class Tally:
    """Counts over all parts."""

    unsettled: int = 0
    coalitions: float = 0.0
    without: int = 0
    protected: Counter[str] = field(default_factory=Counter)
    any_protected: int = 0
    plain: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)


def write_part(work: Work, writers: Mapping[str, Any], positions: np.ndarray, rows: np.ndarray, tally: Tally) -> None:
    """Explains some decisions and writes a row group of each table; `writers` are the run's, by the table's name."""
    values = _values(work, positions, rows, tally)
    chosen = principal(values, work.names, work.config.reasons.most)
    ids = work.subject.row_id.take(pa.array(positions))
    lines = Lines.of(work, rows, values, chosen)
    writers["reason_codes"].write(lines.table(ids))
    _count(work, lines, chosen, tally)
    told: list[list[str]] = [[] for _ in positions]
    if "counterfactuals" in writers:
        assert work.cut is not None
        found = changes_of(rows, work.changeable, work.cut)
        table, told = _changes(work, ids, found)
        writers["counterfactuals"].write(table)
        tally.changes.update("none" if not own[0].parts else str(len(own[0].parts)) for own in found)
    if "letters" in writers:
        writers["letters"].write(_letters(work, ids, lines, told))


def _values(work: Work, positions: np.ndarray, rows: np.ndarray, tally: Tally) -> np.ndarray:
    """(n, r) contributions of the factors towards the favourable outcome."""
    found = np.empty((len(rows), len(work.factors)))
    most = work.config.reasons.most
    for start in range(0, len(rows), work.found.batch):
        part = slice(start, min(start + work.found.batch, len(rows)))
        try:
            values, error, looked = work.found.explain(np.ascontiguousarray(rows[part]))
        except OutputError as raised:
            places = [positions[start + int(str(place))] for place in raised.values if str(place).isdigit()]
            ids = [work.subject.row_id[int(place)].as_py() for place in places]
            raise OutputError(raised.what, where=raised.where, values=ids, hint=raised.hint) from raised
        found[part] = values @ work.summed
        known = settled(found[part], error @ np.abs(work.summed), work.names, most)
        tally.unsettled += int((~known).sum())
        tally.coalitions += float(looked.sum())
        work.watch.advance(part.stop - part.start)
    return found


@dataclass(frozen=True, eq=False)
class Lines:
    """The reasons of a part: m lines.

    Attributes:
        row: (m,) which decision of the part, rising; rank: (m,) from 1; factor: (m,).
    """

    row: np.ndarray
    rank: np.ndarray
    factor: np.ndarray
    codes: list[str]
    texts: list[str]
    given: list[bool]
    features: list[tuple[str, ...]]
    contribution: np.ndarray

    @classmethod
    def of(cls, work: Work, rows: np.ndarray, values: np.ndarray, chosen: np.ndarray) -> Lines:
        row, rank = np.nonzero(chosen >= 0)
        factor = chosen[row, rank]
        column = np.array([-1 if f.column is None else f.column for f in work.factors], np.int64)[factor]
        own, mean = rows[row, np.maximum(column, 0)], work.mean[np.maximum(column, 0)]
        side = np.where((column >= 0) & np.isfinite(own) & np.isfinite(mean), np.sign(own - mean), 0.0)
        wordings = [work.factors[j].wording(s) for j, s in zip(factor.tolist(), side.tolist(), strict=True)]
        return cls(
            row, rank + 1, factor,
            [wording.code for wording in wordings],
            [wording.text for wording in wordings],
            [wording.given for wording in wordings],
            [work.factors[j].features for j in factor.tolist()],
            values[row, factor],
        )  # fmt: skip

    def table(self, ids: pa.Array) -> pa.Table:
        return pa.table(
            {
                "row_id": ids.take(pa.array(self.row)),
                "rank": pa.array(self.rank, pa.int64()),
                "code": pa.array(self.codes, pa.string()),
                "text": pa.array(self.texts, pa.string()),
                "features": pa.array([list(names) for names in self.features], pa.list_(pa.string())),
                "contribution": pa.array(self.contribution, pa.float64()),
            }
        )


def _count(work: Work, lines: Lines, chosen: np.ndarray, tally: Tally) -> None:
    """Counts decisions that name a sensitive attribute, those without any reason, and reasons without a text."""
    sensitive = {own.column for own in work.config.data.sensitive.values()}
    named = np.zeros(len(chosen), bool)
    for name in sorted(sensitive):
        about = [j for j, factor in enumerate(work.factors) if name in factor.features]
        own = np.isin(chosen, about).any(axis=1)
        named |= own
        if own.any():
            tally.protected[name] += int(own.sum())
    tally.any_protected += int(named.sum())
    tally.without += int((chosen[:, 0] < 0).sum())
    tally.plain.update(work.factors[j].name for j, given in zip(lines.factor, lines.given, strict=True) if not given)


def _changes(work: Work, ids: pa.Array, found: Sequence[Sequence[Change]]) -> tuple[pa.Table, list[list[str]]]:
    """Lines of `counterfactuals`, and each decision's sentences."""
    words = Words() if work.language is None else work.language.words
    names = {} if work.language is None else work.language.names
    shown = cache(partial(_value_text, work))
    lines: dict[str, list[Any]] = {
        key: [] for key in ("row", "rank", "feature", "from", "to", "score", "crosses", "text")
    }
    told: list[list[str]] = []
    for row, own in enumerate(found):
        told.append([])
        for rank, change in enumerate(own, 1):
            parts = [(f, shown(f, old), shown(f, new)) for f, old, new in change.parts]
            called = [(names.get(f.name, f.name.replace("_", " ")), old, new) for f, old, new in parts]
            text = change_text(words, called, work.decision[1])
            told[-1].append(text)
            changed: list[tuple[str | None, ...]] = [(f.name, old, new) for f, old, new in parts]
            for name, old, new in changed or [(None, None, None)]:
                line = (row, rank, name, old, new, change.score, bool(parts), text)
                for key, value in zip(lines, line, strict=True):
                    lines[key].append(value)
    kinds = {"rank": pa.int64(), "score": pa.float64(), "crosses": pa.bool_()}
    columns = {key: pa.array(values, kinds.get(key, pa.string())) for key, values in lines.items() if key != "row"}
    return pa.table({"row_id": ids.take(pa.array(lines["row"], pa.int64())), **columns}), told


def _value_text(work: Work, feature: Changeable, code: float) -> str:
    assert work.subject.encoder is not None
    text = work.subject.encoder.column_texts(np.array([code]), feature.column)[0]
    return "null" if text is None else str(text)


def _letters(work: Work, ids: pa.Array, lines: Lines, told: Sequence[Sequence[str]]) -> pa.Table:
    language = work.language
    assert language is not None
    template = Template(language.letter or "")
    reasons: list[list[str]] = [[] for _ in ids]
    for row, text in zip(lines.row.tolist(), lines.texts, strict=True):
        reasons[row].append(text)
    audit = work.config.title or work.config.name
    texts = [
        letter(template, row_id=id, audit=audit, decision=work.decision[0], reasons=own, changes=changes)
        for id, own, changes in zip(ids.to_pylist(), reasons, told, strict=True)
    ]
    languages = pa.array([language.language] * len(texts), pa.string())
    return pa.table({"row_id": ids, "language": languages, "text": pa.array(texts, pa.string())})
