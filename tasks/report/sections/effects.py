"""How the output moves with each feature, and with pairs of them: small multiples, with the same in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tasks.report.document import Block, Column, Content, Figure, Paragraph, Section, Span, Table, line, name, num
from tasks.report.figures import Curves, Level, Levels, Line, Mark
from tasks.report.numbers import count, percent
from tasks.report.reading import Reading, Row
from tasks.report.sections.interactions import interactions, of_output
from tasks.report.sections.movement import Shape, described, movement
from tasks.report.sections.shared import dash, plural, top

_OUTPUTS = 3  # outputs drawn; the others are in the tables
_PANELS = 8  # features drawn
_LEVELS = 10  # categories drawn, those of the most rows
_DEPENDENCE, _LOCAL = "effects/partial_dependence", "effects/ale"
_DRAWN = {
    _DEPENDENCE: "The solid line, or the filled dot, is partial dependence with its interval: the mean output over"
    " {rows} rows when the feature is set to a value in each of them.",
    _LOCAL: "The dashed line, or the hollow diamond, is accumulated local effects: changes of the feature by small"
    " steps in rows that are there anyway, added up around the mean output.",
}
_THIN = (
    "Thin lines are single rows, each moved to the mean level so that shapes compare; where they fan out, the feature"
    " acts differently on different rows."
)
_FOOT = "The strip at the foot of a panel shows where the rows are; where it is empty, the lines rest on few."


def effects(reading: Reading) -> Section | None:
    """None where no technique of global shape was planned or none left a table."""
    present = reading.tables("effects")
    if not present:
        return None
    title = "How the output moves with each feature"
    blocks: list[Block] = []
    curves = [table for table in (_DEPENDENCE, _LOCAL) if table in present]
    if curves:
        outputs = list(dict.fromkeys(r for table in curves for r in _distinct(reading, table, "output")))
        blocks.append(Paragraph(_lead(reading, curves, outputs)))
        hidden = _redacted(reading, curves)
        if hidden:
            listed = [part for column in hidden for part in (name(column), ", ")][:-1]
            blocks.append(Paragraph(line("Values of these columns are not printed: ", *listed, ".")))
        for position, output in enumerate(outputs[:_OUTPUTS], 1):
            blocks += _of_output(reading, curves, output, len(outputs), f"effects-{position}")
        if len(outputs) > _OUTPUTS:
            blocks.append(Paragraph(line(f"{len(outputs) - _OUTPUTS} more outputs are in the tables of effects.")))
    blocks += interactions(reading)
    return Section("effects", title, tuple(blocks)) if blocks else None


def _lead(reading: Reading, tables: Sequence[str], outputs: Sequence[str]) -> Content:
    kind = reading.record.fact(f"explain/{tables[0].partition('/')[2]}", "output")
    about: list[str | Span] = []
    if kind and len(outputs) == 1:
        what = "predicted value" if reading.config.model.task == "regression" else kind
        about = [f", the {what} of ", name(outputs[0]), ","]
    both = (
        " Partial dependence also asks for rows that do not occur; accumulated local effects do not. Where the two"
        " part, the feature goes along with others, and the latter are the ones to read."
    )
    return line(
        "Over the explained rows, how the model’s output",
        *about,
        " goes up and down with one feature at a time.",
        *([both] if len(tables) == 2 else []),
    )


def _distinct(reading: Reading, table: str, column: str) -> list[Any]:
    read = reading.table(table, columns=[column])
    return [] if read is None else [v for v in read[column].unique().to_pylist() if v is not None]


def _redacted(reading: Reading, tables: Sequence[str]) -> list[str]:
    features = dict.fromkeys(f for table in tables for f in _distinct(reading, table, "feature"))
    return [f for f in features if f in reading.config.report.rows.redact]


# ---------------------------------------------------------------- reading


def _ordered(reading: Reading, tables: Sequence[str], output: str) -> list[str]:
    """Features by the best rank that a technique gives them for the output, then by the sum of ranks."""
    ranks: dict[str, list[int]] = {}
    for row in reading.importance:
        if row["output"] in (output, None) and row["rank"] is not None:
            ranks.setdefault(row["feature"], []).append(row["rank"])
    features = dict.fromkeys(f for table in tables for f in _distinct(reading, table, "feature"))
    return sorted(
        (f for f in features if f not in reading.config.report.rows.redact),
        key=lambda f: (min(ranks.get(f, [10**9])), sum(ranks.get(f, [10**9])), f),
    )


def _shapes(reading: Reading, tables: Sequence[str], output: str, features: Sequence[str]) -> list[Shape]:
    import pyarrow.compute as pc

    chosen = (pc.field("output") == output) & pc.field("feature").isin(list(features))
    found: dict[str, dict[str, list[Row]]] = {table: {} for table in tables}
    for table in tables:
        read = reading.table(table, filters=chosen & pc.field("row_id").is_null())
        for row in [] if read is None else read.to_pylist():
            if row["effect"] is not None and row["position"] is not None:
                found[table].setdefault(row["feature"], []).append(row)
    single: dict[str, dict[Any, list[Row]]] = {}
    if _DEPENDENCE in tables and reading.config.report.rows.show:  # a single row's curve is personal
        read = reading.table(_DEPENDENCE, filters=chosen & pc.field("row_id").is_valid())
        for row in [] if read is None else read.to_pylist():
            single.setdefault(row["feature"], {}).setdefault(row["row_id"], []).append(row)
    shapes = []
    for feature in features:
        level = next((v for t in tables if (v := _level(reading, t, output)) is not None), 0.0)
        shape = Shape(
            feature,
            _is_number([r for rows in found.values() for r in rows.get(feature, [])]),
            _by_point(found.get(_DEPENDENCE, {}).get(feature, [])),
            _by_point(found.get(_LOCAL, {}).get(feature, [])),
            [_by_point(rows) for rows in single.get(feature, {}).values()],
            level,
        )
        if shape.main:
            shapes.append(shape)
    return shapes


def _by_point(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda r: r["point"])


def _level(reading: Reading, table: str, output: str) -> float | None:
    value = (reading.record.fact(f"explain/{table.partition('/')[2]}", "mean_output", {}) or {}).get(output)
    return value if isinstance(value, float) else None


def _is_number(rows: list[Row]) -> bool:
    """Whether positions are the values themselves, not codes of categories."""
    try:
        return all(float(r["value"]) == r["position"] for r in rows)
    except ValueError:
        return False


# ---------------------------------------------------------------- drawing


def _of_output(reading: Reading, tables: Sequence[str], output: str, outputs: int, id: str) -> list[Block]:
    ordered = _ordered(reading, tables, output)
    chosen, more = top(ordered, _PANELS)
    shapes = _shapes(reading, tables, output, chosen)
    if not shapes:
        return []
    low, high = _ends(shapes)
    panels = tuple(_curves(reading, s, low, high) if s.number else _levels(reading, s, low, high) for s in shapes)
    about: list[str | Span] = [f" for {output}"] if outputs > 1 else []
    caption = "".join(["How the output moves with each feature", *map(str, about)])
    rows = reading.record.fact("explain/partial_dependence", "rows")
    notes = [_DRAWN[table].format(rows=count(rows) if rows else "the") for table in tables]
    notes += [_THIN] if any(s.single and s.number for s in shapes) else []
    notes += [_FOOT] if any(s.local and s.number for s in shapes) else []
    left = f"{plural(more, 'more is', 'more are')} in the tables named as source."
    hidden = f" The {len(chosen)} most important features; {left}" if more else ""
    return [
        Figure(f"{id}-figure", caption, panels, line(" ".join(notes) + hidden), tuple(tables)),
        _table(reading, f"{id}-table", caption, shapes, tables, hidden),
    ]


def _ends(shapes: Sequence[Shape]) -> tuple[float, float]:
    """What the panels of an output reach from and to: curves with their intervals, local effects around the mean."""
    ends = [y for s in shapes for _, y, _ in s.main]
    ends += [v for s in shapes for r in s.dependence for v in (r["ci_low"], r["ci_high"]) if v is not None]
    ends += [r["effect"] + s.level for s in shapes for r in _within(s)]
    return min(ends), max(ends)


def _within(shape: Shape) -> list[Row]:
    """Local effects where partial dependence is drawn too; all of them where it is not, and of categories."""
    if not shape.number or len(shape.dependence) < 2:
        return shape.local
    first, last = shape.dependence[0]["position"], shape.dependence[-1]["position"]
    inside = [place for place, r in enumerate(shape.local) if first <= r["position"] <= last]
    return shape.local[max(0, inside[0] - 1) : inside[-1] + 2] if inside else []


def _curves(reading: Reading, shape: Shape, low: float, high: float) -> Curves:
    lines = []
    if shape.dependence:
        rows = shape.dependence
        band = tuple((r["ci_low"], r["ci_high"]) for r in rows)
        known = all(a is not None and b is not None for a, b in band)
        lines.append(Line(tuple((r["position"], r["effect"]) for r in rows), "first", "", band if known else ()))
    if shape.local:
        points = tuple((r["position"], r["effect"] + shape.level) for r in shape.local)
        lines.append(Line(_cut(points, shape), "second"))
    thin = tuple(_at_level(curve, shape) for curve in shape.single)
    between = pairwise(shape.local)
    where = tuple((a["position"], b["position"], float(b["n_rows"] or 0)) for a, b in between)
    ticks = () if where else tuple(r["position"] for r in shape.dependence)
    told = described(reading, shape)
    return Curves(shape.feature, tuple(lines), low, high, thin, where, ticks, told)


def _cut(points: tuple[tuple[float, float], ...], shape: Shape) -> tuple[tuple[float, float], ...]:
    """Local effects between the ends of partial dependence, which leaves the outermost values out."""
    if len(shape.dependence) < 2 or len(points) < 2:
        return points
    first, last = shape.dependence[0]["position"], shape.dependence[-1]["position"]
    cut: list[tuple[float, float]] = []
    for (x1, y1), (x2, y2) in pairwise(points):
        if x2 < first or x1 > last:
            continue
        ends = [(x, y1 + (y2 - y1) * (x - x1) / (x2 - x1)) for x in (max(x1, first), min(x2, last))]
        cut += [end for end in ends if not cut or end[0] > cut[-1][0]]
    return tuple(cut) or points


def _at_level(curve: list[Row], shape: Shape) -> tuple[tuple[float, float], ...]:
    """A single row's curve, moved to the mean level of the average."""
    mean = sum(r["effect"] for r in shape.dependence) / len(shape.dependence)
    own = sum(r["effect"] for r in curve) / len(curve)
    return tuple((r["position"], r["effect"] - own + mean) for r in curve)


def _levels(reading: Reading, shape: Shape, low: float, high: float) -> Levels:
    """The categories of the most rows, the highest output first."""
    dependence = {r["position"]: r for r in shape.dependence}
    local = {r["position"]: r for r in shape.local}
    all_rows = sum(r["n_rows"] or 0 for r in shape.local)
    by_rows = sorted(shape.main, key=lambda p: -(local[p[0]]["n_rows"] or 0) if p[0] in local else 0)
    kept, more = top(by_rows, _LEVELS)
    levels = []
    for position, _, value in sorted(kept, key=lambda p: -p[1]):
        dots = []
        if dependence:
            r = dependence.get(position)
            dots.append(None if r is None else Mark("", "", r["effect"], r["ci_low"], r["ci_high"]))
        if local:
            r = local.get(position)
            dots.append(None if r is None else Mark("", "", r["effect"] + shape.level))
        share = percent(local[position]["n_rows"] / all_rows) if position in local and all_rows else ""
        levels.append(Level(str(value), tuple([None, *dots] if not dependence else dots), share))
    told = described(reading, shape)
    rest = f"{plural(more, 'more category', 'more categories')} not drawn" if more else ""
    subtitle = "; ".join(part for part in ("right: share of rows" if all_rows else "", rest) if part)
    return Levels(shape.feature, tuple(levels), low, high, (), told, subtitle)


# ---------------------------------------------------------------- words


def _table(
    reading: Reading, id: str, caption: str, shapes: Sequence[Shape], tables: Sequence[str], hidden: str
) -> Table:
    widest = max(s.span for s in shapes)
    columns = [Column("Feature"), Column("How the output moves", weight=2.4), Column("Span", "right")]
    columns += [Column("Span of local effects", "right")] if len(tables) == 2 else []
    rows = []
    for shape in shapes:
        cells: list[Content] = [(name(shape.feature),), movement(reading, shape, widest)]
        cells.append((num(of_output(reading, shape.span)),))
        if len(tables) == 2:
            own = [r["effect"] for r in shape.local]
            cells.append((num(of_output(reading, max(own) - min(own))),) if own else dash())
        rows.append(tuple(cells))
    note = line("Span: from the lowest to the highest point of the curve." + hidden)
    return Table(id, f"{caption}, in words", tuple(columns), tuple(rows), note, tuple(tables))
