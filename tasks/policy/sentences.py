"""What a check found, in a sentence that stands alone."""

from __future__ import annotations

from collections.abc import Sequence

from configs.schema import PolicyCheck
from tasks.bias import Chance, Disparity, Metric, wording
from tasks.policy.checks import Judged, Number


def sentence(
    check: PolicyCheck, entry: Metric | Disparity, base: Metric, deciding: Judged, everyone: Sequence[Judged],
    *, confidence: float, chance: Chance | None = None,
) -> str:  # fmt: skip
    """The sentence of a check, and one on the other groups where there is something to say.

    Args:
        base: the metric that is measured or compared.
        deciding: the number that decides.
        everyone: all numbers, that one among them.
        chance: what the widest gap over the groups would be with no disparity.
    """
    number = deciding.number
    subject = _subject(check, entry, base, number)
    if number.value is None:
        return f"{subject} cannot be judged: {number.reason or 'there is no such number'}.{_others(deciding, everyone)}"
    told = f"{subject} is {_value(number, check)}{_basis(number, base, confidence)}"
    out = ""
    if number.left_out and deciding.verdict == "not_satisfied":
        out = f" It leaves out {wording.listed(number.left_out, 3)}."
    alike = ""
    if chance is not None and deciding.breached and number.chosen and not number.too_small:
        it = "it" if number.group is None else f"the worst of {number.compared} groups"
        alike = f" With no disparity at all {it} would be at {wording.number(chance.expected)} on average."
    return f"{told}, {_verdict(check, deciding, 1 - confidence)}.{alike}{out}{_others(deciding, everyone)}"


def _subject(check: PolicyCheck, entry: Metric | Disparity, base: Metric, number: Number) -> str:
    title = entry.title
    if isinstance(entry, Disparity) and entry.signed and number.group is None and len(entry.bases) == 1:
        # The attribute's row has no sign: it is between any two groups.
        title = f"{'smallest ratio' if entry.comparison == 'ratio' else 'largest difference'} in {base.title}"
    title = title[0].upper() + title[1:]
    if check.attribute is None:
        return f"{title} over all rows"
    if isinstance(entry, Disparity) and number.group is not None and number.reference is not None:
        return f"{title} by {check.attribute}, {number.group} against {number.reference},"
    if number.group is not None:
        return f"{title} by {check.attribute} for {number.group}"
    return f"{title} by {check.attribute}"


def _value(number: Number, check: PolicyCheck) -> str:
    """The value with as many digits as it takes to tell it from the limits."""
    assert number.value is not None
    limits = [limit for limit in (check.min, check.max) if limit is not None]
    text = wording.number(number.value)
    for digits in range(4, 17):
        if all(number.value == limit or text != wording.number(limit) for limit in limits):
            break
        text = f"{number.value:.{digits}g}"
    return text


def _basis(number: Number, base: Metric, confidence: float) -> str:
    parts = []
    if number.numerator is not None and number.denominator and base.proportion:
        share = wording.share_of(number.numerator, number.denominator)
        if number.reference_denominator and number.reference_numerator is not None:
            own = wording.percent(number.numerator / number.denominator)
            other = wording.percent(number.reference_numerator / number.reference_denominator)
            against = wording.share_of(number.reference_numerator, number.reference_denominator)
            parts.append(f"{base.title} {own}, {share}, against {other}, {against}")
        else:
            parts.append(share)
    elif number.n is not None and not number.certain:
        parts.append(f"{number.n:,} rows")
    if number.low is not None or number.high is not None:
        low = wording.number(number.low) if number.low is not None else "open"
        high = wording.number(number.high) if number.high is not None else "open"
        parts.append(f"{wording.percent(confidence).replace('.0', '')} interval {low} to {high}")
    return f" ({'; '.join(parts)})" if parts else ""


def _verdict(check: PolicyCheck, deciding: Judged, level: float) -> str:
    number = deciding.number
    limit = _limit(check, deciding)
    if number.too_small:
        reason = number.reason or "the groups are small"
        return f"{limit}; it cannot be judged: {reason}"
    tested = ""
    if number.p_value is not None:
        test = wording.TESTS.get(number.test or "", number.test or "test")
        tested = f"{test}, {wording.p_value(number.p_value)}"
        if number.p_family is not None:
            tested += f"; {wording.p_value(number.p_family)} after correction for {number.compared - 1} comparisons"
        elif number.p_value < level and number.p_adjusted is not None and number.p_adjusted >= level:
            tested += f"; {wording.p_value(number.p_adjusted)} after correction for the number of tests"
    if deciding.verdict == "not_satisfied":
        grounds = ["the whole interval lies beyond it"] if deciding.excluded else []
        grounds += [f"the groups differ by more than chance ({tested})"] if deciding.rejected else []
        return f"{limit}, and {' and '.join(grounds)}"
    if deciding.breached:
        if deciding.excluded:
            ahead = "the widest gap" if number.group is None else "the lead of the best"
            could = f"the difference could be chance ({tested})" if tested else "no test could be made"
            return (
                f"{limit}, as is its whole interval, but {ahead} of {number.compared} groups is never 0, and {could}:"
                " the data are too few to tell"
            )
        no_test = f" and the difference could be chance ({tested})" if tested else ""
        reach = "the interval reaches the limit" if number.low is not None or number.high is not None else "no interval"
        return f"{limit}, but {reach}{no_test}: the data are too few to tell"
    if deciding.crossing:
        known = number.low is not None and number.high is not None
        return (
            f"{limit}, but {'its interval is not' if known else 'no whole interval is'}: the data are too few to tell"
        )
    if number.left_out:
        out = wording.listed(number.left_out, 3)
        return f"{limit}, but nothing can be said of {out}"
    beside = f"; the groups do differ by more than chance ({tested})" if deciding.rejected else ""
    return f"{limit}{beside}"


def _limit(check: PolicyCheck, deciding: Judged) -> str:
    if deciding.breached == "min":
        return f"below the declared minimum {check.min:g}"
    if deciding.breached == "max":
        return f"above the declared maximum {check.max:g}"
    limits = [f"minimum {check.min:g}"] if check.min is not None else []
    limits += [f"maximum {check.max:g}"] if check.max is not None else []
    return f"within the declared {' and '.join(limits)}"


def _others(deciding: Judged, everyone: Sequence[Judged]) -> str:
    """What became of the other groups."""
    others = [one for one in everyone if one is not deciding]
    failed = [str(one.number.group) for one in others if one.verdict == "not_satisfied"]
    unknown = [str(one.number.group) for one in others if one.verdict == "insufficient_data"]
    told = f" Also not satisfied: {wording.listed(failed)}." if failed else ""
    return told + (f" Not enough data for {wording.listed(unknown)}." if unknown else "")
