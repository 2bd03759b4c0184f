"""The part of a CycloneDX BOM that says how the run stands to clauses: standards, claims, evidence, attestations.

A claim is made only where the run holds evidence for or against what a clause asks; everything else is a clause with
its rationale. No score of conformance is given, and nothing is affirmed: both are for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tasks.report.exports.facts import Summary, stated

_PROGRAM = "assessor-program"
_FOR, _AGAINST = "satisfied", "not_satisfied"
_PREDICATES = {_FOR: "The run holds evidence for", _AGAINST: "The run holds evidence against"}


def standards(summary: Summary) -> list[dict[str, Any]]:
    """The regulations that were evaluated, and their clauses in our own words."""
    found: dict[str, dict[str, Any]] = {}
    for ref, control in _numbered(summary):
        regulation = control["regulation"]
        standard = found.setdefault(
            regulation,
            {
                "bom-ref": f"standard-{len(found)}",
                "name": regulation,
                "description": f"As of {control['as_of']}, in the words of this program.",
                "requirements": [],
            },
        )
        standard["requirements"].append(
            {
                "bom-ref": f"requirement-{ref}",
                "identifier": control["clause"],
                "descriptions": [control["ask"]],
                "properties": [
                    {"name": "keras-audit:control", "value": control["id"]},
                    {"name": "keras-audit:status", "value": control["status"]},
                    {"name": "keras-audit:source", "value": control["source"]},
                    {"name": "keras-audit:legal_status", "value": control["legal_status"]},
                ],
            }
        )
    return list(found.values())


def declarations(summary: Summary, target: Mapping[str, Any]) -> dict[str, Any]:
    """`{"declarations": …}`, or nothing where no regulation was evaluated and nobody attested anything.

    Args:
        target: the model, as a component with a bom-ref of its own.
    """
    people = stated(summary)
    if not summary["controls"] and not people:
        return {}
    judged = [(ref, control) for ref, control in _numbered(summary) if _claimed(control)]
    return {
        "declarations": {
            "assessors": [_program(summary), *(_person(number, one) for number, one in enumerate(people))],
            "attestations": [
                *_by_program(summary),
                *(_by_person(number, one, summary) for number, one in enumerate(people)),
            ],
            "claims": [_claim(ref, control, str(target["bom-ref"])) for ref, control in judged],
            "evidence": [_evidence(number, *pair, summary) for number, pair in enumerate(_tables(summary))],
            "targets": {"components": [target]},
        }
    }


def _claimed(control: Mapping[str, Any]) -> bool:
    """Whether tables of the run speak for or against it; a clause that a person answers is no claim of the run."""
    return control["status"] in _PREDICATES and bool(control["evidence"])


def _numbered(summary: Summary) -> list[tuple[str, Mapping[str, Any]]]:
    """Controls with a reference each: their ids are a pack's to choose, and two packs may choose the same."""
    return [(f"{number}-{control['id']}", control) for number, control in enumerate(summary["controls"])]


# ---------------------------------------------------------------- who


def _program(summary: Summary) -> dict[str, Any]:
    tool = summary["run"]["tool"]
    return {
        "bom-ref": _PROGRAM,
        "organization": {"name": f"{tool['name']} {tool['version']}: a program, nobody’s word"},
    }


def _person(number: int, attested: Mapping[str, Any]) -> dict[str, Any]:
    who = attested["who"]
    return {"bom-ref": f"assessor-{number}", "organization": {"contact": [{"name": who or "not named"}]}}


# ---------------------------------------------------------------- what


def _by_program(summary: Summary) -> list[dict[str, Any]]:
    by_regulation: dict[str, list[dict[str, Any]]] = {}
    for ref, control in _numbered(summary):
        by_regulation.setdefault(control["regulation"], []).append(_mapped(ref, control))
    return [
        {
            "summary": f"{regulation}: what the run holds as evidence, clause by clause. No statement of compliance.",
            "assessor": _PROGRAM,
            "map": entries,
        }
        for regulation, entries in by_regulation.items()
    ]


def _mapped(ref: str, control: Mapping[str, Any]) -> dict[str, Any]:
    status = control["status"]
    key = ("claims" if status == _FOR else "counterClaims") if _claimed(control) else None
    return {
        "requirement": f"requirement-{ref}",
        **({key: [f"claim-{ref}"]} if key else {}),
        "conformance": {"rationale": f"{status}: {control['rationale']}"},
    }


def _by_person(number: int, attested: Mapping[str, Any], summary: Summary) -> dict[str, Any]:
    wanted = set(attested["controls"])
    signed = ", ".join(str(attested[key]) for key in ("who", "role", "date") if attested[key])
    return {
        "summary": f"{attested['topic']}: {attested['statement']}{f' ({signed})' if signed else ''}."
        " Not checked by the audit.",
        "assessor": f"assessor-{number}",
        "map": [{"requirement": f"requirement-{ref}"} for ref, one in _numbered(summary) if one["id"] in wanted],
    }


def _claim(ref: str, control: Mapping[str, Any], target: str) -> dict[str, Any]:
    key = "evidence" if control["status"] == _FOR else "counterEvidence"
    return {
        "bom-ref": f"claim-{ref}",
        "target": target,
        "predicate": f"{_PREDICATES[control['status']]}: {control['ask']}",
        "reasoning": control["rationale"],
        key: list(dict.fromkeys(f"evidence-{one['table']}" for one in control["evidence"])),
    }


# ---------------------------------------------------------------- shown by what


def _tables(summary: Summary) -> list[tuple[str, str]]:
    """(table, SHA-256) of whatever a control points at, once each."""
    pointed = [one for control in summary["controls"] for one in control["evidence"]]
    return list({one["table"]: (one["table"], one["sha256"]) for one in pointed}.values())


def _evidence(number: int, table: str, sha256: str, summary: Summary) -> dict[str, Any]:
    path = f"artifacts/{table}.parquet"
    return {
        "bom-ref": f"evidence-{table}",
        "propertyName": f"keras-audit:evidence:{number}",
        "description": f"Table {table} of the run {summary['report_id']}, SHA-256 {sha256}",
        "data": [{"name": path, "contents": {"url": quote(path)}}],
        "created": summary["generated_at"],
    }
