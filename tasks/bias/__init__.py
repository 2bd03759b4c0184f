"""The bias stage: groups, their metrics with uncertainty, and comparisons between them.

rows/         what is known of each row: evidence, groups; the table of counts; loops that numba compiles
families/     metrics of a group and comparisons of groups, a file a family
statistics/   intervals, tests, resampling, what chance alone would do, the smallest disparity that could be seen
legal/        legal tables as functions of counts
base.py disparities.py     what a metric, and a comparison, is given and gives back
registry.py                METRICS, DISPARITIES: every id        frames.py   fairlearn's second computation
measure.py explanations.py summary.py wording.py stage.py        the stage itself
"""

from tasks.bias import wording
from tasks.bias.base import Metric, View
from tasks.bias.disparities import Disparity
from tasks.bias.legal.four_fifths import FourFifths, four_fifths
from tasks.bias.legal.ll144 import ImpactRow, ImpactTable, above_median, cross_foot, impact_table
from tasks.bias.measure import Found, Of, Settings, compare
from tasks.bias.registry import DISPARITIES, EXPLAINED, METRICS, check_policy, find, known_metrics
from tasks.bias.rows.columns import sensitive_columns
from tasks.bias.rows.counts import Counts
from tasks.bias.rows.evidence import Evidence, evidence_of
from tasks.bias.rows.groups import BEST_OFF, LARGEST, Attribute, attributes_of, bin_names
from tasks.bias.stage import measure_bias
from tasks.bias.statistics import intervals, significance
from tasks.bias.statistics.chance import Chance, no_disparity
from tasks.bias.statistics.power import POWER, smallest_difference
from tasks.bias.statistics.significance import holm

__all__ = [
    "BEST_OFF",
    "DISPARITIES",
    "EXPLAINED",
    "LARGEST",
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
    "sensitive_columns",
    "significance",
    "smallest_difference",
    "wording",
]
