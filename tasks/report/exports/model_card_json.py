"""model_card.json: the model card that Google's Model Card Toolkit reads, schema v0.0.2.

Sources: Mitchell et al. 2019, Model cards for model reporting; `model_card.schema.json` of model-card-toolkit 2.0.0.
What the schema asks for and no audit knows is left out: release date, citations, references, graphics.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
    stated,
    use_cases,
    users,
    without_value,
)

SCHEMA_VERSION = "0.0.2"


def render_model_card(summary: Summary) -> bytes:
    """The model card of the model under audit, from summary.json; numbers are exact, as texts."""
    return as_json(
        {
            "schema_version": SCHEMA_VERSION,
            "model_details": _details(summary),
            "model_parameters": _parameters(summary),
            "quantitative_analysis": {"performance_metrics": [_metric(one) for one in _measures(summary)]},
            "considerations": _considerations(summary),
        }
    )


def _details(summary: Summary) -> dict[str, Any]:
    subject = summary["subject"]
    model = subject["model"]
    tool = summary["run"]["tool"]
    overview = (
        f"Written by {tool['name']} {tool['version']} from the audit {summary['report_id']} of"
        f" {summary['generated_at']}; verdict: {summary['verdict']}."
    )
    owners = [{"name": str(one["who"] or one["statement"])} for one in stated(summary, "owner", "model_owner")]
    told = said(model["card"], "predicts", "training", "documentation")
    licences = [
        {"identifier": text} if text in LICENCES else {"custom_text": text}
        for text in said(model["card"], "licence", "license")
    ]
    return {
        "name": subject["title"],
        "overview": overview,
        **({"documentation": "; ".join(told)} if told else {}),
        **({"owners": owners} if owners else {}),
        **({"version": {"name": str(model["version"])}} if model["version"] is not None else {}),
        **({"licenses": licences} if licences else {}),
        "path": file_name(model["path"]),
    }


def _parameters(summary: Summary) -> dict[str, Any]:
    subject = summary["subject"]
    model = subject["model"]
    architecture = said(model["card"], "architecture")
    if model["parameters"] is not None:
        architecture.append(f"{model['parameters']} parameters")
    asked = inputs(summary)
    made_of = {"SHA-256": model["sha256"]}
    if model["preprocessor"] is not None:
        made_of["SHA-256 of the preprocessor"] = model["preprocessor"]["sha256"]
    architecture += [f"{name} {digest}" for name, digest in made_of.items() if digest]
    return {
        **({"model_architecture": "; ".join(architecture)} if architecture else {}),
        "data": [_dataset(one, attributes(summary)) for one in summary["data"]],
        **({"input_format": asked} if asked else {}),
        "input_format_map": [{"key": name, "value": "feature"} for name in subject["features"] or []],
        "output_format": f"{TASKS[subject['task']]}: {', '.join(outputs(summary))}",
        "output_format_map": [{"key": str(i), "value": text} for i, text in enumerate(outputs(summary))],
    }


def _dataset(data: dict[str, Any], sensitive: list[str]) -> dict[str, Any]:
    known = {"rows": data["rows"], "SHA-256": data["sha256"]}
    facts = [f"{name} {value}" for name, value in known.items() if value is not None]
    return {
        "name": file_name(data["path"]),
        "description": "; ".join([ROLES[data["role"]], *(facts or ["not read"])]),
        **({"sensitive": {"sensitive_data": sensitive}} if sensitive else {}),
    }


def _measures(summary: Summary) -> Iterator[Measure]:
    yield from (one for one in metrics(summary) if one.value is not None)
    yield from (one for _, _, one in comparisons(summary) if one.value is not None)


def _metric(measure: Measure) -> dict[str, Any]:
    interval = {"lower_bound": measure.low, "upper_bound": measure.high}
    return {
        "type": measure.type,
        "value": measure.value,
        **({"slice": measure.place} if measure.place else {}),
        **({"confidence_interval": interval} if None not in interval.values() else {}),
    }


def _considerations(summary: Summary) -> dict[str, Any]:
    left = omitted(summary)
    limits = [*limitations(summary), *(f"Without a value: {line}" for line in without_value(summary))]
    if left:
        limits.append(f"{left} more metrics and comparisons are in the tables of the audit, and not here.")
    return {
        "users": [{"description": text} for text in users(summary)],
        "use_cases": [{"description": text} for text in use_cases(summary)],
        "limitations": [{"description": text} for text in limits],
        "tradeoffs": [{"description": text} for text in findings(summary, advice=True)],
        "ethical_considerations": [{"name": text} for text in findings(summary, advice=False)],
    }
