"""From the bias stage's tables to the numbers that a check is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from configs.schema import CROSSING, AuditConfig, PolicyCheck
from tasks.bias import BEST_OFF, LARGEST, METRICS, Chance, Disparity, Metric, find, holm, no_disparity
from tasks.errors import ConfigError
from tasks.policy.checks import End, Number
from tasks.policy.tables import Part, Row, Tables


def numbers_for(config: AuditConfig, check: PolicyCheck, tables: Tables) -> list[Number]:
    """Every number that the check is held against; the worst of them decides.

    Raises:
        ConfigError: the metric is not known.
    """
    entry = find(check.metric)
    if entry is None:
        raise ConfigError(f"{check.metric} is not a metric", where="policy", code="unknown_metric")
    found: list[Number] = []
    parts = tables.parts(check)
    for part in parts:
        if isinstance(entry, Metric):
            own = _of_metric(check, entry, tables, part)
        else:
            own = _of_gap(config, check, entry, tables, part)
        found += [replace(one, **part._asdict()) for one in own]
    if len(parts) > 1 and isinstance(entry, Disparity):
        found = _by_holm(found, [one for one in found if one.status == "ok"])
    return found or [_absent(check, tables)]


def _absent(check: PolicyCheck, tables: Tables) -> Number:
    groups = [group for group in tables.groups("count", check.attribute) if group is not None]
    if check.group is not None and check.group not in groups:
        reason = f"no row of the data is in the group {check.group}"
    elif check.feature is not None or check.technique is not None:
        of = [name for name in (check.feature, check.technique) if name is not None]
        reason = f"the audit has no such number of {' by '.join(of)}"
    else:
        reason = "the audit has no such number"
    return Number(group=check.group, value=None, status="undefined", reason=reason)


def _of_metric(check: PolicyCheck, metric: Metric, tables: Tables, part: Part) -> list[Number]:
    return [
        Number(
            group=group, value=row["value"], exact=_fraction(row) if _is_share(metric, row) else None,
            low=row["ci_low"], high=row["ci_high"], status=row["status"], reason=row["reason"],
            numerator=row["numerator"], denominator=row["denominator"], n=row["n"],
            too_small=row["status"] == "insufficient_data", certain=metric.name == "count",
        )
        for group, row in tables.groups(metric.name, check.attribute, part).items()
        if check.group is None or group == check.group
    ]  # fmt: skip


def _of_gap(config: AuditConfig, check: PolicyCheck, gap: Disparity, tables: Tables, part: Part) -> list[Number]:
    rows = tables.gaps.get((gap.name, check.attribute), {}).get(part, [])
    pairs = [row for row in rows if row["group"] is not None]
    others = [row for row in pairs if row["group"] != row["reference"]]
    if check.group is not None:
        own = [row for row in pairs if row["group"] == row["reference"] == check.group]
        compared = [_pair(gap, row, tables, part) for row in others]
        if not (gap.signed and reference_declared(config, check.attribute, others)):
            compared = _corrected(gap, compared)
        return [
            *(_pair(gap, row, tables, part) for row in own),
            *(one for one in compared if one.group == check.group),
        ]
    if gap.attained and others:
        return _corrected(gap, [_pair(gap, row, tables, part) for row in others])
    return [_whole(gap, row, rows, tables, part) for row in rows if row["group"] is None]


def reference_declared(config: AuditConfig, attribute: str | None, pairs: Sequence[Row]) -> bool:
    """Whether the group that the others are held against was fixed before the run, by name or as the largest.

    A pair of such a reference and a group that the check names was chosen by nobody who had seen the outcomes.
    """
    if attribute is None:
        return False
    keys = [attribute] if attribute in config.data.sensitive else attribute.split(CROSSING)
    named = [config.data.sensitive[key].reference if key in config.data.sensitive else None for key in keys]
    if any(name in (None, BEST_OFF) for name in named):
        return False
    if len(keys) == 1 or set(named) == {LARGEST}:
        return True
    # A crossing of named groups that no row is in leaves the reference to the data.
    return {row["reference"] for row in pairs} == {CROSSING.join(map(str, named))}


def _pair(gap: Disparity, row: Row, tables: Tables, part: Part) -> Number:
    single = len(gap.bases) == 1 and gap.bases[0] != "count"
    base = tables.groups(gap.bases[0] if gap.bases else "count", row["attribute"], part)
    group: Mapping[str, Any] = base.get(row["group"], {})
    reference: Mapping[str, Any] = base.get(row["reference"], {})
    own, other = (group, reference) if single else ({}, {})
    return Number(
        group=row["group"], value=row["value"],
        exact=_exact_pair(gap, row, group, reference) if own and other else None,
        low=row["ci_low"], high=row["ci_high"], status=row["status"], reason=row["reason"],
        numerator=own.get("numerator"), denominator=own.get("denominator"), n=group.get("n"),
        reference=row["reference"], reference_numerator=other.get("numerator"),
        reference_denominator=other.get("denominator"), reference_n=reference.get("n"),
        p_value=row["p_value"], p_adjusted=row["p_adjusted"], test=row["test"],
        too_small=row["status"] == "insufficient_data", ends=_ends(gap.bases[0], [own, other]) if own and other else (),
    )  # fmt: skip


def _corrected(gap: Disparity, pairs: Sequence[Number]) -> list[Number]:
    """The same, with Holm's p-values over the pairs of groups that have enough rows.

    The best-off of those groups is the reference: with one pair only there was nothing to choose. Sizes of groups are
    counts that nothing is tested of, and their reference is chosen by something else.
    """
    able = [one for one in pairs if one.status == "ok"]
    if len(able) < 2 or gap.bases == ("count",):
        return list(pairs)
    found = _by_holm(pairs, able)
    return [replace(one, compared=len(able) + 1) if one.status == "ok" else one for one in found]


def _by_holm(numbers: Sequence[Number], able: Sequence[Number]) -> list[Number]:
    """The same, with Holm's p-values over those of them that can be judged."""
    if len(able) < 2:
        return list(numbers)
    p = holm(np.array([np.nan if one.p_value is None else one.p_value for one in able]))
    family = {id(one): None if np.isnan(q) else float(q) for one, q in zip(able, p, strict=True)}
    return [replace(one, p_family=family[id(one)], family=len(able)) if id(one) in family else one for one in numbers]


def chance_of(config: AuditConfig, check: PolicyCheck, gap: Disparity, tables: Tables) -> Chance | None:
    """What the widest gap over all groups would be with no disparity; None where that is not known or not asked."""
    if check.group is not None or check.attribute is None or config.data.weight is not None or not gap.bases:
        return None
    counts = {}
    for base in gap.bases:
        able = [row for row in tables.groups(base, check.attribute).values() if row["status"] == "ok"]
        if any(row["numerator"] is None or row["denominator"] is None for row in able):
            return None
        counts[base] = (
            np.array([row["numerator"] for row in able], float), np.array([row["denominator"] for row in able], float),
        )  # fmt: skip
    if not all(base in METRICS for base in gap.bases):
        return None
    return no_disparity(gap, counts, check.attribute, seed=config.explain.seed, draws=config.bias.resamples)


def _whole(gap: Disparity, row: Row, rows: Sequence[Row], tables: Tables, part: Part) -> Number:
    bases = [found for base in gap.bases if (found := tables.groups(base, row["attribute"], part))]
    if not bases:  # a comparison of the table as a whole: its own rows say which groups it is over
        pairs = {other["group"]: other for other in rows if other["group"] is not None}
        bases = [pairs] if pairs else [tables.groups("count", row["attribute"])]
    lacking = {
        str(group): found["reason"] or "" for base in bases for group, found in base.items() if found["status"] != "ok"
    }
    enough = min(sum(found["status"] == "ok" for found in base.values()) for base in bases)
    over = {group for base in bases for group, found in base.items() if found["status"] == "ok"}
    sizes = [found.get("n") for found in bases[0].values()]
    # The status of the row may also say that no interval could be made, which is no matter of a denominator.
    return Number(
        group=None, value=row["value"], low=row["ci_low"], high=row["ci_high"], status=row["status"],
        reason=row["reason"], n=None if None in sizes else sum(size or 0 for size in sizes),
        reference=row["reference"], p_value=row["p_value"], p_adjusted=row["p_adjusted"], test=row["test"],
        too_small=enough < 2, compared=2 if gap.bases == ("count",) else max(2, len(over)),
        left_out=tuple(f"{group} ({reason})" for group, reason in lacking.items()),
        ends=_widest(gap, row, tables, part),
    )  # fmt: skip


def _widest(gap: Disparity, row: Row, tables: Tables, part: Part) -> tuple[End, ...]:
    """The two groups between which the attribute's gap lies: the lowest and the highest in the metric that decides."""
    if row["value"] is None or gap.averaged:
        return ()
    for base in gap.bases:
        found = [f for f in tables.groups(base, row["attribute"], part).values() if f["value"] is not None]
        able = [f for f in found if f["status"] == "ok"]
        able = able if len(able) >= 2 else found
        if base == "count" or len(able) < 2:
            continue
        low = min(able, key=lambda f: f["value"])
        high = max((f for f in able if f is not low), key=lambda f: f["value"])
        apart = high["value"] - low["value"]
        if gap.comparison == "ratio":
            apart = low["value"] / high["value"] if high["value"] else float("nan")
        if abs(apart - row["value"]) <= 1e-9 * max(1.0, abs(apart)):
            return _ends(base, [low, high])
    return ()


def _ends(base: str, rows: Sequence[Mapping[str, Any]]) -> tuple[End, ...]:
    return tuple(
        End(base, str(row["group"]), row["value"], row["numerator"], row["denominator"], row["n"]) for row in rows
    )


def _is_share(metric: Metric, row: Row) -> bool:
    """Whether numerator / denominator is the value, and both are counts."""
    return metric.from_cells is not None and _fraction(row) is not None


def _fraction(row: Mapping[str, Any]) -> Fraction | None:
    """The value as a fraction of counts; None with weights, or where there is none."""
    top, bottom = row["numerator"], row["denominator"]
    if top is None or not bottom or top != int(top) or bottom != int(bottom):
        return None
    return Fraction(int(top), int(bottom))


def _exact_pair(gap: Disparity, row: Row, group: Mapping[str, Any], reference: Mapping[str, Any]) -> Fraction | None:
    """The compared rates as one fraction, so that (3/5)/(6/8) is 0.8."""
    base = METRICS.get(gap.bases[0])
    if base is None or not base.proportion or row["value"] is None:
        return None
    a, b = _fraction(group), _fraction(reference)
    if a is None or b is None:
        return None
    both = [a - b, b - a] if gap.comparison == "difference" else [x / y for x, y in ((a, b), (b, a)) if y]
    # Which way round the table compares them shows in its value.
    nearest = min(both, key=lambda fraction: abs(float(fraction) - row["value"]), default=None)
    if nearest is None or abs(float(nearest) - row["value"]) > 1e-9 * max(1.0, abs(row["value"])):
        return None  # the comparison is of something else than these two rates
    return nearest
