"""What the exports share: the facts of a summary in plain words, each value as its shortest exact text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Summary = Mapping[str, Any]

TASKS = {"binary": "binary classification", "multiclass": "multiclass classification", "regression": "regression"}
ROLES = {
    "audited": "the data under audit",
    "reference": "reference data: background rows of explanations, and the baseline of drift",
}
#: SPDX identifiers that a model's card may name; any other licence is a text of its own
LICENCES = frozenset(
    {"0BSD", "AGPL-3.0-only", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC-BY-4.0", "CC-BY-NC-4.0",
     "CC-BY-SA-4.0", "CC0-1.0", "EUPL-1.2", "GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later", "ISC",
     "LGPL-3.0-only", "MIT", "MPL-2.0", "Unlicense", "Zlib"}
)  # fmt: skip
_CROSSING = " × "


@dataclass(frozen=True)
class Measure:
    """A number of the summary, of all rows or of a slice.

    Attributes:
        slice: `sex = Female`, `sex` for its groups together, `output = >50K`; None: all rows.
        value: None where there is none: `reason` says why.
        low, high: of its confidence interval.
        few: whether it rests on fewer rows than the audit asks for.
    """

    type: str
    slice: str | None
    value: str | None
    low: str | None
    high: str | None
    few: bool
    reason: str | None

    @property
    def place(self) -> str:
        """The slice, with the caution that the number needs."""
        return f"{self.slice or 'all rows'} (insufficient data)" if self.few else self.slice or ""


def number(value: float | None) -> str | None:
    """A number as JSON writes it, which reads back as the same number."""
    return None if value is None else json.dumps(value)


def metrics(summary: Summary) -> Iterator[Measure]:
    """Performance over all rows, then of every group, then what an attribute's groups come to together."""
    fairness = summary["results"]["fairness"]
    together = [row for row in fairness["disparities"]["rows"] if row["group"] is None]
    for row in (*summary["results"]["performance"]["metrics"]["rows"], *fairness["metrics"]["rows"], *together):
        yield _measure(row, row["metric"], _where(row))


def comparisons(summary: Summary) -> Iterator[tuple[str, str, Measure]]:
    """(attribute, group, comparison with its reference) of every group that is held against another."""
    for row in summary["results"]["fairness"]["disparities"]["rows"]:
        if row["group"] is None or row["group"] == row["reference"]:
            continue
        against = f" against {row['reference']}" if row["reference"] is not None else ""
        yield row["attribute"], row["group"], _measure(row, row["metric"], f"{_where(row)}{against}")


def _measure(row: Mapping[str, Any], metric: str, where: str) -> Measure:
    value = number(row["value"])
    low, high = (number(row[key]) for key in ("ci_low", "ci_high"))
    few = row["status"] == "insufficient_data"
    reason = None if value is not None else f"{row['status']}: {row['reason'] or 'no value'}"
    return Measure(metric, where or None, value, low, high, few, reason)


def _where(row: Mapping[str, Any]) -> str:
    attribute, group = row["attribute"], row["group"]
    parts = [] if attribute is None else [attribute if group is None else f"{attribute} = {group}"]
    parts += [f"output = {row['output']}"] if row["output"] is not None else []
    return ", ".join(parts)


def without_value(summary: Summary) -> list[str]:
    """A line for every measure that has no value: 0/0 is no number."""
    found = [*metrics(summary), *(measure for _, _, measure in comparisons(summary))]
    return [f"{m.type} ({m.slice or 'all rows'}): {m.reason}" for m in found if m.value is None]


def omitted(summary: Summary) -> int:
    """Lines of metrics and comparisons that the summary leaves to the tables."""
    fairness = summary["results"]["fairness"]
    blocks = (summary["results"]["performance"]["metrics"], fairness["metrics"], fairness["disparities"])
    return sum(block["omitted"] for block in blocks)


# ---------------------------------------------------------------- subject


def file_name(path: str | None) -> str:
    """The last part of a path or an address: where it lies on somebody's machine is nobody else's concern."""
    parts = [part for part in (path or "").partition("?")[0].replace("\\", "/").split("/") if part]
    return parts[-1] if parts else "unknown"


def attributes(summary: Summary) -> list[str]:
    """Sensitive attributes, without their crossings."""
    return [name for name in summary["subject"]["attributes"] if _CROSSING not in name]


def inputs(summary: Summary) -> str | None:
    """What the model is asked with; None where the audit did not come so far as to know."""
    features = summary["subject"]["features"]
    if features:
        return f"table row of {', '.join(features)}"
    pictures = any(one["path"].startswith("artifacts/saliency/") for one in summary["artifacts"])
    return "image" if pictures else None


def outputs(summary: Summary) -> list[str]:
    """What the model answers with."""
    subject = summary["subject"]
    if subject["task"] == "regression":
        return [f"number: {subject['target']}"]
    classes = subject["classes"] or []
    named = classes[1:] if subject["task"] == "binary" else classes
    return [f"probability of {name}" for name in named] or [f"probability of each class of {subject['target']}"]


def said(card: Mapping[str, Any], *keys: str) -> list[str]:
    """Texts of a model's card, whichever of the keys it has; one that is a list gives several."""
    found: list[str] = []
    for key in keys:
        value = card.get(key)
        items: Sequence[Any] = value if isinstance(value, list) else [value]
        found += [str(item) for item in items if isinstance(item, str | int | float) and str(item).strip()]
    return found


def stated(summary: Summary, *topics: str) -> list[Mapping[str, Any]]:
    """What people attested, of some topics; of all where none is named."""
    given = [one for one in summary["human_attestations"] if one["given"]]
    return [one for one in given if not topics or one["topic"] in topics]


def use_cases(summary: Summary) -> list[str]:
    """What the model is for, by its card and by those who attested it."""
    attested = [str(one["statement"]) for one in stated(summary, "intended_use", "intended_purpose", "purpose")]
    return list(dict.fromkeys([*said(summary["subject"]["model"]["card"], "intended_use", "uses"), *attested]))


def users(summary: Summary) -> list[str]:
    """Who uses the model, by its card and by those who attested it."""
    attested = [str(one["statement"]) for one in stated(summary, "users", "intended_users")]
    return list(dict.fromkeys([*said(summary["subject"]["model"]["card"], "users", "intended_users"), *attested]))


def limitations(summary: Summary) -> list[str]:
    """What the audit and the model's card state as limits, and what of the audit is not there."""
    missing = [f"Not done: {one['stage']}: {one['reason']}." for one in summary["run"]["missing"]]
    refused = [f"The data was refused: {reason}" for reason in summary["run"]["refused"]]
    told = [one["text"] for one in summary["limitations"]]
    return list(dict.fromkeys([*refused, *missing, *told, *said(summary["subject"]["model"]["card"], "limits")]))


def findings(summary: Summary, *, advice: bool) -> list[str]:
    """The audit's findings, those of the trial of other thresholds or all others."""
    return [
        f"{one['severity']}: {one['text']}"
        for one in summary["run"]["findings"]
        if (one["stage"] == "advice") == advice
    ]


def as_json(value: Any) -> bytes:
    """Indented JSON in UTF-8; the same values give the same bytes."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode()
