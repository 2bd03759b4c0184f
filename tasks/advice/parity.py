"""fairlearn's thresholds for exact parity (Hardt, Price, Srebro 2016), with lots drawn where no threshold fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.advice.aims import Aim
from tasks.advice.curves import LOWER, NONE, UPPER, Cut

#: rows that the thresholds are found on at most; fairlearn goes through them one by one
MAX_ROWS = 100_000

#: rate whose parity an aim asks for → fairlearn's constraint
_CONSTRAINTS = {
    "selection_rate": "demographic_parity",
    "true_positive_rate": "true_positive_rate_parity",
    "false_positive_rate": "false_positive_rate_parity",
    "true_negative_rate": "true_negative_rate_parity",
    "false_negative_rate": "false_negative_rate_parity",
}


@dataclass(frozen=True)
class Lottery:
    """One group's rule: a lot with the chance `ignored`, which selects with the chance `constant`; else two thresholds.

    Attributes:
        shares: chances of the two thresholds.
        above: the two: selected if the score (in the direction of the outcome that is counted) is higher.
    """

    shares: tuple[float, float]
    above: tuple[float, float]
    ignored: float = 0.0
    constant: float = 0.0


@dataclass(frozen=True)
class Parity:
    """fairlearn's solution: the rules by group, the constraint, and on how many rows they were found.

    Attributes:
        upward: the outcome that is counted is the one at or above the threshold.
    """

    constraint: str
    rules: dict[int, Lottery]
    rows: int
    upward: bool

    def chances(self, cut: Cut, codes: np.ndarray) -> np.ndarray:
        """(n,) chance that a row is decided for the upper class; that of a group without a rule is its decision."""
        chance = (cut.now == UPPER).astype(float)
        score = cut.score if self.upward else -cut.score
        scored = np.isfinite(cut.score)
        for g, rule in self.rules.items():
            rows = np.flatnonzero(scored & (codes == g))
            own = sum(share * (score[rows] > above) for share, above in zip(rule.shares, rule.above, strict=True))
            counted = rule.ignored * rule.constant + (1 - rule.ignored) * own
            chance[rows] = counted if self.upward else 1 - counted
        return chance


def constraint_of(aim: Aim) -> str | None:
    """fairlearn's constraint that an aim at perfection comes to; None where it has none."""
    if aim.comparison == "level":
        return None
    if len(aim.rates) == 2:
        return "equalized_odds"
    return _CONSTRAINTS.get(aim.rates[0].name)


def parity_of(aim: Aim, cut: Cut, codes: np.ndarray, groups: np.ndarray, seed: int) -> Parity | str:
    """fairlearn's thresholds, or a sentence why there are none.

    Args:
        codes: (n,) group of each row; −1: not among the rows to look at.
        groups: those that get a rule.
        seed: of the sample of rows.
    """
    constraint = constraint_of(aim)
    if constraint is None:
        return f"fairlearn's ThresholdOptimizer has no constraint for {aim.metric}."
    if cut.weight is not None:
        return "fairlearn's ThresholdOptimizer takes no weights."
    yes = cut.favorable if aim.rates[0].of == "favorable" else cut.positive
    upward = yes[1]
    rows = np.flatnonzero(np.isin(codes, groups) & (cut.label != NONE) & np.isfinite(cut.score))
    if len(rows) > MAX_ROWS:
        rows = np.sort(np.random.default_rng([seed, *b"parity"]).choice(rows, MAX_ROWS, replace=False))
    wanted = (cut.label[rows] == (UPPER if upward else LOWER)).astype(np.int64)
    for g in groups:
        own = wanted[codes[rows] == g]
        if len(own) == 0 or own.min() == own.max():
            return "fairlearn's ThresholdOptimizer needs labels of both kinds in every group."
    score = cut.score[rows] if upward else -cut.score[rows]
    found = _optimizer(constraint, score, wanted, codes[rows]).interpolated_thresholder_.interpolation_dict
    return Parity(constraint, {int(g): _lottery(rule) for g, rule in found.items()}, len(rows), upward)


def _optimizer(constraint: str, score: np.ndarray, wanted: np.ndarray, codes: np.ndarray) -> Any:
    """fairlearn's ThresholdOptimizer, fitted."""
    from fairlearn.postprocessing import ThresholdOptimizer
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Scores(ClassifierMixin, BaseEstimator):
        """Hands back the scores that it is given."""

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, X: np.ndarray, y: np.ndarray) -> Scores:
            return self

        def predict(self, X: np.ndarray) -> np.ndarray:
            return np.asarray(X)[:, 0]

    optimizer = ThresholdOptimizer(
        estimator=Scores(), constraints=constraint, objective="accuracy_score", prefit=True, predict_method="predict"
    )
    return optimizer.fit(score[:, None], wanted, sensitive_features=codes)


def _lottery(rule: Any) -> Lottery:
    return Lottery(
        shares=(float(rule.p0), float(rule.p1)),
        above=(float(rule.operation0.threshold), float(rule.operation1.threshold)),
        ignored=float(rule.get("p_ignore", 0.0)),
        constant=float(rule.get("prediction_constant", 0.0)),
    )


def expected_moves(parity: Parity, cut: Cut, codes: np.ndarray, groups: int, which: np.ndarray) -> np.ndarray:
    """(G, 3, 3, 3) expected rows by label, present decision and then, as `Curves.moved` has them.

    Args:
        which: (n,) bool: the rows to look at.
    """
    chance = parity.chances(cut, codes)
    decided = cut.now != NONE
    key = (codes * 3 + cut.label) * 3 + cut.now
    found = np.zeros((groups * 9, 3))
    found[:, UPPER] = np.bincount(key[which], (chance * decided)[which], groups * 9)
    found[:, LOWER] = np.bincount(key[which], ((1 - chance) * decided)[which], groups * 9)
    found[:, NONE] = np.bincount(key[which & ~decided], minlength=groups * 9)
    return found.reshape(groups, 3, 3, 3)
