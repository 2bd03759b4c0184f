"""summary.json: the report for programs. Its schema is published beside this file and printed by the command line.

Values are those of the tables, not rounded; what has no value is null, never NaN.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tasks.contracts import SCHEMA_VERSION, Done, Failed, StageResult
from tasks.persist import values_digest
from tasks.report.persons import printable
from tasks.report.reading import Artifact, Reading, Row
from tasks.report.record import MACHINE_KEYS
from tasks.report.regulations import AS_OF, Judged, attestations, judged
from tasks.report.sections.limits import OWN_LIMITS

#: lines of a table that the summary repeats; the rest is counted in `omitted`
MOST_ROWS = 5000
_SCHEMA = Path(__file__).with_name("summary.schema.json")
_METRIC_KEYS = (
    "attribute", "group", "output", "metric", "value", "status", "reason", "numerator", "denominator", "n",
    "ci_low", "ci_high", "method",
)  # fmt: skip
_DISPARITY_KEYS = (
    "attribute", "output", "metric", "comparison", "group", "reference", "value", "status", "reason", "ci_low",
    "ci_high", "p_value", "p_adjusted", "q_value", "test",
)  # fmt: skip
_CHECK_KEYS = (
    "metric", "attribute", "group", "min", "max", "severity", "confidence", "verdict", "value", "status", "reason",
    "ci_low", "ci_high", "numerator", "denominator", "n", "reference", "reference_numerator", "reference_denominator",
    "p_value", "test", "sentence",
)  # fmt: skip


@cache
def _schema_text() -> str:
    return _SCHEMA.read_text(encoding="utf-8")


def summary_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of summary.json."""
    return json.loads(_schema_text())


def render_summary(reading: Reading, summary: Mapping[str, Any] | None = None) -> bytes:
    """summary.json: UTF-8, indented, keys in the order of the schema; the same run gives the same bytes.

    Args:
        summary: its values, where they are at hand.
    """
    values = summary_of(reading) if summary is None else summary
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, indent=2)
    return (text + "\n").encode("utf-8", errors="replace")


def summary_of(reading: Reading) -> dict[str, Any]:
    """The summary as JSON values."""
    record, config = reading.record, reading.config
    packs = judged(reading)
    return _finite(
        {
            "schema_version": SCHEMA_VERSION,
            "report_id": record.run_id,
            "generated_at": record.finished,
            "as_of_law": AS_OF,
            "verdict": record.verdict,
            "subject": _subject(reading),
            "data": _data(reading),
            "policy": {
                "sha256": values_digest([check.model_dump(mode="json") for check in config.policy]),
                "declared": [check.model_dump(mode="json") for check in config.policy],
                "checks": [_check(c) for c in reading.checks],
            },
            "run": _run(reading),
            "results": _results(reading),
            "controls": [control for pack in packs for control in _controls(pack)],
            "limitations": _limitations(reading),
            "human_attestations": _attestations(reading, packs),
            "artifacts": [_artifact(a) for a in reading.artifacts],
        }
    )


# ---------------------------------------------------------------- subject, data, run


def _subject(reading: Reading) -> dict[str, Any]:
    record, config = reading.record, reading.config

    def fact(key: str) -> Any:
        return record.fact("load_model", key)

    preprocessor = {"path": fact("preprocessor"), "sha256": fact("preprocessor_sha256")}
    return {
        "name": config.name,
        "title": reading.title,
        "task": config.model.task,
        "model": {
            "path": fact("path") or config.model.path,
            "version": fact("version"),
            "sha256": fact("sha256"),
            "format": fact("format"),
            "parameters": fact("parameters"),
            "preprocessor": preprocessor if preprocessor["path"] else None,
            "card": fact("card") or {},
        },
        "features": fact("features"),
        "classes": None if config.model.classes is None else [str(c) for c in config.model.classes],
        "target": config.data.target.column,
        "favorable": list(reading.favorable),
        "positive": list(reading.positive),
        "decision": config.bias.decision.model_dump(mode="json"),
        "attributes": list(reading.attributes),
    }


def _data(reading: Reading) -> list[dict[str, Any]]:
    config = reading.config.data
    found = []
    for role, key, path in (("audited", "data", config.path), ("reference", "reference", config.reference)):
        facts = reading.record.fact("load_data", key) or {}
        if path is not None:
            found.append(
                {
                    "role": role,
                    "path": facts.get("path", path),
                    "sha256": facts.get("sha256"),
                    "rows": facts.get("rows"),
                }
            )
    return found


def _check(check: Mapping[str, Any]) -> dict[str, Any]:
    """A judged check; what the stage tells beyond the known keys is kept under `detail`."""
    known = {key: check.get(key) for key in _CHECK_KEYS}
    return {**known, "detail": {k: v for k, v in check.items() if k not in _CHECK_KEYS}}


def _run(reading: Reading) -> dict[str, Any]:
    record = reading.record
    return {
        "started": record.started,
        "finished": record.finished,
        "tool": {"name": "keras-audit", "version": _own_version(reading)},
        "environment": {
            **{key: record.environment.get(key) for key in MACHINE_KEYS if record.environment.get(key) is not None},
            "libraries": record.libraries,
        },
        "seed": record.seed,
        "flow_run": {"id": record.flow_run.get("id") or None, "name": record.flow_run.get("name") or None},
        "stages": [_stage(r) for r in record.results],
        "missing": [{"stage": f.stage, "code": f.code, "reason": f.reason} for f in reading.missing],
        "refused": list(reading.reasons) if record.verdict == "refused" else [],
        "findings": [asdict(f) for f in reading.findings],
    }


def _own_version(reading: Reading) -> str:
    told = reading.record.environment.get("keras-audit")
    if told:
        return str(told)
    try:
        return version("keras-audit")
    except PackageNotFoundError:
        return "unknown"


def _stage(result: StageResult) -> dict[str, Any]:
    state = "done" if isinstance(result, Done) else "failed" if isinstance(result, Failed) else "not_applicable"
    return {
        "stage": result.stage,
        "state": state,
        "code": getattr(result, "code", None),
        "reason": getattr(result, "reason", None),
        "seconds": getattr(result, "seconds", None),
        "of_run": getattr(result, "of_run", None),
        "tables": [t.name for t in result.tables] if isinstance(result, Done) else [],
    }


# ---------------------------------------------------------------- results


def _results(reading: Reading) -> dict[str, Any]:
    metrics, disparities = reading.group_metrics, reading.disparities
    # Where lines have to be left out, those of the declared outcomes come before those of single classes.
    metrics, disparities = (sorted(rows, key=lambda r: r["output"] is not None) for rows in (metrics, disparities))
    by_group = [r for r in metrics if r["attribute"] is not None]
    return {
        "performance": {"metrics": _lines([r for r in metrics if r["attribute"] is None], _METRIC_KEYS)},
        "fairness": {
            "metrics": _lines(by_group, _METRIC_KEYS),
            "disparities": _lines(disparities, _DISPARITY_KEYS),
            **{name: _lines(reading.rows(name)) for name in ("proxies", "slices", "thresholds")},
        },
        "explanations": {
            "techniques": [_technique(reading, r) for r in reading.record.results if r.stage.startswith("explain/")],
            "importance": _lines(reading.importance),
            "agreement": _lines(reading.rows("agreement")),
            "quality": _lines(reading.rows("explanation_quality")),
        },
        "reason_codes": _counted(reading, "reason_codes"),
        "drift": {"measures": _lines(reading.rows("drift"))},
    }


def _lines(rows: Sequence[Row], keys: Sequence[str] | None = None) -> dict[str, Any]:
    """Rows of a table, and how many are left out."""
    shown = rows[:MOST_ROWS]
    kept = [{key: row[key] for key in keys} for row in shown] if keys else list(shown)
    return {"rows": kept, "omitted": len(rows) - len(shown)}


def _technique(reading: Reading, result: StageResult) -> dict[str, Any]:
    facts = dict(result.facts) if isinstance(result, Done) else {}
    return {
        "technique": result.stage.removeprefix("explain/"),
        "state": _stage(result)["state"],
        "facts": printable(reading, facts),
    }


def _counted(reading: Reading, name: str) -> dict[str, Any]:
    """A table with a line a row of the data is named, not repeated."""
    found = reading.artifact(name)
    return {"table": None if found is None else found.name, "rows": 0 if found is None else found.rows}


# ---------------------------------------------------------------- law, limits, artifacts


def _controls(pack: Judged) -> list[dict[str, Any]]:
    return [
        {
            "id": c.id,
            "regulation": pack.id,
            "clause": c.clause,
            "ask": c.ask,
            "status": c.status,
            "legal_status": c.legal_status or pack.legal_status,
            "as_of": pack.as_of,
            "source": c.source,
            "rationale": c.rationale,
            "evidence": [{"table": p.table, "sha256": p.sha256} for p in c.evidence if p.kind == "table"],
            "inputs": [{"name": p.table, "sha256": p.sha256} for p in c.evidence if p.kind == "input"],
        }
        for c in pack.controls
    ]


def _limitations(reading: Reading) -> list[dict[str, Any]]:
    stated = [{"stage": stage, "text": sentence} for stage, sentence in reading.limitations]
    return [*stated, *({"stage": "report", "text": text} for text in OWN_LIMITS)]


def _attestations(reading: Reading, packs: Sequence[Judged]) -> list[dict[str, Any]]:
    """What people stated, and what they are asked to state and have not."""
    needed: dict[str, list[str]] = {}
    for pack in packs:
        for control in pack.controls:
            if control.attestation is not None:
                needed.setdefault(control.attestation, []).append(control.id)
    stated = {a.topic: a for a in attestations(reading.config.report.attestations)}
    found = []
    for topic in dict.fromkeys([*stated, *needed]):
        given = stated.get(topic)
        found.append(
            {
                "topic": topic,
                "given": given is not None,
                "statement": None if given is None else given.statement,
                "who": None if given is None else given.who,
                "role": None if given is None else given.role,
                "date": None if given is None else given.date,
                "controls": needed.get(topic, []),
            }
        )
    return found


def _artifact(artifact: Artifact) -> dict[str, Any]:
    kept = {key: getattr(artifact, key) for key in ("path", "kind", "sha256", "bytes")}
    return {**kept, "rows": artifact.rows}


def _finite(value: Any) -> Any:
    """JSON values: no NaN, no infinity, no tuples, no numbers of other libraries, no text that UTF-8 cannot hold."""
    if isinstance(value, Mapping):
        return {_text(str(k)): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    if hasattr(value, "item"):
        return _finite(value.item())
    return _text(str(value))


def _text(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode("utf-8")
