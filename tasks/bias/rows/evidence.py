"""What the stage knows of each row: label, decision, scores and weight, as arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import AuditConfig
from tasks.bias.rows.groups import Attribute
from tasks.bias.rows.memo import Memo
from tasks.bias.rows.predictions import Predicted, read_predictions
from tasks.errors import ConfigError, DataRefused, Incomplete

if TYPE_CHECKING:
    from tasks.load import Dataset

_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True, eq=False)
class Evidence:
    """The audited rows, n of them, in the order of the predictions.

    Attributes:
        task: binary, multiclass or regression.
        row_id: (n,) as in the predictions.
        position: (n,) int64 rows of the data table.
        classes: names of the classes, as text; of a regression `no` and `yes`: does the favourable rule hold?
        label, decision: (n,) int32 index into classes, −1 where missing.
        outputs: names of the model's outputs.
        scores: (n, outputs) float64.
        truth: (n,) float64 label of a regression, NaN where missing; None otherwise.
        weight: (n,) float64 ≥ 0, or None.
        favorable, positive: indices into classes; empty where nothing is declared.
        decides: whether decisions exist: False for a regression without a rule.
        limitations: sentences for the report.
        strata: what conditional disparities are conditional on (`bias.strata`), or None.
        memo: what was computed of the rows, for all attributes.
        neighbourhood: makes a `neighbours.Neighbourhood` of the rows, or says why not; None: there are no features.
    """

    task: str
    row_id: pa.Array
    position: np.ndarray
    classes: tuple[str, ...]
    label: np.ndarray
    decision: np.ndarray
    outputs: tuple[str, ...]
    scores: np.ndarray
    truth: np.ndarray | None
    weight: np.ndarray | None
    favorable: tuple[int, ...]
    positive: tuple[int, ...]
    decides: bool = True
    limitations: tuple[str, ...] = ()
    strata: Attribute | None = None
    memo: Memo = field(default_factory=Memo)
    neighbourhood: Callable[[Evidence], Any] | None = None

    @property
    def rows(self) -> int:
        return len(self.label)

    @property
    def labelled(self) -> np.ndarray:
        """(n,) bool: the label is known."""
        return np.isfinite(self.truth) if self.truth is not None else self.label >= 0

    def score_of(self, members: Sequence[int]) -> np.ndarray | None:
        """(n,) probability of a set of classes; None where the outputs do not tell."""
        if self.task == "regression":
            return None
        names = [self.classes[m] for m in members]
        if names and all(name in self.outputs for name in names):
            return self.scores[:, [self.outputs.index(name) for name in names]].sum(axis=1)
        if len(names) == 1 and len(self.outputs) == 1 and len(self.classes) == 2:
            return 1 - self.scores[:, 0]  # one sigmoid speaks of the other class
        return None

    @cached_property
    def positive_score(self) -> np.ndarray | None:
        """(n,) probability of the positive outcome."""
        return self.score_of(self.positive)


def evidence_of(config: AuditConfig, predictions: str | Path, data: Dataset) -> Evidence:
    """Reads the predictions table beside the data it was made from.

    Args:
        predictions: path of the table, a Parquet file.

    Raises:
        ConfigError: a class named favourable or positive does not exist.
        DataRefused: a weight is missing, negative or not finite.
        Incomplete: the predictions are empty, do not belong to this data, or a label of a regression is no number.
    """
    declared = [str(name) for name in config.model.classes or ()]
    found = read_predictions(
        predictions, target=config.data.target.column, classes=declared, numbers=config.model.task == "regression"
    )
    row_id = data.row_id if found.row_id.equals(data.row_id) else found.row_id
    position = _positions(row_id, data.row_id)
    shared = {
        "task": config.model.task, "row_id": row_id, "position": position, "outputs": found.outputs,
        "scores": found.scores, "weight": _weights(config, data, position),
    }  # fmt: skip
    if config.model.task == "regression":
        return _regression(config, found, shared)

    named = declared or (list(found.outputs) if len(found.outputs) > 1 else [])
    classes = [*named, *sorted({*found.texts, *found.outputs} - set(named))]
    lookup = np.array([*(classes.index(text) for text in found.texts), -1], np.int32)
    limitations: list[str] = []
    target = config.data.target
    favorable = _members(target.favorable, classes, config.model.task, "favorable")
    positive = _members(target.positive, classes, config.model.task, "positive") or favorable
    if not positive and config.model.task == "binary":
        positive = (classes.index(found.outputs[-1]),)
        limitations.append(
            f"No positive outcome is declared (data.target.positive): {found.outputs[-1]} is taken as positive."
        )
    return Evidence(
        label=lookup[found.label], decision=lookup[found.decision], classes=tuple(classes), truth=None,
        favorable=favorable, positive=positive, limitations=tuple(limitations), **shared,
    )  # fmt: skip


def _regression(config: AuditConfig, found: Predicted, shared: dict) -> Evidence:
    from tasks.load import class_index

    truth, value = found.truth, found.scores[:, 0]
    assert truth is not None
    label = decision = np.full(len(value), -1, np.int32)
    favorable: tuple[int, ...] = ()
    rule = config.bias.decision.comparison
    if rule is not None:
        holds = _OPERATORS[rule[0]]
        label = np.where(np.isnan(truth), -1, holds(truth, rule[1])).astype(np.int32)
        decision = np.where(np.isnan(value), -1, holds(value, rule[1])).astype(np.int32)
        favorable = (1,)
    elif config.bias.decision.column is not None and config.favorable:
        wanted = [class_index(text, config.favorable) >= 0 for text in found.texts]
        decision = np.array([*wanted, -1], np.int32)[found.decision]
        favorable = (1,)
    return Evidence(
        classes=("no", "yes"), label=label, decision=decision, truth=truth, favorable=favorable,
        positive=favorable if rule is not None else (), decides=bool(favorable), **shared,
    )  # fmt: skip


def _positions(row_id: pa.Array, data_id: pa.Array) -> np.ndarray:
    if row_id.equals(data_id):
        return np.arange(len(row_id))
    place = pc.index_in(row_id, data_id.cast(row_id.type))
    if place.null_count:
        raise Incomplete(f"{place.null_count} predicted rows are not in the data", where="predictions, row_id")
    return place.to_numpy(zero_copy_only=False).astype(np.int64)


def _members(named: object, classes: list[str], task: str, key: str) -> tuple[int, ...]:
    """Indices of named classes; a class that no row has is added where the task has room for it."""
    from tasks.load import class_index

    found = []
    for name in named if isinstance(named, list) else [] if named is None else [named]:
        index = class_index(name, classes)
        if index < 0:
            if task != "binary" or len(classes) >= 2:
                raise ConfigError(f"{name} is not a class", where=f"data.target.{key}", available=classes)
            classes.append(str(name))
            index = len(classes) - 1
        found.append(index)
    return tuple(dict.fromkeys(found))


def _weights(config: AuditConfig, data: Dataset, position: np.ndarray) -> np.ndarray | None:
    column = config.data.weight
    if column is None:
        return None
    where = f"data.weight, column {column}"
    if column not in data.table.column_names:
        raise DataRefused("there is no such column", where=where, available=data.table.column_names)
    try:
        weight = data.table.column(column).cast(pa.float64()).to_numpy()[position]
    except pa.ArrowException as error:
        raise DataRefused(f"weights are not numbers ({error})", where=where) from error
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        raise DataRefused(
            f"{np.count_nonzero(bad)} weights are missing, negative or infinite", where=where,
            values=weight[bad][:3], code="bad_weight",
        )  # fmt: skip
    return weight
