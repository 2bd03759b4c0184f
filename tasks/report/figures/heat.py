"""Heat map: a value for each crossing of two attributes, said in its cell as well as in its lightness."""

from __future__ import annotations

from tasks.report.figures.charts import Cell, Heat
from tasks.report.figures.svg import TOP, WIDTH, Scale, box, frame, px, rooms, text, tick_text, width_of
from tasks.report.text import clean

STEPS = 6  # of lightness; words on the last two take the paper's colour
_DARK = 5  # the first step on which they do
_CELL = 36  # height
_GAP = 2
_UPRIGHT = 100.0  # most room for column labels that have to stand upright
_HATCH = 6.0
_SMALLER = 12 / 10  # so much more of the small text fits than of the plain one


def heat_svg(chart: Heat, id: str) -> str:
    """Darker is more (lighter, on a dark page). Hatched: too few rows; a dashed frame: none; a diamond: breaches."""
    left = rooms(chart.rows, ())[0]
    width = (WIDTH - left) / max(len(chart.columns), 1)
    upright = any(width_of(clean(label), 11) > width - 6 for label in chart.columns)
    tallest = max((width_of(clean(label), 11) for label in chart.columns), default=0.0)
    top = TOP + (16.0 if chart.subtitle else 4.0) + (min(tallest, _UPRIGHT) + 8 if upright else 18.0)
    scale = _scale(chart)
    parts = [
        _column(label, left + width * (place + 0.5), top - 6, width, upright)
        for place, label in enumerate(chart.columns)
    ]
    for number, (label, cells) in enumerate(zip(chart.rows, chart.cells, strict=True)):
        y = top + _CELL * number
        parts.append(text(left - 8, y + _CELL / 2 + 4, label, anchor="end", room=left - 8))
        for place, cell in enumerate(cells):
            parts += _cell(cell, left + width * place, y, width - _GAP, scale)
    foot = top + _CELL * len(chart.rows) + 12
    parts += _legend(chart, scale, foot)
    return frame(id, foot + 50, chart.title, chart.description, parts, subtitle=chart.subtitle)


def step_of(value: float, low: float, high: float) -> int:
    """1 to STEPS: where a value lies between the ends of the scale."""
    return 1 + min(max(int(STEPS * (value - low) / ((high - low) or 1.0)), 0), STEPS - 1)


def _scale(chart: Heat) -> Scale:
    values = [c.value for row in chart.cells for c in row if c.value is not None and c.tone in ("plain", "bad")]
    return Scale.reaching(min(values, default=0.0), max(values, default=1.0), 0.0, 150.0)


def _column(label: str, x: float, y: float, width: float, upright: bool) -> str:
    if not upright:
        return text(x, y, label, css="n", anchor="middle", room=width - 2)
    drawn = text(x + 4, y, label, css="n", room=_UPRIGHT)
    return drawn.replace("<text ", f'<text transform="rotate(-90 {px(x + 4)} {px(y)})" ', 1)


def _cell(cell: Cell, x: float, y: float, width: float, scale: Scale) -> list[str]:
    height = _CELL - _GAP
    if cell.tone == "empty":
        return [box(x + 0.5, y + 0.5, width - 1, height - 1, "hollow"), _words(cell, x, y, width, "m")]
    if cell.value is None or cell.tone == "unsure":
        # The hatching leaves room for the words: they must stay legible.
        room = min(max(width_of(cell.text, 12), width_of(cell.below, 10)) + 8, width - 2)
        halo = box(x + (width - room) / 2, y + 1, room, height - 2, "blank")
        parts = [box(x, y, width, height, "blank"), _hatching(x, y, width, height), halo]
        return [*parts, box(x + 0.5, y + 0.5, width - 1, height - 1, "edge"), _words(cell, x, y, width, "m")]
    step = step_of(cell.value, scale.low, scale.high)
    parts = [box(x, y, width, height, f"heat h{step}")]
    if cell.tone == "bad":
        cx, cy = x + width - 8, y + 8
        d = f"M{px(cx)} {px(cy - 6)}L{px(cx + 6)} {px(cy)}L{px(cx)} {px(cy + 6)}L{px(cx - 6)} {px(cy)}Z"
        parts.append(f'<path class="flag" d="{d}"/>')
    return [*parts, _words(cell, x, y, width, "on" if step >= _DARK else "over")]


def _words(cell: Cell, x: float, y: float, width: float, css: str) -> str:
    middle = x + width / 2
    if not cell.below:
        return text(middle, y + _CELL / 2 + 3, cell.text, css=css, anchor="middle", room=width)
    first = text(middle, y + 15, cell.text, css=css, anchor="middle", room=width)
    return first + text(middle, y + 29, cell.below, css=f"{css} small", anchor="middle", room=width * _SMALLER)


def _hatching(x: float, y: float, width: float, height: float) -> str:
    """Lines that rise to the right, cut at the cell's edge."""
    lines = []
    offset = _HATCH
    while offset < width + height:
        start = (x + max(0.0, offset - height), y + min(offset, height))
        end = (x + min(offset, width), y + max(0.0, offset - width))
        lines.append(f"M{px(start[0])} {px(start[1])}L{px(end[0])} {px(end[1])}")
        offset += _HATCH
    return f'<path class="hatch" d="{"".join(lines)}"/>'


def _legend(chart: Heat, scale: Scale, y: float) -> list[str]:
    """The steps with the ends of the scale, and what else is drawn."""
    wide, high = 26.0, 12.0
    low, top = tick_text(scale.low), tick_text(scale.high)
    x = width_of(low, 11) + 6
    parts = [text(0, y + 10, low, css="m")]
    parts += [box(x + wide * step, y, wide, high, f"heat h{step + 1}") for step in range(STEPS)]
    parts.append(text(x + wide * STEPS + 6, y + 10, top, css="m"))
    tones = {cell.tone for row in chart.cells for cell in row}
    x, y = 0.0, y + 22
    for tone, words in (("unsure", "too few rows"), ("empty", "no rows"), ("bad", "beyond the policy")):
        if tone not in tones:
            continue
        if tone == "bad":
            parts.append(f'<path class="flag" d="M{px(x + 8)} {px(y)}l6 6l-6 6l-6 -6Z"/>')
        elif tone == "empty":
            parts.append(box(x + 0.5, y + 0.5, 15, 11, "hollow"))
        else:
            parts += [_hatching(x, y, 16, 12), box(x + 0.5, y + 0.5, 15, 11, "edge")]
        parts.append(text(x + 22, y + 10, words, css="n"))
        x += 22 + width_of(words, 11) + 16
    return parts
