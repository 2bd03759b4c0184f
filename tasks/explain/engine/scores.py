"""Scores of a model's outputs against the truth: what falls when a feature is shuffled. Higher is better.

Every score but roc_auc is made of one number a row, which is also what a test over rows compares.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tasks.explain.base import Problem

OF_REGRESSION = ("r2", "mean_squared_error", "mean_absolute_error")
OF_DECISIONS = ("accuracy", "balanced_accuracy")


def decided(outputs: np.ndarray, problem: Problem) -> np.ndarray:
    """(…, n) int64 class index: argmax, the first wins a tie; binary: classes[1] iff its score ≥ the threshold."""
    if outputs.shape[-1] == 1 or problem.task == "binary":
        return (outputs[..., -1] >= problem.threshold).astype(np.int64)
    return outputs.argmax(axis=-1)


# ---------------------------------------------------------------- of rows: (…, n, k) outputs → (…, n)


def _right(outputs: np.ndarray, problem: Problem, target: np.ndarray) -> np.ndarray:
    if target.dtype == bool:  # of a binary model: whether it is classes[1]
        return (outputs[..., -1] >= problem.threshold) == target
    return decided(outputs, problem) == target


def _log_likelihood(outputs: np.ndarray, problem: Problem, target: np.ndarray) -> np.ndarray:
    """Probabilities are cut at the precision of float32."""
    if outputs.shape[-1] == 1:
        chosen = np.where(target == 1, outputs[..., 0], 1 - outputs[..., 0])
    else:
        index = np.broadcast_to(target[:, None], (*outputs.shape[:-1], 1))
        chosen = np.take_along_axis(outputs, index, axis=-1)[..., 0]
    return np.log(np.clip(chosen, np.finfo(np.float32).eps, 1))


def _squared(outputs: np.ndarray, problem: Problem, target: np.ndarray) -> np.ndarray:
    return -((outputs[..., 0] - target) ** 2)


def _absolute(outputs: np.ndarray, problem: Problem, target: np.ndarray) -> np.ndarray:
    return -np.abs(outputs[..., 0] - target)


def placements(outputs: np.ndarray, problem: Problem, target: np.ndarray) -> np.ndarray:
    """(n,): of a positive row the share of negatives that score less, of a negative one that of positives that score
    more; ties count half. Both means are the area under the ROC curve."""
    levels, place = np.unique(outputs[..., -1], return_inverse=True)
    positive = target == 1
    ups = np.bincount(place[positive], minlength=len(levels))
    downs = np.bincount(place[~positive], minlength=len(levels))
    below = (np.cumsum(downs) - downs / 2) / downs.sum()
    above = (ups.sum() - np.cumsum(ups) + ups / 2) / ups.sum()
    return np.where(positive, below[place], above[place])


ROWS: dict[str, Callable[[np.ndarray, Problem, np.ndarray], np.ndarray]] = {
    "accuracy": _right,
    "balanced_accuracy": _right,
    "log_loss": _log_likelihood,
    "roc_auc": placements,
    "r2": _squared,
    "mean_squared_error": _squared,
    "mean_absolute_error": _absolute,
}


# ---------------------------------------------------------------- of all rows: (…)


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(…) weighted mean over rows; each of a stack has the bits that it has alone."""
    return (values * weight).sum(axis=-1) / weight.sum()


def shares(name: str, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(n,) how much of the score each row is; balanced_accuracy gives every class that occurs the same."""
    if name != "balanced_accuracy":
        return weight / weight.sum()
    labels, place = np.unique(target, return_inverse=True)
    return weight / (np.bincount(place, weight)[place] * len(labels))


def summed(name: str, rows: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(…, n) numbers of rows → (…) the score: their mean; over classes of their means; r2: 1 − residual over total."""
    if name == "balanced_accuracy":
        of_class = [np.where(target == label, weight, 0) for label in np.unique(target)]
        return np.mean([_mean(rows, own) for own in of_class], axis=0)
    if name == "r2":
        return 1 + _mean(rows, weight) / _mean((target - _mean(target, weight)) ** 2, weight)
    return _mean(rows, weight)


def score(name: str, outputs: np.ndarray, problem: Problem, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(…, n, k) outputs → (…).

    accuracy: share of rows (of weight) whose decision is the target. balanced_accuracy: its mean over the classes that
    occur. log_loss: minus the mean negative log-likelihood. roc_auc: area under the ROC curve of a binary model, ties
    count half. mean_squared_error, mean_absolute_error: minus the error.
    """
    if name != "roc_auc":
        return summed(name, ROWS[name](outputs, problem, target), target, weight)
    flat = outputs[..., -1].reshape(-1, outputs.shape[-2])
    return np.array([_area(row, target == 1, weight) for row in flat]).reshape(outputs.shape[:-2])


def _area(scores: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> float:
    levels, place = np.unique(scores, return_inverse=True)
    ups = np.bincount(place, np.where(positive, weight, 0), len(levels))
    downs = np.bincount(place, np.where(positive, 0, weight), len(levels))
    below = np.cumsum(downs) - downs
    return float((ups * (below + downs / 2)).sum() / (ups.sum() * downs.sum()))


#: (outputs (…, n, k), problem, target (n,), weight (n,)) → (…)
SCORES: dict[str, Callable[..., np.ndarray]] = {name: partial(score, name) for name in ROWS}
