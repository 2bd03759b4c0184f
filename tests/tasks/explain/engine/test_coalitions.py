"""Coalitions and the regression, on games without any model: every value of every coalition is given."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.explain.engine import coalitions as coalitions_module
from tasks.explain.engine.coalitions import (
    LISTED,
    Coalitions,
    KernelRegression,
    draw_coalitions,
    fewest_coalitions,
    pairs_of_size,
    staged,
)
from tasks.explain.engine.smooth_regression import SmoothRegression, choose_smoothness


def random_game(d: int, seed: int = 0) -> np.ndarray:
    """(2, …, 2) values of all coalitions of d players."""
    return np.random.default_rng(seed).normal(size=(2,) * d)


def by_definition(game: np.ndarray) -> np.ndarray:
    """Shapley's formula, coalition by coalition."""
    d = game.ndim
    values = np.zeros(d)
    for members in itertools.product((0, 1), repeat=d):
        size = sum(members)
        for j in range(d):
            if not members[j]:
                joined = (*members[:j], 1, *members[j + 1 :])
                share = math.factorial(size) * math.factorial(d - size - 1) / math.factorial(d)
                values[j] += share * (game[joined] - game[members])
    return values


def pairs_and_total(game: np.ndarray, coalitions: Coalitions) -> tuple[np.ndarray, np.ndarray]:
    d = game.ndim
    nothing, everything = game[(0,) * d], game[(1,) * d]
    values = np.array([game[tuple(mask)] for mask in coalitions.both.astype(int)])
    half = len(values) // 2
    return (values[:half] - nothing + everything - values[half:]) / 2, np.array(everything - nothing)


def shapley_of(game: np.ndarray, budget: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    coalitions = draw_coalitions(game.ndim, budget, np.random.default_rng(seed))
    pairs, total = pairs_and_total(game, coalitions)
    regression = KernelRegression(coalitions)
    values = regression.values(pairs, total)
    return values, regression.std_error(pairs, total, values)


@pytest.mark.parametrize("d", range(1, 9))
def test_all_coalitions_give_the_values_of_the_definition(d: int) -> None:
    game = random_game(d, seed=d)
    values, error = shapley_of(game, 2**d)
    np.testing.assert_allclose(values, by_definition(game), atol=1e-12)
    assert not error.any()


@pytest.mark.parametrize(
    ("d", "game", "expected"),
    [
        # One left glove, two right ones: a pair is worth 1 (the textbook's glove game).
        (3, {(1, 1, 0): 1, (1, 0, 1): 1, (1, 1, 1): 1}, (2 / 3, 1 / 6, 1 / 6)),
        # A majority of three.
        (3, {(1, 1, 0): 1, (1, 0, 1): 1, (0, 1, 1): 1, (1, 1, 1): 1}, (1 / 3, 1 / 3, 1 / 3)),
        (2, {(1, 0): 3, (0, 1): 1, (1, 1): 6}, (4, 2)),
    ],
)
def test_known_games(d: int, game: dict[tuple[int, ...], float], expected: tuple[float, ...]) -> None:
    values = np.zeros((2,) * d)
    for members, worth in game.items():
        values[members] = worth
    np.testing.assert_allclose(shapley_of(values, 2**d)[0], expected, atol=1e-12)


@pytest.mark.parametrize(("d", "budget"), [(5, 14), (8, 64), (13, 100), (13, 2048), (20, 300), (60, 1000)])
def test_drawn_coalitions_are_different_pairs_within_the_budget(d: int, budget: int) -> None:
    drawn = draw_coalitions(d, budget, np.random.default_rng(0))
    assert drawn.count <= budget
    assert drawn.count >= budget - 1 or drawn.exact
    assert len(np.unique(drawn.both, axis=0)) == drawn.count
    np.testing.assert_array_equal(drawn.both[: len(drawn.masks)], ~drawn.both[len(drawn.masks) :])
    np.testing.assert_array_equal(drawn.masks.sum(axis=1), drawn.sizes)
    assert drawn.drawn[1] == (d, d)
    assert drawn.weights.sum() == pytest.approx(1)
    for size, (count, there) in drawn.drawn.items():
        assert min(2, there) <= count <= there == pairs_of_size(d, size)
        assert (drawn.sizes == size).sum() == count


def test_sizes_too_many_to_list_are_drawn_without_repeats() -> None:
    assert math.comb(40, 20) > LISTED
    drawn = draw_coalitions(40, 2000, np.random.default_rng(1))
    assert len(np.unique(drawn.both, axis=0)) == drawn.count
    assert drawn.masks[drawn.sizes == 20][:, 0].all()  # one of each pair: the one with the first feature


def test_every_feature_is_drawn_equally_often() -> None:
    counts = np.zeros(9)
    for seed in range(200):
        drawn = draw_coalitions(9, 80, np.random.default_rng(seed))
        counts += drawn.masks[drawn.sizes == 3].sum(axis=0)
    expected = counts.sum() / 9
    assert ((counts - expected) ** 2 / expected).sum() < 26.1  # χ² of 8 degrees of freedom, 99.9 %


def test_the_same_seed_draws_the_same() -> None:
    first, second = (draw_coalitions(15, 200, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.masks, second.masks)


@pytest.mark.parametrize("d", [6, 13, 30])
def test_too_small_a_budget_is_refused(d: int) -> None:
    fewest = fewest_coalitions(d)
    assert draw_coalitions(d, fewest, np.random.default_rng(0)).count == fewest
    with pytest.raises(ValueError, match=f"at least {fewest}"):
        draw_coalitions(d, fewest - 1, np.random.default_rng(0))


@pytest.mark.parametrize("budget", [50, 200, 1022])
def test_an_additive_game_is_exact_from_any_coalitions(budget: int) -> None:
    worth = np.random.default_rng(5).normal(size=10)
    game = np.array([np.dot(m, worth) for m in itertools.product((0, 1), repeat=10)]).reshape((2,) * 10)
    values, error = shapley_of(game, budget)
    np.testing.assert_allclose(values, worth, atol=1e-12)
    assert error.max() < 1e-12


def test_interactions_of_two_are_exact_from_pairs() -> None:
    """What makes pairs worth their price: an even part of the game cancels between a coalition and its complement."""
    d = 10
    members = np.array(list(itertools.product((0, 1), repeat=d)))
    strength = np.triu(np.random.default_rng(6).normal(size=(d, d)), 1)
    game = np.einsum("ni,ij,nj->n", members, strength, members).reshape((2,) * d)
    values, _ = shapley_of(game, 100)
    np.testing.assert_allclose(values, (strength + strength.T).sum(axis=1) / 2, atol=1e-10)


@given(st.integers(2, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_axioms(d: int, seed: int) -> None:
    one, two = random_game(d, seed), random_game(d, seed + 1)
    values = shapley_of(one, 2**d)[0]
    total = one[(1,) * d] - one[(0,) * d]
    assert values.sum() == pytest.approx(total, abs=1e-9)  # efficiency
    np.testing.assert_allclose(  # linearity
        shapley_of(2 * one - 3 * two, 2**d)[0], 2 * values - 3 * shapley_of(two, 2**d)[0], atol=1e-9
    )
    swapped = (one + one.swapaxes(0, d - 1)) / 2
    symmetric = shapley_of(swapped, 2**d)[0]
    assert symmetric[0] == pytest.approx(symmetric[d - 1], abs=1e-9)  # symmetry
    null = np.stack([one[0], one[0]])
    assert shapley_of(null, 2**d)[0][0] == pytest.approx(0, abs=1e-9)  # a player who adds nothing
    order = np.random.default_rng(seed).permutation(d)
    np.testing.assert_allclose(shapley_of(one.transpose(order), 2**d)[0], values[order], atol=1e-9)


@pytest.mark.parametrize("budget", [70, 200])
def test_efficiency_holds_for_drawn_coalitions_too(budget: int) -> None:
    game = random_game(12, 7)
    values, _ = shapley_of(game, budget)
    assert values.sum() == pytest.approx(game[(1,) * 12] - game[(0,) * 12], abs=1e-10)


def smooth_game(d: int) -> np.ndarray:
    """A game of the kind that networks play: a saturating function of a sum with interactions of all orders."""
    generator = np.random.default_rng(8)
    members = np.array(list(itertools.product((0, 1), repeat=d)))
    hidden = np.maximum(members @ generator.normal(size=(d, 12)), 0)
    return (1 / (1 + np.exp(-hidden @ generator.normal(size=12) / 2))).reshape((2,) * d)


@pytest.mark.parametrize("budget", [96, 256, 700])
def test_the_standard_error_is_the_error(budget: int) -> None:
    """Over draws, (estimate − truth) / std_error spreads like a standard normal."""
    game = smooth_game(10)
    truth = shapley_of(game, 2**10)[0]
    scores = []
    for seed in range(60):
        values, error = shapley_of(game, budget, seed)
        scores.append((values - truth) / error)
    assert 0.8 < np.sqrt(np.mean(np.square(scores))) < 1.2
    assert abs(np.mean(scores)) < 0.15


def test_more_coalitions_come_closer() -> None:
    game = smooth_game(10)
    truth = shapley_of(game, 2**10)[0]
    errors = [
        np.mean([np.abs(shapley_of(game, budget, seed)[0] - truth).mean() for seed in range(10)])
        for budget in (60, 120, 240, 480, 960)
    ]
    assert all(after < before for before, after in itertools.pairwise(errors))
    assert errors[-1] < errors[0] / 5


# ---------------------------------------------------------------- stages


@pytest.mark.parametrize(("d", "budget", "counts"), [(8, 254, [60, 130, 254]), (13, 2000, [256, 512, 1000, 2000])])
def test_stages_contain_one_another_and_are_samples_themselves(d: int, budget: int, counts: list[int]) -> None:
    drawn = draw_coalitions(d, budget, np.random.default_rng(0))
    counts = [*counts[:-1], drawn.count]
    stages = staged(drawn, counts, np.random.default_rng(1))
    looked = np.zeros((0, d), bool)
    for stage, count in zip(stages, counts, strict=True):
        looked = np.concatenate([looked, stage.added])
        part = stage.coalitions
        np.testing.assert_array_equal(looked[stage.order], part.masks)  # what was looked at is what is solved
        np.testing.assert_array_equal(np.sort(part.sizes), part.sizes)
        assert count <= part.count <= count + 2 * d
        assert part.drawn[1] == drawn.drawn[1]  # size one is always complete
        assert part.weights.sum() == pytest.approx(1)
        assert {s: there for s, (_, there) in part.drawn.items()} == {s: there for s, (_, there) in drawn.drawn.items()}
    np.testing.assert_array_equal(stages[-1].coalitions.masks, drawn.masks)
    assert stages[-1].coalitions.drawn == drawn.drawn
    np.testing.assert_allclose(stages[-1].coalitions.weights, drawn.weights)


def test_a_single_stage_is_all_there_is() -> None:
    drawn = draw_coalitions(9, 100, np.random.default_rng(0))
    (stage,) = staged(drawn, [100], np.random.default_rng(1))
    assert stage.coalitions is drawn
    np.testing.assert_array_equal(stage.both, drawn.both)


def test_stages_do_not_favour_a_feature() -> None:
    """A stage is a random part: in many draws every feature is in as many of its coalitions as any other."""
    counts = np.zeros(8)
    for seed in range(200):
        drawn = draw_coalitions(8, 160, np.random.default_rng(seed))
        first = staged(drawn, [70, drawn.count], np.random.default_rng(seed + 1000))[0].coalitions
        counts += first.masks[first.sizes == 3].sum(axis=0)
    expected = counts.sum() / 8
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # χ² of 7 degrees of freedom, 99.9 %


def test_a_stage_estimates_as_well_as_a_draw_of_its_size() -> None:
    """Errors of the first of two stages and of draws of their own, on the same random games."""
    errors: list[list[float]] = [[], []]
    for seed in range(40):
        game = random_game(8, seed)
        exact = by_definition(game)
        drawn = draw_coalitions(8, 200, np.random.default_rng(seed))
        first = staged(drawn, [80, drawn.count], np.random.default_rng(seed + 500))[0].coalitions
        own = draw_coalitions(8, first.count, np.random.default_rng(seed + 900))
        for found, part in zip(errors, (first, own), strict=True):
            found.append(np.abs(KernelRegression(part).values(*pairs_and_total(game, part)) - exact).mean())
    assert 0.85 < np.mean(errors[0]) / np.mean(errors[1]) < 1.15


# ---------------------------------------------------------------- how pairs are dealt out to sizes


def _network(codes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    d = codes.shape[1]
    weights, out = generator.normal(size=(d, 24)), generator.normal(size=24) / 3
    mixed = (np.where(codes, generator.normal(size=d), generator.normal(size=(10, 1, d))) for _ in range(16))
    return np.array([(1 / (1 + np.exp(-np.maximum(m @ weights, 0) @ out))).mean(axis=0) for m in mixed])


def _trees(codes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    from sklearn.ensemble import GradientBoostingRegressor

    d = codes.shape[1]
    rows = generator.normal(size=(1500, d))
    label = rows[:, 0] * rows[:, 1] + np.sin(2 * rows[:, 2]) + (rows[:, 3] > 0) * rows[:, 4] * rows[:, 5]
    model = GradientBoostingRegressor(max_depth=4, n_estimators=60, random_state=0).fit(rows, label)
    mixed = (np.where(codes, generator.normal(size=d), rows[:10, None]).reshape(-1, d) for _ in range(16))
    return np.array([model.predict(m).reshape(10, -1).mean(axis=0) for m in mixed])


def _majority(codes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    d = codes.shape[1]
    return np.array([(codes @ generator.exponential(size=d) > d / 2).astype(float) for _ in range(16)])


@pytest.mark.soak
@pytest.mark.parametrize("games_of", [_network, _trees, _majority])
@pytest.mark.parametrize("budget", [128, 512])
def test_leverage_scores_are_no_better(
    games_of: Callable[..., np.ndarray], budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table in `draw_coalitions`: `pytest --soak -s` prints its lines."""
    d = 12
    codes = ((np.arange(2**d)[:, None] >> np.arange(d)) & 1).astype(bool)
    games = games_of(codes, np.random.default_rng(0))
    total = games[:, -1] - games[:, 0]

    def pairs(part: Coalitions) -> np.ndarray:
        worth = games[:, part.both @ (1 << np.arange(d))]
        half = worth.shape[1] // 2
        return (worth[:, :half] - worth[:, half:] + total[:, None]) / 2

    every = draw_coalitions(d, 2**d, np.random.default_rng(0))
    exact = KernelRegression(every).values(pairs(every), total)
    dealt = coalitions_module._dealt

    def error() -> np.ndarray:
        found = []
        for seed in range(5):
            part = draw_coalitions(d, budget, np.random.default_rng(seed))
            smooth = SmoothRegression(part, choose_smoothness(part, pairs(part), total))
            solvers = (KernelRegression(part), smooth)
            found.append([np.abs(solver.values(pairs(part), total) - exact).mean() for solver in solvers])
        return np.mean(found, axis=0) / np.abs(exact).mean()

    kernel = error()
    # A pair's share of its size, times the number of pairs of that size: the same for all sizes.
    monkeypatch.setattr(
        coalitions_module,
        "_dealt",
        lambda left, there, mass: dealt(left, there, {s: 0.5 if 2 * s == d else 1.0 for s in mass}),
    )
    leverage = error()
    print(games_of.__name__, budget, "kernel", kernel.round(4), "leverage", leverage.round(4))  # noqa: T201
    assert (leverage > 0.9 * kernel).all()
