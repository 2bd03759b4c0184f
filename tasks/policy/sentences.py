"""What a check found, in a sentence that stands alone."""

from __future__ import annotations

from collections.abc import Sequence

from configs.schema import PolicyCheck
from tasks.bias import POWER, Chance, Disparity, Metric, find, wording
from tasks.policy.checks import End, Judged, Number
from tasks.policy.seen import Seen


def sentence(
    check: PolicyCheck, entry: Metric | Disparity, base: Metric | None, deciding: Judged, everyone: Sequence[Judged],
    *, confidence: float, chance: Chance | None = None, seen: Seen | None = None,
) -> str:  # fmt: skip
    """The sentence of a check, and those on what it leaves open: no disparity, its power, the other groups.

    Args:
        base: the metric that is measured or compared, if it is one metric.
        deciding: the number that decides.
        everyone: all numbers, that one among them.
        chance: what the widest gap over the groups would be with no disparity.
        seen: the smallest disparity that would have been found.
    """
    number = deciding.number
    subject = _subject(check, entry, base, number)
    if number.value is None:
        return f"{subject} cannot be judged: {number.reason or 'there is no such number'}.{_others(deciding, everyone)}"
    told = f"{subject} is {_value(number, check)}{_basis(number, base, confidence)}"
    out = ""
    if number.left_out and deciding.verdict == "not_satisfied":
        out = f" It leaves out {wording.listed(number.left_out, 3)}."
    beside = _by_chance(entry, number, chance) + _seen(entry, seen)
    return f"{told}, {_verdict(check, deciding, 1 - confidence)}.{beside}{out}{_others(deciding, everyone)}"


def _by_chance(entry: Metric | Disparity, number: Number, chance: Chance | None) -> str:
    if chance is None or number.too_small or not isinstance(entry, Disparity):
        return ""
    it = "it" if number.group is None or not number.chosen else f"the worst of {number.compared} groups"
    side = "below" if entry.comparison == "ratio" else "above"
    return (
        f" With no disparity at all {it} would be at {wording.number(chance.expected)} on average, and {side}"
        f" {wording.number(chance.p95)} in 5{wording.NO_BREAK}% of cases."
    )


def _seen(entry: Metric | Disparity, seen: Seen | None) -> str:
    if seen is None or not isinstance(entry, Disparity):
        return ""
    often = f"{100 * POWER:.0f}{wording.NO_BREAK}% probability"
    if seen.value is None:
        return f" In groups of these sizes no disparity is found with {often}."
    what = (
        f"a {entry.comparison} of {wording.number(seen.value)} or {'less' if entry.comparison == 'ratio' else 'more'}"
    )
    return f" In two groups of these sizes, named beforehand, {what} is found with {often}."


def _subject(check: PolicyCheck, entry: Metric | Disparity, base: Metric | None, number: Number) -> str:
    title = entry.title
    if isinstance(entry, Disparity) and entry.signed and number.group is None and base and len(entry.bases) == 1:
        # The attribute's row has no sign: it is between any two groups.
        title = f"{'smallest ratio' if entry.comparison == 'ratio' else 'largest difference'} in {base.title}"
    title = title[0].upper() + title[1:]
    if number.feature is not None:
        title += f" of {number.feature}"
    told = [name for name in (number.technique, number.output) if name is not None]
    if told:
        title += f" ({', '.join(told)})"
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


def _basis(number: Number, base: Metric | None, confidence: float) -> str:
    parts = []
    if len(number.ends) == 2:
        parts.append(_between(number))
    elif number.numerator is not None and number.denominator and base is not None and base.proportion:
        parts.append(wording.share_of(number.numerator, number.denominator))
    elif number.n is not None and not number.certain:
        against = f" against {number.reference_n:,}" if number.reference_n is not None and number.group else ""
        parts.append(f"{number.n:,} rows{against}")
    if number.low is not None or number.high is not None:
        low = wording.number(number.low) if number.low is not None else "open"
        high = wording.number(number.high) if number.high is not None else "open"
        parts.append(f"{wording.percent(confidence).replace('.0', '')} interval {low} to {high}")
    return f" ({'; '.join(parts)})" if parts else ""


def _between(number: Number) -> str:
    """Both groups with their counts: the group against its reference, or the lowest and the highest."""
    metric = find(number.ends[0].metric)
    share = isinstance(metric, Metric) and metric.proportion
    first, second = (_end(end, share) for end in number.ends)
    title = metric.title if metric is not None else number.ends[0].metric
    if number.group is not None:
        return f"{title} {first}, against {second}"
    return f"{title} lowest for {number.ends[0].group}, {first}, and highest for {number.ends[1].group}, {second}"


def _end(end: End, share: bool) -> str:
    if share and end.numerator is not None and end.denominator:
        counts = wording.share_of(end.numerator, end.denominator)
        return f"{wording.percent(end.numerator / end.denominator)}, {counts}"
    rows = f" over {end.n:,} rows" if end.n is not None else ""
    return f"{wording.number(end.value) if end.value is not None else 'undefined'}{rows}"


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
            tested += f"; {wording.p_value(number.p_family)} after correction for {number.family} comparisons"
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
            among = f"{number.compared} groups" if number.compared > 2 else f"{number.family} comparisons"
            return (
                f"{limit}, as is its whole interval, but {ahead} of {among} is never 0, and {could}:"
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
    if not tested:
        return limit
    differ = "the groups do differ by more than chance" if deciding.rejected else "the difference could be chance"
    return f"{limit}; {differ} ({tested})"


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
    failed = [_name(one.number) for one in others if one.verdict == "not_satisfied"]
    unknown = [_name(one.number) for one in others if one.verdict == "insufficient_data"]
    told = f" Also not satisfied: {wording.listed(failed)}." if failed else ""
    return told + (f" Not enough data for {wording.listed(unknown)}." if unknown else "")


def _name(number: Number) -> str:
    """A number among others: its group, feature, technique and output, as far as it has them."""
    names = [name for name in (number.feature, number.technique, number.output) if name is not None]
    if not names:
        return str(number.group)
    of = names[0] if len(names) == 1 else f"{names[0]} ({', '.join(names[1:])})"
    return of if number.group is None else f"{of} for {number.group}"
