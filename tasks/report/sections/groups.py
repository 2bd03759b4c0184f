"""Groups: rates with intervals, the policy's line in them, curves, crossings and comparisons, an attribute each."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.report.document import Block, Column, Figure, Paragraph, Section, Table, line, name, num, said
from tasks.report.figures import Bars
from tasks.report.numbers import count
from tasks.report.reading import Reading, Row
from tasks.report.sections.comparisons import comparisons
from tasks.report.sections.crossings import crossing
from tasks.report.sections.group_curves import group_curves
from tasks.report.sections.policy_marks import beyond, mark, policy_line
from tasks.report.sections.shared import GROUPS, dash, left_out, value_cell
from tasks.report.words import metric_label

#: what is drawn and put into the table of groups, as far as it was measured
SHOWN = (
    "selection_rate", "true_positive_rate", "false_positive_rate", "precision", "accuracy",
    "mean_prediction", "mean_absolute_error", "mean_error", "r2",
)  # fmt: skip
_PANELS = 6


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
    shown, more = _chosen(reading, attribute, whole)
    heat = crossing(reading, attribute, id, whole, _metrics(whole))
    blocks: list[Block | None] = [
        *note,
        *_reference(reading, attribute),
        heat if heat is not None else _figure(reading, attribute, id, whole, shown, more),
        _table(id, attribute, whole, shown, more),
        *group_curves(reading, attribute, id, whole),
        *comparisons(reading, attribute, id, disparities, shown),
    ]
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
    if len(every) <= GROUPS:
        return every, 0
    sizes: dict[str, float] = {}
    for row in rows:
        sizes[row["group"]] = max(sizes.get(row["group"], 0), row["n"] or 0)
    named = [c["group"] for c in reading.checks if c.get("attribute") == attribute and c.get("group") in sizes]
    compared = [r for r in reading.disparities if r["attribute"] == attribute and r["group"] in sizes]
    held = [r["reference"] for r in compared if r["reference"] in sizes][:1]
    over = [r["group"] for r in compared if beyond(reading, r)]
    certain = sorted((r for r in compared if r["p_adjusted"] is not None), key=lambda r: r["p_adjusted"])
    largest = sorted(every, key=lambda g: -sizes[g])
    kept = set(list(dict.fromkeys([*held, *named, *over, *(r["group"] for r in certain), *largest]))[:GROUPS])
    return [g for g in every if g in kept], len(every) - len(kept)


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
        line_at, words, broken = policy_line(reading, attribute, metric, found)
        marks = tuple(mark(found[g], found[g]["group"] in broken) for g in shown if g in found)
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
