"""Comparisons between the groups of an attribute: forest plots and tables, and what chance alone would come to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tasks.report.document import (
    Block,
    Column,
    Content,
    Figure,
    Paragraph,
    Span,
    Table,
    aside,
    line,
    muted,
    name,
    num,
    status,
)
from tasks.report.figures import Forest
from tasks.report.numbers import limit, number, p_value
from tasks.report.reading import Reading, Row
from tasks.report.sections.policy_marks import beyond, mark
from tasks.report.sections.shared import (
    GROUPS,
    bounds,
    breaches,
    checks_on,
    dash,
    left_out,
    top,
    unsure,
    why_no_interval,
)
from tasks.report.words import family, method_label, metric_label, metric_null

#: comparisons drawn beside those that the policy names
COMPARED = (
    "impact_ratio", "equal_opportunity_difference", "accuracy_difference", "predictive_parity_difference",
)  # fmt: skip
_PANELS = 6
_WIDEST = 8  # aggregates drawn
_AGGREGATES = 14  # comparisons over all groups in a table: those of the policy, then in the order of the registry


def comparisons(reading: Reading, attribute: str, id: str, rows: Sequence[Row], shown: Sequence[str]) -> list[Block]:
    """Forest plot and tables of the disparities."""
    if not rows:
        return [Paragraph(line("No comparison between the groups of this attribute was written."))]
    single = [r for r in rows if r["group"] is not None and r["output"] is None]
    single = single or [r for r in rows if r["group"] is not None]
    single = [r for r in single if r["group"] != r["reference"]]
    named = [c["metric"] for c in reading.checks if c.get("attribute") == attribute]
    present = {r["metric"] for r in single}
    metrics = [m for m in dict.fromkeys([*named, *COMPARED]) if m in present][:_PANELS]
    metrics = metrics or sorted(present)[:4]
    blocks: list[Block] = []
    panels = [p for m in metrics if (p := _forest(reading, attribute, m, single, shown)) is not None]
    if panels:
        note = line(
            "Whiskers are intervals; the solid line is no difference, the dashed one the policy. Diamonds breach it."
        )
        blocks.append(Figure(f"{id}-forest", f"Comparisons of {attribute}", tuple(panels), note, ("disparities",)))
        blocks.append(_comparison_table(reading, id, attribute, single, metrics, shown))
    power = _power(reading, attribute, id, shown)
    blocks += [power] if power is not None else []
    whole = [r for r in rows if r["group"] is None]
    whole = [r for r in whole if r["output"] is None] or whole
    if whole:
        blocks += _aggregates(reading, attribute, id, whole, len({r["group"] for r in single}))
    return blocks


def _forest(reading: Reading, attribute: str, metric: str, rows: Sequence[Row], shown: Sequence[str]) -> Forest | None:
    checks = checks_on(reading.checks, attribute, metric)
    found = [r for r in rows if r["metric"] == metric and r["group"] in shown]
    if not found:
        return None
    null = metric_null(metric, found[0]["comparison"])
    limits: tuple[float, ...] = ()
    words = ""
    if checks:
        limits = bounds(checks[0])
        words = f"policy {' and '.join(limit(b) for b in limits)}"
        if null == 0:  # differences have a sign; the policy looks at their size
            limits = tuple(sorted({*limits, *(-b for b in limits)}))
    marks = tuple(mark(r, any(breaches(r["value"], c) for c in checks)) for r in found)
    against = {r["reference"] for r in found if r["reference"] is not None}
    subtitle = f"against {next(iter(against))}" if len(against) == 1 else ""
    told = "; ".join(f"{m.label}: {m.text}" for m in marks)
    return Forest(metric_label(metric), marks, null, limits, words, f"{told}.", subtitle)


def _comparison_table(
    reading: Reading, id: str, attribute: str, rows: Sequence[Row], metrics: Sequence[str], shown: Sequence[str]
) -> Table:
    chosen = [r for m in metrics for r in rows if r["metric"] == m and r["group"] in shown]
    broken = [beyond(reading, r) for r in chosen]
    ranks = sorted(
        range(len(chosen)),
        key=lambda i: (not broken[i], chosen[i]["p_adjusted"] if chosen[i]["p_adjusted"] is not None else 2.0),
    )
    kept = [chosen[i] for i in sorted(ranks[:GROUPS])]
    references = {r["reference"] for r in kept}
    # One reference for all is said once, and leaves the width to the numbers.
    same = references.pop() if len(references) == 1 else None
    columns = (
        Column("Comparison", weight=1.5),
        Column("Group", weight=1.3),
        *(() if same else (Column("Reference", weight=1.3),)),
        Column("Value", "right"),
        Column("Interval", weight=1.2),
        Column("p", "right"),
        Column("p adjusted", "right"),
        Column("Test"),
    )
    left = len(rows) - len(kept)
    note = line("p adjusted: Holm, within the attribute. ")
    if len(chosen) > len(kept):
        note += line("Shown are those beyond the policy’s limits, then those with the smallest adjusted p. ")
    note += left_out(left, "comparisons")
    return Table(
        f"{id}-comparisons",
        f"Comparisons of {attribute}, against {same}" if same else f"Comparisons with a reference group of {attribute}",
        columns,
        tuple(
            _compared(r, named=not same, again=n > 0 and kept[n - 1]["metric"] == r["metric"])
            for n, r in enumerate(kept)
        ),
        note,
        ("disparities",),
    )


def _compared(row: Row, *, named: bool, again: bool) -> tuple[Content, ...]:
    reference: Content = (name(row["reference"]),) if row["reference"] is not None else dash()
    return (
        (Span(metric_label(row["metric"]), "again"),) if again else line(metric_label(row["metric"])),
        (name(row["group"]),) if row["group"] is not None else dash(),
        *((reference,) if named else ()),
        _value(row),
        why_no_interval(row),
        (num(p_value(row["p_value"])),),
        (num(p_value(row["p_adjusted"])),),
        line(method_label(row["test"])),
    )


def _power(reading: Reading, attribute: str, id: str, shown: Sequence[str]) -> Table | None:
    """The smallest disparity of each group that this audit could have seen; None where the stage tells none."""
    facts = reading.record.fact("bias", "attributes", [])
    told: Mapping[str, Any] = next((a for a in facts if a.get("attribute") == attribute), {})
    seen = {g["group"]: g["detectable"] for g in told.get("groups", []) if g.get("detectable") and g["group"] in shown}
    seen = {g: rates for g, rates in seen.items() if g != told.get("reference")}
    rates = list(dict.fromkeys(rate for found in seen.values() for rate in found))
    if not rates:
        return None
    columns = (Column("Group", weight=1.3), *(Column(metric_label(rate), weight=1.5) for rate in rates))
    cells = tuple(((name(g),), *(_visible(seen[g].get(rate)) for rate in rates)) for g in shown if g in seen)
    level = limit(round(1 - reading.config.bias.confidence, 6))
    note = line(
        f"A difference from the reference group that a two-sided test at {level} would find with 80 % probability, and"
        " the ratio to its rate there. A smaller one may well go unseen: that none was found does not say that there"
        " is none."
    )
    return Table(
        f"{id}-power", f"The smallest disparity of {attribute} that could have been seen", columns, cells, note
    )


def _visible(found: Mapping[str, Any] | None) -> Content:
    if found is None:
        return dash()
    if found.get("difference") is None:
        return (muted(str(found.get("reason") or "–")),)
    ratio = (aside(f"ratio {number(found['ratio'])}"),) if found.get("ratio") is not None else ()
    return (num(number(found["difference"])), *ratio)


def _by_family(rows: Sequence[Row], named: Collection[str]) -> list[list[Row]]:
    """Rows that are one number by several names together; a name that the policy uses keeps a line of its own."""
    lines: list[list[Row]] = []
    facts = ("output", "status", "value", "ci_low", "ci_high")
    for row in rows:
        same = (
            None
            if row["metric"] in named
            else next(
                (
                    one
                    for one in lines
                    if family(one[0]["metric"]) == family(row["metric"]) and all(one[0][f] == row[f] for f in facts)
                ),
                None,
            )
        )
        if same is None:
            lines.append([row])
        else:
            same.append(row)
    return lines


def _aggregates(reading: Reading, attribute: str, id: str, rows: Sequence[Row], pairs: int) -> list[Block]:
    """The widest gaps between any groups: drawn beside what they would be without any disparity, and in numbers."""
    named = {c["metric"] for c in reading.checks if c.get("attribute") == attribute}
    lines = _by_family(sorted(rows, key=lambda r: r["metric"] not in named), named)
    kept, _ = top(lines, _AGGREGATES)
    left = len(rows) - sum(len(same) for same in kept)
    chance = (reading.record.fact("bias", "no_disparity", {}) or {}).get(attribute) or {}
    blocks: list[Block] = []
    panels = [p for null in (0.0, 1.0) if (p := _widest(reading, attribute, kept, chance, null)) is not None]
    if panels:
        note = line(
            "Some group is always ahead. The pale bar reaches from no difference to where 95 % of such gaps lie if the"
            " groups do not differ at all (group labels permuted), the stroke in it is their mean: a gap within it"
            " could be chance alone."
        )
        caption = f"The largest differences of {attribute} beside chance"
        blocks.append(Figure(f"{id}-widest", caption, tuple(panels), note, ("disparities",)))
    return [*blocks, _aggregate_table(reading, attribute, id, kept, chance, pairs, left)]


def _widest(
    reading: Reading, attribute: str, lines: Sequence[Sequence[Row]], chance: Mapping[str, Any], null: float
) -> Forest | None:
    """Differences (null 0) or ratios (null 1) over all groups, those that have their chance beside them."""
    marks = []
    for row, *_ in lines:
        beside = chance.get(row["metric"])
        if beside is None or row["value"] is None or metric_null(row["metric"], row["comparison"]) != null:
            continue
        broken = any(breaches(row["value"], c) for c in checks_on(reading.checks, attribute, row["metric"]))
        ends = (beside["expected"], beside["p95"])
        marks.append(replace(mark(row, broken), label=metric_label(row["metric"]), chance=ends))
    if not marks:
        return None
    told = "; ".join(
        f"{m.label}: {m.text}, by chance {number(m.chance[0])} on average, beyond {number(m.chance[1])} in 5 % of cases"
        for m in marks[:_WIDEST]
        if m.chance is not None
    )
    title = "Largest differences" if null == 0 else "Smallest ratios"
    return Forest(title, tuple(marks[:_WIDEST]), null, description=f"{told}.")


def _aggregate_table(
    reading: Reading,
    attribute: str,
    id: str,
    lines: Sequence[Sequence[Row]],
    chance: Mapping[str, Any],
    pairs: int,
    left: int,
) -> Table:
    columns = (
        Column("Over all groups", weight=1.8),
        Column("Value", "right"),
        Column("Interval", weight=1.2),
        *((Column("Without disparity", weight=1.2),) if chance else ()),
        Column("Policy", weight=1.4),
        Column("p", "right"),
        Column("Test"),
    )
    cells = []
    for row, *others in lines:
        checks = checks_on(reading.checks, attribute, row["metric"])
        judged = tuple(status(str(c["verdict"])) for c in checks)
        also = (aside(f"also called {', '.join(metric_label(o['metric']) for o in others)}"),) if others else ()
        cells.append(
            (
                (*line(metric_label(row["metric"])), *also),
                _value(row, checks[0] if checks else None),
                why_no_interval(row),
                *((_by_chance(row, chance.get(row["metric"])),) if chance else ()),
                judged or dash(),
                (num(p_value(row["p_value"])),),
                line(method_label(row["test"])),
            )
        )
    note: Content = ()
    if pairs > 1:
        note = line(
            "These are the widest gaps between any two groups. Their intervals come from resampling the rows of all"
            " groups, of which another pair may then be the widest; the interval of a comparison above is of the pair"
            " named there, so the two differ. "
        )
    if chance:
        note += line("Without disparity: the mean of such gaps if groups do not differ, and what 5 % of them exceed. ")
    note += left_out(left, "aggregates")
    return Table(
        f"{id}-aggregates",
        f"The largest differences between groups of {attribute}",
        columns,
        tuple(cells),
        note,
        ("disparities",),
    )


def _by_chance(row: Row, beside: Mapping[str, float] | None) -> Content:
    """What the gap would be if groups did not differ: its mean, and where the rarest 5 % begin."""
    if beside is None:
        return dash()
    ratio = metric_null(row["metric"], row["comparison"]) == 1
    told = f"5 % {'below' if ratio else 'above'} {number(beside['p95'])}"
    chance = (aside(f"p {p_value(beside['p'])}"),) if beside.get("p") is not None else ()
    return (num(number(beside["expected"])), aside(told), *chance)


def _value(row: Row, check: Mapping[str, Any] | None = None) -> Content:
    if (row["status"] or "ok") != "ok":
        return unsure(row)
    beside = bounds(check)[0] if check else None
    return (num(number(row["value"], beside=beside)),)
