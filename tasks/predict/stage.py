"""The stage: the model's outputs for every audited row, and the decisions made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import AuditConfig
from tasks.contracts import Done, TableRef
from tasks.errors import ConfigError, OutputError
from tasks.load import forget, open_subject
from tasks.persist import Workspace
from tasks.predict.decisions import decisions
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.load import Subject

#: rows between two looks at the clock, and rows of a row group
STRIDE = 65_536


def predict(config: AuditConfig, workspace: Workspace, watch: Watch) -> Done:
    """Evaluates the model on every row and writes `predictions`: a row per (row_id, output), rows in data order.

    `y_true` is the label's class as the classes name it (a regression's as text), null where it is missing.

    Raises:
        OutputError: the model returned NaN, infinity or a probability outside 0–1; the rows are named by row_id.
        ConfigError, DataRefused: decisions that cannot be made, or recorded ones that are no class.
        StorageError, Stopped, DeadlinePassed: as the workspace and the watch say.
    """
    subject = open_subject(config)
    scores = _scores(subject, watch)
    audited = scores[:, subject.predictor.audited]
    decided = decisions(
        audited,
        config.bias.decision,
        task=config.model.task,
        classes=subject.classes,
        favorable=subject.favorable,
        recorded=_recorded(subject),
    )
    truth = _labels(subject)
    table = _write(workspace, subject, scores, truth, decided)
    return Done(
        "predict",
        tables=(table,),
        limitations=subject.limitations,
        facts=_facts(subject, scores, truth, decided),
    )


def _scores(subject: Subject, watch: Watch) -> np.ndarray:
    """(n, k) float64."""
    rows, predictor = subject.rows, subject.predictor
    watch.expect(len(rows))
    stride = max(predictor.batch, STRIDE if rows.ndim == 2 else 0)
    found = np.empty((len(rows), len(predictor.outputs)))
    for start in range(0, len(rows), stride):
        part = rows[start : start + stride]
        try:
            found[start : start + len(part)] = predictor(part, watch=watch)
        except OutputError as error:
            positions = [start + int(str(position)) for position in error.values]
            ids = subject.row_id.take(pa.array(positions, pa.int64())).to_pylist()
            raise OutputError(
                error.what.replace("at position", "with the row_id"),
                where=error.where,
                values=ids,
                hint=error.hint,
                code=error.code,
            ) from error
        forget(part)
        watch.advance(len(part))
    return found


def _labels(subject: Subject) -> pa.Array:
    """(n,) the true label as text."""
    if not subject.classes:
        return pa.array(subject.target, pa.float64(), from_pandas=True).cast(pa.string())
    texts = pa.array([*subject.classes, None], pa.string())
    return texts.take(pa.array(np.where(subject.target < 0, len(subject.classes), subject.target)))


def _recorded(subject: Subject) -> pa.ChunkedArray | None:
    name = subject.config.bias.decision.column
    if name is None:
        return None
    if name not in subject.data.table.column_names:
        raise ConfigError(
            f"has no column {name!r}", where="bias.decision.column", available=subject.data.table.column_names
        )
    column = subject.data.table.column(name)
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _write(workspace: Workspace, subject: Subject, scores: np.ndarray, truth: pa.Array, decided: pa.Array) -> TableRef:
    outputs = pa.array(subject.predictor.outputs, pa.string())
    width = len(outputs)
    with workspace.table_writer("predictions", subject.row_id.type) as writer:
        for start in range(0, len(scores), STRIDE):
            count = min(STRIDE, len(scores) - start)
            each = pa.array(np.repeat(np.arange(start, start + count), width))
            columns = {
                "row_id": subject.row_id.take(each),
                "output": outputs.take(pa.array(np.tile(np.arange(width), count))),
                "y_true": truth.take(each),
                "score": pa.array(scores[start : start + count].ravel()),
                "decision": decided.take(each),
            }
            writer.write(pa.table(columns))
    assert writer.ref is not None
    return writer.ref


def _facts(subject: Subject, scores: np.ndarray, truth: pa.Array, decided: pa.Array) -> dict[str, Any]:
    """Counts and a first measure of quality; the bias stage has the rest, with intervals."""
    outputs = subject.predictor.outputs
    facts: dict[str, Any] = {
        "rows": len(scores),
        "outputs": list(outputs),
        "classes": list(subject.classes),
        "favorable": [subject.classes[index] for index in subject.favorable],
        "positive": [subject.classes[index] for index in subject.positive],
        "labelled": len(truth) - truth.null_count,
        "mean_score": {name: float(mean) for name, mean in zip(outputs, scores.mean(axis=0), strict=True)},
        "decided": _counted(decided),
    }
    if subject.classes:
        judged = pc.equal(truth, decided).drop_null()  # null where either is
        right = pc.sum(judged).as_py() or 0
        facts["accuracy"] = {"value": right / len(judged) if len(judged) else None, "n": len(judged)}
    else:
        known = ~np.isnan(subject.target)
        error = scores[known, subject.predictor.audited][:, 0] - subject.target[known]
        mean = float(np.abs(error).mean()) if known.any() else None
        facts["mean_absolute_error"] = {"value": mean, "n": int(known.sum())}
    return facts


def _counted(decided: pa.Array) -> dict[str, int]:
    """Decision → rows: the fifty most frequent, those equally frequent in the order in which they first come."""
    counts = pc.value_counts(decided.drop_null())
    found = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    return dict(sorted(found, key=lambda entry: -entry[1])[:50])
