"""Whether an explanation names the features that the model really uses: deletion, beside a random attribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: coded rows → (n, k) outputs
Predict = Callable[[np.ndarray], np.ndarray]

#: rows that are made and evaluated at once
_AT_ONCE = 65_536


def deletion_order(attributions: np.ndarray) -> np.ndarray:
    """(n, d) features by their attribution towards the output, the largest first; ties by the order of the features."""
    return np.argsort(-attributions, axis=1, kind="stable")


def random_order(n: int, d: int, generator: np.random.Generator) -> np.ndarray:
    """(n, d) an order for each row that knows nothing of the model."""
    return np.argsort(generator.random((n, d)), axis=1)


def deletion_curves(
    predict: Predict,
    rows: np.ndarray,
    order: np.ndarray,
    background: np.ndarray,
    output: int,
    tick: Callable[[int], None] = lambda evaluations: None,
) -> np.ndarray:
    """The output as features are taken away, one after the other.

    "Away" is the mean over the background rows of the output with the feature's value from there, as interventional
    Shapley values mean it.

    Args:
        predict: coded rows → outputs.
        rows: (n, d) rows.
        order: (n, d) features of each row, the first to go first.
        background: (b, d).
        output: which of the outputs.
        tick: called with the number of rows that went through the model.

    Returns:
        (n, d + 1) float64: column j has j features away; the first is the row's own output, the last the mean output
        of the background.
    """
    n, d = rows.shape
    b = len(background)
    curves = np.empty((n, d + 1))
    if not n:
        return curves
    curves[:, 0] = predict(rows)[:, output]
    curves[:, d] = predict(background)[:, output].mean()
    tick(n + b)
    place = np.empty_like(order)  # when a feature goes
    np.put_along_axis(place, order, np.arange(d)[None, :], axis=1)
    step = max(1, _AT_ONCE // max(1, (d - 1) * b))
    for start in range(0, n if d > 1 else 0, step):
        part, goes = rows[start : start + step], place[start : start + step]
        away = goes[:, None, :] < np.arange(1, d)[None, :, None]  # (rows, d − 1, d)
        mixed = np.where(away[:, :, None, :], background[None, None], part[:, None, None, :])
        outputs = predict(mixed.reshape(-1, d))[:, output]
        curves[start : start + step, 1:d] = outputs.reshape(len(part), d - 1, b).mean(axis=2)
        tick(len(outputs))
    return curves


def deletion_area(curves: np.ndarray) -> np.ndarray:
    """Area under each deletion curve over the share of features away, by trapezoids: (n,), in the output's unit.

    Lower is better: the features that carry the output went first. For a model that is a sum over features no order
    has a smaller area than that of the exact Shapley values. Source: Petsiuk, Das and Saenko, RISE, BMVC 2018.
    """
    return (curves[:, :-1] + curves[:, 1:]).sum(axis=1) / (2 * (curves.shape[1] - 1))
