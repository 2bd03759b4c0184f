"""The four-fifths rule of the Uniform Guidelines (29 CFR 1607.4(D)) as a function of four counts.

The flag is a comparison of integers and nothing else. What a reader needs beside it, since the guidelines themselves
ask for significance too, comes with it: tests, interval, and how many selections are lacking.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tasks.bias.statistics.intervals import katz
from tasks.bias.statistics.significance import fisher, pooled_z

#: two standard deviations, as courts and the guidelines' questions and answers speak of
SIGNIFICANT_Z = 1.96


@dataclass(frozen=True)
class FourFifths:
    """A focal group held against a reference group.

    Attributes:
        selected, n: counts of the focal group; reference_selected, reference_n: of the reference.
        ratio: selection rate of the focal group over that of the reference, exact; None where the reference has none.
        flagged: whether the ratio is below four fifths.
        fisher_p: two-sided exact p-value; NaN where nothing can be tested.
        z: pooled two-proportion z, negative where the focal group is selected less.
        significant: |z| ≥ 1.96.
        low, high: Katz's interval of the ratio; NaN where a count is 0.
        shortfall: the least number of further selections that reaches four fifths.
    """

    selected: int
    n: int
    reference_selected: int
    reference_n: int
    ratio: Fraction | None
    flagged: bool
    fisher_p: float
    z: float
    significant: bool
    low: float
    high: float
    shortfall: int


def four_fifths(
    selected: int, n: int, reference_selected: int, reference_n: int, *, confidence: float = 0.95
) -> FourFifths:
    """Compares two selection rates.

    Raises:
        ValueError: a count is negative, or more were selected than there are.
    """
    for part, whole in ((selected, n), (reference_selected, reference_n)):
        if not 0 <= part <= whole:
            raise ValueError(f"{part} selected of {whole}")
    comparable = n > 0 and reference_selected > 0
    z = pooled_z(selected, n, reference_selected, reference_n)
    low, high = katz(selected, n, reference_selected, reference_n, confidence)
    lacking = -(-4 * reference_selected * n // (5 * reference_n)) - selected if comparable else 0
    return FourFifths(
        selected=selected,
        n=n,
        reference_selected=reference_selected,
        reference_n=reference_n,
        ratio=Fraction(selected * reference_n, n * reference_selected) if comparable else None,
        flagged=5 * selected * reference_n < 4 * reference_selected * n,
        fisher_p=fisher(selected, n, reference_selected, reference_n),
        z=z,
        significant=abs(z) >= SIGNIFICANT_Z,
        low=low,
        high=high,
        shortfall=max(0, lacking),
    )
