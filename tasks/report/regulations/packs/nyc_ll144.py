"""New York City Local Law 144 of 2021 and its rules, 6 RCNY §§ 5-300 to 5-304: the tables of `tasks.bias` as evidence.

The law has no threshold, so "satisfied" here says that a calculation is there and complete, never that a ratio is good.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.contracts import Verdict
from tasks.report.document import Block, Document, Paragraph, line
from tasks.report.numbers import count, limit, moment, percent
from tasks.report.regulations.base import Control, Findings, Pack, attested, pointers, settings_of
from tasks.report.regulations.evidenced import listed
from tasks.report.regulations.ll144_page import page
from tasks.report.regulations.ll144_tables import CUTS, Ll144Settings, Sheet, drawn, exact, sheet, small

if TYPE_CHECKING:
    from tasks.report.reading import Reading

ID = "nyc_ll144"
PAGE = "nyc_ll144.html"
#: categories of a table, and classes, that the report prints; the page has all
_SHOWN = 60
_CLASSES = 5
_NAMED = 12
#: whose share, or whose median
_AMONG = {"known": "people whose category is known", "all": "all people, those of unknown category included"}


@dataclass(frozen=True)
class Sheets:
    """Every table of the rule that the run can fill.

    Attributes:
        selection: key → the table on the declared outcome; None where no attribute is declared for it.
        scoring: likewise, on scores.
        classes: class → its tables, where the tool sorts into several.
    """

    selection: dict[str, Sheet | None]
    scoring: dict[str, Sheet | None]
    classes: dict[str, list[Sheet]]

    @property
    def filled(self) -> list[Sheet]:
        """Those with numbers, in the order in which they are published."""
        several = [one for sheets in self.classes.values() for one in sheets]
        everything = [*self.selection.values(), *several, *self.scoring.values()]
        return [one for one in everything if one is not None and one.table is not None]


def judge(reading: Reading) -> Findings:
    """The calculations, the counts to publish, what only a person can state, and the page to publish."""
    settings = settings_of(reading, ID, Ll144Settings)
    sheets = _sheets(reading, settings)
    controls = [_calculated(reading, key, sheets, settings.decimals) for key in CUTS]
    controls += [
        _classes(reading, sheets), _scores(reading, sheets, settings), _unknown(reading, sheets),
        _small(reading, sheets, settings), *_human(reading),
    ]  # fmt: skip
    blocks: list[Block] = [Paragraph(line(f"{NO_THRESHOLD} {disclosed(settings)}"))]
    blocks += [
        drawn(id, one, settings.decimals, most=_SHOWN)
        for id, one in identified(sheets.filled)
        if one.outcome is None or one.outcome in list(sheets.classes)[:_CLASSES]
    ]
    if len(sheets.classes) > _CLASSES:
        blocks.append(Paragraph(line(f"Tables of {len(sheets.classes) - _CLASSES} more classes are in {PAGE}.")))
    made: tuple[tuple[str, Document], ...] = ()
    if sheets.filled:
        made = ((PAGE, page(reading, identified(sheets.filled), settings, disclosed(settings))),)
    return Findings(tuple(controls), tuple(blocks), made)


NO_THRESHOLD = "The law sets no threshold. A limit such as 0.8 is a policy of whoever runs this audit."


def disclosed(settings: Ll144Settings) -> str:
    """What the rule leaves open, and how it was set."""
    if settings.small_share is None:
        left = "No category is left out of the ratios for being small."
    else:
        share = f"{limit(100 * settings.small_share)} %"
        left = (
            f"Categories of less than {share} of {_AMONG[settings.small_of]} are left out of the ratios before the"
            " highest rate is taken."
        )
    return f"{left} The median score is that of {_AMONG[settings.median_of]}."


def identified(sheets: Sequence[Sheet]) -> list[tuple[str, Sheet]]:
    """(id of the table, sheet), for links."""
    classes = list(dict.fromkeys(one.outcome for one in sheets if one.outcome is not None))
    found = []
    for one in sheets:
        part = "scores-" if one.kind == "scoring" else ""
        part += f"class-{classes.index(one.outcome) + 1}-" if one.outcome is not None else ""
        found.append((f"ll144-{part}{one.key}", one))
    return found


def _sheets(reading: Reading, settings: Ll144Settings) -> Sheets:
    several = []
    if reading.config.model.task == "multiclass":
        rows = (r for r in reading.group_metrics if r["metric"] == "selection_rate" and r["attribute"] is not None)
        several = list(dict.fromkeys(r["output"] for r in rows if r["output"] is not None))
    return Sheets(
        {key: sheet(reading, settings, key, "selection") for key in CUTS},
        {key: sheet(reading, settings, key, "scoring") for key in CUTS},
        {
            outcome: [one for key in CUTS if (one := sheet(reading, settings, key, "selection", outcome)) is not None]
            for outcome in several
        },
    )


# ---------------------------------------------------------------- controls


def _calculated(reading: Reading, key: str, sheets: Sheets, decimals: int) -> Control:
    clause, what = CUTS[key]
    id, ask = f"ll144-{key}", f"The selection rate and the impact ratio of each category, by {what}."
    made, scored = sheets.selection[key], sheets.scoring[key]
    verdict: Verdict = "insufficient_data"
    if made is None:
        wanted = "a crossing of both under data.intersections" if key == "crossing" else f"{what} under data.sensitive"
        return Control(
            id, clause, ask, verdict, f"The config declares no attribute that is known to be {what}; name {wanted}."
        )
    if made.table is None:
        if scored is not None and scored.table is not None:
            return Control(
                id, clause, ask, "not_applicable", "The tool gives scores and selects nobody: see § 5-301(c)."
            )
        return Control(id, clause, ask, verdict, f"Not calculated: {made.problem}.")
    ratios = [(row.impact_ratio, row.category) for row in made.table.rows if row.impact_ratio is not None]
    if not ratios:
        why = "Nobody was selected, so there is no highest rate to divide by."
        return Control(id, clause, ask, verdict, why)
    ratio, lowest = min(ratios, key=lambda pair: pair[0])
    why = (
        f"Calculated for {len(made.table.rows)} categories of {count(made.assessed)} people. The lowest impact ratio is"
        f" {exact(ratio, decimals)} ({lowest}). The law sets no threshold."
    )
    return Control(id, clause, ask, "satisfied", why, pointers(reading, *made.sources))


def _classes(reading: Reading, sheets: Sheets) -> Control:
    id, clause, ask = "ll144-classes", "§ 5-301(b)", "A tool that sorts into classes: all of this for each class."
    if reading.config.model.task != "multiclass":
        return Control(id, clause, ask, "not_applicable", "The tool does not sort into more than two classes.")
    expected = [key for key in CUTS if sheets.selection[key] is not None]
    short = [
        outcome for outcome, made in sheets.classes.items() if [one for one in made if one.table is None] or not made
    ]
    if not sheets.classes or short or not expected:
        why = f"Not calculated for {', '.join(short[:_NAMED])}." if short else "No class has rates of its own."
        return Control(id, clause, ask, "insufficient_data", why)
    why = f"Calculated for each of {len(sheets.classes)} classes, by {len(expected)} of the {len(CUTS)} divisions."
    status: Verdict = "satisfied" if len(expected) == len(CUTS) else "insufficient_data"
    return Control(id, clause, ask, status, why, pointers(reading, "group_metrics"))


def _scores(reading: Reading, sheets: Sheets, settings: Ll144Settings) -> Control:
    id, clause = "ll144-scores", "§ 5-301(c)"
    ask = "Where scores are given: the share of each category above the median score, and its impact ratio."
    if reading.config.model.task == "multiclass":
        why = "The model sorts into classes: no single score stands for the outcome."
        return Control(id, clause, ask, "not_applicable", why)
    made = [one for one in sheets.scoring.values() if one is not None]
    lacking = [one for one in made if one.table is None]
    if not made or lacking:
        why = f": {lacking[0].problem}." if lacking else ": the config declares neither sex nor race or ethnicity."
        return Control(id, clause, ask, "insufficient_data", f"Not computed{why}")
    absent = [CUTS[key][1] for key, one in sheets.scoring.items() if one is None]
    why = f"Calculated from scores strictly above the median of {_AMONG[settings.median_of]}."
    why += f" Lacking, since no attribute is declared: {', '.join(absent)}." if absent else ""
    evidence = pointers(reading, *dict.fromkeys(source for one in made for source in one.sources))
    return Control(id, clause, ask, "insufficient_data" if absent else "satisfied", why, evidence)


def _unknown(reading: Reading, sheets: Sheets) -> Control:
    id, clause = "ll144-unknown", "§ 5-301(b)(5)"
    ask = "The number of people assessed who are left out because their category is unknown."
    used = {one.attribute: one for one in sheets.filled if one.outcome is None and one.kind == "selection"}
    used = used or {one.attribute: one for one in sheets.filled if one.outcome is None}
    if not used:
        return Control(id, clause, ask, "insufficient_data", "No categories were counted.")
    from tasks.bias import cross_foot

    tables = {attribute: one.table for attribute, one in used.items() if one.table is not None}
    told = "; ".join(f"{attribute}: {count(table.unknown)}" for attribute, table in tables.items())
    apart = cross_foot(tables)
    why = f"Left out and counted: {told}."
    why += f" The tables do not add up to the same. {' '.join(apart)}" if apart else ""
    return Control(id, clause, ask, "satisfied", why, pointers(reading, *_sources(used.values())))


def _small(reading: Reading, sheets: Sheets, settings: Ll144Settings) -> Control:
    id, clause = "ll144-small", "§ 5-301(d)"
    ask = "A category of less than 2 % may be left out of the ratios, if its count and rate are published with why."
    used = [one for one in sheets.filled if one.outcome is None]
    if not used:
        return Control(id, clause, ask, "insufficient_data", "No categories were counted.")
    left = [
        f"{row.category} ({count(row.counted)} of {count(row.n)}, rate {exact(row.rate, settings.decimals)};"
        f" {row.excluded})"
        for one in used
        if one.table is not None
        for row in one.table.rows
        if row.excluded
    ]
    below = [
        f"{category} ({percent(float(share))})"
        for one in used
        if one.table is not None
        for category, _, share in small(one.table)
    ]
    if left:
        why = f"Left out before the highest rate was taken: {listed(left, most=_NAMED)}."
    else:
        below = list(dict.fromkeys(below))
        why = f"None was left out. Below 2 % of {_AMONG[settings.small_of]}: {listed(below, most=_NAMED) or 'none'}."
    return Control(id, clause, ask, "satisfied", why, pointers(reading, *_sources(used)))


def _sources(used: Iterable[Sheet]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(source for one in used for source in one.sources))


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
            reading, "ll144-data", "§§ 5-302, 5-303(a)", "Source and explanation of the data: historical data of the"
            " tool’s use, and of whose.",
            "data_source", "Where the audited data come from, and whether they are historical, is not recorded.",
        ),
        attested(
            reading, "ll144-test-data", "§ 5-302(b)", "Test data only where historical data do not do: why, and how"
            " they were made.",
            "test_data", "Whether test data were used, why, and how they were made, is not recorded.",
        ),
        attested(
            reading, "ll144-distribution", "§ 5-303(a)", "Published: date and summary of the audit, source and"
            " explanation of the data, counts, rates and ratios, and since when the tool is distributed.",
            "distribution_date",
            f"This audit ended on {done}; since when the tool is in use is not recorded.",
        ),
        attested(
            reading, "ll144-year", "NYC Admin. Code § 20-871(a)(1)", "The tool is used only within one year of its"
            " latest audit.", "use_within_a_year",
            f"This audit ended on {done}; how long the tool is used on it is not recorded.",
        ),
        attested(
            reading, "ll144-notice", "§ 5-304", "Candidates and employees are told, at least ten business days"
            " before use.",
            "notice", "Whether notice was given is not recorded.",
        ),
    ]  # fmt: skip


PACK = Pack(
    id=ID,
    title="New York City Local Law 144",
    legal_status="In force (6 RCNY §§ 5-300 to 5-304).",
    source="P",
    judge=judge,
    settings=Ll144Settings,
)
