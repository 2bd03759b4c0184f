"""New York City Local Law 144 of 2021 and its rules, 6 RCNY §§ 5-300 to 5-304: the tables of `tasks.bias` as evidence.

The law has no threshold, so "satisfied" here says that a calculation is there and complete, never that a ratio is good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.schema import CROSSING
from tasks.contracts import Verdict
from tasks.report.document import Block, Column, Paragraph, Table, line, name, num
from tasks.report.numbers import count, limit, moment, number, percent
from tasks.report.regulations.base import Categories, Control, Findings, Pack, attested, categories, pointers

if TYPE_CHECKING:
    from tasks.bias import ImpactTable
    from tasks.report.reading import Reading

#: names by which an attribute's key or column is taken for a category of the rule
SEX = frozenset({"sex", "gender"})
RACE = frozenset({"race", "ethnicity", "race_ethnicity", "race_or_ethnicity", "ethnic_group"})
_SMALL = "0.02"  # of the people assessed; the rule lets such a category be left out of the ratios, and nothing is here
_SHOWN = 60


def judge(reading: Reading) -> Findings:
    """The calculations, the counts to publish, and what only a person can state."""
    wanted = {
        "sex": ("§ 5-301(b)(3)(i)", "sex", _attribute(reading, SEX)),
        "race": ("§ 5-301(b)(3)(ii)", "race or ethnicity", _attribute(reading, RACE)),
        "crossing": ("§ 5-301(b)(3)(iii)", "sex crossed with race or ethnicity", _crossing(reading)),
    }
    controls: list[Control] = []
    blocks: list[Block] = []
    used: list[Categories] = []
    for key, (clause, what, attribute) in wanted.items():
        found = None if attribute is None else categories(reading, attribute)
        controls.append(_calculated(reading, key, clause, what, found))
        if found is not None and found.problem is None:
            used.append(found)
            blocks.append(
                _table(f"ll144-{key}", f"Selection rates and impact ratios by {what}", found, "group_metrics")
            )
    scored = [_scoring(reading, attribute) for _, _, attribute in wanted.values() if attribute is not None]
    there = [s for s in scored if s is not None]
    controls += [_scores(reading, there), _unknown(reading, used), _small(reading, used)]
    for position, scores in enumerate(there, 1):
        blocks.append(
            _table(f"ll144-scores-{position}", f"Scoring rates by {scores.attribute}", scores, "group_metrics")
        )
    controls += _human(reading)
    note = "The law sets no threshold. A limit such as 0.8 is the policy’s of whoever runs this audit."
    return Findings(tuple(controls), (Paragraph(line(note)), *blocks))


# ---------------------------------------------------------------- which attribute is which


def _attribute(reading: Reading, words: frozenset[str]) -> str | None:
    """The declared attribute whose key or column says what it is."""
    for key, declared in reading.config.data.sensitive.items():
        if {_plain(key), _plain(declared.column)} & words:
            return key
    return None


def _crossing(reading: Reading) -> str | None:
    sex, race = _attribute(reading, SEX), _attribute(reading, RACE)
    for keys in reading.config.data.intersections:
        if sex is not None and race is not None and set(keys) == {sex, race}:
            return CROSSING.join(keys)
    return None


def _plain(text: str) -> str:
    return "_".join(text.lower().replace("/", " ").replace("-", " ").replace("_", " ").split())


# ---------------------------------------------------------------- controls


def _calculated(reading: Reading, key: str, clause: str, what: str, found: Categories | None) -> Control:
    ask = f"The selection rate and the impact ratio of each category, by {what}."
    verdict: Verdict = "insufficient_data"
    if found is None:
        key_wanted = (
            "a crossing of both under data.intersections" if key == "crossing" else f"{what} under data.sensitive"
        )
        why = f"The config declares no attribute that is known to be {what}; name {key_wanted}."
        return Control(f"ll144-{key}", clause, ask, verdict, why)
    if found.problem:
        return Control(f"ll144-{key}", clause, ask, verdict, f"Not calculated: {found.problem}.")
    ratios = [(row.impact_ratio, row.category) for row in _impact(found).rows if row.impact_ratio is not None]
    if not ratios:
        why = "Nobody was selected, so there is no highest rate to divide by."
        return Control(f"ll144-{key}", clause, ask, verdict, why)
    ratio, lowest = min(ratios, key=lambda pair: pair[0])
    why = (
        f"Calculated for {len(found.known)} categories of {count(found.total)} people. The lowest impact ratio is"
        f" {number(float(ratio))} ({lowest}). The law sets no threshold."
    )
    return Control(f"ll144-{key}", clause, ask, "satisfied", why, pointers(reading, "group_metrics"))


def _impact(found: Categories, small_share: str | None = None) -> ImpactTable[str]:
    """The rule's table of an attribute."""
    from tasks.bias import impact_table

    counts = {c.group: (c.n, c.selected) for c in found.known}
    return impact_table(counts, unknown=found.unknown, small_share=small_share)


def _scoring(reading: Reading, attribute: str) -> Categories | None:
    found = categories(reading, attribute, "scoring_rate")
    return None if found.problem else found


def _scores(reading: Reading, scored: list[Categories]) -> Control:
    clause, ask = (
        "§ 5-301(c)",
        "Where scores are given: the share of each category above the median score, and its impact ratio.",
    )
    if not scored:
        if reading.config.model.task == "multiclass":
            why = "The model sorts into classes: no single score stands for the outcome."
            return Control("ll144-scores", clause, ask, "not_applicable", why)
        return Control("ll144-scores", clause, ask, "insufficient_data", "Not computed: the run has no scoring rates.")
    why = "Calculated from scores strictly above the median of all scores, those of unknown category included."
    return Control("ll144-scores", clause, ask, "satisfied", why, pointers(reading, "group_metrics"))


def _unknown(reading: Reading, used: list[Categories]) -> Control:
    clause, ask = (
        "§ 5-301(b)(5)",
        "The number of people assessed who are left out because their category is unknown.",
    )
    if not used:
        return Control("ll144-unknown", clause, ask, "insufficient_data", "No categories were counted.")
    from tasks.bias import cross_foot

    told = "; ".join(f"{c.attribute}: {count(c.unknown)}" for c in used)
    apart = cross_foot({c.attribute: _impact(c) for c in used})
    why = " ".join([f"Left out and counted: {told}.", *apart])
    return Control("ll144-unknown", clause, ask, "satisfied", why, pointers(reading, "group_metrics"))


def _small(reading: Reading, used: list[Categories]) -> Control:
    clause = "§ 5-301(d)"
    share = f"{limit(100 * float(_SMALL))} %"
    ask = f"A category of less than {share} may be left out of the ratios, if its count and rate are published."
    if not used:
        return Control("ll144-small", clause, ask, "insufficient_data", "No categories were counted.")
    small = [
        f"{row.category} ({percent(row.n / f.total)})" for f in used for row in _impact(f, _SMALL).rows if row.excluded
    ]
    why = f"None was left out. Below {share} of those with a known category: {', '.join(small[:12]) or 'none'}"
    why += f" and {len(small) - 12} more." if len(small) > 12 else "."
    return Control("ll144-small", clause, ask, "satisfied", why, pointers(reading, "group_metrics"))


def _human(reading: Reading) -> list[Control]:
    """What no program can know."""
    done = moment(reading.record.finished)
    return [
        attested(
            reading, "ll144-independence", "§ 5-300", "The auditor is independent: not involved in using, developing or"
            " distributing the tool, nor employed by or invested in who does.", "independence",
            "Who ran this audit, and whether they are independent, is not recorded.",
        ),
        attested(
            reading, "ll144-data", "§ 5-302", "Historical data of the tool; test data only with a reason, and"
            " how they were made.",
            "data_source", "Whether the audited data are historical or test data is not recorded.",
        ),
        attested(
            reading, "ll144-distribution", "§ 5-303(a)", "Published: date and summary of the audit, source and"
            " explanation of the data, counts, rates and ratios, and since when the tool is distributed.",
            "distribution_date",
            f"This audit ended on {done}; since when the tool is in use is not recorded.",
        ),
        attested(
            reading, "ll144-notice", "§ 5-304", "Candidates and employees are told, at least ten business days"
            " before use.",
            "notice", "Whether notice was given is not recorded.",
        ),
    ]  # fmt: skip


# ---------------------------------------------------------------- tables as the rule wants them published


def _table(id: str, caption: str, found: Categories, source: str) -> Table:
    rows = [
        (
            (name(row.category),),
            (num(count(row.n)),),
            (num(count(row.counted)),),
            (num(number(None if row.rate is None else float(row.rate))),),
            (num(number(None if row.impact_ratio is None else float(row.impact_ratio))),),
        )
        for row in _impact(found).rows[:_SHOWN]
    ]
    scoring = "scoring" in caption.lower()
    columns = (
        Column("Category", weight=1.6),
        Column("People", "right"),
        Column("Above the median" if scoring else "Selected", "right"),
        Column("Scoring rate" if scoring else "Selection rate", "right"),
        Column("Impact ratio", "right"),
    )
    more = f" {len(found.known) - _SHOWN} more categories are in the table." if len(found.known) > _SHOWN else ""
    note = f"{count(found.unknown)} people of unknown category are left out.{more}"
    return Table(id, caption, columns, tuple(rows), line(note), (source,))


PACK = Pack(
    id="nyc_ll144",
    title="New York City Local Law 144",
    legal_status="In force (6 RCNY §§ 5-300 to 5-304).",
    source="P",
    judge=judge,
)
