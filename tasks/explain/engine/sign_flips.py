"""Whether a model's rows lose by a shuffle: a paired test over rows, against the null that the feature is of no use.

The interval of a permutation importance tells how far other shuffles would go; this test asks about other rows. Each
row has a loss with its own values and a mean loss over the shuffles. If the feature were of no importance, neither of
the two would be the larger by rule: the difference could as well have the other sign. So the test flips signs
(Fisher's and Pitman's randomisation of paired differences), one-sided: is the summed rise in loss greater than flips
would make it?

Assumptions: rows are drawn independently of each other; under the null a row's difference is symmetric about nought.
The shuffles tie rows to each other, which is neglected here as in the paired tests of Watson and Wright 2021, Testing
conditional independence in supervised learning algorithms, https://doi.org/10.1007/s10994-021-06030-6. It is a test of
this model on rows like these, not of the feature's relation to the truth.

The area under the ROC curve is no mean over rows: there DeLong's variance of a difference of two areas on the same rows
takes the place of the flips (DeLong, DeLong and Clarke-Pearson 1988, https://doi.org/10.2307/2531595).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: rows that differ up to which all flips are counted
EXACT = 12
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Chance:
    """One feature's test.

    Attributes:
        p_value: 0–1; None where it is undefined.
        n: rows that were compared.
        changed: of them, the rows whose loss a shuffle changed.
    """

    p_value: float | None
    n: int
    changed: int


def sign_flips(rises: np.ndarray) -> Chance:
    """The probability that random signs give a sum as great as the one seen.

    Exact by counting all flips where at most EXACT rows differ; else by the normal distribution of the flipped sum,
    whose variance is Σ rise².

    Args:
        rises: (n,) each row's rise in loss, times its weight.
    """
    from scipy.stats import norm

    scale = float(np.abs(rises).max(initial=0.0))
    if not len(rises) or not np.isfinite(scale):
        return Chance(None, len(rises), 0)
    own = rises[rises != 0] / (scale or 1.0)
    if len(own) > EXACT:
        return Chance(float(norm.sf(own.sum() / np.sqrt((own**2).sum()))), len(rises), len(own))
    flips = np.array([0.0])
    for value in own:
        flips = np.concatenate([flips + value, flips - value])
    return Chance(float(np.mean(flips >= own.sum() - _ROUNDING)), len(rises), len(own))


def delong(falls: np.ndarray, positive: np.ndarray) -> Chance:
    """The one-sided normal test that an area under the ROC curve falls.

    Args:
        falls: (n,) each row's fall in placement: of a positive row the share of negatives below it, of a negative one
            the share of positives above it.
        positive: (n,) bool.
    """
    from scipy.stats import norm

    ups, downs = falls[positive], falls[~positive]
    changed = int(np.count_nonzero(falls))
    if len(ups) < 2 or len(downs) < 2 or not np.isfinite(falls).all():
        return Chance(None, len(falls), changed)
    if not changed:
        return Chance(1.0, len(falls), 0)
    error = np.sqrt(ups.var(ddof=1) / len(ups) + downs.var(ddof=1) / len(downs))
    return Chance(float(norm.sf(ups.mean() / error)) if error > 0 else None, len(falls), changed)


def holm(values: list[float | None]) -> list[float | None]:
    """p-values adjusted for their number (Holm 1979, https://www.jstor.org/stable/4615733); None stays None."""
    known = sorted((value, place) for place, value in enumerate(values) if value is not None)
    found: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        found[place] = highest
    return found
