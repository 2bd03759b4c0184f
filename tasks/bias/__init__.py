"""The bias stage: groups, their metrics with uncertainty, and comparisons between them.

evidence.py   rows: label, decision, scores, weight          groups.py    values, bins, crossings
counts.py     the table of counts, on which the rest stands  base.py      what a metric is given and gives back
rates.py macro.py scores.py regression.py                    metrics of a group, a family each
acceptance.py inequality.py                                  labels held against decisions: metrics and comparisons
ranking.py calibration.py calibration_error.py               metrics of the order and of the truth of scores
neighbours.py abroca.py                                      rows that are alike; the area between ROC curves
curves.py     the table of curves                            memo.py loops.py loop_bodies.py  shared numbers, fast loops
gaps.py odds.py labels.py (on disparities.py)                comparisons of groups
conditional.py                                               comparisons within strata
intervals.py significance.py resampling.py                   uncertainty
chance.py     comparisons with no disparity at all
attributions.py fidelity.py (on moments.py)                  what explanations say of groups
explained.py explanations.py                                 its metrics and comparisons; which features carry a gap
frames.py     fairlearn's second computation                 registry.py  METRICS, DISPARITIES: every id
four_fifths.py ll144.py                                      legal tables as functions of counts
measure.py summary.py stage.py                               the stage itself
"""

from tasks.bias import intervals, significance, wording
from tasks.bias.base import Metric, View
from tasks.bias.chance import Chance, no_disparity
from tasks.bias.counts import Counts
from tasks.bias.disparities import Disparity
from tasks.bias.evidence import Evidence, evidence_of
from tasks.bias.four_fifths import FourFifths, four_fifths
from tasks.bias.groups import Attribute, attributes_of, bin_names
from tasks.bias.ll144 import ImpactRow, ImpactTable, above_median, cross_foot, impact_table
from tasks.bias.measure import Found, Of, Settings, compare
from tasks.bias.power import POWER, smallest_difference
from tasks.bias.registry import DISPARITIES, EXPLAINED, METRICS, check_policy, find, known_metrics
from tasks.bias.significance import holm
from tasks.bias.stage import measure_bias

__all__ = [
    "DISPARITIES",
    "EXPLAINED",
    "METRICS",
    "POWER",
    "Attribute",
    "Chance",
    "Counts",
    "Disparity",
    "Evidence",
    "Found",
    "FourFifths",
    "ImpactRow",
    "ImpactTable",
    "Metric",
    "Of",
    "Settings",
    "View",
    "above_median",
    "attributes_of",
    "bin_names",
    "check_policy",
    "compare",
    "cross_foot",
    "evidence_of",
    "find",
    "four_fifths",
    "holm",
    "impact_table",
    "intervals",
    "known_metrics",
    "measure_bias",
    "no_disparity",
    "significance",
    "smallest_difference",
    "wording",
]
