"""Whether an explanation names what the model really uses: pure functions on attributions and masked outputs.

Shapes: n rows, g players (features, groups of features, cells of an image), s subsets. `away` means as in `masked.py`.
All results are (n,) float64, NaN in a row where the measure is undefined.
"""

from __future__ import annotations

from math import comb

import numpy as np

from tasks.agreement.masked import Masked
from tasks.agreement.measures import spearman

#: share of the players that a random subset takes away
_SUBSET = 0.2
#: what an output may change by rounding alone
ROUNDING = 1e-7


def largest_first(attributions: np.ndarray) -> np.ndarray:
    """(n, g) players by their attribution towards the output, the largest first; ties by the order of the players."""
    return np.argsort(-attributions, axis=1, kind="stable")


def steps_of(players: int, most: int) -> np.ndarray:
    """How many players have gone at each point of a curve: 0, …, g, at most `most` + 1 points, evenly."""
    return np.unique(np.round(np.linspace(0, players, min(players, most) + 1)).astype(np.int64))


def curves(
    masked: Masked, rows: np.ndarray, output: np.ndarray, order: np.ndarray, steps: np.ndarray, *, insert: bool = False
) -> np.ndarray:
    """The output as players go one after the other (or, with `insert`, come one after the other).

    Args:
        output: (n,) index of the output of each row.
        order: (n, g) players, the first to go (to come) first.
        steps: rising, from 0 to g.

    Returns:
        (n, len(steps)) float64.
    """
    place = np.empty_like(order)  # when a player goes
    np.put_along_axis(place, order, np.arange(order.shape[1])[None, :], axis=1)
    gone = place[:, None, :] < steps[None, :, None]
    return masked(rows, gone if insert else ~gone, output)


def area(found: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Area under each curve over the share of players that have gone or come, by trapezoids, in the output's unit.

    Deletion: lower is better, what carries the output went first. Insertion: higher is better, it came first. For a
    model that is a sum over players no order has a smaller deletion area, or a larger insertion area, than that of
    the exact Shapley values. Source: Petsiuk, Das and Saenko, RISE, BMVC 2018.
    """
    widths = np.diff(steps) / steps[-1]
    return ((found[:, :-1] + found[:, 1:]) * widths).sum(axis=1) / 2


def random_subsets(players: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """(s, g) bool subsets of a fifth of the players (at least one), no two equal: all of them where that is few."""
    size = max(1, round(_SUBSET * players))
    every = comb(players, size)
    found: dict[tuple[int, ...], None] = {}
    if every <= count:
        from itertools import combinations

        found = dict.fromkeys(combinations(range(players), size))
    while len(found) < min(count, every):
        found[tuple(np.sort(generator.choice(players, size, replace=False)).tolist())] = None
    subsets = np.zeros((len(found), players), bool)
    for row, members in zip(subsets, found, strict=True):
        row[list(members)] = True
    return subsets


def falls(masked: Masked, rows: np.ndarray, output: np.ndarray, subsets: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(n, s) by how much the output falls when a subset is away; `own` (n,) is the output as it is."""
    present = np.broadcast_to(~subsets[None], (len(rows), *subsets.shape))
    return own[:, None] - masked(rows, present, output)


def mu_fidelity(attributions: np.ndarray, subsets: np.ndarray, fallen: np.ndarray) -> np.ndarray:
    """Pearson correlation, over random subsets, of the sum of their attributions with the fall of the output.

    −1 to 1, higher is better, 1 where the output is a sum of the attributions; undefined where either is constant.
    Source: Bhatt, Weller and Moura, Evaluating and aggregating feature-based model explanations, IJCAI 2020,
    definition 3.3. (Xplique's MuFidelity takes Spearman's correlation.)
    """
    sums = attributions @ subsets.T.astype(np.float64)
    x, y = sums - sums.mean(axis=1, keepdims=True), fallen - fallen.mean(axis=1, keepdims=True)
    # What is left of a constant after its mean is rounding, not variation.
    x[np.abs(x).max(axis=1) <= 1e-12 * np.abs(sums).max(axis=1)] = 0.0
    y[np.abs(y).max(axis=1) <= ROUNDING] = 0.0
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    found = np.divide((x * y).sum(axis=1), scale, out=np.full(len(x), np.nan), where=scale > 0)
    return np.clip(found, -1.0, 1.0)


def infidelity(attributions: np.ndarray, subsets: np.ndarray, fallen: np.ndarray) -> np.ndarray:
    """Mean over random subsets of (β · sum of their attributions − fall of the output)², in the output's unit squared.

    0 or more, lower is better, 0 where the output is a sum of the attributions. β ≥ 0 is the number that fits the row
    best: maps and attributions come in units of their own, and only their shape is judged (Captum's `normalize`; β < 0
    would forgive a wrong sign). Source: Yeh et al., On the (in)fidelity and sensitivity of explanations, NeurIPS 2019,
    definition 2.1, with subsets set to the background as perturbation.
    """
    sums = attributions @ subsets.T.astype(np.float64)
    size = (sums**2).sum(axis=1)
    beta = np.divide((sums * fallen).sum(axis=1), size, out=np.zeros(len(sums)), where=size > 0)
    return ((np.maximum(beta, 0.0)[:, None] * sums - fallen) ** 2).mean(axis=1)


def monotonicity(attributions: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Spearman's correlation of the size of each attribution with what its player alone changes when it is away.

    −1 to 1, higher is better; undefined where either is constant. Source: Nguyen and Martínez, On quantitative aspects
    of model interpretability, 2020, section 3 (Quantus' MonotonicityCorrelation); where they take the mean square of
    the change over replacements, we take the size of the mean change, which is what `away` means here.

    Args:
        single: (n, g) fall of the output when one player is away.
    """
    return spearman(np.abs(attributions), np.where(np.abs(single) > ROUNDING, np.abs(single), 0.0))


def null_share(attributions: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Share of the attributions' size that goes to players that change nothing. 0 to 1, lower is better.

    The null (dummy) axiom of Shapley values; undefined where nothing is attributed to anything.

    Args:
        null: (g,) bool.
    """
    total = np.abs(attributions).sum(axis=1)
    on_null = np.abs(attributions[:, null]).sum(axis=1)
    return np.divide(on_null, total, out=np.full(len(total), np.nan), where=total > 0)
