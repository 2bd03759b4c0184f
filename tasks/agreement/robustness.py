"""Whether an explanation stays where it should and moves where it must: pure functions on pairs of explanations.

`before` and `after` are (n, p) float64: explanations of n rows, p features or cells. Results are (n,) float64, NaN in a
row where the measure is undefined.
"""

from __future__ import annotations

import numpy as np

from tasks.agreement.measures import ranks, spearman

#: from this mean similarity on, an explanation of other weights counts as the same explanation
UNCHANGED = 0.9
#: with fewer players two orders are alike too often by chance to be judged
FEWEST_PLAYERS = 6


def sensitivity(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far explanations of slightly moved rows lie from the row's own: ‖after − before‖ / ‖before‖.

    0 or more, lower is better; undefined where the row's own is 0. Its largest over the moves is max-sensitivity, its
    mean average sensitivity. Source: Yeh et al., NeurIPS 2019, definition 3.1; divided by the size of the explanation
    as Quantus and Captum do, so that units do not count.

    Args:
        after: (n, r, p) explanations of r moves of each row.

    Returns:
        (n, r).
    """
    size = np.linalg.norm(before, axis=1)
    moved = np.linalg.norm(after - before[:, None, :], axis=2)
    return np.divide(moved, size[:, None], out=np.full(moved.shape, np.nan), where=size[:, None] > 0)


def top_jaccard(before: np.ndarray, after: np.ndarray, k: int) -> np.ndarray:
    """Jaccard index of the k largest attributions, by size, of two explanations: common over all. 0 to 1.

    For explanations with two seeds higher is better (stability). What is attributed 0 is never among the largest;
    undefined where neither has any.
    """
    top_a, top_b = (ranks(before) < k) & (before != 0), (ranks(after) < k) & (after != 0)
    either = (top_a | top_b).sum(axis=1)
    return np.divide((top_a & top_b).sum(axis=1), either, out=np.full(len(either), np.nan), where=either > 0)


def correlation(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Spearman's correlation of two explanations of a row that should differ. −1 to 1.

    Places that are 0 in both say nothing and are left out; undefined where fewer than three are left, or one of the
    two is constant.

    Of two classes of the same row, random logit (Sixt, Granz and Landgraf, When explanations lie, ICML 2020): lower is
    better. Before and after the model's weights are drawn anew (Adebayo et al., Sanity checks for saliency maps,
    NeurIPS 2018) its size counts: a model of other weights may turn the sign of everything.
    """
    found = np.full(len(before), np.nan)
    shown = (before != 0) | (after != 0)
    every = shown.all(axis=1)
    found[every] = spearman(before[every], after[every])
    for i in np.flatnonzero(~every):
        found[i] = spearman(before[i : i + 1, shown[i]], after[i : i + 1, shown[i]])[0]
    found[shown.sum(axis=1) < 3] = np.nan
    return found
