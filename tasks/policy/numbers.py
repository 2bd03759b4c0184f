"""From the bias stage's tables to the numbers that a check is held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.schema import AuditConfig, PolicyCheck
from tasks.bias import METRICS, Chance, Disparity, Metric, find, holm, no_disparity
from tasks.errors import ConfigError
from tasks.policy.checks import Number

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


@dataclass(frozen=True)
class Tables:
    """group_metrics and disparities, without single classes, by what a check names.

    Attributes:
        metrics: (metric, attribute) → group → row.
        gaps: (comparison, attribute) → rows.
    """

    metrics: dict[tuple[str, str | None], dict[str | None, Row]]
    gaps: dict[tuple[str, str], list[Row]]

    @classmethod
    def of(cls, group_metrics: pa.Table, disparities: pa.Table, wanted: Iterable[str]) -> Tables:
        """Keeps what the wanted metrics, and those that they compare, need."""
        import pyarrow as pa
        import pyarrow.compute as pc

        names = {"count"}
        for name in wanted:
            entry = find(name)
            names |= {name, *(entry.bases if isinstance(entry, Disparity) else ())}

        def rows(table: pa.Table) -> list[Row]:
            kept = pc.and_(table.column("output").is_null(), pc.is_in(table.column("metric"), pa.array(sorted(names))))
            return table.filter(kept).to_pylist()

        metrics: dict[tuple[str, str | None], dict[str | None, Row]] = {}
        for row in rows(group_metrics):
            metrics.setdefault((row["metric"], row["attribute"]), {})[row["group"]] = row
        gaps: dict[tuple[str, str], list[Row]] = {}
        for row in rows(disparities):
            gaps.setdefault((row["metric"], row["attribute"]), []).append(row)
        return cls(metrics, gaps)


def numbers_for(check: PolicyCheck, tables: Tables) -> list[Number]:
    """Every number that the check is held against; the worst of them decides.

    Raises:
        ConfigError: the metric is not known.
    """
    entry = find(check.metric)
    if entry is None:
        raise ConfigError(f"{check.metric} is not a metric", where="policy", code="unknown_metric")
    found = _of_metric(check, entry, tables) if isinstance(entry, Metric) else _of_gap(check, entry, tables)
    return found or [_absent(check, tables)]


def _absent(check: PolicyCheck, tables: Tables) -> Number:
    groups = [group for group in tables.metrics.get(("count", check.attribute), {}) if group is not None]
    if check.group is not None and check.group not in groups:
        reason = f"no row of the data is in the group {check.group}"
    else:
        reason = "the audit has no such number"
    return Number(group=check.group, value=None, status="undefined", reason=reason)


def _of_metric(check: PolicyCheck, metric: Metric, tables: Tables) -> list[Number]:
    rows = tables.metrics.get((metric.name, check.attribute), {})
    return [
        Number(
            group=group, value=row["value"], exact=_fraction(row) if _is_share(metric, row) else None,
            low=row["ci_low"], high=row["ci_high"], status=row["status"], reason=row["reason"],
            numerator=row["numerator"], denominator=row["denominator"], n=row["n"],
            too_small=row["status"] == "insufficient_data", certain=metric.name == "count",
        )
        for group, row in rows.items()
        if check.group is None or group == check.group
    ]  # fmt: skip


def _of_gap(check: PolicyCheck, gap: Disparity, tables: Tables) -> list[Number]:
    assert check.attribute is not None  # check_policy saw to it
    rows = tables.gaps.get((gap.name, check.attribute), [])
    pairs = [row for row in rows if row["group"] is not None]
    others = [row for row in pairs if row["group"] != row["reference"]]
    if check.group is not None:
        own = [row for row in pairs if row["group"] == row["reference"] == check.group]
        compared = _corrected(gap, [_pair(gap, row, tables) for row in others])
        return [*(_pair(gap, row, tables) for row in own), *(one for one in compared if one.group == check.group)]
    if gap.attained and others:
        return _corrected(gap, [_pair(gap, row, tables) for row in others])
    return [_whole(gap, row, tables) for row in rows if row["group"] is None]


def _pair(gap: Disparity, row: Row, tables: Tables) -> Number:
    base = tables.metrics[gap.bases[0], row["attribute"]]
    group, reference = base[row["group"]], base[row["reference"]]
    single = len(gap.bases) == 1 and gap.bases[0] != "count"
    return Number(
        group=row["group"], value=row["value"], exact=_exact_pair(gap, row, group, reference) if single else None,
        low=row["ci_low"], high=row["ci_high"], status=row["status"], reason=row["reason"],
        numerator=group["numerator"] if single else None, denominator=group["denominator"] if single else None,
        n=group["n"], reference=row["reference"],
        reference_numerator=reference["numerator"] if single else None,
        reference_denominator=reference["denominator"] if single else None,
        p_value=row["p_value"], p_adjusted=row["p_adjusted"], test=row["test"],
        too_small=row["status"] == "insufficient_data",
    )  # fmt: skip


def _corrected(gap: Disparity, pairs: Sequence[Number]) -> list[Number]:
    """The same, with Holm's p-values over the pairs of groups that have enough rows.

    The best-off of those groups is the reference: with one pair only there was nothing to choose. Sizes of groups are
    counts that nothing is tested of, and their reference is chosen by something else.
    """
    able = [one for one in pairs if one.status == "ok"]
    if len(able) < 2 or gap.bases == ("count",):
        return list(pairs)
    p = holm(np.array([np.nan if one.p_value is None else one.p_value for one in able]))
    family = {one.group: None if np.isnan(q) else float(q) for one, q in zip(able, p, strict=True)}
    return [
        replace(one, p_family=family[one.group], compared=len(able) + 1) if one.group in family else one
        for one in pairs
    ]


def chance_of(config: AuditConfig, check: PolicyCheck, gap: Disparity, tables: Tables) -> Chance | None:
    """What the widest gap over all groups would be with no disparity; None where that is not known or not asked."""
    if check.group is not None or check.attribute is None or config.data.weight is not None:
        return None
    counts = {}
    for base in gap.bases:
        able = [row for row in tables.metrics.get((base, check.attribute), {}).values() if row["status"] == "ok"]
        if any(row["numerator"] is None or row["denominator"] is None for row in able):
            return None
        counts[base] = (
            np.array([row["numerator"] for row in able], float), np.array([row["denominator"] for row in able], float),
        )  # fmt: skip
    return no_disparity(gap, counts, check.attribute, seed=config.explain.seed, draws=config.bias.resamples)


def _whole(gap: Disparity, row: Row, tables: Tables) -> Number:
    bases = [tables.metrics[base, row["attribute"]] for base in gap.bases]
    lacking = {
        str(group): found["reason"] or "" for base in bases for group, found in base.items() if found["status"] != "ok"
    }
    enough = min(sum(found["status"] == "ok" for found in base.values()) for base in bases)
    over = {group for base in bases for group, found in base.items() if found["status"] == "ok"}
    # The status of the row may also say that no interval could be made, which is no matter of a denominator.
    return Number(
        group=None, value=row["value"], low=row["ci_low"], high=row["ci_high"], status=row["status"],
        reason=row["reason"], n=sum(found["n"] for found in bases[0].values()), reference=row["reference"],
        p_value=row["p_value"], p_adjusted=row["p_adjusted"], test=row["test"], too_small=enough < 2,
        compared=2 if gap.bases == ("count",) else max(2, len(over)),
        left_out=tuple(f"{group} ({reason})" for group, reason in lacking.items()),
    )  # fmt: skip


def _is_share(metric: Metric, row: Row) -> bool:
    """Whether numerator / denominator is the value, and both are counts."""
    return metric.from_cells is not None and _fraction(row) is not None


def _fraction(row: Row) -> Fraction | None:
    """The value as a fraction of counts; None with weights, or where there is none."""
    top, bottom = row["numerator"], row["denominator"]
    if top is None or not bottom or top != int(top) or bottom != int(bottom):
        return None
    return Fraction(int(top), int(bottom))


def _exact_pair(gap: Disparity, row: Row, group: Row, reference: Row) -> Fraction | None:
    """The compared rates as one fraction, so that (3/5)/(6/8) is 0.8."""
    if not METRICS[gap.bases[0]].proportion or row["value"] is None:
        return None
    a, b = _fraction(group), _fraction(reference)
    if a is None or b is None:
        return None
    both = [a - b, b - a] if gap.comparison == "difference" else [x / y for x, y in ((a, b), (b, a)) if y]
    # Which way round the table compares them shows in its value.
    return min(both, key=lambda fraction: abs(float(fraction) - row["value"]), default=None)
