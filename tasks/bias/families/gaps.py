"""Differences and ratios of one metric between groups."""

from __future__ import annotations

from tasks.bias.base import Metric
from tasks.bias.disparities import (
    Comparison,
    Disparity,
    Gap,
    Situation,
    against_reference,
    best_group,
    compare_all,
    compare_pairs,
)


def difference(name: str, title: str, metric: Metric) -> Disparity:
    """How far each group is from the best one in a metric, ≥ 0; for the attribute max − min.

    The best group is the one with the highest value, or the lowest where less is better.
    """
    return _unsigned(name, title, metric, "difference")


def quotient(name: str, title: str, metric: Metric) -> Disparity:
    """The smaller over the larger value of each group and the best one, 0–1; for the attribute min / max."""
    return _unsigned(name, title, metric, "ratio")


def _unsigned(name: str, title: str, metric: Metric, comparison: Comparison) -> Disparity:
    less = metric.better == "lower"

    def compare(situation: Situation) -> list[Gap]:
        measured = situation.measured[metric.name]
        best = best_group(measured, situation.least, lowest=less, known=situation.known)
        if best is None:
            return [compare_all(situation, metric, measured, comparison)]
        # highest − group, group / highest; group − lowest, lowest / group
        from_reference = (comparison == "difference") != less
        pairs = compare_pairs(situation, metric, measured, comparison, best, from_reference=from_reference)
        return [*pairs, compare_all(situation, metric, measured, comparison)]

    return Disparity(name, title, comparison, (metric.name,), compare)


def against_best_off(
    name: str,
    title: str,
    metric: Metric,
    comparison: Comparison,
    *,
    from_reference: bool = True,
    attained: bool = False,
) -> Disparity:
    """Each group against the attribute's reference group a (the best-off, unless another is declared); the sign says
    who is ahead.

    Args:
        from_reference: a − d; else d − a. A ratio is always d / a.
    """

    def compare(situation: Situation) -> list[Gap]:
        measured = situation.measured[metric.name]
        order = from_reference and comparison == "difference"
        return against_reference(situation, metric, measured, comparison, from_reference=order)

    return Disparity(name, title, comparison, (metric.name,), compare, attained=attained, signed=True)
