"""Drawing primitives: escaped text, shortened labels, axes. Units are CSS pixels at the width of a phone."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

from tasks.report.text import clean

WIDTH = 384
LABEL = 112  # room for labels, left
VALUE = 94  # room for values, right
_LABELS = (64.0, 166.0)  # least and most room for labels: about 22 letters
_VALUES = (48.0, 110.0)
ROW = 24
TOP = 30  # the title's line
HEAD = 18  # the line of the policy's words, kept free even where there are none: panels line up

#: colour and dash of the traces in a plane, each of another lightness
TRACE_STYLES = (
    ("#1d242b", "none"), ("#4f2a72", "7 3"), ("#22577f", "2 2.5"), ("#a8481b", "11 3 2 3"), ("#2c8a76", "5 2"),
    ("#c08427", "1 2.5 5 2.5"),
)  # fmt: skip
#: steps of a heat map, from little to much
HEAT_STEPS = ("#edf2f7", "#c9dbea", "#a5c2da", "#83a9c8", "#3d75a6", "#245179")

#: classes → light colours, for where no page gives them
_LIGHT = (
    ".chart text{font-family:'Libertinus Serif','DejaVu Sans',sans-serif;font-size:12px;fill:#1d242b}"
    ".chart .t{font-weight:600;font-size:13px}"
    ".chart .m{fill:#57626d;font-size:11px}"
    ".chart .n{font-size:11px}"
    ".chart .axis{stroke:#dde2e6;stroke-width:1;fill:none}"
    ".chart .zero{stroke:#57626d;stroke-width:1;fill:none}"
    ".chart .plain{fill:#86a9c9;stroke:none}"
    ".chart .bad{fill:#9c2f17;stroke:none}"
    ".chart .unsure{fill:#ffffff;stroke:#57626d;stroke-width:1.2;stroke-dasharray:3 2}"
    ".chart .dot{fill:#2c5f8f;stroke:#2c5f8f;stroke-width:1.2}"
    ".chart .dot.bad{fill:#9c2f17;stroke:#9c2f17}"
    ".chart .dot.unsure{fill:#ffffff;stroke:#57626d;stroke-dasharray:none}"
    ".chart .whisker{stroke:#1d242b;stroke-width:1.2;fill:none}"
    ".chart .limit{stroke:#9c2f17;stroke-width:1.4;stroke-dasharray:5 3;fill:none}"
    ".chart .lt{fill:#9c2f17;font-size:11px}"
    ".chart .up{fill:#2c5f8f}.chart .down{fill:#c98a4b}.chart .sum{fill:#57626d}"
    ".chart .line{stroke:#2c5f8f;stroke-width:2;fill:none}"
    ".chart .line.second{stroke:#a8601b;stroke-dasharray:7 3}"
    ".chart .line.third{stroke:#1d242b;stroke-dasharray:2 2.5}"
    ".chart .thin{stroke:#57626d;stroke-width:.7;stroke-opacity:.3;fill:none}"
    ".chart .band{fill:#86a9c9;fill-opacity:.4;stroke:none}"
    ".chart .rows{fill:#57626d;fill-opacity:.55;stroke:none}"
    ".chart .tick{stroke:#57626d;stroke-width:1;fill:none}"
    ".chart .dot.second{fill:#ffffff;stroke:#a8601b;stroke-width:1.6}"
    ".chart .dot.third{fill:#1d242b;stroke:#1d242b}"
    ".chart .diagonal{stroke:#57626d;stroke-width:1;stroke-dasharray:1.5 3;fill:none}"
    ".chart .expected{fill:#dde2e6;stroke:#57626d;stroke-width:.7}"
    ".chart .behind{stroke:#57626d;stroke-width:1.4;fill:none}"
    ".chart .trace{stroke-width:1.9;fill:none}"
    ".chart .spread{fill-opacity:.13;stroke:none}"
    ".chart .spot{stroke-width:1.8;stroke-linejoin:round}"
    + "".join(
        f".chart .trace.s{n}{{stroke:{colour};stroke-dasharray:{dash}}}.chart .spread.s{n}{{fill:{colour}}}"
        f".chart .spot.s{n}{{fill:{colour};stroke:{colour}}}"
        for n, (colour, dash) in enumerate(TRACE_STYLES, 1)
    )
    + ".chart .spot.hollow{fill:#ffffff}"
    + "".join(f".chart .heat.h{n}{{fill:{colour}}}" for n, colour in enumerate(HEAT_STEPS, 1))
    + ".chart .over{fill:#1d242b}.chart .on{fill:#ffffff}.chart .small{font-size:10px}"
    ".chart .blank{fill:#ffffff}.chart .hatch{stroke:#aab4bd;stroke-width:1;fill:none}"
    ".chart .edge{fill:none;stroke:#aab4bd}.chart .hollow{fill:none;stroke:#aab4bd;stroke-dasharray:2 3}"
    ".chart .flag{fill:#9c2f17;stroke:#ffffff;stroke-width:1.5}"
)

#: class → size of the text, the title's a little more for its weight
_SIZES = {"n": 11.0, "m": 11.0, "lt": 11.0, "t": 13.8}


def standalone(svg: str) -> str:
    """The same SVG with colours of its own, as a file."""
    head, rest = svg.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{_LIGHT}</style>{rest}'


def px(value: float) -> str:
    """A coordinate: at most one decimal, the same text on every machine."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def width_of(text: str, size: float = 12.0) -> float:
    """About how wide a text is: no font is asked, so the picture is the same everywhere."""
    units = 0.0
    for char in text:
        if unicodedata.east_asian_width(char) in "WF" or char == "\ufffd":
            units += 1.0
        elif unicodedata.combining(char) or unicodedata.category(char) == "Cf":
            continue
        elif char >= "\u0590" and char.isalpha():  # of a script whose letters may be as wide as high
            units += 1.0
        elif char in "iljtf.,:;|!'()[] ":
            units += 0.36
        elif char in "mwMW@%—…":
            units += 1.0
        else:
            units += 0.7 if char.isupper() else 0.6
    return units * size


def fitted(text: str, room: float, size: float = 12.0) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if width_of(text, size) <= room:
        return text
    kept = text
    while kept and width_of(kept + "…", size) > room:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def text(x: float, y: float, words: str, *, css: str = "", anchor: str = "start", room: float | None = None) -> str:
    """A line of text, escaped; shortened to `room`, then in full as its tooltip."""
    words = clean(words)
    shown = words if room is None else fitted(words, room, _SIZES.get(css, 12.0))
    tip = f"<title>{escape(words)}</title>" if shown != words else ""
    attributes = f' class="{css}"' if css else ""
    if anchor != "start":
        attributes += f' text-anchor="{anchor}"'
    return f'<text x="{px(x)}" y="{px(y)}"{attributes}>{escape(shown)}{tip}</text>'


def rule(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<path class="{css}" d="M{px(x1)} {px(y1)}L{px(x2)} {px(y2)}"/>'


def box(x: float, y: float, width: float, height: float, css: str) -> str:
    return f'<rect class="{css}" x="{px(x)}" y="{px(y)}" width="{px(max(width, 0.5))}" height="{px(height)}"/>'


def frame(id: str, height: float, title: str, description: str, body: list[str], *, subtitle: str = "") -> str:
    """The `<svg>` around a chart, with title and description for those who do not see it."""
    head = text(0, 14, title, css="t", room=WIDTH) + (text(0, 29, subtitle, css="m", room=WIDTH) if subtitle else "")
    title = f"{title}, {subtitle}" if subtitle else title
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {px(height)}" role="img" aria-labelledby={quoteattr(id + "-t")}'
        f" aria-describedby={quoteattr(id + '-d')}>"
        f"<title id={quoteattr(id + '-t')}>{escape(clean(title))}</title>"
        f"<desc id={quoteattr(id + '-d')}>{escape(clean(description or title))}</desc>"
        f"{head}{''.join(body)}</svg>"
    )


def rooms(labels: Iterable[str], values: Iterable[str], *, css: str = "") -> tuple[float, float]:
    """How much room the labels and the values of a chart take, left and right."""
    left = max((width_of(clean(words), _SIZES.get(css, 12.0)) for words in labels), default=0.0) + 10
    right = max((width_of(words, _SIZES["n"]) for words in values), default=0.0) + 10
    return min(max(left, _LABELS[0]), _LABELS[1]), min(max(right, _VALUES[0]), _VALUES[1])


class Scale:
    """From values to places on the x-axis, with round ticks."""

    def __init__(self, low: float, high: float, left: float, right: float) -> None:
        if not (math.isfinite(low) and math.isfinite(high)):
            low, high = 0.0, 1.0
        if high <= low:
            high = low + (abs(low) or 1.0)
        self.low, self.high, self.left, self.right = low, high, left, right
        self.step: float | None = None  # between ticks, where the ends are ticks

    @classmethod
    def reaching(cls, low: float, high: float, left: float, right: float) -> Scale:
        """From a tick at or below the lowest value to one at or above the highest."""
        scale = cls(low, high, left, right)
        step = scale._step(scale._wanted())
        first, last = math.floor(scale.low / step + 1e-9), math.ceil(scale.high / step - 1e-9)
        made = cls(first * step, last * step, left, right)
        made.step = step
        return made

    def _wanted(self) -> int:
        """About how many ticks there is room for."""
        return max(2, min(4, int((self.right - self.left) / 36)))

    def _step(self, wanted: int) -> float:
        raw = (self.high - self.low) / wanted
        power = 10.0 ** math.floor(math.log10(raw))
        return next((m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9)), 10 * power)

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.left + min(max(share, 0.0), 1.0) * (self.right - self.left)

    def ticks(self, wanted: int = 4) -> list[float]:
        """Round numbers within the range."""
        step = self.step or self._step(wanted)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)][: 4 * wanted]

    def axis(self, top: float, bottom: float) -> list[str]:
        """Grid lines and the numbers under them, those left out that would touch the one before."""
        parts = []
        free = -math.inf
        for tick in self.ticks(self._wanted()):
            x, words = self(tick), tick_text(tick)
            parts.append(rule(x, top, x, bottom, "axis"))
            half = width_of(words, _SIZES["m"]) / 2
            if x - half >= free:
                parts.append(text(x, bottom + 13, words, css="m", anchor="middle"))
                free = x + half + 3
        return parts


def tick_text(value: float) -> str:
    shown = f"{value:.6g}"
    if "e" not in shown and abs(value) >= 10_000:
        shown = f"{value:,.0f}"
    if shown in ("-0", "0"):
        return "0"
    return shown.replace("-", "−").replace("e−0", "e−").replace("e+0", "e")


def limit_line(x: float, top: float, bottom: float, words: str) -> list[str]:
    """The policy's line, its words at whichever side has room."""
    room = width_of(words, 11)
    at_right = x + 4 + room <= WIDTH
    label = text(x + 4 if at_right else x - 4, top - 4, words, css="lt", anchor="start" if at_right else "end")
    return [rule(x, top - 12, x, bottom, "limit"), label if words else ""]


def whisker(scale: Scale, low: float | None, high: float | None, y: float, half: float = 3.5) -> list[str]:
    """An interval; an end that is open or off the scale has an arrow head instead of a cap."""
    if low is None and high is None:
        return []
    left = scale.left if low is None else scale(low)
    right = scale.right if high is None else scale(high)
    parts = [rule(left, y, right, y, "whisker")]
    for x, value, sign in ((left, low, 1), (right, high, -1)):
        inside = value is not None and scale.low <= value <= scale.high
        if inside:
            parts.append(rule(x, y - half, x, y + half, "whisker"))
        else:
            d = f"M{px(x + sign * 4)} {px(y - half)}L{px(x)} {px(y)}L{px(x + sign * 4)} {px(y + half)}"
            parts.append(f'<path class="whisker" d="{d}"/>')
    return parts
