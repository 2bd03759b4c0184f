"""Groups: rates with intervals, comparisons, and the policy's line in both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tasks.report.document import (
    Block,
    Column,
    Content,
    Figure,
    Paragraph,
    Section,
    Span,
    Table,
    aside,
    line,
    name,
    num,
    said,
    status,
)
from tasks.report.figures import Bars, Forest, Mark
from tasks.report.figures.charts import MarkTone
from tasks.report.numbers import count, limit, number, p_value
from tasks.report.reading import Reading, Row
from tasks.report.sections.shared import (
    bounds,
    breaches,
    checks_on,
    dash,
    left_out,
    top,
    unsure,
    value_cell,
    value_text,
    why_no_interval,
)
from tasks.report.words import family, method_label, metric_label, metric_null

#: what is drawn and put into the table of groups, as far as it was measured
SHOWN = (
    "selection_rate", "true_positive_rate", "false_positive_rate", "precision", "accuracy",
    "mean_prediction", "mean_absolute_error", "mean_error", "r2",
)  # fmt: skip
#: comparisons drawn beside those that the policy names
COMPARED = (
    "impact_ratio", "equal_opportunity_difference", "accuracy_difference", "predictive_parity_difference",
)  # fmt: skip
_PANELS = 6
_LINES = 10  # groups, and comparisons, of an attribute; the others are in the Parquet table


def groups(reading: Reading) -> Section:
    if not reading.attributes:
        text = "No sensitive attribute was declared (data.sensitive), so no groups were compared."
        return Section("groups", "Groups", (Paragraph(line(text)),))
    if not reading.group_metrics:
        return Section("groups", "Groups", (Paragraph((said(reading.why_absent("bias")),)),))
    sections = [_attribute(reading, attribute, n) for n, attribute in enumerate(reading.attributes, 1)]
    smallest = reading.config.bias.min_group_size
    lead = line(
        "Groups are compared for ", *[part for a in reading.attributes for part in (name(a), ", ")][:-1],
        f". A group with fewer than {count(smallest)} rows in a denominator is never judged: it shows as insufficient"
        " data.",
    )  # fmt: skip
    return Section("groups", "Groups", (Paragraph(lead, lead=True),), tuple(sections))


def _attribute(reading: Reading, attribute: str, number: int) -> Section:
    id = f"groups-{number}"
    rows = [r for r in reading.group_metrics if r["attribute"] == attribute and r["group"] is not None]
    whole = [r for r in rows if r["output"] is None]
    outputs = sorted({r["output"] for r in rows if r["output"] is not None})
    note: list[Block] = []
    if not whole and outputs:
        chosen = next((o for o in outputs if o in reading.favorable), outputs[0])
        whole = [r for r in rows if r["output"] == chosen]
        note = [Paragraph(line("Shown for the output ", name(chosen), "; the others are in the table."))]
    disparities = [r for r in reading.disparities if r["attribute"] == attribute]
    if not whole:
        return Section(id, attribute, (Paragraph(line("No metric was measured for the groups of this attribute.")),))
    chosen_groups, more = _chosen(reading, attribute, whole)
    blocks: list[Block | None] = [
        *note,
        *_reference(reading, attribute),
        _figure(reading, attribute, id, whole, chosen_groups, more),
        _table(id, attribute, whole, chosen_groups, more),
    ]
    blocks += _comparisons(reading, attribute, id, disparities, chosen_groups)
    return Section(id, attribute, tuple(b for b in blocks if b is not None))


def _reference(reading: Reading, attribute: str) -> list[Block]:
    """Which group the others are held against, and which have no rows, as the stage tells."""
    told = next((a for a in reading.record.fact("bias", "attributes", []) if a.get("attribute") == attribute), None)
    if told is None:
        return []
    parts: list = []
    if told.get("reference") is not None:
        rule = f" ({told['reference_rule']})" if told.get("reference_rule") else ""
        parts += ["Held against ", name(told["reference"]), f"{rule}."]
    empty = [one["group"] for one in told.get("left_out", []) if one.get("n") == 0]
    if empty:
        parts += [" Declared, but without a row: ", *[p for g in empty for p in (name(g), ", ")][:-1], "."]
    return [Paragraph(line(*parts))] if parts else []


def _chosen(reading: Reading, attribute: str, rows: Sequence[Row]) -> tuple[list[str], int]:
    """The groups shown, in the table's order: all, or the reference, those that decide or breach a policy check, those
    with the smallest adjusted p, and the largest."""
    every = list(dict.fromkeys(r["group"] for r in rows))
    if len(every) <= _LINES:
        return every, 0
    sizes: dict[str, float] = {}
    for row in rows:
        sizes[row["group"]] = max(sizes.get(row["group"], 0), row["n"] or 0)
    named = [c["group"] for c in reading.checks if c.get("attribute") == attribute and c.get("group") in sizes]
    compared = [r for r in reading.disparities if r["attribute"] == attribute and r["group"] in sizes]
    held = [r["reference"] for r in compared if r["reference"] in sizes][:1]
    beyond = [r["group"] for r in compared if _beyond(reading, r)]
    certain = sorted((r for r in compared if r["p_adjusted"] is not None), key=lambda r: r["p_adjusted"])
    largest = sorted(every, key=lambda g: -sizes[g])
    kept = set(list(dict.fromkeys([*held, *named, *beyond, *(r["group"] for r in certain), *largest]))[:_LINES])
    return [g for g in every if g in kept], len(every) - len(kept)


def _beyond(reading: Reading, row: Row) -> bool:
    """Whether a comparison that can be judged lies beyond the policy's limits."""
    checks = checks_on(reading.checks, row["attribute"], row["metric"])
    return row["status"] == "ok" and any(breaches(row["value"], c) for c in checks)


def _metrics(rows: Sequence[Row]) -> list[str]:
    present = {r["metric"] for r in rows}
    return [m for m in SHOWN if m in present][:_PANELS] or [m for m in sorted(present) if m != "count"][:_PANELS]


def _figure(
    reading: Reading, attribute: str, id: str, rows: Sequence[Row], shown: Sequence[str], more: int
) -> Figure | None:
    """A panel a metric, a bar a group, the policy's line where it has one."""
    panels = []
    for metric in _metrics(rows):
        found = {r["group"]: r for r in rows if r["metric"] == metric}
        line_at, words, broken = _policy_line(reading, attribute, metric, found)
        marks = tuple(_mark(found[g], found[g]["group"] in broken) for g in shown if g in found)
        told = "; ".join(f"{m.label}: {m.text}" for m in marks)
        policy = f" Policy line: {words}." if words else ""
        panels.append(Bars(metric_label(metric), marks, line_at, words, f"{told}.{policy}"))
    if not panels:
        return None
    note = (
        line("Whiskers are intervals. Dark bars breach the policy’s line, hollow ones have too few rows to be judged.")
        if any(p.limit is not None for p in panels)
        else line("Whiskers are intervals; hollow bars have too few rows to be judged.")
    )
    if more:
        note += line(
            f" {len(shown)} groups are shown: the reference, those beyond the policy’s limits, then those with the"
            f" smallest adjusted p; {more} more are in the table named as source."
        )
    return Figure(f"{id}-figure", f"Groups of {attribute}", tuple(panels), note, ("group_metrics",))


def _policy_line(
    reading: Reading, attribute: str, metric: str, found: dict[str, Row]
) -> tuple[float | None, str, set[str]]:
    """Where the policy cuts a metric's panel, what is written there, and the groups on the wrong side."""
    for check in checks_on(reading.checks, attribute, metric):
        cut = bounds(check)[0]
        broken = {g for g, r in found.items() if (r["status"] or "ok") == "ok" and breaches(r["value"], check)}
        return cut, f"policy {limit(cut)}", broken
    if metric != "selection_rate":
        return None, "", set()
    # An impact ratio has its line among the selection rates: the limit times the rate of the reference group.
    ratios = {
        r["group"]: r for r in reading.disparities if r["attribute"] == attribute and r["metric"] == "impact_ratio"
    }
    for check in checks_on(reading.checks, attribute, "impact_ratio"):
        reference = next((r["reference"] for r in ratios.values() if r["reference"] in found), None)
        rate = found[reference]["value"] if reference is not None else None
        if rate is None or check.get("min") is None:
            continue
        broken = {g for g, r in ratios.items() if g in found and r["status"] == "ok" and breaches(r["value"], check)}
        return check["min"] * rate, f"{limit(check['min'])} of the highest", broken
    return None, "", set()


def _mark(row: Row, broken: bool) -> Mark:
    state = row["status"] or "ok"
    tone: MarkTone = "unsure" if state != "ok" else "bad" if broken else "plain"
    value = row["value"] if state != "undefined" else None
    low, high = (row["ci_low"], row["ci_high"]) if value is not None else (None, None)
    return Mark(row["group"], value_text(row), value, low, high, tone)


def _table(id: str, attribute: str, rows: Sequence[Row], shown: Sequence[str], more: int) -> Table:
    metrics = _metrics(rows)
    found = {(r["group"], r["metric"]): r for r in rows}
    sizes = {g: max((r["n"] or 0 for r in rows if r["group"] == g), default=0) for g in shown}
    cells = tuple(
        (
            (name(g),),
            (num(count(sizes[g])),),
            *(value_cell(found[g, m]) if (g, m) in found else dash() for m in metrics),
        )
        for g in shown
    )
    columns = (
        Column("Group", weight=1.4),
        Column("Rows", "right"),
        *(Column(metric_label(m)) for m in metrics),
    )
    note = line("Under each value: its counts and its interval.") + (
        line(" ") + left_out(more, "groups") if more else ()
    )
    return Table(f"{id}-table", f"Metrics by group of {attribute}", columns, cells, note, ("group_metrics",))


def _comparisons(reading: Reading, attribute: str, id: str, rows: Sequence[Row], shown: Sequence[str]) -> list[Block]:
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
    whole = [r for r in rows if r["group"] is None]
    if whole:
        blocks.append(_aggregate_table(reading, attribute, id, whole, len({r["group"] for r in single})))
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
    marks = tuple(_mark(r, any(breaches(r["value"], c) for c in checks)) for r in found)
    against = {r["reference"] for r in found if r["reference"] is not None}
    subtitle = f"against {next(iter(against))}" if len(against) == 1 else ""
    told = "; ".join(f"{m.label}: {m.text}" for m in marks)
    return Forest(metric_label(metric), marks, null, limits, words, f"{told}.", subtitle)


def _comparison_table(
    reading: Reading, id: str, attribute: str, rows: Sequence[Row], metrics: Sequence[str], shown: Sequence[str]
) -> Table:
    chosen = [r for m in metrics for r in rows if r["metric"] == m and r["group"] in shown]
    broken = [_beyond(reading, r) for r in chosen]
    ranks = sorted(
        range(len(chosen)),
        key=lambda i: (not broken[i], chosen[i]["p_adjusted"] if chosen[i]["p_adjusted"] is not None else 2.0),
    )
    kept = [chosen[i] for i in sorted(ranks[:_LINES])]
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


def _aggregate_table(reading: Reading, attribute: str, id: str, rows: Sequence[Row], pairs: int) -> Table:
    columns = (
        Column("Over all groups", weight=1.8),
        Column("Value", "right"),
        Column("Interval", weight=1.2),
        Column("Policy", weight=1.4),
        Column("p", "right"),
        Column("Test"),
    )
    named = {c["metric"] for c in reading.checks if c.get("attribute") == attribute}
    plain = [r for r in rows if r["output"] is None] or list(rows)
    ordered = sorted(plain, key=lambda r: r["metric"] not in named)
    lines = _by_family(ordered, named)
    kept, _ = top(lines)
    cells = []
    for row, *others in kept:
        checks = checks_on(reading.checks, attribute, row["metric"])
        judged = tuple(status(str(c["verdict"])) for c in checks)
        also = (aside(f"also called {', '.join(metric_label(o['metric']) for o in others)}"),) if others else ()
        cells.append(
            (
                (*line(metric_label(row["metric"])), *also),
                _value(row, checks[0] if checks else None),
                why_no_interval(row),
                judged or dash(),
                (num(p_value(row["p_value"])),),
                line(method_label(row["test"])),
            )
        )
    shown = sum(len(same) for same in kept)
    note: Content = ()
    if pairs > 1:
        note = line(
            "These are the widest gaps between any two groups. Their intervals come from resampling the rows of all"
            " groups, of which another pair may then be the widest; the interval of a comparison above is of the pair"
            " named there, so the two differ. "
        )
    note += left_out(len(rows) - shown, "aggregates")
    return Table(
        f"{id}-aggregates",
        f"The largest differences between groups of {attribute}",
        columns,
        tuple(cells),
        note,
        ("disparities",),
    )


def _value(row: Row, check: Mapping[str, Any] | None = None) -> Content:
    if (row["status"] or "ok") != "ok":
        return unsure(row)
    beside = bounds(check)[0] if check else None
    return (num(number(row["value"], beside=beside)),)
