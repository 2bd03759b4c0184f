"""Comparisons before the model: of the groups' sizes. Those of label rates are made by `gaps.py`."""

from __future__ import annotations

import numpy as np

from tasks.bias.base import ratio
from tasks.bias.disparities import NAN, Disparity, Gap, Situation
from tasks.bias.intervals import wilson


def imbalance(name: str, title: str) -> Disparity:
    """(nₐ − n_d)/(nₐ + n_d), −1–1: whether the best-off group a, or the group d, has more of the rows.

    For the attribute the one farthest from 0. The interval is Wilson's of nₐ/(nₐ + n_d), stretched. Source: SageMaker
    Clarify's class imbalance.
    """

    def compare(situation: Situation) -> list[Gap]:
        reference = situation.reference
        if reference is None or situation.view.size < 2:
            return [Gap(None, None, NAN, "undefined", "there is only one group" if reference is not None else None)]
        counts = situation.view.counts
        size = np.bincount(counts.group, counts.weight, counts.groups)
        rows = np.bincount(counts.group, counts.rows, counts.groups)
        square = np.bincount(counts.group, counts.square, counts.groups)
        total = size[reference] + size
        share = ratio(size[reference], total)
        low, high = wilson(share, ratio(total**2, square[reference] + square), situation.view.confidence)
        gaps = []
        for g in range(counts.groups):
            if g == reference:
                gaps.append(Gap(g, g, 0.0, "ok", "the reference group"))
                continue
            small = [k for k in (g, reference) if rows[k] < situation.least]
            reason = f"{situation.names[small[0]]}: rests on {rows[small[0]]:,.0f} rows" if small else None
            status = "insufficient_data" if small else "ok"
            if not total[g] > 0:
                status, reason = "undefined", "0/0: no weight in either group"
            value = float(ratio(size[reference] - size[g], total[g]))
            gaps.append(
                Gap(g, reference, value, status, reason, float(2 * low[g] - 1), float(2 * high[g] - 1))  # type: ignore[arg-type]
            )
        others = [gap for gap in gaps if gap.group != reference and gap.status != "undefined"]
        enough = [gap for gap in others if gap.status == "ok"] or others
        if not enough:
            return [*gaps, Gap(None, None, NAN, "undefined", "0/0: no weight")]
        widest = max(enough, key=lambda gap: abs(gap.value))
        told = f"of {situation.names[widest.group or 0]}"
        return [*gaps, Gap(None, reference, widest.value, widest.status, told, widest.low, widest.high)]

    return Disparity(name, title, "difference", ("count",), compare, attained=True, signed=True)


def class_imbalance(advantaged: float, disadvantaged: float) -> float:
    """(nₐ − n_d)/(nₐ + n_d) of two counts; NaN where both are 0."""
    return float(ratio(advantaged - disadvantaged, advantaged + disadvantaged))
