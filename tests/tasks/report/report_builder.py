"""Pieces of runs to report on: small, deterministic. Numbers come from counts, as in a real run."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa

from configs.schema import AuditConfig
from tasks.contracts import TABLES, Done, Finding, StageResult, TableRef
from tasks.persist import Workspace
from tasks.report import RunRecord

RUN_ID = "20261122T101500Z-0a1b2c3d"
DIGESTS = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("model", "preprocessor", "data", "reference")}
FEATURES = (
    "age",
    "capital_gain",
    "education_num",
    "hours_per_week",
    "marital_status",
    "occupation",
    "sex",
    "workclass",
)
#: (sex, race) → (rows, selected, correct, true positives, false positives, labelled positive)
CELLS = {
    ("Female", "Black"): (769, 41, 718, 32, 9, 74),
    ("Female", "White"): (4372, 420, 3990, 330, 90, 512),
    ("Male", "Black"): (792, 139, 661, 98, 41, 148),
    ("Male", "White"): (9574, 2590, 7899, 1985, 605, 2750),
    ("Male", "Other"): (21, 6, 17, 4, 2, 6),
    ("Female", "(missing)"): (12, 1, 11, 1, 0, 1),
}
Z = NormalDist().inv_cdf(0.975)


def config_of(**changes: Any) -> AuditConfig:
    """The config of the tabular run; changes replace whole blocks or single keys, as `report={…}`."""
    blocks: dict[str, Any] = {
        "name": "adult-income",
        "title": "Income classifier, UCI Adult",
        "model": {"path": "data/models/adult_income", "task": "binary", "classes": ["<=50K", ">50K"]},
        "data": {
            "path": "data/adult/test.parquet",
            "reference": "data/adult/train.parquet",
            "target": {"column": "income", "favorable": ">50K"},
            "sensitive": {"sex": {"column": "sex"}, "race": {"column": "race"}},
            "intersections": [["sex", "race"]],
        },
        "bias": {"decision": {"threshold": 0.5}},
        "policy": [
            {"metric": "impact_ratio", "attribute": "sex", "min": 0.8},
            {"metric": "impact_ratio", "attribute": "race", "min": 0.8},
            {"metric": "accuracy", "min": 0.8},
        ],
        "report": {"regulations": ["nyc_ll144", "eeoc_four_fifths", "gdpr"]},
    }
    for key, value in changes.items():
        blocks[key] = (
            {**blocks[key], **value} if isinstance(value, dict) and isinstance(blocks.get(key), dict) else value
        )
    return AuditConfig.model_validate(blocks)


def workspace_of(folder: Path) -> Workspace:
    made = folder / RUN_ID
    made.mkdir(parents=True)
    return Workspace(made, RUN_ID, {"keras_audit.run_id": RUN_ID})


# ---------------------------------------------------------------- numbers


def wilson(hits: float, n: float) -> tuple[float, float]:
    centre, spread = hits / n + Z * Z / (2 * n), 1 + Z * Z / n
    half = Z * math.sqrt(hits / n * (1 - hits / n) / n + Z * Z / (4 * n * n))
    return (centre - half) / spread, (centre + half) / spread


def rate(metric: str, hits: int, n: int, *, least: int = 30, **where: Any) -> dict[str, Any]:
    """A line of group_metrics."""
    line = {
        "metric": metric,
        "numerator": float(hits),
        "denominator": float(n),
        "n": n,
        "method": "wilson",
        **where,
    }
    if n == 0:
        return {**line, "status": "undefined", "reason": "0/0: no rows"}
    low, high = wilson(hits, n)
    state = "ok" if n >= least else "insufficient_data"
    reason = None if state == "ok" else f"fewer than {least} rows"
    return {**line, "value": hits / n, "ci_low": low, "ci_high": high, "status": state, "reason": reason}


def _rates(cell: Sequence[int], **where: Any) -> list[dict[str, Any]]:
    n, selected, correct, true_positive, false_positive, positive = cell
    return [
        rate("selection_rate", selected, n, **where),
        rate("true_positive_rate", true_positive, positive, **where),
        rate("false_positive_rate", false_positive, n - positive, **where),
        rate("precision", true_positive, selected, **where),
        rate("accuracy", correct, n, **where),
    ]


def metrics_and_disparities(
    cells: dict[tuple[str, str], tuple[int, ...]], attributes: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """group_metrics and disparities of a table of counts; attributes maps a name to a function of the cell's key."""
    metrics = _rates([sum(c[i] for c in cells.values()) for i in range(6)])
    disparities = []
    for attribute, group_of in attributes.items():
        groups: dict[str, list[int]] = {}
        for key, cell in cells.items():
            total = groups.setdefault(group_of(key), [0] * 6)
            groups[group_of(key)] = [a + b for a, b in zip(total, cell, strict=True)]
        for group, cell in groups.items():
            metrics += _rates(cell, attribute=attribute, group=group)
        able = {g: c for g, c in groups.items() if c[0] >= 30} or groups
        best = max(able, key=lambda g: groups[g][1] / groups[g][0])
        top = groups[best][1] / groups[best][0]
        ratios = []
        for group, cell in groups.items():
            value = cell[1] / cell[0] / top
            state = "ok" if cell[0] >= 30 else "insufficient_data"
            shared = {"attribute": attribute, "group": group, "reference": best, "status": state}
            p = {"p_value": 0.004, "p_adjusted": 0.012, "q_value": 0.01, "test": "fisher"} if group != best else {}
            disparities.append({**shared, "metric": "impact_ratio", "comparison": "ratio", "value": value,
                                "ci_low": value * 0.85, "ci_high": value * 1.15, **p})  # fmt: skip
            gap = groups[best][2] / groups[best][0] - cell[2] / cell[0]
            disparities.append({**shared, "metric": "accuracy_difference", "comparison": "difference", "value": gap,
                                "ci_low": gap - 0.02, "ci_high": gap + 0.02, **p})  # fmt: skip
            ratios.append((value, state))
        lowest = min(v for v, s in ratios if s == "ok")
        disparities.append({"attribute": attribute, "metric": "impact_ratio", "comparison": "ratio", "value": lowest,
                            "status": "ok", "p_value": 0.001, "test": "chi_squared"})  # fmt: skip
        disparities.append({"attribute": attribute, "metric": "equalized_odds_difference", "comparison": "difference",
                            "value": None, "status": "undefined", "reason": "0/0"})  # fmt: skip
    return metrics, disparities


def table(name: str, rows: list[dict[str, Any]], row_id: pa.DataType | None = None) -> pa.Table:
    schema = TABLES[name.partition("/")[0]]
    if row_id is not None:
        schema = schema.set(schema.get_field_index("row_id"), pa.field("row_id", row_id))
    return pa.Table.from_pylist(rows, schema=schema)


# ---------------------------------------------------------------- stages


def loaded(config: AuditConfig, rows: int, **model: Any) -> list[StageResult]:
    facts = {
        "path": f"{config.model.path}/2/model.keras", "version": 2, "sha256": DIGESTS["model"], "format": ".keras",
        "preprocessor": f"{config.model.path}/2/preprocessor.skops", "preprocessor_sha256": DIGESTS["preprocessor"],
        "parameters": 10625, "features": list(FEATURES),
        "card": {"predicts": "whether income is above a line", "limits": ["Incomes of 1994."],
                 "intended_use": "Tests."},
        **model,
    }  # fmt: skip
    data = {"path": config.data.path, "sha256": DIGESTS["data"], "rows": rows,
            "columns": [{"name": n, "type": "string"} for n in (*FEATURES, "income")]}  # fmt: skip
    reference = {**data, "path": config.data.reference, "sha256": DIGESTS["reference"], "rows": 32561}
    return [
        Done(
            "load_model",
            facts=facts,
            seconds=3.2,
            limitations=("The margin is the logit of a clipped probability.",),
        ),
        Done(
            "load_data",
            facts={"data": data, "reference": reference if config.data.reference else None},
            seconds=0.3,
        ),
    ]


def validated(workspace: Workspace, *, critical: bool = False) -> Done:
    rows = [
        {"expectation": "expect_column_to_exist", "column": "age", "severity": "critical", "success": not critical,
         "element_count": 15540, "unexpected_count": 0, "unexpected_percent": 0.0, "detail": "There is a column age."},
        {"expectation": "expect_column_values_to_not_be_null", "column": "occupation", "severity": "warning",
         "success": False, "element_count": 15540, "unexpected_count": 966, "unexpected_percent": 6.2162,
         "detail": "Column occupation: 966 values are missing."},
    ]  # fmt: skip
    ref = workspace.write_table("validation", table("validation", rows))
    reasons = ["There is no column age (the feature)."] if critical else []
    found = (
        Finding("warning", "missing_value", "Column occupation: 966 values are missing.", "validation", "validate"),
    )
    return Done("validate", (ref,), findings=found, facts={"refused": critical, "reasons": reasons}, seconds=2.0)


def predicted(workspace: Workspace, *, rows: int = 400, output: str = ">50K", seed: int = 0) -> Done:
    draw = np.random.default_rng(seed)
    score = draw.beta(1.2, 2.4, rows)
    truth = np.where(draw.random(rows) < score, output, "<=50K")
    lines = {
        "row_id": np.arange(rows), "output": [output] * rows, "y_true": truth.tolist(), "score": score,
        "decision": np.where(score >= 0.5, output, "<=50K").tolist(),
    }  # fmt: skip
    return Done("predict", (workspace.write_table("predictions", pa.table(lines)),), facts={"rows": rows}, seconds=0.4)


def explained(
    workspace: Workspace,
    features: Sequence[str] = FEATURES,
    *,
    rows: int = 30,
    output: str = ">50K",
    seed: int = 1,
) -> tuple[list[Done], list[dict[str, Any]]]:
    """SHAP and LIME with their tables, permutation without; and the lines of the importance table."""
    importance: list[dict[str, Any]] = []
    done = []
    for position, technique in enumerate(("permutation", "shap", "lime")):
        draw = np.random.default_rng([seed, position])
        scale = np.linspace(1, 0.05, len(features)) * 0.1
        values = draw.normal(0, 1, (rows, len(features))) * scale
        mean = np.abs(values).mean(axis=0)
        error = np.abs(values).std(axis=0) / math.sqrt(rows)
        rank = np.argsort(np.argsort(-mean, kind="stable"), kind="stable") + 1
        for j, feature in enumerate(features):
            importance.append(
                {"technique": technique, "output": None if technique == "permutation" else output, "feature": feature,
                 "importance": float(mean[j]), "std_error": float(error[j]), "ci_low": float(mean[j] - Z * error[j]),
                 "ci_high": float(mean[j] + Z * error[j]), "rank": int(rank[j]), "n_rows": rows}
            )  # fmt: skip
        tables: tuple[TableRef, ...] = ()
        if technique != "permutation":
            leftover = 0.0 if technique == "shap" else 0.04
            lines = [
                {"row_id": i, "output": output, "feature": f, "value": None if j == 3 else f"v{i}", "base_value": 0.3,
                 "attribution": float(values[i, j]), "std_error": 0.001 if technique == "shap" else None,
                 "prediction": float(0.3 + values[i].sum() + leftover)}
                for i in range(rows)
                for j, f in enumerate(features)
            ]  # fmt: skip
            tables = (workspace.write_table(f"attributions/{technique}", table("attributions", lines)),)
        done.append(Done(f"explain/{technique}", tables, facts={"rows": rows}, seconds=1.5))
    return done, importance


def png(size: int = 16, tone: int = 120) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), tone, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def record_of(results: Sequence[StageResult], verdict: str) -> RunRecord:
    return RunRecord(
        run_id=RUN_ID,
        started="2026-11-22T10:15:00+00:00",
        finished="2026-11-22T10:17:30+00:00",
        verdict=verdict,  # type: ignore[arg-type]
        results=tuple(results),
        environment={"python": "3.11.2", "system": "Linux", "machine": "x86_64", "cores": 2, "keras-audit": "0.1.0",
                     "keras": "3.15.1", "shap": "0.51.0"},
        seed=7,
        flow_run={"id": "6f1c", "name": "adult-income v2"},
    )  # fmt: skip


def check(metric: str, verdict: str, value: float | None, sentence: str, **more: Any) -> dict[str, Any]:
    """A judged policy check, as the policy stage tells it."""
    told = {"metric": metric, "attribute": None, "group": None, "min": 0.8, "max": None, "severity": "critical"}
    found = {"confidence": "point", "verdict": verdict, "value": value, "ci_low": None, "ci_high": None}
    return {**told, **found, "sentence": sentence, "groups": [], **more}
