"""The four-fifths rule of the Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4(D).

The flag is a comparison of integers alone. Whether a flag counts as adverse impact hangs on significance too: a flagged
difference that chance explains is insufficient data, and so is a group too small to be judged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks.contracts import Verdict
from tasks.report.document import Column, Content, Paragraph, Table, aside, line, name, num, status
from tasks.report.numbers import MINUS, count, fraction, interval, number, p_value
from tasks.report.regulations.base import Categories, Category, Control, Findings, Pack, categories, pointers
from tasks.report.regulations.evidenced import listed

if TYPE_CHECKING:
    from tasks.bias import FourFifths
    from tasks.report.reading import Reading

CLAUSE = "29 CFR 1607.4(D)"
_NAMED = 3  # groups spelled out in a rationale
_SHOWN = 40


def judge(reading: Reading) -> Findings:
    """One control an attribute, and the table that they rest on."""
    if not reading.attributes:
        ask = "Selection rates by race, sex and ethnic group, compared with that of the highest group."
        why = "No sensitive attribute was declared, so no groups can be compared."
        return Findings((Control("eeoc-4d", CLAUSE, ask, "insufficient_data", why),))
    controls, rows = [], []
    for position, attribute in enumerate(reading.attributes, 1):
        found = categories(reading, attribute)
        compared = [] if found.problem else _compared(reading, found)
        controls.append(_control(reading, position, found, compared))
        rows += [_cells(attribute, category, outcome) for category, outcome in compared]
    left = max(0, len(rows) - _SHOWN)
    note = (
        "A group is flagged where its rate is below four fifths of the reference’s, compared as integers: 5·s·N <"
        " 4·S·n. Beneath the ratio stands Katz’s interval, as such tables have it; the one under Groups is made"
        " otherwise and differs a little. Fisher’s test is two-sided and exact; z is that of two pooled proportions,"
        " with its p; lacking: further selections that would reach four fifths."
    )
    if left:
        note += f" {left} more comparisons follow from group_metrics."
    table = Table(
        "eeoc-table",
        "Four fifths, group by group",
        _COLUMNS,
        tuple(rows[:_SHOWN]),
        line(note),
        ("group_metrics",),
    )
    return Findings(tuple(controls), (table,) if rows else (Paragraph(line("There was nothing to compare.")),))


def _compared(reading: Reading, found: Categories) -> list[tuple[Category, FourFifths]]:
    """Every group against the one with the highest rate that is large enough."""
    from tasks.bias import four_fifths

    reference = found.highest(enough=True)
    if reference is None:
        return []
    confidence = reading.config.bias.confidence
    return [
        (c, four_fifths(c.selected, c.n, reference.selected, reference.n, confidence=confidence))
        for c in found.known
        if c is not reference
    ]


def _control(
    reading: Reading, position: int, found: Categories, compared: list[tuple[Category, FourFifths]]
) -> Control:
    verdict, why = verdict_of(found, compared)
    ask = (
        f"By {found.attribute}: a selection rate below four fifths of the highest group’s is generally taken as"
        " evidence of adverse impact, unless the numbers are small and the difference is not significant."
    )
    evidence = pointers(reading, "group_metrics", "groups")
    return Control(f"eeoc-4d-{position}", CLAUSE, ask, verdict, why, evidence, has_limit=True)


def verdict_of(found: Categories, compared: list[tuple[Category, FourFifths]]) -> tuple[Verdict, str]:
    """The rule: flagged and significant, else flagged or too small to tell, else satisfied."""
    if found.problem:
        return "insufficient_data", f"Not evaluated: {found.problem}."
    reference = found.highest(enough=True)
    if not compared or reference is None or reference.selected == 0:
        nobody = reference is not None and reference.selected == 0
        return (
            "insufficient_data",
            "Nobody was selected." if nobody else "There is only one group with a known category.",
        )
    flagged = [(c, f) for c, f in compared if f.flagged]
    broken = [(c, f) for c, f in flagged if f.significant]
    small = [c.group for c, _ in compared if c.too_few]
    against = f"Reference {reference.group}: {fraction(reference.selected, reference.n)}."
    unknown = f" {count(found.unknown)} people of unknown category are left out." if found.unknown else ""
    if broken:
        return "not_satisfied", f"Flagged, and significant: {_told(broken)}. {against}{unknown}"
    if flagged:
        return "insufficient_data", f"Flagged, but not significant: {_told(flagged)}. {against}{unknown}"
    beside = [(c, f) for c, f in compared if f.significant]
    if small:
        return (
            "insufficient_data",
            f"Not flagged, but too small to be judged: {listed(small)}. {against}{unknown}",
        )
    told = f" Not flagged, though the difference is significant: {_told(beside)}." if beside else ""
    return "satisfied", f"No group is flagged.{told} {against}{unknown}"


def _told(groups: list[tuple[Category, FourFifths]]) -> str:
    parts = [
        f"{c.group} ({fraction(c.selected, c.n)}, ratio {_ratio(f)}, Fisher p {p_value(f.fisher_p)}, {_z(f)} standard"
        " deviations)"
        for c, f in groups[:_NAMED]
    ]
    more = f"; and {len(groups) - _NAMED} more" if len(groups) > _NAMED else ""
    return "; ".join(parts) + more


def _ratio(outcome: FourFifths) -> str:
    return "undefined" if outcome.ratio is None else number(float(outcome.ratio), beside=0.8)


def _z(outcome: FourFifths, decimals: int = 2) -> str:
    return f"{outcome.z:.{decimals}f}".replace("-", MINUS) if outcome.z == outcome.z else "undefined"


def _p(value: float) -> str:
    """A p-value to four significant digits, so that whoever computes it again can compare."""
    if value != value:
        return "–"
    return f"{value:#.4g}" if value >= 1e-4 else "< 0.0001"


def _p_of_z(outcome: FourFifths) -> float:
    """Two-sided, of the standard normal."""
    return math.erfc(abs(outcome.z) / math.sqrt(2))


_COLUMNS = (
    Column("Attribute"),
    Column("Group", weight=1.3),
    Column("Rate", "right"),
    Column("Ratio", "right"),
    Column("Flag", weight=0.9),
    Column("Fisher p", "right"),
    Column("z", "right"),
    Column("Lacking", "right"),
)


def _cells(attribute: str, category: Category, outcome: FourFifths) -> tuple[Content, ...]:
    return (
        (name(attribute),),
        (name(category.group),),
        (num(number(float(category.rate))), aside(fraction(category.selected, category.n))),
        (num(_ratio(outcome)), aside(interval(outcome.low, outcome.high))),
        (status("flagged" if outcome.flagged else "not_flagged"),),
        (num(_p(outcome.fisher_p)),),
        (num(_z(outcome, 4)), aside(f"p {_p(_p_of_z(outcome))}")),
        (num(count(outcome.shortfall)),),
    )


PACK = Pack(
    id="eeoc_four_fifths",
    title="EEOC Uniform Guidelines: the four-fifths rule",
    legal_status="In the CFR. Rescission of parts is on the agency’s agenda; no rescission was found published.",
    source="P",
    judge=judge,
)
