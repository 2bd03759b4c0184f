"""A technique run again on a few rows: moved, with another seed, or on another model.

What judges explanations (`tasks.agreement`) needs no more of a technique than this: the same settings, the same
background, other circumstances.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from configs.schema import AuditConfig
from tasks.explain.base import Attribution, Prepared, Problem, Saliency, Technique
from tasks.explain.parts import joined, values_of
from tasks.explain.stage import settings_of
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.load import Predictor

#: estimators of the shap library: seconds a row
_LIBRARY = "shap."


@dataclass(frozen=True, eq=False)
class Again:
    """What a technique said when it was run again.

    Attributes:
        values: (n, m, g) attributions, or (n, m, height, width) maps; float64.
        drew: whether the technique drew a random number: where it did not, another seed changes nothing.
        evaluations: rows that went through the model.
    """

    values: np.ndarray
    drew: bool
    evaluations: int


def why_not_again(config: AuditConfig, technique: Technique) -> str | None:
    """Why a technique is not run again, or None where it can be."""
    if technique.scope != "local":
        return "it explains the model as a whole, not single rows"
    if str(getattr(settings_of(config, technique), "estimator", "")).startswith(_LIBRARY):
        return "the library's own estimator takes seconds a row"
    return None


def explained_again(
    config: AuditConfig,
    technique: Technique,
    problem: Problem,
    rows: np.ndarray,
    explained: np.ndarray,
    *,
    seed: int | None = None,
    predictor: Predictor | None = None,
    watch: Watch | None = None,
) -> Again:
    """Prepares a technique as the audit sets it, on the audit's background, and explains some rows.

    Args:
        technique: of scope local.
        problem: of the audit; its own rows are not looked at.
        rows: (n, …) as in the problem.
        explained: (n, m) int64 indices of outputs.
        seed: in place of the audit's; the background stays.
        predictor: of another model, in place of the audit's.
        watch: for stopping; its progress is left alone.

    Raises:
        ValueError: the technique explains no single rows.
        OutputError, Incomplete, ConfigError: as the technique; with another model too.
        Stopped, DeadlinePassed.
    """
    if technique.scope != "local":
        raise ValueError(f"{technique.title} explains no single rows")
    few = _Drawing(
        **{name: getattr(problem, name) for name in Problem.__dataclass_fields__}
        | {
            "rows": rows,
            "explained": explained,
            "target": np.full(len(rows), -1 if problem.task != "regression" else np.nan),
            "weight": None,
            "boxes": None,
            "positions": np.arange(len(rows)),
            "seed": problem.seed if seed is None else seed,
            "predictor": predictor or problem.predictor,
        }
    )
    quiet = replace(watch or Watch(), report=lambda task, done, total: None, done=0, total=None)
    settings = settings_of(config, technique)
    prepared = technique.prepare(few, settings, quiet)
    assert isinstance(prepared, Prepared)
    parts: list[Attribution | Saliency] = []
    for start in range(0, len(rows), technique.batch):
        batch = slice(start, start + technique.batch)
        parts.append(prepared.explain(rows[batch], explained[batch]))
        quiet.advance(0)
    whole = joined(parts)
    return Again(values_of(whole).astype(np.float64), few.drew, prepared.evaluations + whole.evaluations)


class _Drawing(Problem):
    """A problem that remembers whether a random number was asked for."""

    drew = False

    def generator(self, purpose: str) -> np.random.Generator:
        object.__setattr__(self, "drew", True)
        return super().generator(purpose)
