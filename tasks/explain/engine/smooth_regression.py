"""Kernel SHAP's regression with what it leaves over modelled too: less error for the same evaluations, often a tenth.

The least squares of `coalitions.py` take a game for additive and count everything else as error. But what else there is
in a model's game is mostly interactions of few features, which vary smoothly from coalition to coalition. So here the
additive part is fitted, and the rest is a Gaussian process over coalitions: interactions of k features, of which only
odd k matter to Shapley values once coalitions come in pairs, have the variance decayᵏ. Its covariance is a function of
the number of features in which two coalitions differ, and the expected Shapley values are linear in the coalitions'
values as before: the equations are solved once, and a row still costs one matrix product.

    o(S) = (v(S) − v(complement of S)) / 2 = Σᵢ βᵢ xᵢ + g(S),   xᵢ = −1 where i is in S, else 1
    cov(g(S), g(T)) ∝ Σ over odd k ≥ 3 of decayᵏ Kₖ(h),   Kₖ: Krawtchouk polynomials of the Hamming distance h
    φᵢ = −2 Σ over U containing i, |U| odd, of ĝ(U) / |U|

The decay and a share of noise (interactions of all orders alike) are chosen by restricted likelihood on some rows, once
for all. An additive game, and one with interactions of two features, stay exact; Σφ = Δ as ever.

Sources: Rasmussen and Williams 2006, Gaussian processes for machine learning, 2.7 (a fitted trend), 5.4.2 (leaving one
out); O'Donnell 2014, Analysis of Boolean functions, 1 and 2.4 (the expansion, and the noise operator whose form the
covariance has). Applying them to Shapley values is ours; the tests hold it to enumeration, and its standard error too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tasks.explain.engine.coalitions import Coalitions

#: pairs up to which the equations are solved: their work grows with the cube
MOST_PAIRS = 4096
#: pairs that decay and noise are chosen on
CHOOSING = 512
#: expected number of features that change an interaction's sign, and share of noise, to choose from
REACHES = (0.5, 1.0, 2.0, 4.0, 8.0)
NOISES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Smoothness:
    """What is supposed of the games of a model.

    Attributes:
        decay: variance of an interaction of k + 1 features over that of one of k, 0–1.
        noise: variance of what no other coalition tells anything about, over that of the smooth part.
    """

    decay: float
    noise: float


def _signs(masks: np.ndarray) -> np.ndarray:
    """(p + 1, d): −1 for a member; the coalition of all features last, whose value is known without drawing it."""
    return np.concatenate([1.0 - 2.0 * masks, np.full((1, masks.shape[1]), -1.0)])


def _covariance(signs: np.ndarray, decay: float) -> tuple[np.ndarray, float]:
    """(p + 1, p + 1) of the interactions of three and more, scaled to variance 1; and the log of the scale."""
    d = signs.shape[1]
    apart = (d - signs @ signs.T) / 2
    # Divided by (1 + decay)^d, which is beyond the largest double from a thousand features on.
    flip, size = (1 - decay) / (1 + decay), math.exp(-d * math.log1p(decay))
    odd = (flip**apart - flip ** (d - apart)) / 2
    above = odd - decay * size * (d - 2 * apart)
    scale = float(above[0, 0])
    return above / scale, math.log(scale)


def choose_smoothness(coalitions: Coalitions, pairs: np.ndarray, total: np.ndarray) -> Smoothness:
    """The most likely decay and noise of these games: restricted likelihood, each game with a variance of its own.

    Args:
        pairs: (g, p) as for `KernelRegression.values`; total: (g,).
    """
    p, d = coalitions.masks.shape
    some = np.unique(np.linspace(0, p - 1, min(p, CHOOSING)).astype(np.int64))
    signs = _signs(coalitions.masks[some])
    games = _games(pairs, total)[:, [*some, p]]
    varies = np.ptp(games, axis=1) > 0
    best, chosen = -math.inf, Smoothness(min(0.9, 1.0 / d), NOISES[0])
    if not varies.any():
        return chosen
    left = len(some) + 1 - d
    for decay in dict.fromkeys(min(0.9, reach / d) for reach in REACHES):
        spread, axes = np.linalg.eigh(_covariance(signs, decay)[0])
        trend, turned = axes.T @ signs, games[varies] @ axes
        for noise in NOISES:
            precision = 1.0 / (np.maximum(spread, 0.0) + noise)
            normal = (trend.T * precision) @ trend
            fitted = np.linalg.solve(normal, trend.T @ (turned * precision).T)
            residual = turned - (trend @ fitted).T
            variance = (residual**2 * precision).sum(axis=1) / left
            # A game that is additive up to rounding says nothing of the rest.
            floor = 1e-24 * (games[varies] ** 2).mean(axis=1)
            likelihood = (
                -left * np.log(np.maximum(variance, floor)).mean()
                + np.log(precision).sum()
                - np.linalg.slogdet(normal)[1]
            )
            if likelihood > best:
                best, chosen = likelihood, Smoothness(decay, noise)
    return chosen


def _games(pairs: np.ndarray, total: np.ndarray) -> np.ndarray:
    """(…, p + 1) the o(S) of every pair, and of the coalition of all."""
    half = total[..., None] / 2
    return np.concatenate([pairs - half, half], axis=-1)


class SmoothRegression:
    """The expected Shapley values under a smoothness; same use as `KernelRegression`."""

    def __init__(self, coalitions: Coalitions, smoothness: Smoothness) -> None:
        signs = _signs(coalitions.masks)
        self._features = signs.shape[1]
        covariance, log_scale = _covariance(signs, smoothness.decay)
        towards = _towards_values(signs, smoothness.decay, log_scale) + smoothness.noise * _shares(signs)
        covariance[np.diag_indices_from(covariance)] += smoothness.noise
        inverse = np.linalg.inv(covariance)
        weighted = inverse @ signs
        normal = np.linalg.inv(signs.T @ weighted)
        #: (p + 1, p + 1): takes the additive part off and weighs the rest
        self._precision = inverse - weighted @ normal @ weighted.T
        self._own = np.sqrt(np.diag(self._precision))
        #: (d, p + 1)
        self._solution = -2 * normal @ weighted.T + towards.T @ self._precision
        slope = -2 * np.eye(self._features) - weighted.T @ towards
        prior = _prior_variance(self._features, smoothness, log_scale)
        unseen = (
            prior - np.einsum("pd,pd->d", towards, inverse @ towards) + np.einsum("jd,jk,kd->d", slope, normal, slope)
        )
        # The difference of nearly equal numbers knows no better than rounding.
        self._unseen = np.maximum(unseen, 1e-10 * prior)
        self._left = len(signs) - self._features

    def values(self, pairs: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Shapley values, (…, d), whose sum over features is `total` up to rounding.

        Args:
            pairs: (…, p); total: (…); as for `KernelRegression`.
        """
        values = _games(pairs, total) @ self._solution.T
        return values + ((total - values.sum(axis=-1)) / self._features)[..., None]

    def std_error(self, pairs: np.ndarray, total: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Standard deviation of the values given what was seen, (…, d).

        Its scale is each game's own: how far coalitions lie from what the others predict, or from the fit, whichever
        is more.
        """
        games = _games(pairs, total)
        weighed = games @ self._precision
        fit = np.maximum((games * weighed).sum(axis=-1), 0.0) / self._left
        left_out = ((weighed / self._own) ** 2).mean(axis=-1)
        return np.sqrt(np.maximum(fit, left_out)[..., None] * self._unseen)


def _towards_values(signs: np.ndarray, decay: float, log_scale: float) -> np.ndarray:
    """(p + 1, d) covariance of each coalition's g with each Shapley value.

    Σ over k of decayᵏ/k times the products of the other features' signs is an integral over t from 0 to decay of their
    generating function, a polynomial: Gauss and Legendre's quadrature is exact.
    """
    d = signs.shape[1]
    nodes, weights = np.polynomial.legendre.leggauss(d // 2 + 2)
    t, weights = decay * (nodes + 1) / 2, weights * decay / 2
    others = np.arange(d)[:, None]  # members beside the feature itself
    shift = -d * math.log1p(decay) - log_scale
    forth = np.exp(others * np.log1p(-t) + (d - 1 - others) * np.log1p(t) + shift)
    back = np.exp(others * np.log1p(t) + (d - 1 - others) * np.log1p(-t) + shift)
    of_count = (((forth + back) / 2 - math.exp(shift)) * weights).sum(axis=1)
    members = (signs < 0).astype(np.int64)
    return -2.0 * signs * of_count[members.sum(axis=1, keepdims=True) - members]


def _shares(signs: np.ndarray) -> np.ndarray:
    """(p + 1, d): what Shapley's formula multiplies each o(S) with, for each feature."""
    d = signs.shape[1]
    size = (signs < 0).sum(axis=1)[:, None]
    # One of each pair has the feature, and s members: 2 (s − 1)! (d − s)! / d!.
    with_feature = np.where(signs < 0, size, d - size)
    of_size = np.array([math.exp(-_log_binomial(d - 1, s - 1)) for s in range(1, d + 1)])
    return -signs * 2.0 / d * of_size[with_feature - 1]


def _prior_variance(d: int, smoothness: Smoothness, log_scale: float) -> float:
    """Variance of a Shapley value's part above the additive one, in the covariance's scale."""
    decay = smoothness.decay
    shift = -d * math.log1p(decay) - log_scale
    smooth = math.fsum(
        math.exp(_log_binomial(d - 1, k - 1) + k * math.log(decay) + shift) / k**2 for k in range(3, d + 1, 2)
    )
    rough = math.fsum(math.exp(-_log_binomial(d - 1, s)) for s in range(d)) / d**2
    return 4.0 * (smooth + smoothness.noise * rough)


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
