"""The bias stage: groups, their metrics with uncertainty, and comparisons between them.

evidence.py   rows: label, decision, scores, weight          groups.py    values, bins, crossings
counts.py     the table of counts, on which the rest stands  base.py      what a metric is given and gives back
rates.py macro.py scores.py regression.py                    metrics of a group, a family each
gaps.py odds.py labels.py (on disparities.py)                comparisons of groups
intervals.py significance.py resampling.py                   uncertainty
chance.py     comparisons with no disparity at all
frames.py     fairlearn's second computation                 registry.py  METRICS, DISPARITIES: every id
four_fifths.py ll144.py                                      legal tables as functions of counts
measure.py summary.py stage.py                               the stage itself
"""

from tasks.bias import wording
from tasks.bias.base import Metric
from tasks.bias.chance import Chance, no_disparity
from tasks.bias.disparities import Disparity
from tasks.bias.four_fifths import FourFifths, four_fifths
from tasks.bias.ll144 import ImpactRow, ImpactTable, above_median, cross_foot, impact_table
from tasks.bias.registry import DISPARITIES, METRICS, check_policy, find, known_metrics
from tasks.bias.significance import holm
from tasks.bias.stage import measure_bias

__all__ = [
    "DISPARITIES",
    "METRICS",
    "Chance",
    "Disparity",
    "FourFifths",
    "ImpactRow",
    "ImpactTable",
    "Metric",
    "above_median",
    "check_policy",
    "cross_foot",
    "find",
    "four_fifths",
    "holm",
    "impact_table",
    "known_metrics",
    "measure_bias",
    "no_disparity",
    "wording",
]
