"""Crossings of two attributes as heat maps: which combination of groups fares how, and where rows are lacking."""

from __future__ import annotations

from collections.abc import Sequence

from configs.schema import CROSSING
from tasks.report.document import Figure, line
from tasks.report.figures import Cell, Heat
from tasks.report.numbers import count, number
from tasks.report.reading import Reading, Row
from tasks.report.sections.policy_marks import policy_line
from tasks.report.sections.shared import left_out
from tasks.report.words import metric_label

_ROWS, _COLUMNS = 12, 6  # groups drawn of each attribute
_PANELS = 4  # metrics
_LARGE = 6  # with more rows than this only the first two metrics are drawn
Grid = dict[tuple[str, str], Row]


def crossing(reading: Reading, attribute: str, id: str, rows: Sequence[Row], metrics: Sequence[str]) -> Figure | None:
    """A heat map a metric; None where the attribute is not a crossing of exactly two."""
    keys = next((k for k in reading.config.data.attributes if CROSSING.join(k) == attribute), ())
    if len(keys) != 2:
        return None
    down, along = (_groups_of(reading, key) for key in keys)
    first, second = keys
    if len(along) > len(down):
        down, along, first, second = along, down, second, first
    flipped = first != keys[0]
    grids: dict[str, Grid] = {}
    for row in rows:
        parts = _parts(row["group"], along if flipped else down, down if flipped else along)
        if parts is not None and row["metric"] in metrics:
            grids.setdefault(row["metric"], {})[parts[::-1] if flipped else parts] = row
    if not grids:
        return None
    shown, more = _largest(down, along, grids)
    drawn = list(metrics) if len(shown[0]) <= _LARGE else list(metrics)[:2]
    panels = [
        _heat(reading, attribute, metric, grids[metric], shown, f"rows: {first}, columns: {second}")
        for metric in drawn[:_PANELS]
        if metric in grids
    ]
    note = line(
        "In each cell the value, and the rows that it rests on; the darker, the more (on a dark page, the lighter)."
        " Hatched cells have too few rows to be judged."
    )
    if more:
        note += line(" Shown are the groups with the most rows. ") + left_out(more, "crossings")
    return Figure(f"{id}-heat", f"Groups of {attribute}", tuple(panels), note, ("group_metrics",))


def _groups_of(reading: Reading, key: str) -> list[str]:
    """The groups of a single attribute, in the table's order."""
    return list(dict.fromkeys(r["group"] for r in reading.group_metrics if r["attribute"] == key and r["group"]))


def _parts(group: str, first: Sequence[str], second: Sequence[str]) -> tuple[str, str] | None:
    """The two groups that a crossing's name is made of; a name may hold the sign between them itself."""
    pieces = group.split(CROSSING)
    known_first, known_second = set(first), set(second)
    for cut in range(1, len(pieces)):
        a, b = CROSSING.join(pieces[:cut]), CROSSING.join(pieces[cut:])
        if a in known_first and b in known_second:
            return a, b
    return None


def _largest(
    down: Sequence[str], along: Sequence[str], grids: dict[str, Grid]
) -> tuple[tuple[list[str], list[str]], int]:
    """The groups drawn of both attributes, those with the most rows, in the table's order; crossings left out."""
    sizes: dict[tuple[str, str], float] = {}
    for grid in grids.values():
        for place, row in grid.items():
            sizes[place] = max(sizes.get(place, 0), row["n"] or 0)

    def most(groups: Sequence[str], side: int, room: int) -> list[str]:
        total: dict[str, float] = dict.fromkeys(groups, 0)
        for place, n in sizes.items():
            total[place[side]] += n
        kept = set(sorted(groups, key=lambda g: -total[g])[:room])
        return [g for g in groups if g in kept]

    shown = most(down, 0, _ROWS), most(along, 1, _COLUMNS)
    return shown, sum(a not in shown[0] or b not in shown[1] for a, b in sizes)


def _heat(
    reading: Reading, attribute: str, metric: str, grid: Grid, shown: tuple[list[str], list[str]], axes: str
) -> Heat:
    found = {row["group"]: row for row in grid.values()}
    broken = policy_line(reading, attribute, metric, found)[2]
    cells = tuple(tuple(_cell(grid.get((a, b)), broken) for b in shown[1]) for a in shown[0])
    told = "; ".join(
        f"{a}{CROSSING}{b}: {cell.text}{f' ({cell.below} rows)' if cell.below else ''}"
        f"{' (too few)' if cell.tone == 'unsure' else ' (beyond the policy)' if cell.tone == 'bad' else ''}"
        for a, line_of in zip(shown[0], cells, strict=True)
        for b, cell in zip(shown[1], line_of, strict=True)
    )
    return Heat(metric_label(metric), tuple(shown[0]), tuple(shown[1]), cells, f"{told}.", axes)


def _cell(row: Row | None, broken: set[str]) -> Cell:
    if row is None or not row["n"]:
        return Cell("no rows", tone="empty")
    state, value = row["status"] or "ok", row["value"]
    rests = row["denominator"] if row["denominator"] is not None else row["n"]
    if state == "undefined" or value is None:
        return Cell("0/0", count(row["n"]), None, "unsure")
    if state != "ok":
        return Cell(number(value), count(rests), value, "unsure")
    return Cell(number(value), count(rests), value, "bad" if row["group"] in broken else "plain")
