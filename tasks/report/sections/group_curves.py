"""Curves of the groups' scores: ROC, calibration, and how often each group is selected at which threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from configs.schema import CROSSING
from tasks.report.document import Block, Content, Figure, line, name
from tasks.report.figures import Calibration, Plane, Trace
from tasks.report.figures.charts import TRACES
from tasks.report.numbers import interval, limit, number
from tasks.report.reading import Reading, Row
from tasks.report.sections.policy_marks import beyond, decision_threshold
from tasks.report.sections.shared import left_out

if TYPE_CHECKING:
    import pyarrow as pa

_TABLE = "curves"
_ROC = "ROC curves: the further up and to the left, the better the scores tell positive rows from others. "
_AT = "Marks are the rates of the decisions that were audited. "
_SELECTION = (
    "Selection rate: the share of each group that would be selected at each threshold, with its interval; the dashed"
    " line is the threshold in force. "
)
_CALIBRATION = (
    "Share that came true against the score that was given, with intervals; on the dotted diagonal a score means what"
    " it says. "
)


def group_curves(reading: Reading, attribute: str, id: str, rows: Sequence[Row]) -> list[Block]:
    """Pictures of an attribute's curves; nothing where the run has none for it. Crossings are left to the table.

    Args:
        rows: the metrics of its groups.
    """
    crossed = any(CROSSING.join(keys) == attribute and len(keys) > 1 for keys in reading.config.data.attributes)
    curves = {} if crossed else _curves(reading, attribute)
    if not curves:
        return []
    every = list(dict.fromkeys(group for _, group in curves))
    drawn = leading(reading, attribute, rows, every)
    metrics = {(r["group"], r["metric"]): r for r in rows}
    note: Content = left_out(len(every) - len(drawn), "groups")
    if note:
        note = line("Drawn are the reference, groups beyond the policy’s limits, and the largest. ") + note
    blocks: list[Block] = []
    planes = [p for p in (_roc(curves, drawn, metrics), _selection(reading, curves, drawn, metrics)) if p is not None]
    if planes:
        words = [_ROC + _AT] if planes[0].title == "ROC curves" else []
        words += [_SELECTION] * (len(planes) > 1 or not words)
        caption = f"Scores and thresholds by group of {attribute}"
        blocks.append(Figure(f"{id}-curves", caption, tuple(planes), line("".join(words)) + note, (_TABLE,)))
    panels = _calibration(curves, drawn)
    if panels:
        behind = line("The line is that of ", name(drawn[0]), ". ") if len(panels) > 1 else ()
        caption = f"Calibration by group of {attribute}"
        blocks.append(
            Figure(f"{id}-calibration", caption, tuple(panels), line(_CALIBRATION) + behind + note, (_TABLE,))
        )
    return blocks


Curves = dict[tuple[str, str], list[Row]]


def _curves(reading: Reading, attribute: str) -> Curves:
    """(curve, group) → its points in order. A curve of several outcomes is shown for the first of them."""
    import pyarrow.compute as pc

    wanted = (pc.field("attribute") == attribute) & pc.field("group").is_valid()
    table: pa.Table | None = reading.table(_TABLE, filters=wanted)
    if table is None or not table.num_rows:
        return {}
    outputs: dict[str, str | None] = {}
    found: Curves = {}
    for row in table.to_pylist():
        output = outputs.setdefault(row["curve"], row["output"])
        if row["output"] == output and row["x"] is not None and row["y"] is not None:
            found.setdefault((row["curve"], row["group"]), []).append(row)
    return {key: sorted(points, key=lambda r: r["point"]) for key, points in found.items()}


def leading(reading: Reading, attribute: str, rows: Sequence[Row], groups: Sequence[str]) -> list[str]:
    """As many groups as tell apart: the reference first, then those beyond the policy's limits, then the largest."""
    sizes: dict[str, float] = dict.fromkeys(groups, 0)
    for row in rows:
        if row["group"] in sizes:
            sizes[row["group"]] = max(sizes[row["group"]], row["n"] or 0)
    least = reading.config.bias.min_group_size
    compared = [r for r in reading.disparities if r["attribute"] == attribute and r["group"] in sizes]
    facts = reading.record.fact("bias", "attributes", [])
    held = [a.get("reference") for a in facts if a.get("attribute") == attribute]
    held += [r["reference"] for r in compared if r["metric"] == "impact_ratio"]
    over = [r["group"] for r in compared if beyond(reading, r)]
    largest = sorted(groups, key=lambda g: -sizes[g])
    # A curve of a handful of rows says little: it comes last.
    enough = [g for g in largest if sizes[g] >= least]
    wanted = [g for g in (*held[:1], *over, *enough, *largest) if g in sizes]
    return list(dict.fromkeys(wanted))[:TRACES]


def _points(curves: Curves, curve: str, group: str) -> tuple[tuple[float, float], ...]:
    return tuple((r["x"], r["y"]) for r in curves.get((curve, group), ()))


def _value(row: Row | None) -> float | None:
    return None if row is None or row["status"] == "undefined" else row["value"]


def _roc(curves: Curves, groups: Sequence[str], metrics: dict[tuple[str, str], Row]) -> Plane | None:
    """The chance diagonal, a curve a group, and on it the rates of the audited decisions."""
    traces = []
    for group in groups:
        points = _points(curves, "roc", group)
        if len(points) < 2:
            continue
        x, y = (_value(metrics.get((group, f"{kind}_positive_rate"))) for kind in ("false", "true"))
        area = metrics.get((group, "roc_auc"))
        text = "" if area is None or _value(area) is None else f"AUC {number(area['value'])}"
        if text and area is not None and area["ci_low"] is not None:
            text += f", {interval(area['ci_low'], area['ci_high'])}"
        at = None if x is None or y is None else (x, y)
        traces.append(Trace(group, text, points, at=at))
    if not traces:
        return None
    told = "; ".join(
        f"{t.label}: {t.text or 'no area'}"
        + (f", decided at false positive rate {number(t.at[0])}, true positive rate {number(t.at[1])}" if t.at else "")
        for t in traces
    )
    return Plane(
        "ROC curves", tuple(traces), "false positive rate", "true positive rate", diagonal="chance",
        description=f"True against false positive rate at every threshold. {told}.",
    )  # fmt: skip


def _selection(
    reading: Reading, curves: Curves, groups: Sequence[str], metrics: dict[tuple[str, str], Row]
) -> Plane | None:
    """How often each group is selected at each threshold; the one in force is marked."""
    now = decision_threshold(reading)
    traces = []
    for group in groups:
        rows = curves.get(("selection", group), [])
        if len(rows) < 2:
            continue
        known = all(r["ci_low"] is not None and r["ci_high"] is not None for r in rows)
        band = tuple((r["ci_low"], r["ci_high"]) for r in rows) if known else ()
        rate = metrics.get((group, "selection_rate"))
        at = (now, rate["value"]) if now is not None and rate is not None and _value(rate) is not None else None
        traces.append(
            Trace(group, number(rate["value"]) if rate and at else "", _points(curves, "selection", group), band, at)
        )
    if not traces:
        return None
    told = "; ".join(f"{t.label}: {_passing(t)}" for t in traces)
    words = "" if now is None else f"threshold {limit(now)}"
    xs = [x for t in traces for x, _ in t.points]
    return Plane(
        "Selection rate at each threshold", tuple(traces), "threshold", "selection rate",
        x=(min(0.0, *xs), max(1.0, *xs)), limit=now, limit_text=words,
        description=f"Selection rate against the threshold. {told}.",
    )  # fmt: skip


def _passing(trace: Trace) -> str:
    """Some places that a curve passes, in words; the rate in force first."""
    told = [f"{trace.text} at the threshold in force"] if trace.text else []
    step = max(len(trace.points) // 4, 1)
    told += [f"{number(y)} at {limit(round(x, 3))}" for x, y in trace.points[step::step][:3]]
    return ", ".join(told)


def _calibration(curves: Curves, groups: Sequence[str]) -> list[Calibration]:
    """A panel a group, the first group's points as a line behind those of the others."""
    behind = _points(curves, "calibration", groups[0]) if groups else ()
    panels = []
    for group in groups:
        rows = curves.get(("calibration", group), [])
        if not rows:
            continue
        points = tuple(
            (r["x"], r["y"], *(r["y"] if r[end] is None else r[end] for end in ("ci_low", "ci_high"))) for r in rows
        )
        told = "; ".join(f"{number(r['y'])} at a mean score of {number(r['x'])}" for r in rows)
        # Every panel has a line below its title, so that they line up.
        subtitle = "" if len(groups) == 1 else f"line: {groups[0]}" if group != groups[0] else "the line of the others"
        drawn = behind if group != groups[0] else ()
        panels.append(Calibration(group, points, f"Share that came true: {told}.", subtitle, drawn))
    return panels
