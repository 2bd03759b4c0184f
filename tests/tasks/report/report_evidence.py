"""Where disparities come from and what would change them, made up for any groups and features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.contracts import Done
from tasks.persist import Workspace
from tests.tasks.report.report_builder import table, wilson

Rows = list[dict[str, Any]]
AIM = "impact_ratio ≥ 0.8"


def curve_rows(attribute: str, groups: Sequence[str], output: str = ">50K") -> Rows:
    """ROC, calibration and selection curves; each group a little worse off than the one before."""
    rows: Rows = []
    for place, group in enumerate(groups):
        shared = {"attribute": attribute, "group": group, "output": output}
        power = 0.15 + 0.6 * place / len(groups)
        for point in range(11):
            x = point / 10
            rows.append({**shared, "curve": "roc", "point": point, "x": x, "y": x**power, "n": 100})
            y = (1 - x) ** (1 + power)
            low, high = wilson(round(y * 100), 100)
            rows.append({**shared, "curve": "selection", "point": point, "x": x, "y": y, "ci_low": min(low, y),
                         "ci_high": max(high, y), "n": 100})  # fmt: skip
        for point in range(5):
            x = 0.1 + 0.2 * point
            low, high = wilson(round(x * 40), 40)
            rows.append({**shared, "curve": "calibration", "point": point, "x": x, "y": round(x * 40) / 40,
                         "ci_low": low, "ci_high": high, "n": 40})  # fmt: skip
    return rows


def gap_rows(attribute: str, groups: Sequence[str], features: Sequence[str], output: str = ">50K") -> Rows:
    """Attribution gaps by LIME and SHAP, and fidelity gaps, of every group against the last one."""
    reference = groups[-1]
    rows: Rows = []
    for technique in ("lime", "shap"):
        for place, group in enumerate(groups):
            shared = {"attribute": attribute, "group": group, "reference": reference, "technique": technique,
                      "comparison": "difference", "status": "ok", "test": "wald"}  # fmt: skip
            for at, feature in enumerate(features):
                value = (-1) ** at * 0.2 / (1 + at) / (1 + place) if group != reference else 0.0
                p = {} if group == reference else {"p_value": 0.001, "p_adjusted": 0.01, "q_value": 0.004}
                rows.append({**shared, **p, "metric": "attribution_gap", "feature": feature, "output": output,
                             "value": value, "ci_low": value - 0.01, "ci_high": value + 0.01})  # fmt: skip
            value = 0.03 / (1 + place)
            rows.append({**shared, "metric": "explanation_fidelity_gap", "output": output, "value": value,
                         "ci_low": value - 0.02, "ci_high": value + 0.02, "p_value": 0.2,
                         "p_adjusted": 0.4})  # fmt: skip
    return rows


def proxy_rows(attribute: str, features: Sequence[str]) -> Rows:
    """All features together, then each alone, weaker one by one; the last one cannot be judged."""
    shared = {"attribute": attribute, "measure": "auc", "method": "delong", "n": 500}
    rows = [{**shared, "feature": None, "value": 0.93, "status": "ok", "ci_low": 0.92, "ci_high": 0.94}]
    for at, feature in enumerate(features):
        value = 0.5 + 0.4 / (1 + at)
        rows.append({**shared, "feature": feature, "value": value, "status": "ok", "ci_low": value - 0.01,
                     "ci_high": value + 0.01, "p_value": 0.001, "p_adjusted": 0.002})  # fmt: skip
    rows[-1] |= {"status": "insufficient_data", "reason": "rests on 12 rows; 30 are needed"}
    return rows


def slice_rows(parts: Sequence[str], count: int = 3) -> Rows:
    return [
        {"rank": n, "slice": " and ".join(parts), "parts": list(parts), "metric": "accuracy", "value": 0.7 + 0.01 * n,
         "rest": 0.86, "difference": -0.16 + 0.01 * n, "ci_low": -0.2, "ci_high": -0.1, "numerator": 70.0 + n,
         "denominator": 100.0, "n": 100, "p_value": 1e-6, "q_value": 2e-5, "status": "ok", "test": "fisher"}
        for n in range(1, count + 1)
    ]  # fmt: skip


def threshold_rows(attribute: str, groups: Sequence[str], aim: str = AIM) -> Rows:
    """As it is, one other threshold that does not do, and one for each group that does."""
    rows: Rows = []
    for kind, value, accuracy, met in (
        ("current", 0.34, 0.856, False), ("common", 0.5, 0.81, False), ("group", 0.8, 0.842, True),
    ):  # fmt: skip
        moved = 0.0 if kind == "current" else 20.0
        shared = {"attribute": attribute, "aim": aim, "kind": kind, "sample": "all"}
        rows.append({**shared, "sample": "held_out", "n": 50, "accuracy": accuracy - 0.01, "value": value - 0.03,
                     "ci_low": value - 0.1, "ci_high": value + 0.05, "met": False})  # fmt: skip
        rows.append({**shared, "n": 100 * len(groups), "selected": 20.0 * len(groups), "selection_rate": 0.2,
                     "accuracy": accuracy, "gained": moved * len(groups), "lost": 0.0, "value": value,
                     "met": met})  # fmt: skip
        for place, group in enumerate(groups):
            rows.append({**shared, "group": group, "threshold": 0.5 - 0.01 * place * (kind != "current"), "n": 100,
                         "selected": 20.0, "selection_rate": 0.2, "true_positive_rate": 0.6,
                         "false_positive_rate": 0.1, "accuracy": accuracy, "gained": moved, "lost": 0.0})  # fmt: skip
    return rows


def tradeoff_rows(attribute: str, aim: str = AIM) -> Rows:
    """Along one threshold accuracy falls and rises again; along thresholds by group it falls."""
    rows: Rows = []
    for kind, points in (
        ("common", ((0.3, 0.85), (0.4, 0.83), (0.35, 0.82), (0.5, 0.81), (1.0, 0.25))),
        ("group", ((0.34, 0.856), (0.6, 0.85), (0.8, 0.842), (1.0, 0.83))),
    ):
        for at, (value, accuracy) in enumerate(points):
            rows.append({"attribute": attribute, "aim": aim, "kind": kind, "point": at, "value": value,
                         "accuracy": accuracy, "selection_rate": 0.2, "changed": 10.0})  # fmt: skip
    return rows


def evidence(
    workspace: Workspace, groups: dict[str, Sequence[str]], features: Sequence[str], output: str = ">50K"
) -> tuple[Done, Done, Rows]:
    """Writes curves, proxies, slices and thresholds; returns the stages `sources` and `advice`, and more disparities.

    Args:
        groups: attribute → its groups.
    """

    def write(name: str, rows: Rows):
        return workspace.write_table(name, table(name, rows))

    write("curves", [r for a, g in groups.items() for r in curve_rows(a, g, output)])
    first = next(iter(groups))
    parts = [f"{first} = {groups[first][0]}", f"{features[0]} ≥ 60"]
    sources = (
        write("proxies", [r for a in groups for r in proxy_rows(a, features)]),
        write("slices", slice_rows(parts)),
    )
    advice = (
        write("thresholds", [r for a, g in groups.items() for r in threshold_rows(a, g)]),
        write("tradeoffs", [r for a in groups for r in tradeoff_rows(a)]),
    )
    gaps = [r for a, g in groups.items() for r in gap_rows(a, g, features, output)]
    return Done("sources", sources, seconds=1.0), Done("advice", advice, seconds=1.0), gaps


def by_chance(attributes: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """`no_disparity` of the stage `bias`."""
    return {a: {"impact_ratio": {"expected": 0.97, "p95": 0.92, "p": 0.0005}} for a in attributes}
