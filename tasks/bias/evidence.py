"""What the stage knows of each row: label, decision, scores and weight, as arrays."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import AuditConfig
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
        label, decision: (n,) int64 index into classes, −1 where missing.
        outputs: names of the model's outputs.
        scores: (n, outputs) float64.
        truth: (n,) float64 label of a regression, NaN where missing; None otherwise.
        weight: (n,) float64 ≥ 0, or None.
        favorable, positive: indices into classes; empty where nothing is declared.
        decides: whether decisions exist: False for a regression without a rule.
        limitations: sentences for the report.
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


def evidence_of(config: AuditConfig, predictions: pa.Table, data: Dataset) -> Evidence:
    """Reads the predictions table beside the data it was made from.

    Raises:
        ConfigError: a class named favourable or positive does not exist.
        DataRefused: a weight is missing, negative or not finite.
        Incomplete: the predictions do not belong to this data.
    """
    outputs, rows = _audited(config, predictions, *_by_output(predictions))
    first = predictions.take(pa.array(rows[0]))
    row_id = first.column("row_id").combine_chunks()
    position = _positions(row_id, data.row_id)
    scores = np.column_stack([_floats(predictions.column("score"), index) for index in rows])
    weight = _weights(config, data, position)
    shared = {
        "task": config.model.task, "row_id": row_id, "position": position, "outputs": outputs, "scores": scores,
        "weight": weight,
    }  # fmt: skip
    if config.model.task == "regression":
        return _regression(config, first, scores[:, 0], shared)

    declared = [str(name) for name in config.model.classes or ()]
    named = declared or (list(outputs) if len(outputs) > 1 else [])
    label, decision, classes = _codes(first, named, outputs)
    limitations: list[str] = []
    target = config.data.target
    favorable = _members(target.favorable, classes, config.model.task, "favorable")
    positive = _members(target.positive, classes, config.model.task, "positive") or favorable
    if not positive and config.model.task == "binary":
        positive = (classes.index(outputs[-1]),)
        limitations.append(
            f"No positive outcome is declared (data.target.positive): {outputs[-1]} is taken as positive."
        )
    return Evidence(
        label=label, decision=decision, classes=tuple(classes), truth=None, favorable=favorable, positive=positive,
        limitations=tuple(limitations), **shared,
    )  # fmt: skip


def _regression(config: AuditConfig, first: pa.Table, value: np.ndarray, shared: dict) -> Evidence:
    from tasks.load import class_index

    texts = first.column("y_true")
    try:
        truth = texts.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise Incomplete(
            f"a label of a regression is not a number ({error})", where="predictions", code="label_not_a_number"
        ) from error
    truth = np.where(np.isfinite(truth), truth, np.nan)
    label = decision = np.full(len(value), -1)
    favorable: tuple[int, ...] = ()
    rule = config.bias.decision.comparison
    if rule is not None:
        holds = _OPERATORS[rule[0]]
        label = np.where(np.isnan(truth), -1, holds(truth, rule[1]))
        decision = np.where(np.isnan(value), -1, holds(value, rule[1]))
        favorable = (1,)
    elif config.bias.decision.column is not None and config.favorable:
        coded = pc.dictionary_encode(first.column("decision").combine_chunks())
        wanted = [class_index(text, config.favorable) >= 0 for text in coded.dictionary.to_pylist()]
        lookup = np.array([*wanted, -1], np.int64)
        decision = lookup[coded.indices.fill_null(len(wanted)).to_numpy()]
        favorable = (1,)
    return Evidence(
        classes=("no", "yes"), label=label, decision=decision, truth=truth, favorable=favorable,
        positive=favorable if rule is not None else (), decides=bool(favorable), **shared,
    )  # fmt: skip


def _by_output(predictions: pa.Table) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """The outputs in the order of their first row, and for each its rows, all in one order of row_id."""
    if predictions.num_rows == 0:
        raise Incomplete("the predictions are empty", where="predictions", code="no_predictions")
    coded = pc.dictionary_encode(predictions.column("output").combine_chunks(), null_encoding="encode")
    codes = coded.indices.to_numpy()
    outputs = tuple(str(name) for name in coded.dictionary.to_pylist())
    rows = [np.flatnonzero(codes == k) for k in range(len(outputs))]
    ids = predictions.column("row_id").combine_chunks()
    first = ids.take(pa.array(rows[0]))
    for k, index in enumerate(rows[1:], 1):
        own = ids.take(pa.array(index))
        if own.equals(first):
            continue
        place = pc.index_in(first, own)
        if len(own) != len(first) or place.null_count:
            raise Incomplete(f"output {outputs[k]} has other rows than {outputs[0]}", where="predictions")
        rows[k] = index[place.to_numpy()]
    return outputs, rows


def _audited(
    config: AuditConfig, predictions: pa.Table, outputs: tuple[str, ...], rows: list[np.ndarray]
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Of several heads (`head/class`) the one named like the target, else the first, under its classes' own names."""
    heads = [name.partition("/")[0] for name in outputs]
    if len(set(heads)) < 2 or not all("/" in name for name in outputs):
        return outputs, rows
    classes = {str(name) for name in config.model.classes or ()} | set(
        predictions.column("y_true").unique().to_pylist()
    )
    if classes & set(outputs):  # a class may have a slash in its own name
        return outputs, rows
    head = config.data.target.column if config.data.target.column in heads else heads[0]
    own = [k for k, name in enumerate(heads) if name == head]
    return tuple(outputs[k].partition("/")[2] for k in own), [rows[k] for k in own]


def _positions(row_id: pa.Array, data_id: pa.Array) -> np.ndarray:
    if row_id.equals(data_id):
        return np.arange(len(row_id))
    place = pc.index_in(row_id, data_id.cast(row_id.type))
    if place.null_count:
        raise Incomplete(f"{place.null_count} predicted rows are not in the data", where="predictions, row_id")
    return place.to_numpy(zero_copy_only=False).astype(np.int64)


def _floats(column: pa.ChunkedArray, index: np.ndarray) -> np.ndarray:
    return column.to_numpy()[index].astype(np.float64)


def _codes(table: pa.Table, named: list[str], outputs: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels and decisions as indices into one list of classes: those named, then what else occurs, sorted."""
    coded = [pc.dictionary_encode(table.column(name).combine_chunks()) for name in ("y_true", "decision")]
    seen = {text for part in coded for text in part.dictionary.to_pylist()} | set(outputs)
    classes = [*named, *sorted(seen - set(named))]
    place = {name: k for k, name in enumerate(classes)}
    found = []
    for part in coded:
        lookup = np.array([place[text] for text in part.dictionary.to_pylist()] + [-1], np.int64)
        found.append(lookup[part.indices.fill_null(len(lookup) - 1).to_numpy()])
    return found[0], found[1], classes


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
