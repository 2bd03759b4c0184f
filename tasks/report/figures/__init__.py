"""Figures: a chart is data; here it becomes SVG. One file a chart, none of it needs a drawing library.

The SVG carries classes instead of colours, so that in HTML a chart follows the page, dark or light; `standalone`
adds the light colours for PDF. Marks differ in lightness and shape as well, so that they tell apart in grey.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.report.figures.bars import bars_svg
from tasks.report.figures.charts import (
    Bars,
    Calibration,
    Cell,
    Chart,
    Curves,
    Forest,
    Heat,
    Histogram,
    Level,
    Levels,
    Line,
    Mark,
    MarkTone,
    Moment,
    Plane,
    Strip,
    Style,
    Trace,
    Trend,
    Waterfall,
)
from tasks.report.figures.curves import curves_svg
from tasks.report.figures.forest import forest_svg
from tasks.report.figures.heat import heat_svg
from tasks.report.figures.levels import levels_svg
from tasks.report.figures.plane import plane_svg
from tasks.report.figures.scores import calibration_svg, histogram_svg
from tasks.report.figures.svg import standalone
from tasks.report.figures.trend import trend_svg
from tasks.report.figures.waterfall import waterfall_svg

_DRAWN: dict[type, Callable[[Any, str], str]] = {
    Bars: bars_svg,
    Forest: forest_svg,
    Waterfall: waterfall_svg,
    Histogram: histogram_svg,
    Calibration: calibration_svg,
    Curves: curves_svg,
    Levels: levels_svg,
    Plane: plane_svg,
    Heat: heat_svg,
    Trend: trend_svg,
}


def svg(chart: Chart, id: str) -> str:
    """A chart as an `<svg>` element.

    Args:
        chart: what to draw.
        id: unique in its document; the ids of title and description derive from it.
    """
    return _DRAWN[type(chart)](chart, id)


__all__ = [
    "Bars",
    "Calibration",
    "Cell",
    "Chart",
    "Curves",
    "Forest",
    "Heat",
    "Histogram",
    "Level",
    "Levels",
    "Line",
    "Mark",
    "MarkTone",
    "Moment",
    "Plane",
    "Strip",
    "Style",
    "Trace",
    "Trend",
    "Waterfall",
    "standalone",
    "svg",
]
