"""The impact-ratio tables of New York City's Local Law 144 (6 RCNY §§ 5-300 to 5-304) as functions of counts.

The law has no threshold, and these tables have none. What it leaves open is a setting, and the table carries it along
so that it can be disclosed. A tool that sorts into classes repeats the table for each class.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, Literal, TypeVar

import numpy as np

Category = TypeVar("Category", bound=Hashable)
Among = Literal["known", "all"]


@dataclass(frozen=True)
class ImpactRow(Generic[Category]):
    """One category of a table.

    Attributes:
        category: its name, or a tuple of names where categories are crossed.
        n: people assessed.
        counted: people selected, or scored above the median.
        rate: counted / n; None where n is 0.
        impact_ratio: rate / the highest rate of the categories that were not left out; None for those left out, and
            where nobody is counted in any.
        excluded: why the category was left out of the ratios.
    """

    category: Category
    n: int
    counted: int
    rate: Fraction | None
    impact_ratio: Fraction | None
    excluded: str | None = None


@dataclass(frozen=True)
class ImpactTable(Generic[Category]):
    """A table as the rule wants it published.

    Attributes:
        kind: `selection` or `scoring`.
        rows: every known category, in the order given.
        unknown: people whose category is not known; not in any row.
        small_share: categories with a smaller share of the data were left out of the ratios; None: none were.
        share_of: what that share is of: people whose category is known, or all.
        median_of: whose scores the median is of (scoring tables).
    """

    kind: Literal["selection", "scoring"]
    rows: tuple[ImpactRow[Category], ...]
    unknown: int
    small_share: Fraction | None
    share_of: Among
    median_of: Among | None = None


def impact_table(
    counts: Mapping[Category, tuple[int, int]],
    *,
    unknown: int = 0,
    kind: Literal["selection", "scoring"] = "selection",
    small_share: str | Fraction | None = None,
    share_of: Among = "known",
    median_of: Among | None = None,
) -> ImpactTable[Category]:
    """Rates and impact ratios of categories.

    Args:
        counts: category → (assessed, selected or scored above the median).
        unknown: people whose category is not known. Their number is published, nothing else.
        small_share: such as "0.02", the share that the rule allows to leave out; None leaves nothing out. A category
            that is left out leaves before the highest rate is taken.
        share_of: the denominator of that share.
        median_of: carried along for disclosure.

    Raises:
        ValueError: a count is negative, or more are counted than assessed.
    """
    for category, (n, counted) in counts.items():
        if not 0 <= counted <= n:
            raise ValueError(f"{category}: {counted} of {n}")
    if unknown < 0:
        raise ValueError(f"{unknown} unknown")
    limit = None if small_share is None else Fraction(small_share)
    total = sum(n for n, _ in counts.values()) + (unknown if share_of == "all" else 0)

    def reason(n: int) -> str | None:
        if n == 0:
            return "nobody was assessed"
        if limit is not None and n < limit * total:
            return f"under {float(100 * limit):g} % of {'the data' if share_of == 'all' else 'the known categories'}"
        return None

    rates = {category: Fraction(counted, n) if n else None for category, (n, counted) in counts.items()}
    kept = [rate for category, rate in rates.items() if rate is not None and reason(counts[category][0]) is None]
    highest = max(kept, default=Fraction(0))
    rows = []
    for category, (n, counted) in counts.items():
        rate, excluded = rates[category], reason(n)
        ratio = rate / highest if rate is not None and excluded is None and highest else None
        rows.append(ImpactRow(category, n, counted, rate, ratio, excluded))
    return ImpactTable(kind, tuple(rows), unknown, limit, share_of, median_of)


def above_median(scores: np.ndarray, known: np.ndarray, *, median_of: Among = "known") -> np.ndarray:
    """(n,) bool: who scored strictly above the sample median.

    Args:
        scores: (n,) finite scores.
        known: (n,) bool, whose category is known.
        median_of: whose scores the median is of.
    """
    sample = scores[known] if median_of == "known" else scores
    return scores > np.median(sample) if len(sample) else np.zeros(len(scores), bool)


def cross_foot(tables: Mapping[str, ImpactTable]) -> list[str]:
    """Sentences on tables of the same people whose totals disagree; empty where all agree."""
    totals = {
        name: (sum(row.n for row in table.rows), sum(row.counted for row in table.rows))
        for name, table in tables.items()
    }
    if len(set(totals.values())) < 2:
        return []
    word = {"selection": "selected", "scoring": "scored above the median"}
    return [
        f"The table by {name} adds up to {n:,} assessed and {counted:,} {word[tables[name].kind]}."
        for name, (n, counted) in totals.items()
    ]
