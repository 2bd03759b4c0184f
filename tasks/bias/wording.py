"""Numbers in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: no-break space: a number and its unit stay on one line
NO_BREAK = "\u00a0"


def percent(share: float) -> str:
    """`26.1 %`."""
    return f"{100 * share:.1f}{NO_BREAK}%"


def number(value: float) -> str:
    """Three significant digits where there is a fraction, and no more zeros than needed: `0.326`, `12,400`, `3`."""
    if not math.isfinite(value):
        return "unbounded"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1e-3 else f"{value:.3f}"


def p_value(p: float) -> str:
    """`p = 0.023`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def listed(words: Sequence[str], limit: int = 5) -> str:
    """`a, b and 3 more`."""
    shown = [str(word) for word in words[:limit]]
    if len(words) > limit:
        return f"{', '.join(shown)} and {len(words) - limit:,} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def share_of(part: float, whole: float) -> str:
    """`455 of 5,421`, with weights to one digit."""
    plain = part == int(part) and whole == int(whole)
    return f"{part:,.0f} of {whole:,.0f}" if plain else f"{part:,.1f} of {whole:,.1f}"


#: names of tests for readers
TESTS = {
    "mcnemar": "McNemar's exact test",
    "redrawn labels": "labels drawn again under equal calibration",
    "redrawn rows": "rows drawn again from one common ROC curve",
    "fisher": "Fisher's exact test",
    "pooled_z": "pooled two-proportion z test",
    "chi_squared": "χ² test",
    "chi_squared_permuted": "permutation χ² test",
    "mantel_haenszel": "Cochran–Mantel–Haenszel test",
    "mantel_haenszel, bonferroni": "Cochran–Mantel–Haenszel test of each group",
    "wald": "Wald test",
    "welch": "Welch's t test",
    "wald, linearised": "linearised Wald test",
    "fisher, bonferroni": "Fisher's exact test on both rates",
    "pooled_z, bonferroni": "pooled z test on both rates",
    "wald, linearised, bonferroni": "linearised Wald test on both rates",
    "wald, bonferroni": "Wald test on both rates",
}
