"""bom.cdx.json: the model under audit as a CycloneDX 1.6 ML-BOM with its model card.

Source: ECMA-424, CycloneDX 1.6, `bom-1.6.schema.json`. What the standard asks for and no audit knows is left out: how
the model was trained (`approach`), what it costs the environment, who governs the data, signatures of people.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from tasks.report.exports.declarations import declarations, standards
from tasks.report.exports.facts import (
    LICENCES,
    ROLES,
    TASKS,
    Measure,
    Summary,
    as_json,
    attributes,
    comparisons,
    file_name,
    findings,
    inputs,
    limitations,
    metrics,
    omitted,
    outputs,
    said,
    use_cases,
    users,
    without_value,
)

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
MODEL, TOOL = "model", "tool"


def render_cyclonedx(summary: Summary) -> bytes:
    """The bill of materials of the model under audit, from summary.json; numbers are exact, as texts."""
    required = standards(summary)
    return as_json(
        {
            "$schema": SCHEMA,
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"urn:keras-audit:{summary['report_id']}").urn,
            "version": 1,
            "metadata": {
                "timestamp": summary["generated_at"],
                "lifecycles": [{"name": "audit", "description": "Made from an audit of the finished model."}],
                "tools": {"components": [_tool(summary)]},
                "component": {**_identity(summary, MODEL), **_made_of(summary), "modelCard": _card(summary)},
                "properties": _about(summary),
            },
            "components": [*(_data(one, summary) for one in summary["data"]), *_libraries(summary)],
            "dependencies": [
                {"ref": TOOL, "dependsOn": [one["bom-ref"] for one in _libraries(summary)]},
            ],
            # What the libraries need in their turn is not listed, nor what trained the model.
            "compositions": [{"aggregate": "incomplete", "dependencies": [TOOL]}],
            **({"definitions": {"standards": required}} if required else {}),
            **declarations(summary, _identity(summary, "target")),
        }
    )


# ---------------------------------------------------------------- components


def _identity(summary: Summary, ref: str) -> dict[str, Any]:
    """The model by name, version and digest."""
    subject = summary["subject"]
    model = subject["model"]
    version = {} if model["version"] is None else {"version": str(model["version"])}
    return {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": subject["name"],
        **version,
        "description": subject["title"],
        **_hashes(model["sha256"]),
    }


def _made_of(summary: Summary) -> dict[str, Any]:
    """The model's licence, and its files."""
    model = summary["subject"]["model"]
    licences = [
        {"license": {"id": text} if text in LICENCES else {"name": text}}
        for text in said(model["card"], "licence", "license")
    ]
    files = [_file("model-file", model["path"], model["sha256"])]
    if model["preprocessor"] is not None:
        files.append(_file("preprocessor-file", model["preprocessor"]["path"], model["preprocessor"]["sha256"]))
    return {**({"licenses": licences} if licences else {}), "components": files}


def _file(ref: str, path: str | None, sha256: str | None) -> dict[str, Any]:
    return {"type": "file", "bom-ref": ref, "name": file_name(path), **_hashes(sha256)}


def _data(data: Mapping[str, Any], summary: Summary) -> dict[str, Any]:
    role, name = data["role"], file_name(data["path"])
    sensitive = attributes(summary)
    content = {"type": "dataset", "name": name, **({"sensitiveData": sensitive} if sensitive else {})}
    rows = "not read" if data["rows"] is None else str(data["rows"])
    return {
        "type": "data",
        "bom-ref": f"data-{role}",
        "name": name,
        "description": ROLES[role],
        **_hashes(data["sha256"]),
        "data": [content],
        "properties": _properties({"role": role, "rows": rows}),
    }


def _tool(summary: Summary) -> dict[str, Any]:
    tool = summary["run"]["tool"]
    return {"type": "application", "bom-ref": TOOL, "name": tool["name"], "version": tool["version"]}


def _libraries(summary: Summary) -> list[dict[str, Any]]:
    """What the audit ran with. Not the tool itself, which no package index vouches for."""
    found = summary["run"]["environment"]["libraries"].items()
    own = summary["run"]["tool"]["name"]
    return [_library(name, version) for name, version in sorted(found) if name != own]


def _library(name: str, version: str) -> dict[str, Any]:
    known = version != "unknown"
    package = f"pkg:pypi/{quote(name.lower().replace('_', '-'), safe='')}@{quote(version, safe='')}"
    return {
        "type": "library",
        "bom-ref": f"library-{name}",
        "name": name,
        **({"version": version, "purl": package} if known else {}),
    }


def _hashes(sha256: str | None) -> dict[str, Any]:
    return {"hashes": [{"alg": "SHA-256", "content": sha256}]} if sha256 else {}


# ---------------------------------------------------------------- properties


def _about(summary: Summary) -> list[dict[str, str]]:
    """The run, as name and value."""
    run = summary["run"]
    environment = {k: v for k, v in run["environment"].items() if k != "libraries"}
    return _properties(
        {
            "report_id": summary["report_id"],
            "verdict": summary["verdict"],
            "as_of_law": summary["as_of_law"],
            "policy_sha256": summary["policy"]["sha256"],
            "seed": run["seed"],
            **{f"environment:{key}": value for key, value in environment.items()},
        }
    )


def _properties(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"name": f"keras-audit:{key}", "value": str(value)} for key, value in values.items()]


# ---------------------------------------------------------------- model card


def _card(summary: Summary) -> dict[str, Any]:
    measured = [_metric(one) for one in metrics(summary) if one.value is not None]
    lines = without_value(summary)
    properties = [{"name": "keras-audit:undefined", "value": line} for line in lines]
    if left := omitted(summary):
        properties += _properties({"omitted": f"{left} more metrics and comparisons are in the tables of the audit"})
    considered = {
        "users": users(summary),
        "useCases": use_cases(summary),
        "technicalLimitations": limitations(summary),
        "performanceTradeoffs": findings(summary, advice=True),
        "ethicalConsiderations": [{"name": text} for text in findings(summary, advice=False)],
        "fairnessAssessments": _assessments(summary),
    }
    return {
        "bom-ref": "model-card",
        "modelParameters": _parameters(summary),
        "quantitativeAnalysis": {"performanceMetrics": measured},
        "considerations": {key: value for key, value in considered.items() if value},
        **({"properties": properties} if properties else {}),
    }


def _parameters(summary: Summary) -> dict[str, Any]:
    architecture = said(summary["subject"]["model"]["card"], "architecture")
    asked = inputs(summary)
    return {
        "task": TASKS[summary["subject"]["task"]],
        **({"modelArchitecture": "; ".join(architecture)} if architecture else {}),
        "datasets": [{"ref": f"data-{one['role']}"} for one in summary["data"]],
        **({"inputs": [{"format": asked}]} if asked else {}),
        "outputs": [{"format": text} for text in outputs(summary)],
    }


def _metric(measure: Measure) -> dict[str, Any]:
    interval = {"lowerBound": measure.low, "upperBound": measure.high}
    return {
        "type": measure.type,
        "value": measure.value,
        **({"slice": measure.place} if measure.place else {}),
        **({"confidenceInterval": interval} if None not in interval.values() else {}),
    }


def _assessments(summary: Summary) -> list[dict[str, str]]:
    """What every group's comparisons come to: a line each, in the group's own entry."""
    of_group: dict[tuple[str, str], list[Measure]] = {}
    for attribute, group, measure in comparisons(summary):
        of_group.setdefault((attribute, group), []).append(measure)
    return [
        {"groupAtRisk": f"{attribute} = {group}", "harms": _lines(measures)}
        for (attribute, group), measures in of_group.items()
    ]


def _lines(measures: Iterable[Measure]) -> str:
    told = []
    for one in measures:
        interval = f", interval {one.low} to {one.high}" if one.low is not None and one.high is not None else ""
        few = " (insufficient data)" if one.few else ""
        where = f" ({one.slice})" if one.slice else ""
        told.append(f"{one.type}{where}: {one.reason if one.value is None else one.value}{interval}{few}")
    return "\n".join(told)
