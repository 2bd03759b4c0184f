"""Summaries to export that no built run has: a regression, and one with everything people may state."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


def regression(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary as of a regression."""
    changed = copy.deepcopy(dict(summary))
    changed["subject"] |= {"task": "regression", "classes": None, "target": "price", "favorable": [], "positive": []}
    changed["results"]["performance"]["metrics"]["rows"] = [
        {"attribute": None, "group": None, "output": "value", "metric": metric, "value": value, "status": "ok",
         "reason": None, "numerator": None, "denominator": None, "n": 50, "ci_low": None, "ci_high": None,
         "method": None}
        for metric, value in (("r2", 1 / 3), ("mean_absolute_error", 1e-300))
    ]  # fmt: skip
    return changed


def attested(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary with statements of people, and a card that says whatever a card may say."""
    changed = copy.deepcopy(dict(summary))
    control = changed["controls"][0]["id"]
    topics = ("owner", "intended_use", "users", "independence")
    changed["human_attestations"] = [
        {"topic": topic, "given": True, "statement": f"statement on {topic}", "who": "A. Auditor", "role": "auditor",
         "date": "2026-11-20", "controls": [control]}
        for topic in topics
    ] + [{"topic": "bare", "given": True, "statement": "yes", "who": None, "role": None, "date": None, "controls": []},
         {"topic": "open", "given": False, "statement": None, "who": None, "role": None, "date": None,
          "controls": [control]}]  # fmt: skip
    changed["subject"]["model"]["card"] |= {"licence": ["MIT", "our own, ask us"], "architecture": "two layers"}
    return changed


def texts(value: Any) -> list[str]:
    """Every text in a JSON value, keys too."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in (key, *texts(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return [value] if isinstance(value, str) else []
