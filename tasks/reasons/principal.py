"""From contributions to the principal reasons of each decision.

A *factor* is what a reason is about: a feature, features that the config binds together, or several that the language
file gives one text. Its contribution is the sum of its players'. The factors that spoke against the favourable outcome
are its adverse ones; the largest few of them are the principal reasons. None is left out for being protected: 12 CFR
1002.9(b)(2) and its commentary ask for the reasons that were scored, and for no more than are likely to help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

When = Literal["up", "down"]

#: share of a row's largest contribution below which one is no reason: a model in 32 bits knows no smaller ones
NEGLIGIBLE = 1e-3
#: standard errors by which the intervals of two ranks must lie apart: some 2.8 of the difference
APART = 2.0


@dataclass(frozen=True)
class Wording:
    """What a reason is called: its code and text, and whether the language file gave them."""

    code: str
    text: str
    given: bool = False


@dataclass(frozen=True)
class Factor:
    """What a reason may be about.

    Attributes:
        name: ties are broken by it.
        players: whose contributions are summed, among those that are explained.
        features: columns of the data.
        plain: its wording where none is given.
        wordings: by whether the value lies above (up) or below (down) the background's mean; None for any value.
        column: of the coded matrix, of a single number; None where values have no direction.
    """

    name: str
    players: tuple[int, ...]
    features: tuple[str, ...]
    plain: Wording
    wordings: Mapping[When | None, Wording]
    column: int | None = None

    def wording(self, side: float) -> Wording:
        """For a value above (1) or below (-1) the background's mean, or neither (0)."""
        own: When | None = "up" if side > 0 else "down" if side < 0 else None
        return self.wordings.get(own) or self.wordings.get(None) or self.plain


def code_of(feature: str) -> str:
    """A stable code for a reason that the language file gives none."""
    return "R-" + "".join(c if c.isalnum() else "-" for c in feature.upper())


def members(factors: Sequence[Factor], players: int) -> np.ndarray:
    """(g, r) float64: which players a factor sums."""
    found = np.zeros((players, len(factors)))
    for place, factor in enumerate(factors):
        found[list(factor.players), place] = 1.0
    return found


def principal(values: np.ndarray, names: Sequence[str], most: int) -> np.ndarray:
    """(n, most) int64: the factors that spoke most against the favourable outcome, worst first; -1 where there is none.

    Args:
        values: (n, r) contributions towards the favourable outcome, in log-odds.
        names: of the r factors; ties are in their order.
        most: reasons of a decision at most.
    """
    order = _order(values, names)[:, :most]
    least = np.take_along_axis(values, order, axis=1)
    found = np.full((len(values), most), -1, np.int64)
    found[:, : order.shape[1]] = np.where(least < -_floor(values), order, -1)
    return found


def principal_reasons(contribution: np.ndarray, names: Sequence[str], most: int = 4) -> list[int]:
    """`principal` of a single decision's (r,) contributions, as a list."""
    found = principal(np.asarray(contribution, float)[None], names, most)[0]
    return [int(j) for j in found if j >= 0]


def settled(values: np.ndarray, error: np.ndarray, names: Sequence[str], most: int) -> np.ndarray:
    """(n,) bool: whether the principal reasons and their order are beyond doubt.

    They are where the intervals of APART standard errors about the ranks' contributions are apart, each rank's from all
    later ones', as far as the reasons go; and where each of them is a reason over its whole interval.

    Args:
        error: (n, r) standard errors of the values, ≥ 0.
    """
    order = _order(values, names)
    ranked = np.take_along_axis(values, order, axis=1)
    reach = APART * np.take_along_axis(error, order, axis=1)
    floor = _floor(values)
    upper = np.maximum.accumulate(ranked + reach, axis=1)
    lower = np.minimum.accumulate((ranked - reach)[:, ::-1], axis=1)[:, ::-1]
    among = ranked < -floor
    known = (ranked + reach < -floor) | (ranked - reach >= -floor) | (error.max(axis=1, keepdims=True) == 0)
    apart = np.ones_like(among)
    apart[:, :-1] = upper[:, :-1] < lower[:, 1:]
    first = np.arange(values.shape[1]) < most
    # The last reason must be apart from the next factor only where that one is kept out by its rank alone.
    alone = np.zeros_like(among)
    alone[:, :-1] = ~among[:, 1:]
    return np.asarray((~first | (known & (~among | alone | apart))).all(axis=1)) | (error == 0).all(axis=1)


def _order(values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    by_name = np.array(sorted(range(len(names)), key=lambda j: names[j]), np.int64)
    return by_name[np.argsort(values[:, by_name], axis=1, kind="stable")]


def _floor(values: np.ndarray) -> np.ndarray:
    return NEGLIGIBLE * np.abs(values).max(axis=1, keepdims=True, initial=0.0)
