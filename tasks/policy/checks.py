"""The rules by which a number becomes a verdict.

    denominator too small, or nothing to divide          insufficient_data
    threshold breached, and the interval excludes it,
      or the test of no difference rejects                not_satisfied
    threshold breached otherwise                          insufficient_data
    else                                                  satisfied; with `confidence: interval` only if the whole
                                                          interval is on the right side, else insufficient_data

Of several groups the worst decides: any not_satisfied, then any insufficient_data.

Of more than two groups the best-off one always comes out ahead of the others by chance, and the widest gap is never 0;
nor is the widest of several features' or techniques'. Intervals and tests of two groups hold for a pair named
beforehand, so there a test must reject that allows for the choice: Holm's over the numbers that the worst is taken of,
or that of all groups being equal. The interval alone excludes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from configs.schema import PolicyCheck

CheckVerdict = Literal["satisfied", "not_satisfied", "insufficient_data"]
#: the worse the earlier
_ORDER: tuple[CheckVerdict, ...] = ("not_satisfied", "insufficient_data", "satisfied")


@dataclass(frozen=True)
class End:
    """One of the two groups that a comparison lies between, in the metric that is compared."""

    metric: str
    group: str
    value: float | None
    numerator: float | None
    denominator: float | None
    n: int | None


@dataclass(frozen=True, kw_only=True)
class Number:
    """What a check is held against: one group, or the attribute, or all rows.

    Attributes:
        value: as in the table; None where it is undefined.
        exact: the same as a fraction of counts, where it is one.
        low, high: interval; None where that end is open or unknown.
        status, reason: of the table.
        left_out: groups that an aggregate is not over, with why.
        p_value, test: of no difference; None where nothing is compared.
        p_adjusted: the same by Holm over all tests of the attribute; said beside it where it would not reject.
        p_family: the same by Holm over all numbers that the check is held against, where the worst of several decides:
            pairs whose reference was chosen from the data, features, techniques, outputs.
        family: how many tests p_family allows for.
        compared: among how many groups the reference, or the widest gap, was looked for.
        too_small: a denominator is below min_group_size.
        certain: the number has no uncertainty (a count).
        output, feature, technique: what it is of, where it is not of the declared outcomes.
        ends: the groups that it lies between: the group and its reference, or the lowest and the highest.
    """

    group: str | None
    value: float | None
    exact: Fraction | None = None
    low: float | None = None
    high: float | None = None
    status: str = "ok"
    reason: str | None = None
    numerator: float | None = None
    denominator: float | None = None
    n: int | None = None
    reference: str | None = None
    reference_numerator: float | None = None
    reference_denominator: float | None = None
    reference_n: int | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    p_family: float | None = None
    family: int = 1
    compared: int = 2
    test: str | None = None
    left_out: tuple[str, ...] = ()
    too_small: bool = False
    certain: bool = False
    output: str | None = None
    feature: str | None = None
    technique: str | None = None
    ends: tuple[End, ...] = ()

    @property
    def chosen(self) -> bool:
        """Whether it was chosen from the data: with two groups, of one feature, there is nothing to choose."""
        return self.compared > 2 or self.family > 1

    @property
    def p_decisive(self) -> float | None:
        """The p-value that the rules look at."""
        return self.p_value if self.p_family is None else self.p_family


@dataclass(frozen=True)
class Judged:
    """A number and its verdict.

    Attributes:
        breached: which declared limit the value is beyond, if any.
        excluded: the whole interval is beyond that limit.
        rejected: the test of no difference rejects.
        crossing: `confidence: interval` and an interval that reaches beyond a limit.
        margin: how far within the limits the value is; negative beyond them. NaN without a value.
    """

    number: Number
    verdict: CheckVerdict
    breached: Literal["min", "max"] | None = None
    excluded: bool = False
    rejected: bool = False
    crossing: bool = False
    margin: float = float("nan")


def judged(check: PolicyCheck, number: Number, *, level: float, signed: bool) -> Judged:
    """The verdict on one number.

    Args:
        level: a test rejects below it, such as 0.05.
        signed: compare the absolute value.
    """
    if number.value is None or number.status == "undefined":
        return Judged(number, "insufficient_data")
    # Without counts a float is compared as the decimal that it shows, as the limits are: 0.1 is a tenth.
    exact = number.exact if number.exact is not None else Fraction(repr(number.value))
    low, high = number.low, number.high
    if number.certain:
        low = high = number.value
    if signed:
        exact = abs(exact)
        low, high = _absolute(low, high)
    least = None if check.min is None else Fraction(str(check.min))
    most = None if check.max is None else Fraction(str(check.max))
    margins = [exact - least] if least is not None else []
    margins += [most - exact] if most is not None else []
    margin = float(min(margins))
    breached: Literal["min", "max"] | None = None
    if least is not None and exact < least:
        breached = "min"
    elif most is not None and exact > most:
        breached = "max"
    excluded = (breached == "min" and high is not None and high < float(check.min or 0)) or (
        breached == "max" and low is not None and low > float(check.max or 0)
    )
    p = number.p_decisive
    rejected = p is not None and p < level
    if number.too_small:
        return Judged(number, "insufficient_data", breached, margin=margin)
    if breached:
        against = rejected or (excluded and not number.chosen)
        verdict: CheckVerdict = "not_satisfied" if against else "insufficient_data"
        return Judged(number, verdict, breached, excluded, rejected, margin=margin)
    if number.left_out:  # what is not in the number cannot be vouched for by it
        return Judged(number, "insufficient_data", rejected=rejected, margin=margin)
    crossing = check.confidence == "interval" and not (
        (check.min is None or (low is not None and low >= check.min))
        and (check.max is None or (high is not None and high <= check.max))
    )
    return Judged(
        number, "insufficient_data" if crossing else "satisfied", rejected=rejected, crossing=crossing, margin=margin
    )


def _absolute(low: float | None, high: float | None) -> tuple[float | None, float | None]:
    if low is None or high is None:
        return None, None
    if low <= 0 <= high:
        return 0.0, max(-low, high)
    return min(abs(low), abs(high)), max(abs(low), abs(high))


def urgency(one: Judged) -> tuple[int, bool, float]:
    """The worse the smaller: by verdict, then by how far beyond its limit; those without a value last."""
    return _ORDER.index(one.verdict), one.margin != one.margin, one.margin


def worst(all_judged: Sequence[Judged]) -> Judged:
    """The one that decides."""
    return min(all_judged, key=urgency)


def audit_verdict(verdicts: Sequence[str]) -> Literal["satisfied", "not_satisfied", "inconclusive"]:
    """The audit's verdict from those of its checks; no policy is satisfied by any complete audit."""
    if "not_satisfied" in verdicts:
        return "not_satisfied"
    return "inconclusive" if "insufficient_data" in verdicts else "satisfied"
