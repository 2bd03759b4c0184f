"""The tables of New York City's Local Law 144 from the tables of a run: whose rates, among whom, and how they read.

What the rule leaves open is a setting, and every table says how it was set. Rates and ratios are fractions of counts
until they are written, so that a ratio reads as the rule rounds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from configs.blocks import Block as Settings
from configs.blocks import Real, Whole
from configs.schema import CROSSING
from tasks.report.document import Column, Content, Table, aside, line, name, num
from tasks.report.numbers import WORDS, count
from tasks.report.regulations.base import Categories, Category, categories, declared_unknown, is_unknown

if TYPE_CHECKING:
    import numpy as np

    from tasks.bias import ImpactTable
    from tasks.report.reading import Reading

Kind = Literal["selection", "scoring"]
#: names by which an attribute's key or column is taken for a category of the rule
SEX = frozenset({"sex", "gender"})
RACE = frozenset({"race", "ethnicity", "race_ethnicity", "race_or_ethnicity", "ethnic_group"})
#: key → (clause, what it is by)
CUTS = {
    "sex": ("§ 5-301(b)(3)(i)", "sex"),
    "race": ("§ 5-301(b)(3)(ii)", "race or ethnicity"),
    "crossing": ("§ 5-301(b)(3)(iii)", "sex crossed with race or ethnicity"),
}
#: of the people assessed: the rule lets a category of less than this be left out
MOST_SMALL = Fraction(1, 50)


class Ll144Settings(Settings):
    """What the rule leaves to the auditor; all of it is disclosed."""

    small_share: Annotated[Real, Field(gt=0, le=0.02)] | None = Field(
        default=None, description="Categories of a smaller share are left out of the ratios; absent: none are."
    )
    small_of: Literal["known", "all"] = Field(
        default="known", description="What that share is of: people whose category is known, or all."
    )
    median_of: Literal["known", "all"] = Field(
        default="all", description="Whose scores the median is of: of people whose category is known, or of all."
    )
    decimals: Annotated[Whole, Field(ge=2, le=6)] = Field(default=3, description="Of rates and ratios.")


@dataclass(frozen=True)
class Sheet:
    """One table of the rule.

    Attributes:
        key: `sex`, `race` or `crossing`.
        what: in words, what the people are told apart by.
        attribute: the config's.
        outcome: the class that is counted, where there are several; None: the declared outcome.
        table: rates and ratios; None where the counts cannot be used.
        problem: why.
        sources: tables of the run that it was read from.
    """

    key: str
    what: str
    attribute: str
    kind: Kind
    outcome: str | None
    table: ImpactTable[str] | None
    problem: str | None
    sources: tuple[str, ...]

    @property
    def assessed(self) -> int:
        return 0 if self.table is None else sum(row.n for row in self.table.rows)

    @property
    def title(self) -> str:
        rates = "Selection" if self.kind == "selection" else "Scoring"
        return f"{rates} rates and impact ratios by {self.what}" + (f": {self.outcome}" if self.outcome else "")


def attribute_of(reading: Reading, key: str) -> str | None:
    """The declared attribute whose key or column says that it is what the rule speaks of."""
    if key != "crossing":
        words = SEX if key == "sex" else RACE
        declared = reading.config.data.sensitive.items()
        return next((k for k, own in declared if {_plain(k), _plain(own.column)} & words), None)
    both = {attribute_of(reading, "sex"), attribute_of(reading, "race")}
    crossings = reading.config.data.intersections
    return next((CROSSING.join(keys) for keys in crossings if None not in both and set(keys) == both), None)


def _plain(text: str) -> str:
    return "_".join(text.lower().replace("/", " ").replace("-", " ").replace("_", " ").split())


def sheet(reading: Reading, settings: Ll144Settings, key: str, kind: Kind, outcome: str | None = None) -> Sheet | None:
    """A table of the rule; None where the config declares no attribute for it."""
    attribute = attribute_of(reading, key)
    if attribute is None:
        return None
    own_median = kind == "scoring" and settings.median_of == "known"
    if own_median:
        found = _scored_among_known(reading, attribute)
    else:
        metric = "selection_rate" if kind == "selection" else "scoring_rate"
        found = categories(reading, attribute, metric, outcome)
    table = None if found.problem else _impact(found, settings, kind)
    sources = ("predictions", "groups") if own_median else ("group_metrics",)
    return Sheet(key, CUTS[key][1], attribute, kind, outcome, table, found.problem, sources)


def _impact(found: Categories, settings: Ll144Settings, kind: Kind) -> ImpactTable[str]:
    from tasks.bias import impact_table

    share = None if settings.small_share is None else Fraction(str(settings.small_share))
    return impact_table(
        {c.group: (c.n, c.selected) for c in found.known}, unknown=found.unknown, kind=kind, small_share=share,
        share_of=settings.small_of, median_of=settings.median_of if kind == "scoring" else None,
    )  # fmt: skip


def small(table: ImpactTable[str]) -> list[tuple[str, int, Fraction]]:
    """(category, people, share) of those of less than a fiftieth, left out or not."""
    total = sum(row.n for row in table.rows) + (table.unknown if table.share_of == "all" else 0)
    return [(row.category, row.n, Fraction(row.n, total)) for row in table.rows if row.n < MOST_SMALL * total]


# ---------------------------------------------------------------- scores against the median of those who are known


def _scored_among_known(reading: Reading, attribute: str) -> Categories:
    """People of each category with a score strictly above the median of all whose category is known."""
    import numpy as np

    from tasks.bias import above_median

    counted = categories(reading, attribute, "scoring_rate")
    score = None if counted.problem else _scores(reading)
    if score is None:
        return counted if counted.problem else Categories(attribute, problem="the run holds no single score")
    groups, code = _groups(reading, attribute)
    apart = declared_unknown(reading, attribute)
    named = np.array([group not in apart and not is_unknown(group) for group in groups], bool)
    there = np.isfinite(score)
    above = np.zeros(len(score), bool)
    above[there] = above_median(score[there], named[code][there], median_of="known")
    n, hits = (np.bincount(code[rows], minlength=len(groups)) for rows in (there, there & above))
    least = reading.config.bias.min_group_size
    known = tuple(
        Category(group, int(n[i]), int(hits[i]), bool(n[i] < least))
        for i, group in enumerate(groups)
        if named[i] and n[i]
    )
    unknown = int(n[~named].sum())
    return Categories(attribute, known, unknown, None if known else f"no row of {attribute} has a known category")


def _scores(reading: Reading) -> np.ndarray | None:
    """(n,) score of the favourable outcome, else of the positive one; of a regression its value, row by row."""
    import pyarrow.compute as pc

    table = reading.table("predictions", columns=["output", "score"])
    if table is None or not table.num_rows:
        return None
    outputs = pc.unique(table["output"]).to_pylist()
    if reading.config.model.task == "regression":
        wanted, turned = outputs[:1], False
    else:
        named = [one for one in (reading.favorable or reading.positive) if one in outputs]
        turned = not named and len(outputs) == 1  # one sigmoid speaks of the other class
        wanted = outputs if turned else named
    if len(wanted) != 1:
        return None
    score = table.filter(pc.equal(table["output"], wanted[0]))["score"].to_numpy()
    return 1 - score if turned else score


def _groups(reading: Reading, attribute: str) -> tuple[list[str], Any]:
    """The groups of an attribute in the order that group_metrics has them, and (n,) whose group is which."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    table = reading.table("groups", columns=["group"], filters=pc.field("attribute") == attribute)
    if table is None:
        raise ValueError(f"the run has no groups of {attribute}")
    rows = reading.group_metrics
    order = [r["group"] for r in rows if r["attribute"] == attribute and r["metric"] == "scoring_rate" and r["group"]]
    code = pc.index_in(table["group"], value_set=pa.array(order, pa.string()))
    return order, np.asarray(code.to_numpy(), dtype=np.int64)


# ---------------------------------------------------------------- how they read


def exact(value: Fraction | None, decimals: int) -> str:
    """A fraction at least 0 with so many decimals, halves upward, as the rule's own tables round."""
    if value is None:
        return WORDS["undefined"]
    whole, part = divmod(int(value * 10**decimals + Fraction(1, 2)), 10**decimals)
    return f"{whole}.{part:0{decimals}d}"


def drawn(id: str, made: Sheet, decimals: int, *, most: int | None = None, sources: bool = True) -> Table:
    """A table as the rule wants it published.

    Args:
        most: categories that are shown; None: all.
        sources: whether to name the tables of the run, which lie beside a report but not beside a page.
    """
    table = made.table
    if table is None:
        raise ValueError(f"{made.title}: {made.problem}")
    scoring = made.kind == "scoring"
    rows = []
    for row in table.rows[:most]:
        ratio: Content = (num(exact(row.impact_ratio, decimals)),)
        if row.excluded:
            ratio = line("–", aside(f"left out: {row.excluded}"))
        rate = (num(exact(row.rate, decimals)),)
        rows.append(((name(row.category),), (num(count(row.n)),), (num(count(row.counted)),), rate, ratio))
    columns = (
        Column("Category", weight=1.6),
        Column("Assessed", "right"),
        Column("Above the median" if scoring else "Selected", "right"),
        Column("Scoring rate" if scoring else "Selection rate", "right"),
        Column("Impact ratio", "right"),
    )
    note = f"{count(table.unknown)} people of unknown category are left out."
    if most is not None and len(table.rows) > most:
        note += f" {len(table.rows) - most} more categories are in the table."
    return Table(id, made.title, columns, tuple(rows), line(note), made.sources if sources else ())
