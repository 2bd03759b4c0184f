"""Pairs of features that act together: how strongly, and how the output moves with the strongest of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasks.report.document import Block, Column, Content, Figure, Paragraph, Table, aside, line, name, num, status
from tasks.report.figures import Bars, Curves, Level, Levels, Line, Mark, Style
from tasks.report.numbers import interval, number, percent, place, settled
from tasks.report.reading import Reading, Row
from tasks.report.sections.shared import left_out, top

_TABLE = "effects/interactions"
_OUTPUTS = 3
_PAIRS = 10  # pairs listed
_DRAWN = 3  # pairs whose joint curves are drawn
_LINES = 3  # values of the second feature, a line each
_LEVELS = 10
_LETTERS = 18  # of both names of a pair beside its bar; the table has them whole
_STYLES: tuple[Style, ...] = ("first", "second", "third")
_WHAT = (
    "Some features act together: what one does depends on the other. The strength of a pair is what it does beyond"
    " the sum of what each does alone, in units of the output (root mean square over the rows); H² is its share in"
    " what the pair does at all."
)
_HOW = "Lines that run parallel would mean no interaction; where they part or cross, there is one."


def interactions(reading: Reading) -> list[Block]:
    """Blocks for the section of effects; none where interactions were not measured."""
    table = reading.table(_TABLE)
    if table is None:
        return []
    rows = table.to_pylist()
    strengths = [r for r in rows if r["point"] is None]
    if not strengths:
        return []
    asked = reading.record.fact("explain/interactions", "pairs_screened")
    count = len({(r["feature"], r["with_feature"]) for r in strengths})
    told = f" Of {asked:,} pairs, the {count} that a screen found strongest were measured." if asked else ""
    blocks: list[Block] = [Paragraph(line(_WHAT + told))]
    outputs = list(dict.fromkeys(r["output"] for r in strengths))
    for position, output in enumerate(outputs[:_OUTPUTS], 1):
        own = [r for r in strengths if r["output"] == output]
        surfaces = [r for r in rows if r["output"] == output and r["point"] is not None]
        about = f" for {output}" if len(outputs) > 1 else ""
        blocks += _of_output(reading, own, surfaces, about, f"interactions-{position}")
    return blocks


def of_output(reading: Reading, value: float) -> str:
    """A value of the output: a probability with three decimals."""
    return settled(value, share=reading.config.model.task != "regression")


def _of_output(reading: Reading, strengths: list[Row], surfaces: list[Row], about: str, id: str) -> list[Block]:
    found = {(r["feature"], r["with_feature"], r["measure"]): r for r in strengths}
    pairs, more = top(list(dict.fromkeys((a, b) for a, b, _ in found)), _PAIRS)
    marks = []
    for a, b in pairs:
        r = found[a, b, "strength"]
        marks.append(Mark(_short(a, b), of_output(reading, r["effect"]), r["effect"], r["ci_low"], r["ci_high"]))
    told = "; ".join(f"{a} × {b}: {m.text}" for (a, b), m in zip(pairs, marks, strict=True))
    panels: list[Bars | Curves | Levels] = [
        Bars("Strength of the interaction", tuple(marks), description=f"The strongest pair first. {told}.")
    ]
    hidden = set(reading.config.report.rows.redact)
    joint = {(a, b): _grid(surfaces, a, b) for a, b in pairs if not hidden & {a, b}}
    drawn = [_joint(a, b, grid) for (a, b), grid in joint.items() if len(grid) > 1][:_DRAWN]
    caption = f"Features that act together{about}"
    columns = (Column("Features", weight=1.6), Column("Strength", weight=1.3), Column("H²", weight=1.3))
    cells = []
    for a, b in pairs:
        r, h = found[a, b, "strength"], found.get((a, b, "h_squared"))
        shown: Content = (status("undefined"),)
        if h is not None and h["effect"] is not None:
            shown = (num(number(h["effect"])), *_between(h))
        cells.append(((name(f"{a} × {b}"),), (num(of_output(reading, r["effect"])), *_between(r)), shown))
    first = found[(*pairs[0], "strength")]
    ratio = found.get((*pairs[0], "h_squared"))
    share = "" if ratio is None or ratio["effect"] is None else f", {percent(ratio['effect'])} of what the pair does"
    sentence = line("The strongest pair is ", name(pairs[0][0]), " with ", name(pairs[0][1]), ": ",
                    num(of_output(reading, first["effect"])), f" beyond what each does alone{share}.")  # fmt: skip
    note = line(_HOW) if drawn else ()
    return [
        Paragraph(sentence),
        Figure(f"{id}-figure", caption, (*panels, *drawn), note, (_TABLE,)),
        Table(f"{id}-table", f"{caption}, in numbers", columns, tuple(cells), left_out(more, "pairs"), (_TABLE,)),
    ]


def _short(a: str, b: str) -> str:
    """Both names, each shortened where together they are too long to stand beside a bar."""
    if len(a) + len(b) <= _LETTERS:
        return f"{a} × {b}"
    first = min(len(a), max(_LETTERS // 2, _LETTERS - len(b)))
    parts = ((a, first), (b, _LETTERS - first))
    return " × ".join(words if len(words) <= room else f"{words[: room - 1]}…" for words, room in parts)


def _between(row: Row) -> Content:
    told = interval(row["ci_low"], row["ci_high"])
    return (aside(told),) if told != "–" else ()


# ---------------------------------------------------------------- joint curves

#: (position, text) of the first feature, of the second → mean output
Grid = dict[tuple[tuple[float, str], tuple[float, str]], float]


def _grid(surfaces: Sequence[Row], a: str, b: str) -> Grid:
    """A pair's joint partial dependence."""
    return {
        ((r["position"], r["value"]), (r["with_position"], r["with_value"])): r["effect"]
        for r in sorted(surfaces, key=lambda r: r["point"])
        if (r["feature"], r["with_feature"]) == (a, b) and r["effect"] is not None
    }


def _joint(a: str, b: str, grid: Grid) -> Curves | Levels:
    """The output along one of the two, a line for each of a few values of the other; a number goes along the axis."""
    if not _numbers(first for first, _ in grid) and _numbers(second for _, second in grid):
        a, b, grid = b, a, {(second, first): y for (first, second), y in grid.items()}
    along = sorted({first for first, _ in grid})
    others = _few(sorted({second for _, second in grid}), grid)
    number_b = _numbers(second for _, second in grid)
    labels = [f"{b} = {place(position) if number_b else text}" for position, text in others]
    ys = [grid[x, other] for x in along for other in others]
    title = f"{a} × {b}"
    told = f"The output along {a} for {', '.join(labels)}: between {number(min(ys))} and {number(max(ys))}."
    if _numbers(along):
        lines = tuple(
            Line(tuple((x[0], grid[x, other]) for x in along), style, label)
            for other, style, label in zip(others, _STYLES, labels, strict=False)
        )
        return Curves(title, lines, min(ys), max(ys), (), (), tuple(x[0] for x in along), told)
    levels = [Level(x[1], tuple(Mark("", "", grid[x, other]) for other in others)) for x in along[:_LEVELS]]
    levels.sort(key=lambda level: -sum(dot.value or 0.0 for dot in level.dots if dot is not None))
    return Levels(title, tuple(levels), min(ys), max(ys), tuple(labels), told)


def _numbers(positions: Iterable[tuple[float, str]]) -> bool:
    """Whether positions are the values themselves."""
    try:
        return all(float(text) == position for position, text in positions)
    except ValueError:
        return False


def _few(values: list[tuple[float, str]], grid: Grid) -> list[tuple[float, str]]:
    """The ends and the middle: of numbers by value, of categories by the mean output."""
    if len(values) <= _LINES:
        return values
    if not _numbers(values):
        means = {v: sum(y for (_, other), y in grid.items() if other == v) for v in values}
        values = sorted(values, key=lambda v: -means[v])
    return [values[0], values[len(values) // 2], values[-1]]
