"""Whom a declined applicant is compared with, and who was declined."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.explain import Problem
from tasks.load import Subject, taken
from tasks.persist import Workspace

#: rows that a declined one is compared with
BACKGROUND = 50


@dataclass(frozen=True)
class Decided:
    """(n,) for every audited row: how it was decided, and its score for the last audited output.

    Attributes:
        favorable, adverse: neither where a recorded decision is null.
    """

    favorable: np.ndarray
    adverse: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class Background:
    """Attributes:
    rows: (b, d) codes.
    told: what they are, in words.
    """

    rows: np.ndarray
    told: str


def decided(subject: Subject, workspace: Workspace) -> Decided:
    """The decisions as `predictions` has them."""
    table = workspace.read_table("predictions", ["output", "score", "decision"])
    output = subject.predictor.outputs[subject.predictor.audited][-1]
    own = table.filter(pc.equal(table["output"], output))
    names = [subject.classes[index] for index in subject.favorable]
    favorable = pc.is_in(own["decision"], value_set=pa.array(names, pa.string())).to_numpy()
    return Decided(favorable, ~favorable & own["decision"].is_valid().to_numpy(), own["score"].to_numpy())


def upward(subject: Subject) -> bool:
    """Whether a higher score of the last audited output, which is that of the last class, is the better one."""
    return len(subject.classes) - 1 in subject.favorable


def background_of(subject: Subject, problem: Problem, found: Decided) -> Background:
    """The approved rows nearest the cut-off, or where the config says so a sample of all rows.

    Source: the official commentary to 12 CFR 1002.9(b)(2), which names both comparisons.
    """
    if subject.config.reasons.background == "applicants":
        n = len(subject.rows)
        picked = np.arange(n)
        if n > BACKGROUND:
            picked = np.sort(problem.generator("reasons.background").choice(n, BACKGROUND, replace=False))
        told = "all applicants" if n <= BACKGROUND else f"all applicants, of whom {BACKGROUND} were drawn at random"
        return Background(taken(subject.rows, picked), told)
    approved = np.flatnonzero(found.favorable)
    if not len(approved):
        return Background(problem.background, "the audit's background rows, since no row was decided in favour")
    score = found.score[approved] if upward(subject) else -found.score[approved]
    nearest = approved[np.argsort(score, kind="stable")][:BACKGROUND]
    return Background(taken(subject.rows, np.sort(nearest)), "the rows decided in favour that lie nearest the cut-off")


def means(codes: np.ndarray) -> np.ndarray:
    """(d,) mean of each column's known codes; NaN where none is known."""
    known = np.isfinite(codes)
    count = known.sum(axis=0)
    total = np.where(known, codes, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def background_digest(subject: Subject, background: np.ndarray) -> str:
    """SHA-256 of the background's raw values: canonical JSON of the features' names and of each row's texts."""
    assert subject.encoder is not None
    columns = [texts.tolist() for texts in subject.encoder.texts(background)]
    content = {
        "features": [feature.name for feature in subject.features],
        "rows": [*map(list, zip(*columns, strict=True))],
    }
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
