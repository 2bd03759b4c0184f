"""The smooth regression on games whose every coalition is known: exact where it must be, honest everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from tasks.explain.engine.coalitions import Coalitions, KernelRegression, draw_coalitions, fewest_coalitions
from tasks.explain.engine.smooth_regression import Smoothness, SmoothRegression, choose_smoothness
from tasks.steady import steady_algebra

#: games with 2^D coalitions, from a generator
Games = Callable[[np.random.Generator], np.ndarray]


@pytest.fixture(autouse=True)
def _on_one_thread() -> Iterator[None]:
    with steady_algebra():
        yield


D = 10
CODES = ((np.arange(2**D)[:, None] >> np.arange(D)) & 1).astype(bool)


def network_games(generator: np.random.Generator) -> np.ndarray:
    """What a network of two layers makes of rows against five background rows."""
    weights, out = generator.normal(size=(D, 24)), generator.normal(size=24) / 3
    games = []
    for _ in range(8):
        row, background = generator.normal(size=D), generator.normal(size=(5, D))
        mixed = np.where(CODES[None], row, background[:, None])
        games.append((1 / (1 + np.exp(-np.maximum(mixed @ weights, 0) @ out))).mean(axis=0))
    return np.array(games)


def threshold_games(generator: np.random.Generator) -> np.ndarray:
    """A step where the members' weights add up to enough: interactions of every order."""
    return np.array([(CODES @ generator.exponential(size=D) > D / 2).astype(float) for _ in range(8)])


def parity_games(generator: np.random.Generator) -> np.ndarray:
    """The parity of three features and an additive part."""
    return np.array(
        [CODES[:, generator.choice(D, 3, False)].sum(axis=1) % 2 + CODES @ generator.normal(size=D) for _ in range(8)]
    )


def random_games(generator: np.random.Generator) -> np.ndarray:
    """No structure at all: nothing is to be gained, and nothing may be lost."""
    return generator.normal(size=(8, 2**D))


def additive_games(generator: np.random.Generator) -> np.ndarray:
    return np.array([CODES @ generator.normal(size=D) for _ in range(8)])


def games_of_two(generator: np.random.Generator) -> np.ndarray:
    strength = generator.normal(size=(8, D, D))
    return np.einsum("ni,gij,nj->gn", CODES, strength, CODES)


def seen(games: np.ndarray, coalitions: Coalitions) -> tuple[np.ndarray, np.ndarray]:
    """The y of the pairs, and Δ."""
    values = games[:, coalitions.both @ (1 << np.arange(D))]
    p = len(coalitions.masks)
    total = games[:, -1] - games[:, 0]
    return (values[:, :p] - values[:, p:] + total[:, None]) / 2, total


def exact(games: np.ndarray) -> np.ndarray:
    every = draw_coalitions(D, 2**D, np.random.default_rng(0))
    return KernelRegression(every).values(*seen(games, every))


def estimated(games: np.ndarray, budget: int, seed: int) -> tuple[np.ndarray, np.ndarray, Smoothness]:
    coalitions = draw_coalitions(D, budget, np.random.default_rng(seed))
    pairs, total = seen(games, coalitions)
    smoothness = choose_smoothness(coalitions, pairs, total)
    regression = SmoothRegression(coalitions, smoothness)
    values = regression.values(pairs, total)
    return values, regression.std_error(pairs, total, values), smoothness


@pytest.mark.parametrize("games", [network_games, threshold_games, parity_games, random_games])
@pytest.mark.parametrize("budget", [fewest_coalitions(D) + 4, 100, 400])
def test_the_standard_error_covers_the_error(games: Games, budget: int) -> None:
    """Of 95 % intervals 88 or more hold, in games with steps too; it may be too large where a game turns out simple."""
    played = games(np.random.default_rng(1))
    truth = exact(played)
    scores = []
    for seed in range(6):
        values, error, _ = estimated(played, budget, seed)
        scores.append((values - truth) / error)
    assert np.sqrt(np.mean(np.square(scores))) < 1.35
    assert np.mean(np.abs(scores) < 1.96) > 0.88


@pytest.mark.parametrize(
    ("games", "at_most"),
    [(network_games, 0.45), (threshold_games, 0.9), (parity_games, 0.2), (random_games, 1.05)],
)
def test_less_error_than_least_squares_at_the_same_coalitions(games: Games, at_most: float) -> None:
    played = games(np.random.default_rng(2))
    truth = exact(played)
    ours, theirs = [], []
    for seed in range(5):
        coalitions = draw_coalitions(D, 400, np.random.default_rng(seed))
        theirs.append(np.abs(KernelRegression(coalitions).values(*seen(played, coalitions)) - truth).mean())
        ours.append(np.abs(estimated(played, 400, seed)[0] - truth).mean())
    assert np.mean(ours) < at_most * np.mean(theirs)


@pytest.mark.parametrize("games", [additive_games, games_of_two])
def test_additive_games_and_pairs_of_features_are_exact(games: Games) -> None:
    played = games(np.random.default_rng(3))
    values, error, _ = estimated(played, 80, 0)
    np.testing.assert_allclose(values, exact(played), atol=1e-9)
    assert error.max() < 1e-6


@pytest.mark.parametrize("smoothness", [Smoothness(0.1, 1e-8), Smoothness(0.6, 0.1), Smoothness(0.05, 1.0)])
def test_with_every_pair_seen_any_smoothness_is_exact(smoothness: Smoothness) -> None:
    """What is supposed of the game stops mattering: the noise is part of the game, not of the looking."""
    played = network_games(np.random.default_rng(4))
    every = draw_coalitions(D, 2**D, np.random.default_rng(0))
    pairs, total = seen(played, every)
    regression = SmoothRegression(every, smoothness)
    values = regression.values(pairs, total)
    np.testing.assert_allclose(values, exact(played), atol=1e-7)
    assert regression.std_error(pairs, total, values).max() < 1e-4


def test_values_add_up() -> None:
    played = random_games(np.random.default_rng(5))
    values, _, _ = estimated(played, 120, 0)
    np.testing.assert_allclose(values.sum(axis=1), played[:, -1] - played[:, 0], atol=1e-12)


def test_permuting_features_permutes_the_values() -> None:
    played = network_games(np.random.default_rng(6))
    coalitions = draw_coalitions(D, 150, np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(D)
    turned = replace(coalitions, masks=coalitions.masks[:, order])
    pairs, total = seen(played, coalitions)
    plain, other = (SmoothRegression(c, Smoothness(0.1, 1e-3)) for c in (coalitions, turned))
    values = plain.values(pairs, total)
    np.testing.assert_allclose(other.values(pairs, total), values[:, order], atol=1e-10)
    np.testing.assert_allclose(
        other.std_error(pairs, total, values), plain.std_error(pairs, total, values)[:, order], rtol=1e-6
    )


def test_linear_in_the_game() -> None:
    one, two = network_games(np.random.default_rng(7)), threshold_games(np.random.default_rng(8))
    coalitions = draw_coalitions(D, 150, np.random.default_rng(0))
    regression = SmoothRegression(coalitions, Smoothness(0.1, 1e-3))
    both = regression.values(*seen(2 * one - 3 * two, coalitions))
    parts = [regression.values(*seen(games, coalitions)) for games in (one, two)]
    np.testing.assert_allclose(both, 2 * parts[0] - 3 * parts[1], atol=1e-12)


def test_smoothness_is_that_of_the_games() -> None:
    _, _, smooth = estimated(network_games(np.random.default_rng(9)), 600, 0)
    _, _, rough = estimated(random_games(np.random.default_rng(9)), 600, 0)
    assert smooth.decay < rough.decay
    assert smooth.noise < rough.noise == 1.0


@pytest.mark.parametrize("d", [3, 60, 400])
def test_few_features_and_very_many(d: int) -> None:
    """The covariance neither overflows nor loses its digits."""
    coalitions = draw_coalitions(d, max(2 ** min(d, 5), fewest_coalitions(d)), np.random.default_rng(0))
    worth = np.random.default_rng(1).normal(size=d)
    pairs, total = coalitions.masks @ worth, worth.sum()
    for smoothness in (Smoothness(0.5 / d, 1e-8), Smoothness(min(0.9, 8 / d), 1e-2)):
        regression = SmoothRegression(coalitions, smoothness)
        values = regression.values(pairs, np.array(total))
        np.testing.assert_allclose(values, worth, atol=1e-6)
        assert np.isfinite(regression.std_error(pairs, np.array(total), values)).all()


def test_games_that_do_not_vary() -> None:
    coalitions = draw_coalitions(D, 100, np.random.default_rng(0))
    pairs, total = np.zeros((3, len(coalitions.masks))), np.zeros(3)
    regression = SmoothRegression(coalitions, choose_smoothness(coalitions, pairs, total))
    values = regression.values(pairs, total)
    assert not values.any()
    assert not regression.std_error(pairs, total, values).any()
