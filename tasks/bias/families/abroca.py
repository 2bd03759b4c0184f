"""ABROCA: the area between the ROC curves of a group and of the reference group, which sees that curves differ where
their areas are the same.

Source: Gardner, Brooks and Baker 2019 (LAK, 225–234). There the curves are interpolated; here the area is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.bias.base import View
from tasks.bias.disparities import NAN, Disparity, Gap, Situation, ValueStatus
from tasks.bias.families.ranking import Ranked, by_group, ranked_of
from tasks.bias.rows import loops

#: attributes with more groups have no draws: their cost is by the group
MAX_GROUPS = 250
#: bins of equal numbers of rows, for the draws alone
BINS = 50
_POINTS = 101  # of drawn curves
_TEST = "redrawn rows"


def area_between(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> float:
    """∫ |TPR₁ − TPR₂| d FPR of two ROC curves, each a straight line between the scores that occur. Range 0–1.

    Args:
        first, second: flags (loops.HIT, loops.BEGINS) and weights (or (0,)) of rows by rising score.
    """
    return float(loops.between(loops.steps(*first), loops.steps(*second))[0])


@dataclass(frozen=True, eq=False)
class Drawn:
    """What draws say of the area between a group's curve and the reference's; (draws,) each, NaN without a curve.

    Attributes:
        noise: the area between the difference of the drawn curves and that of the curves that were found.
        more: by how much a draw makes the area larger where the sign of the difference stays.
        alike: the area where all groups have one ROC curve, that of all rows.
    """

    noise: np.ndarray
    more: np.ndarray
    alike: np.ndarray


def gap(name: str, title: str) -> Disparity:
    """The area between the curves of each group and of the reference group; for the attribute the largest. Range 0–1,
    lower is better.

    Interval: multinomial draws over 50 bins of the score. The area lies no further below its estimate than the area
    between what is drawn and what it is drawn from (triangle inequality), so it may reach 0; for the attribute the
    limits hold for all groups at once (Bonferroni). It is biased upward: the attribute's row says what draws from one
    common curve give, and the test is against these.
    """

    def compare(situation: Situation) -> list[Gap]:
        view, reference = situation.view, situation.reference
        measured = situation.measured["roc_auc"]
        own = ranked_of(view.evidence, view.members)
        defined = np.flatnonzero(measured.defined)
        others = defined[defined != reference]
        if own is None or reference is None or not measured.defined[reference] or not len(others):
            lacking = "there is only one group" if view.size == 1 else measured.undefined
            if reference is not None and view.size > 1 and not measured.defined[reference]:
                lacking = f"{situation.names[reference]}: {lacking}"
            return [Gap(None, reference, NAN, "undefined", lacking)]
        value = _areas(view, own, reference, others)
        drawn: dict[int, Drawn] = {}
        if view.draws and view.size <= MAX_GROUPS:
            drawn = _drawn(view, own, reference, others, view.generator(name))
        rows = []
        for g in range(view.size):
            if g == reference:
                status, reason = measured.status(g, situation.least)
                rows.append(Gap(g, g, 0.0, status, reason or "the reference group"))  # type: ignore[arg-type]
            elif g not in value:
                rows.append(Gap(g, reference, NAN, "undefined", f"{situation.names[g]}: {measured.undefined}"))
            else:
                rows.append(_pair(name, situation, value[g], g, drawn.get(g)))
        return [*rows, _largest(name, situation, value, drawn)]

    return Disparity(name, title, "difference", ("roc_auc",), compare, attained=True)


def _pair(name: str, situation: Situation, value: float, g: int, drawn: Drawn | None) -> Gap:
    measured, reference = situation.measured["roc_auc"], situation.reference
    assert reference is not None
    small = next((k for k in (g, reference) if measured.support[k] < situation.least), None)
    status: ValueStatus = "ok" if small is None else "insufficient_data"
    reason = None if small is None else f"{situation.names[small]}: {measured.status(small, situation.least)[1]}"
    low = high = p = NAN
    if drawn is not None:
        low, high = _limits(drawn, value, (1 - situation.view.confidence) / 2)
        p = _exceeded(drawn.alike, value)
    return Gap(
        g, reference, value, status, reason, low, high, p, None if np.isnan(p) else _TEST,
        (name, frozenset((g, reference))),
    )  # fmt: skip


def _largest(name: str, situation: Situation, value: dict[int, float], drawn: dict[int, Drawn]) -> Gap:
    """The attribute's row: over the groups with enough rows, or over all where none has."""
    measured, reference, least = situation.measured["roc_auc"], situation.reference, situation.least
    assert reference is not None
    enough = [g for g in value if min(measured.support[g], measured.support[reference]) >= least]
    over = enough or list(value)
    widest = max(over, key=lambda g: value[g])
    notes = [f"of {situation.names[widest]}"]
    if len(over) < situation.view.size - 1:
        out = [situation.names[g] for g in range(situation.view.size) if g != reference and g not in over]
        notes.append(f"leaves out {', '.join(out[:5])}{f' and {len(out) - 5:,} more' if len(out) > 5 else ''}")
    low = high = p = NAN
    if drawn:
        tail = (1 - situation.view.confidence) / 2 / len(over)
        low, high = map(float, np.max([_limits(drawn[g], value[g], tail) for g in over], axis=0))
        alike = np.max([drawn[g].alike for g in over], axis=0)
        p = _exceeded(alike, value[widest])
    if not np.isnan(p):
        usual = f"{alike.mean():.4f}, in 95 % of draws up to {np.quantile(alike, 0.95):.4f}"
        notes.append(f"biased upward: with one curve for all groups it would be {usual}")
    return Gap(
        None, reference, value[widest], "ok" if enough else "insufficient_data", "; ".join(notes), low, high, p,
        None if np.isnan(p) else _TEST, (name, frozenset((*over, reference))),
    )  # fmt: skip


def _areas(view: View, own: Ranked, reference: int, others: np.ndarray) -> dict[int, float]:
    """Group → the area between its curve and the reference's."""
    rows = by_group(view, own)
    anchor = loops.steps(*rows.of(reference))
    return {int(g): float(loops.between(loops.steps(*rows.of(g)), anchor)[0]) for g in others}


def _bins(view: View, own: Ranked) -> np.ndarray:
    """(n,) uint8: twice the bin of a row's score, and 1 for a positive label. Equal scores share a bin."""
    m = len(own.order)
    begins = np.flatnonzero(own.flags & loops.BEGINS)
    place = np.repeat(begins * BINS // m, np.diff(np.append(begins, m)))
    cell = np.full(view.evidence.rows, loops.NO_BIN, np.uint8)
    cell[own.order] = 2 * place + (own.flags & loops.HIT)
    return cell


def _drawn(
    view: View, own: Ranked, reference: int, others: np.ndarray, generator: np.random.Generator
) -> dict[int, Drawn]:
    """Group → its draws; the reference is drawn once, for all."""
    cell = view.evidence.memo.get(("rank bins", view.members), lambda: _bins(view, own))
    nothing = np.broadcast_to(0.0, view.evidence.rows)
    _, weight, square, _ = loops.tally(view.codes, cell, nothing, view.evidence.weight, (view.size, 2 * BINS))
    found = loops.curves_at(weight, _POINTS)
    share = weight.sum(0).reshape(BINS, 2)
    share = share / share.sum(0)

    def curves(g: int) -> tuple[np.ndarray, np.ndarray]:
        filled, tables = weight[g] > 0, np.zeros((view.draws, 2 * BINS))
        w, s = weight[g][filled], square[g][filled]
        if own.weight is None:
            tables[:, filled] = generator.multinomial(round(w.sum()), w / w.sum(), size=view.draws)
        else:  # the Poisson bootstrap's first two moments, as in resampling.py
            tables[:, filled] = generator.gamma(w**2 / s, s / w, size=(view.draws, len(w)))
        sides = weight[g].reshape(BINS, 2).sum(0) ** 2 / square[g].reshape(BINS, 2).sum(0)  # effective rows
        alike = np.empty((view.draws, BINS, 2))
        for side in range(2):
            alike[:, :, side] = generator.multinomial(max(1, round(sides[side])), share[:, side], size=view.draws)
        off = loops.curves_at(tables, _POINTS) - found[g]
        return off, loops.curves_at(alike.reshape(view.draws, -1), _POINTS)

    anchor_off, anchor_alike = curves(reference)
    drawn = {}
    for g in map(int, others):
        off, alike = curves(g)
        noise, sign = off - anchor_off, np.sign(found[g] - found[reference])
        drawn[g] = Drawn(_area(np.abs(noise)), _area(noise * sign), _area(np.abs(alike - anchor_alike)))
    return drawn


def _area(heights: np.ndarray) -> np.ndarray:
    """(draws,) areas under lines through equally spaced points between 0 and 1."""
    return (heights[:, :-1] + heights[:, 1:]).sum(1) / (2 * (_POINTS - 1))


def _limits(drawn: Drawn, value: float, tail: float) -> tuple[float, float]:
    if np.isnan(drawn.noise).any():  # a draw without positives or negatives has no curve
        return NAN, NAN
    low, high = value - np.quantile(drawn.noise, 1 - tail), value + np.quantile(drawn.more, 1 - tail)
    return max(0.0, float(low)), min(1.0, max(value, float(high)))


def _exceeded(alike: np.ndarray, value: float) -> float:
    """The share of draws that are no smaller, the value itself among them; NaN where a draw has no curve."""
    if np.isnan(alike).any():
        return NAN
    return float((1 + np.count_nonzero(alike >= value - 1e-12)) / (1 + len(alike)))
