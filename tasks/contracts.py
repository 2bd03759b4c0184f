"""What passes between stages: small frozen records, and the schemas of the Parquet tables.

A stage never hands an array, a frame or a model to another stage. It writes Parquet and hands over a
`TableRef`; whatever comes later reads that, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pyarrow as pa

SCHEMA_VERSION = "1.0"

Severity = Literal["critical", "warning", "info"]
Verdict = Literal["satisfied", "not_satisfied", "insufficient_data", "not_applicable", "human_required"]
AuditVerdict = Literal["satisfied", "not_satisfied", "inconclusive", "refused", "incomplete"]
ValueStatus = Literal["ok", "undefined", "insufficient_data"]

#: the group of rows whose sensitive attribute is null
MISSING = "(missing)"


@dataclass(frozen=True)
class TableRef:
    """A Parquet table that a stage wrote."""

    name: str  # as in the contract, without suffix: `attributions/shap`
    path: str  # absolute, in the run's working folder
    sha256: str
    rows: int


@dataclass(frozen=True)
class Finding:
    """Something a reader of the report must know, in a sentence of its own."""

    severity: Severity
    code: str  # snake_case, stable: programs match on it
    text: str  # plain text; rendered escaped
    evidence: str | None = None  # name of the table that shows it
    stage: str | None = None


@dataclass(frozen=True)
class Done:
    """A stage, or one technique, that finished."""

    stage: str
    tables: tuple[TableRef, ...] = ()
    images: tuple[str, ...] = ()  # paths under artifacts/
    findings: tuple[Finding, ...] = ()
    limitations: tuple[str, ...] = ()  # sentences
    facts: Mapping[str, Any] = field(default_factory=dict)  # JSON values for the summary and the report
    seconds: float = 0.0
    parts: tuple[str, ...] = ()  # files of the run's folder that a later step joins and removes
    of_run: str | None = None  # the run that it was taken over from


@dataclass(frozen=True)
class NotApplicable:
    """Planned by default, but it does not fit this model or this data. Not an error."""

    stage: str
    code: str
    reason: str


@dataclass(frozen=True)
class Failed:
    """Planned, tried, not done: the audit is incomplete and the report says so at the top."""

    stage: str
    code: str
    reason: str
    exit_code: int = 4
    seconds: float = 0.0


StageResult = Done | NotApplicable | Failed
_KINDS: dict[str, type] = {"done": Done, "not_applicable": NotApplicable, "failed": Failed}


def result_to_json(result: StageResult) -> dict[str, Any]:
    """As JSON values; `result_from_json` reads them back."""
    kind = next(name for name, kind in _KINDS.items() if isinstance(result, kind))
    return {"kind": kind, **_plain(asdict(result))}


def result_from_json(value: Mapping[str, Any]) -> StageResult:
    """The result again.

    Raises:
        KeyError, TypeError: not a result's JSON.
    """
    parts = dict(value)
    kind = _KINDS[parts.pop("kind")]
    if kind is Done:
        parts["tables"] = tuple(TableRef(**table) for table in parts["tables"])
        parts["findings"] = tuple(Finding(**finding) for finding in parts["findings"])
        parts |= {key: tuple(parts.get(key, ())) for key in ("images", "parts", "limitations")}
    return kind(**parts)


def _plain(value: Any) -> Any:
    """Mappings and tuples as the dicts and lists that JSON knows."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _table(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns])


_TEXT, _REAL, _WHOLE, _FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()
#: stands for row_id, whose type is the id column's own
ROW_ID = pa.int64()

#: table name (its family, for those with a technique in their name) → columns, in the order of the contract
TABLES: dict[str, pa.Schema] = {
    "predictions": _table(
        ("row_id", ROW_ID), ("output", _TEXT), ("y_true", _TEXT), ("score", _REAL), ("decision", _TEXT)
    ),
    "validation": _table(
        ("expectation", _TEXT), ("column", _TEXT), ("severity", _TEXT), ("success", _FLAG),
        ("element_count", _WHOLE), ("unexpected_count", _WHOLE), ("unexpected_percent", _REAL), ("detail", _TEXT),
    ),
    "attributions": _table(
        ("row_id", ROW_ID), ("output", _TEXT), ("feature", _TEXT), ("value", _TEXT), ("attribution", _REAL),
        ("std_error", _REAL), ("base_value", _REAL), ("prediction", _REAL),
    ),
    "importance": _table(
        ("technique", _TEXT), ("output", _TEXT), ("feature", _TEXT), ("importance", _REAL), ("std_error", _REAL),
        ("ci_low", _REAL), ("ci_high", _REAL), ("rank", _WHOLE), ("n_rows", _WHOLE),
    ),
    # A point of a feature's curve, averaged over rows or of a single row (row_id), or of two features' joint one; or,
    # without a point, how strongly two interact (measure).
    "effects": _table(
        ("row_id", ROW_ID), ("output", _TEXT), ("feature", _TEXT), ("with_feature", _TEXT), ("measure", _TEXT),
        ("point", _WHOLE), ("position", _REAL), ("value", _TEXT), ("with_position", _REAL), ("with_value", _TEXT),
        ("effect", _REAL), ("std_error", _REAL), ("ci_low", _REAL),
        ("ci_high", _REAL), ("n_rows", _WHOLE),
    ),
    "saliency": _table(
        ("row_id", ROW_ID), ("output", _TEXT), ("layer", _TEXT), ("height", _WHOLE), ("width", _WHOLE),
        ("heatmap", pa.list_(pa.float32())), ("image", _TEXT),
    ),
    "groups": _table(("row_id", ROW_ID), ("attribute", _TEXT), ("group", _TEXT), ("weight", _REAL)),
    "group_metrics": _table(
        ("attribute", _TEXT), ("group", _TEXT), ("output", _TEXT), ("feature", _TEXT), ("technique", _TEXT),
        ("metric", _TEXT), ("value", _REAL), ("status", _TEXT), ("reason", _TEXT), ("numerator", _REAL),
        ("denominator", _REAL), ("n", _WHOLE), ("ci_low", _REAL), ("ci_high", _REAL), ("method", _TEXT),
    ),
    "disparities": _table(
        ("attribute", _TEXT), ("output", _TEXT), ("feature", _TEXT), ("technique", _TEXT), ("metric", _TEXT),
        ("comparison", _TEXT), ("group", _TEXT), ("reference", _TEXT), ("value", _REAL), ("status", _TEXT),
        ("reason", _TEXT), ("ci_low", _REAL), ("ci_high", _REAL), ("p_value", _REAL), ("p_adjusted", _REAL),
        ("q_value", _REAL), ("test", _TEXT),
    ),
    # A point of a curve of a group's scores: `roc` (x: false, y: true positive rate), `calibration` (x: mean score, y:
    # share that came true), `selection` (x: threshold, y: selection rate).
    "curves": _table(
        ("attribute", _TEXT), ("group", _TEXT), ("output", _TEXT), ("curve", _TEXT), ("point", _WHOLE), ("x", _REAL),
        ("y", _REAL), ("ci_low", _REAL), ("ci_high", _REAL), ("n", _WHOLE),
    ),
    # How well a feature (null: all together) predicts a group (null: all groups of the attribute).
    "proxies": _table(
        ("attribute", _TEXT), ("group", _TEXT), ("feature", _TEXT), ("measure", _TEXT), ("value", _REAL),
        ("status", _TEXT), ("reason", _TEXT), ("ci_low", _REAL), ("ci_high", _REAL), ("p_value", _REAL),
        ("p_adjusted", _REAL), ("n", _WHOLE), ("method", _TEXT),
    ),
    # A slice of the rows (`slice`: text, `parts`: attribute or feature = value each) against all other rows.
    "slices": _table(
        ("rank", _WHOLE), ("slice", _TEXT), ("parts", pa.list_(_TEXT)), ("metric", _TEXT), ("value", _REAL),
        ("rest", _REAL), ("difference", _REAL), ("ci_low", _REAL), ("ci_high", _REAL), ("numerator", _REAL),
        ("denominator", _REAL), ("n", _WHOLE), ("p_value", _REAL), ("q_value", _REAL), ("status", _TEXT),
        ("test", _TEXT),
    ),
    # What other thresholds would do: `kind` is current, common, group or parity; `sample` is all (chosen and evaluated
    # on all rows) or held_out (chosen on one half, evaluated on the other); a row a group, and one over all.
    "thresholds": _table(
        ("attribute", _TEXT), ("aim", _TEXT), ("kind", _TEXT), ("sample", _TEXT), ("group", _TEXT),
        ("threshold", _REAL), ("n", _WHOLE), ("selected", _REAL), ("selection_rate", _REAL),
        ("true_positive_rate", _REAL), ("false_positive_rate", _REAL), ("accuracy", _REAL), ("gained", _REAL),
        ("lost", _REAL), ("value", _REAL), ("ci_low", _REAL), ("ci_high", _REAL), ("met", _FLAG),
    ),
    # The trade-off between an aim and accuracy: along one threshold for all (common), along limits of the aim (group).
    "tradeoffs": _table(
        ("attribute", _TEXT), ("aim", _TEXT), ("kind", _TEXT), ("point", _WHOLE), ("threshold", _REAL),
        ("limit", _REAL), ("value", _REAL), ("accuracy", _REAL), ("selection_rate", _REAL), ("changed", _REAL),
    ),
    # A technique's faithfulness in one row, beside which the groups are held.
    "faithfulness": _table(
        ("row_id", ROW_ID), ("technique", _TEXT), ("output", _TEXT), ("measure", _TEXT), ("value", _REAL),
    ),
    "agreement": _table(
        ("technique_a", _TEXT), ("technique_b", _TEXT), ("output", _TEXT), ("measure", _TEXT), ("k", _WHOLE),
        ("value", _REAL), ("ci_low", _REAL), ("ci_high", _REAL), ("n_rows", _WHOLE),
    ),
    "explanation_quality": _table(
        ("technique", _TEXT), ("output", _TEXT), ("measure", _TEXT), ("value", _REAL), ("std_error", _REAL),
        ("direction", _TEXT), ("n_rows", _WHOLE), ("status", _TEXT),
    ),
    "reason_codes": _table(
        ("row_id", ROW_ID), ("rank", _WHOLE), ("code", _TEXT), ("text", _TEXT),
        ("features", pa.list_(_TEXT)), ("contribution", _REAL),
    ),
    # One for each adverse decision whose reasons are stated, where a language file gives a letter.
    "letters": _table(("row_id", ROW_ID), ("language", _TEXT), ("text", _TEXT)),
    # What change would alter an adverse decision: lines of one rank are one change, the smallest first; without a
    # feature none was found. `score` is the model's after the change.
    "counterfactuals": _table(
        ("row_id", ROW_ID), ("rank", _WHOLE), ("feature", _TEXT), ("from", _TEXT), ("to", _TEXT), ("score", _REAL),
        ("crosses", _FLAG), ("text", _TEXT),
    ),
    "drift": _table(
        ("kind", _TEXT), ("attribute", _TEXT), ("feature", _TEXT), ("measure", _TEXT), ("value", _REAL),
        ("threshold", _REAL), ("status", _TEXT),
    ),
}  # fmt: skip


def schema_of(name: str, row_id: pa.DataType | None = None) -> pa.Schema:
    """The schema of a table by its name (`attributions/shap` → `attributions`), with the row_id type of this data."""
    schema = TABLES[name.partition("/")[0]]
    if row_id is not None and "row_id" in schema.names:
        schema = schema.set(schema.get_field_index("row_id"), pa.field("row_id", row_id))
    return schema
