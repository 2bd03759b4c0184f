"""What would change it: other thresholds, what they cost in accuracy, and who gains or loses by them. Advice only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.report.document import (
    Block,
    Bullets,
    Callout,
    Column,
    Content,
    Figure,
    Paragraph,
    Section,
    Table,
    aside,
    line,
    link,
    name,
    num,
    said,
    status,
)
from tasks.report.figures import Plane, Trace
from tasks.report.figures.charts import TRACES
from tasks.report.numbers import count, interval, limit, number
from tasks.report.reading import Reading, Row, upper_first
from tasks.report.sections.shared import GROUPS, bounds, checks_on, dash, left_out, top
from tasks.report.words import metric_label, metric_null

_TITLE = "What would change it"
#: what is tried → how it is called, in the order shown
KINDS = {
    "current": "as it is",
    "common": "one other threshold for all",
    "group": "a threshold for each group",
    "parity": "lots by group (fairlearn)",
}
_LEAD = (
    "What other thresholds would do to the disparities that the policy limits, what they would cost in accuracy, and"
    " who would gain or lose. It was worked out on the audited rows; on others it comes out less well, as the column"
    " for held-out rows shows: thresholds chosen on one half, evaluated on the other."
)
_WARNING = (
    "This is advice, no recommendation and no verdict. Thresholds that differ by group may be unlawful: a lawyer should"
    " see it before anybody acts on it."
)
_FRONTIER = "Lines join the best that thresholds of a kind can do: no other gives more accuracy at no more disparity."


def advice(reading: Reading) -> Section:
    """Thresholds that meet the policy, attribute by attribute; where there are none, why."""
    rows = reading.rows("thresholds")
    if not rows:
        return Section("advice", _TITLE, (Paragraph((said(reading.why_absent("advice")),)),))
    told = str(reading.record.fact("advice", "warning", _WARNING))
    warning = Callout("Advice only: thresholds by group may be unlawful", "bad", ((said(told),),))
    sections = []
    attributes = [a for a in reading.attributes if any(r["attribute"] == a for r in rows)]
    for position, attribute in enumerate(attributes, 1):
        id = f"advice-{position}"
        own = [r for r in rows if r["attribute"] == attribute]
        sections.append(Section(id, attribute, tuple(_attribute(reading, attribute, own, id))))
    return Section("advice", _TITLE, (Paragraph(line(_LEAD), lead=True), warning), tuple(sections))


def advice_in_brief(reading: Reading) -> list[Content]:
    """One sentence for the summary: what thresholds could do for the first aim that is not met now."""
    rows = [r for r in reading.rows("thresholds") if r["group"] is None]
    for attribute, aim in dict.fromkeys((r["attribute"], r["aim"]) for r in rows):
        whole = _whole([r for r in rows if (r["attribute"], r["aim"]) == (attribute, aim)])
        now = whole.get("current")
        if now is None or now["met"] is not False:
            continue
        told = "no threshold that was tried meets it"
        for kind, words in (("common", "one other threshold for all meets it"), ("group", "only thresholds by group,"
                            " which may be unlawful, meet it")):  # fmt: skip
            if kind in whole and whole[kind]["met"]:
                told = words
                break
        see = link("what would change it", "#advice")
        return [line(f"{upper_first(aim_label(aim))} by ", name(attribute), f": {told} (", see, ").")]
    return []


def _whole(rows: Sequence[Row], sample: str = "all") -> dict[str, Row]:
    """Kind → its row over all groups."""
    return {r["kind"]: r for r in rows if r["group"] is None and r["sample"] in (sample, None)}


def _attribute(reading: Reading, attribute: str, rows: Sequence[Row], id: str) -> list[Block]:
    blocks: list[Block] = []
    facts = {a["aim"]: a for a in reading.record.fact("advice", "aims", []) if a.get("attribute") == attribute}
    for position, aim in enumerate(dict.fromkeys(r["aim"] for r in rows), 1):
        own = [r for r in rows if r["aim"] == aim]
        whole = _whole(own)
        kinds = [k for k in (*KINDS, *sorted(set(whole) - set(KINDS))) if k in whole]
        if not kinds:
            continue
        here, told = f"{id}-{position}", facts.get(aim, {})
        blocks += _sentences(aim, whole, kinds, told)
        picture = _trade_off(reading, attribute, aim, whole, kinds, here)
        blocks += [picture] if picture is not None else []
        if kinds == ["current"]:  # an example, with nothing to set beside what is
            continue
        blocks.append(_options(attribute, aim, whole, _whole(own, "held_out"), kinds, told, here))
        single = [r for r in own if r["group"] is not None and r["sample"] in ("all", None)]
        groups = _groups(attribute, aim, single, kinds, here)
        blocks += [groups] if groups is not None else []
    return blocks or [Paragraph(line("No threshold was tried for this attribute."))]


def aim_label(aim: str | None) -> str:
    """`impact ratio ≥ 0.8` of `impact_ratio ≥ 0.8`."""
    metric, space, rest = (aim or "the policy").partition(" ")
    return f"{metric_label(metric)}{space}{rest}"


def _sentences(aim: str | None, whole: dict[str, Row], kinds: Sequence[str], told: Mapping[str, Any]) -> list[Block]:
    """What meets the aim, and at what price in accuracy; what could not be tried, and why."""
    now = whole.get("current")
    blocks: list[Block] = [Paragraph(_sentence(aim, now, whole, kinds))]
    missing = [p for p in told.get("plans", []) if p.get("missing")]
    if missing:
        blocks.append(
            Bullets(
                tuple(line(f"{upper_first(KINDS.get(p['kind'], p['kind']))}: none, since ", said(p["missing"]))
                      for p in missing)
            )
        )  # fmt: skip
    return blocks


def _sentence(aim: str | None, now: Row | None, whole: dict[str, Row], kinds: Sequence[str]) -> Content:
    if now is not None and now["met"] is None:
        return line(
            "No check of the policy on it depends on the threshold, so there is nothing to meet. As an example: what"
            f" other thresholds do to the {aim_label(aim)}."
        )
    about = f"Aim: {aim_label(aim)}. "
    if now is not None and now["met"]:
        return line(f"{about}The threshold in force meets it: nothing needs to change.")
    met = [k for k in kinds if whole[k]["met"] and k != "current"]
    if not met:
        return line(f"{about}No threshold that was tried meets it; the nearest are shown.")
    told = []
    for kind in met:
        row = whole[kind]
        cost = ""
        if now is not None and now["accuracy"] is not None and row["accuracy"] is not None:
            change = row["accuracy"] - now["accuracy"]
            cost = f" ({'+' if change > 0 else ''}{number(change)} in accuracy)"
        told.append(f"{KINDS.get(kind, kind)}{cost}")
    return line(f"{about}Met by {'; '.join(told)}.")


# ---------------------------------------------------------------- trade-off


def _trade_off(
    reading: Reading, attribute: str, aim: str | None, whole: dict[str, Row], kinds: Sequence[str], id: str
) -> Figure | None:
    """Accuracy against the aim's value: a mark an option, a line what its kind can do, and the policy's limit."""
    places = {
        k: (whole[k]["value"], whole[k]["accuracy"])
        for k in kinds[:TRACES]
        if whole[k]["value"] is not None and whole[k]["accuracy"] is not None
    }
    if len(places) < 2:
        return None
    metric = (aim or "").partition(" ")[0]
    checks = checks_on(reading.checks, attribute, metric)
    cut = bounds(checks[0])[0] if checks else None
    more_is_better = metric_null(metric) == 1 or bool(checks and checks[0].get("min") is not None)
    ys = [y for _, y in places.values()]
    floor = min(ys) - 0.5 * ((max(ys) - min(ys)) or 0.1)
    lines = _frontiers(reading, attribute, aim, floor, more_is_better)
    traces = tuple(
        Trace(
            KINDS.get(k, k), f"{number(x)}, accuracy {number(y)}", lines.get(k, ()), at=(x, y)
        )
        for k, (x, y) in places.items()
    )  # fmt: skip
    xs = [x for t in traces for x, _ in (*t.points, t.at or (0.0, 0.0))] + ([cut] if cut is not None else [])
    ys = [y for t in traces for _, y in (*t.points, t.at or (0.0, 0.0))]
    told = "; ".join(f"{t.label}: {t.text}" for t in traces)
    chart = Plane(
        "Accuracy and disparity", traces, metric_label(metric), "accuracy", x=_around(xs), y=_around(ys), limit=cut,
        limit_text="" if cut is None else f"policy {limit(cut)}",
        description=f"{metric_label(metric)} and accuracy. {told}.",
    )  # fmt: skip
    caption = f"What it costs: {aim_label(aim)} by {attribute}"
    sources = ("thresholds", "tradeoffs") if lines else ("thresholds",)
    return Figure(f"{id}-trade", caption, (chart,), line(_FRONTIER) if lines else (), sources)


def _frontiers(
    reading: Reading, attribute: str, aim: str | None, floor: float, more_is_better: bool
) -> dict[str, tuple[tuple[float, float], ...]]:
    """Kind → its points that no other of it beats in both, above the floor in accuracy."""
    import pyarrow.compute as pc

    table = reading.table("tradeoffs", filters=(pc.field("attribute") == attribute) & (pc.field("aim") == aim))
    found: dict[str, list[tuple[float, float]]] = {}
    for row in [] if table is None else table.to_pylist():
        if row["value"] is not None and row["accuracy"] is not None and row["accuracy"] >= floor:
            found.setdefault(row["kind"], []).append((row["value"], row["accuracy"]))
    return {kind: _unbeaten(points, more_is_better) for kind, points in found.items()}


def _unbeaten(points: list[tuple[float, float]], more_is_better: bool) -> tuple[tuple[float, float], ...]:
    """Points by x, those without another at least as good in x that is better in y."""
    best, kept = -math.inf, []
    for x, y in sorted(points, key=lambda p: (-p[0] if more_is_better else p[0], -p[1])):
        if y > best:
            best = y
            kept.append((x, y))
    return tuple(sorted(kept))


def _around(values: Sequence[float]) -> tuple[float, float]:
    """Ends with a little room beyond the outermost marks."""
    low, high = min(values), max(values)
    room = 0.04 * ((high - low) or abs(high) or 1.0)
    return low - room, high + room


# ---------------------------------------------------------------- tables


def _options(
    attribute: str,
    aim: str | None,
    whole: dict[str, Row],
    held_out: dict[str, Row],
    kinds: Sequence[str],
    told: Mapping[str, Any],
    id: str,
) -> Table:
    """A row an option: whether it meets the aim, here and on rows that it was not chosen on, and its price."""
    alike = {p["kind"]: p.get("everyone_alike") for p in told.get("plans", [])}
    aimed = any(whole[k]["met"] is not None for k in kinds)
    columns = (
        Column("Option", weight=1.7),
        Column(upper_first(metric_label((aim or "value").partition(" ")[0])), "right"),
        *((Column("Aim", "right"),) if aimed else ()),
        *((Column("On held-out rows", weight=1.4),) if held_out else ()),
        Column("Accuracy", "right"),
        Column("Selection rate", "right"),
        Column("Would gain", "right"),
        Column("Would lose", "right"),
    )
    cells = []
    for kind in kinds:
        row = whole[kind]
        all_alike = (aside(f"all are {alike[kind]}"),) if alike.get(kind) else ()
        cells.append(
            (
                (*line(KINDS.get(kind, kind)), *all_alike),
                _number(row["value"]),
                *((_met(row["met"]),) if aimed else ()),
                *((_again(held_out.get(kind)),) if held_out else ()),
                _number(row["accuracy"]),
                _number(row["selection_rate"]),
                _count(row["gained"]),
                _count(row["lost"]),
            )
        )
    note = line(
        "Would gain: rows that are refused now and would be given the favourable outcome; would lose: the other way"
        " round. "
    )
    caption = f"Other thresholds: {aim_label(aim)} by {attribute}"
    return Table(f"{id}-options", caption, columns, tuple(cells), note, ("thresholds",))


def _again(row: Row | None) -> Content:
    """What the option comes to on rows that it was not chosen on, with its interval."""
    if row is None or row["value"] is None:
        return dash()
    between = interval(row["ci_low"], row["ci_high"])
    met = (aside("met" if row["met"] else "not met"),) if row["met"] is not None else ()
    return (num(number(row["value"])), *((aside(between),) if between != "–" else ()), *met)


def _groups(attribute: str, aim: str | None, rows: Sequence[Row], kinds: Sequence[str], id: str) -> Table | None:
    """A row a group, a column an option: its threshold, how many it selects, who gains and who loses."""
    groups = list(dict.fromkeys(r["group"] for r in rows))
    if not groups:
        return None
    moved: dict[str, float] = dict.fromkeys(groups, 0.0)
    for row in rows:
        moved[row["group"]] += (row["gained"] or 0) + (row["lost"] or 0)
    most, more = top(sorted(groups, key=lambda g: -moved[g]), GROUPS)
    found = {(r["group"], r["kind"]): r for r in rows}
    sizes = {r["group"]: r["n"] for r in reversed(rows)}
    columns = (
        Column("Group", weight=1.2),
        Column("Rows", "right"),
        *(Column(upper_first(KINDS.get(k, k)), weight=1.5) for k in kinds),
    )
    cells = tuple(
        ((name(g),), _count(sizes[g]), *(_concerned(found.get((g, k))) for k in kinds)) for g in groups if g in most
    )
    note = line(
        "The group’s threshold, the share of it that is selected, and how many of its rows would gain or lose the"
        " favourable outcome. "
    )
    if more:
        note += line("Shown are the groups of which the most rows would change. ")
    caption = f"Whom it concerns: {aim_label(aim)} by {attribute}"
    return Table(f"{id}-groups", caption, columns, cells, note + left_out(more, "groups"), ("thresholds",))


def _concerned(row: Row | None) -> Content:
    if row is None:
        return dash()
    told = [] if row["selection_rate"] is None else [f"selected {number(row['selection_rate'])}"]
    if row["gained"] or row["lost"]:
        told.append(f"{count(_people(row['gained']))} gain, {count(_people(row['lost']))} lose")
    return (*(_number(row["threshold"])), *(aside(text) for text in told))


def _met(met: bool | None) -> Content:
    return dash() if met is None else (status("satisfied", "met") if met else status("failed", "not met"),)


def _number(value: float | None) -> Content:
    return dash() if value is None else (num(number(value)),)


def _count(value: float | None) -> Content:
    return dash() if value is None else (num(count(_people(value))),)


def _people(number: float | None) -> float:
    """Expected numbers, and weights, as people: to a whole one from ten on."""
    return 0 if number is None else round(number) if abs(number) >= 10 else round(number, 1)
