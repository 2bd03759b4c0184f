"""How scores become decisions.

binary        classes[1] iff its score ≥ the threshold (0.5 unless the config says otherwise)
multiclass    the class with the highest score; the first wins a tie
top_k         the k rows with the highest favourable score get a favourable class, ties by position; all others
              an unfavourable one
column        what was recorded
regression    none, unless `favorable_when` says which values are favourable
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import DecisionConfig
from tasks.errors import ConfigError, DataRefused
from tasks.load import target_codes

DEFAULT_THRESHOLD = 0.5
FAVORABLE, UNFAVORABLE = "favorable", "unfavorable"
NONE = -1
_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def decisions(
    scores: np.ndarray,
    rule: DecisionConfig,
    *,
    task: Literal["binary", "multiclass", "regression"],
    classes: Sequence[object] = (),
    favorable: Sequence[int] = (),
    recorded: pa.ChunkedArray | None = None,
) -> pa.Array:
    """The decided class of each row as text, null where there is none.

    Args:
        scores: (n, k) probabilities of the classes in order, or (n, 1) of classes[1]; of a regression its values.
        rule: the config's.
        classes: of the target, in order; empty for a regression.
        favorable: indices into classes.
        recorded: the column of recorded decisions, where the rule names one.

    Raises:
        ConfigError: top_k without a favourable outcome, or with nothing else than favourable ones.
        DataRefused: a recorded decision is no class.
    """
    if task == "regression":
        return _of_values(scores[:, 0], rule, recorded)
    texts = pa.array([*map(str, classes), None], pa.string())
    if recorded is not None:
        codes = _recorded(recorded, classes, rule.column or "")
    elif rule.top_k is not None:
        codes = top_k(scores, rule.top_k, len(classes), favorable)
    elif task == "binary":
        threshold = DEFAULT_THRESHOLD if rule.threshold is None else rule.threshold
        codes = (scores[:, -1] >= threshold).astype(np.int64)
    else:
        codes = scores.argmax(axis=1)
    return texts.take(pa.array(np.where(codes == NONE, len(classes), codes)))


def top_k(scores: np.ndarray, k: int, classes: int, favorable: Sequence[int]) -> np.ndarray:
    """(n,) class indices: the k rows with the highest favourable score get a favourable class.

    The favourable score is the sum over the favourable classes; among them, and among the others, the highest score
    decides which. With k ≥ n every row is selected.
    """
    others = [index for index in range(classes) if index not in favorable]
    if not favorable or not others:
        raise ConfigError(
            "top_k needs a favourable outcome, and another",
            where="data.target.favorable",
            hint="name the outcome that people want",
        )
    whole = np.column_stack([1 - scores[:, 0], scores[:, 0]]) if scores.shape[1] == 1 else scores
    wanted = whole[:, list(favorable)]
    # Stable, so that among equal scores the earlier row comes first.
    selected = np.argsort(-wanted.sum(axis=1), kind="stable")[:k]
    codes = np.array(others)[whole[:, others].argmax(axis=1)]
    codes[selected] = np.array(list(favorable))[wanted[selected].argmax(axis=1)]
    return codes


def _recorded(column: pa.ChunkedArray, classes: Sequence[object], name: str) -> np.ndarray:
    codes = target_codes(column, classes)
    unknown = codes < NONE
    if unknown.any():
        raise DataRefused(
            f"the recorded decisions in {name!r} have values that are no class",
            where="bias.decision.column",
            values=column.filter(pa.array(unknown)).unique().to_pylist(),
            hint=f"the classes are {', '.join(map(str, classes))}",
            code="unknown_decision",
        )
    return codes


def _of_values(values: np.ndarray, rule: DecisionConfig, recorded: pa.ChunkedArray | None) -> pa.Array:
    if recorded is not None:
        return pc.cast(recorded, pa.string()).combine_chunks()
    if rule.comparison is None:
        return pa.nulls(len(values), pa.string())
    sign, limit = rule.comparison
    which = pa.array(np.where(_COMPARE[sign](values, limit), 0, 1))
    return pa.array([FAVORABLE, UNFAVORABLE], pa.string()).take(which)
