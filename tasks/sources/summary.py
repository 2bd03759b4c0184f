"""What the report says of proxies and slices: findings in sentences, and facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tasks.bias import wording
from tasks.contracts import Finding
from tasks.sources.areas import FOLDS
from tasks.sources.confirm import LEVEL, Confirmed
from tasks.sources.features import Part
from tasks.sources.outcomes import Question
from tasks.sources.proxies import STRONG, Found, Proxy
from tasks.sources.slices import Search

#: features and slices that one finding names
NAMED = 3
#: proxies of an attribute in the facts
TOP = 5


def proxy_findings(found: Sequence[Found]) -> Iterator[Finding]:
    """A warning for an attribute with strong proxies, and what all features together tell."""
    for one in found:
        best = _best(one)
        strong = [row for row in best if row.low > STRONG]
        if strong:
            names = [f"{row.feature} ({_area(row)}{f' for {row.group}' if row.group else ''})" for row in strong]
            yield Finding(
                "warning",
                "strong_proxy",
                f"{one.attribute}: {wording.listed(names, NAMED)} {'each tell' if len(strong) > 1 else 'tells'} a"
                f" group from the rest with an area under the ROC curve surely above {STRONG}, a strong proxy by"
                " convention, not by law.",
                "proxies",
                "sources",
            )
        joint = _mean(one, None)
        if joint is not None and joint.status == "ok":
            surely = joint.low > STRONG
            consequence = ": a model without it among its features can still tell its groups apart" if surely else ""
            own = ", its own column left out," if one.own else ""
            yield Finding(
                "warning" if surely else "info",
                "joint_proxy",
                f"{one.attribute}: all features together{own} tell its groups with an area under the ROC curve of"
                f" {_area(joint)}{consequence}.",
                "proxies",
                "sources",
            )


def slice_findings(found: Sequence[Confirmed], questions: Sequence[Question]) -> Iterator[Finding]:
    """A warning for each metric that some slice is confirmed to fare worse in."""
    for question in questions:
        named = sorted((row for row in found if row.metric == question.metric and row.named), key=lambda row: row.rank)
        if not named:
            continue
        told = [
            f"{row.slice} ({_number(row.value, question)} in {row.n:,} rows against {_number(row.rest, question)})"
            for row in named[:NAMED]
        ]
        more = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
        yield Finding(
            "warning",
            "worst_slice",
            f"{question.title.capitalize()} is {'lower' if question.lower else 'higher'} than among the other rows in"
            f" {len(named)} {'slice' if len(named) == 1 else 'slices'}, confirmed on rows that played no part in"
            f" choosing them (q < {LEVEL}): {'; '.join(told)}{more}.",
            "slices",
            "sources",
        )


def proxy_facts(found: Sequence[Found]) -> dict[str, Any]:
    """JSON values: of each attribute its own columns, its strongest single features, and all of them together."""
    return {
        "folds": FOLDS,
        "strong": STRONG,
        "attributes": [
            {
                "attribute": one.attribute,
                "own": list(one.own),
                "groups": sorted({row.group for row in one.rows if row.group is not None}),
                "rows": max((row.n for row in one.rows), default=0),
                "joint_rows": one.joint_rows,
                "joint": _row_facts(_mean(one, None)),
                "top": [_row_facts(row) for row in _best(one)[:TOP]],
            }
            for one in found
        ],
    }


def slice_facts(
    search: Search, found: Sequence[Confirmed], parts: Sequence[Part], questions: Sequence[Question],
    half: tuple[int, int],
) -> dict[str, Any]:  # fmt: skip
    """JSON values: what was searched, in how many rows, and what came of it."""
    named = Counter(row.metric for row in found if row.named)
    kept = Counter(row.metric for row in found)
    return {
        "searched_rows": half[0],
        "confirmed_rows": half[1],
        "attributes": [part.name for part in parts if part.kind == "attribute"],
        "features": [part.name for part in parts if part.kind == "feature"],
        "crossings": {str(depth): count for depth, count in search.crossings.items()},
        "possible": {str(depth): count for depth, count in search.possible.items()},
        "looked_at": search.looked_at,
        "level": LEVEL,
        "metrics": [
            {"metric": question.metric, "kept": kept[question.metric], "named": named[question.metric]}
            for question in questions
        ],
    }


def _best(one: Found) -> list[Proxy]:
    """Each feature's best told group, or the attribute's mean where it has but two; the strongest feature first."""
    best: dict[str, Proxy] = {}
    groups = {row.group for row in one.rows if row.group is not None}
    for row in one.rows:
        wanted = row.group is None if len(groups) <= 2 else row.group is not None
        if row.measure != "auc" or row.feature is None or row.feature in one.own or row.status != "ok" or not wanted:
            continue
        if row.feature not in best or row.low > best[row.feature].low:
            best[row.feature] = row
    return sorted(best.values(), key=lambda row: (-row.low, str(row.feature)))


def _mean(one: Found, feature: str | None) -> Proxy | None:
    return next((r for r in one.rows if r.measure == "auc" and r.feature == feature and r.group is None), None)


def _row_facts(row: Proxy | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "feature": row.feature,
        "group": row.group,
        "status": row.status,
        **{
            key: value if np.isfinite(value) else None
            for key, value in (("value", row.value), ("ci_low", row.low), ("ci_high", row.high))
        },
    }


def _area(row: Proxy) -> str:
    return f"{row.value:.2f}, {row.low:.2f} to {row.high:.2f}"


def _number(value: float, question: Question) -> str:
    return f"{100 * value:.1f} %" if question.rate else f"{value:.4g}"
