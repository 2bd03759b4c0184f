"""LIME's moments, ridge and choice of features against plain numpy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.explain.engine.lime_regression import Sample, fit, standard_errors, weighted_moments

N, D = 400, 9


@pytest.fixture(scope="module")
def drawn() -> tuple[Sample, np.ndarray, np.ndarray, np.ndarray]:
    """Six compared columns, three numbers, two outputs; five rows."""
    generator = np.random.default_rng(0)
    sample = Sample(
        generator.integers(0, 3, (6, N)).astype(np.int32), generator.normal(size=(3, N)), generator.normal(size=(2, N))
    )
    same_row = generator.integers(0, 4, (5, 6)).astype(np.int32)  # 3 occurs in no neighbour
    return sample, same_row, generator.normal(size=(5, 3)), generator.normal(size=(5, 2))


def columns(sample: Sample, same: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(N + 1, D) what the regression of one row sees, the row first."""
    equal = (same == sample.same.T).astype(float)
    return np.vstack([np.concatenate([np.ones(6), numbers]), np.hstack([equal, sample.numbers.T])])


def weights(sample: Sample, same: np.ndarray, numbers: np.ndarray, width: float) -> np.ndarray:
    x = columns(sample, same, numbers)
    return np.sqrt(np.exp(-((x - x[0]) ** 2).sum(axis=1) / width**2))


def test_moments(drawn: tuple[Sample, np.ndarray, np.ndarray, np.ndarray]) -> None:
    sample, same, numbers, own = drawn
    explained = np.array([[1, 0]] * 5)
    found = weighted_moments(sample, same, numbers, own, explained, 1.7)
    for i in range(5):
        x = columns(sample, same[i], numbers[i])
        y = np.vstack([own[i], sample.outputs.T])[:, [1, 0]]
        u = np.hstack([np.ones((N + 1, 1)), x, y])
        expected = (u * weights(sample, same[i], numbers[i], 1.7)[:, None]).T @ u
        np.testing.assert_allclose(found[i], expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("features", [None, 1, 3, 6, 7, 8, 9])
def test_fits_are_the_lime_packages(
    drawn: tuple[Sample, np.ndarray, np.ndarray, np.ndarray], features: int | None
) -> None:
    """The package's own regression on the same data: coefficients, intercept, R², chosen features."""
    from lime.lime_base import LimeBase

    sample, same, numbers, own = drawn
    explained = np.array([[0], [1], [1], [0], [1]])
    at_row = np.hstack([np.ones((5, 6)), numbers])
    fits = fit(weighted_moments(sample, same, numbers, own, explained, 1.7), 1, at_row, features)
    base = LimeBase(lambda distance: np.sqrt(np.exp(-(distance**2) / 1.7**2)), random_state=0)
    for i in range(5):
        x = columns(sample, same[i], numbers[i])
        y = np.vstack([own[i], sample.outputs.T])
        distance = np.sqrt(((x - x[0]) ** 2).sum(axis=1))
        intercept, kept, r2, _ = base.explain_instance_with_data(
            x, y, distance, int(explained[i, 0]), features or D, feature_selection="auto"
        )
        expected = np.zeros(D)
        for place, coefficient in kept:
            expected[place] = coefficient
        np.testing.assert_allclose(fits.coefficients[i, 0], expected, atol=1e-10)
        np.testing.assert_allclose(fits.intercept[i, 0], intercept, atol=1e-10)
        np.testing.assert_allclose(fits.r2[i, 0], r2, atol=1e-10)


def test_outputs_that_do_not_vary_have_no_r2(drawn: tuple[Sample, np.ndarray, np.ndarray, np.ndarray]) -> None:
    sample, same, numbers, _ = drawn
    flat = Sample(sample.same, sample.numbers, np.full((1, N), 0.25))
    explained = np.zeros((5, 1), int)
    moments = weighted_moments(flat, same, numbers, np.full((5, 1), 0.25), explained, 1.7)
    fits = fit(moments, 1, np.ones((5, D)))
    assert np.isnan(fits.r2).all()
    np.testing.assert_allclose(fits.coefficients, 0, atol=1e-12)
    np.testing.assert_allclose(fits.intercept, 0.25)


def test_rows_do_not_depend_on_their_company(drawn: tuple[Sample, np.ndarray, np.ndarray, np.ndarray]) -> None:
    sample, same, numbers, own = drawn
    explained = np.zeros((5, 1), int)
    together = weighted_moments(sample, same, numbers, own, explained, 2.0)
    for i in range(5):
        part = slice(i, i + 1)
        alone = weighted_moments(sample, same[part], numbers[part], own[part], explained[part], 2.0)
        np.testing.assert_array_equal(alone[0], together[i])


@pytest.mark.parametrize("own_neighbours", [False, True])
def test_standard_errors_by_plain_numpy(
    drawn: tuple[Sample, np.ndarray, np.ndarray, np.ndarray], own_neighbours: bool
) -> None:
    """Neighbour by neighbour: the influence of each, squared and added up; sums of columns for players of several."""
    sample, same, numbers, own = drawn
    explained = np.array([[1, 0]] * 5)
    outputs = np.broadcast_to(sample.outputs, (5, 2, N)) * np.arange(1, 6)[:, None, None]
    if own_neighbours:
        sample = Sample(sample.same, sample.numbers, outputs)
    moments = weighted_moments(sample, same, numbers, own, explained, 1.7)
    fits = fit(moments, 2, np.ones((5, D)))
    members = np.zeros((4, D), bool)
    members[[0, 0, 1, 1, 1, 2, 3, 3, 3], np.arange(D)] = True
    alone = standard_errors(sample, same, numbers, explained, 1.7, moments, fits)
    together = standard_errors(sample, same, numbers, explained, 1.7, moments, fits, members)
    for i in range(5):
        x = columns(sample, same[i], numbers[i])
        weight = weights(sample, same[i], numbers[i], 1.7)
        centred = x - weight @ x / weight.sum()
        inverse = np.linalg.inv((centred * weight[:, None]).T @ centred + np.eye(D))
        for m in range(2):
            y = (outputs[i] if own_neighbours else sample.outputs)[explained[i, m]]
            residual = y - fits.intercept[i, m] - x[1:] @ fits.coefficients[i, m]
            influence = (weight[1:] * residual)[:, None] * (centred[1:] @ inverse)
            np.testing.assert_allclose(alone[i, m], np.sqrt((influence**2).sum(axis=0)), rtol=1e-8)
            np.testing.assert_allclose(together[i, m], np.sqrt(((influence @ members.T) ** 2).sum(axis=0)), rtol=1e-8)


def test_players_are_chosen_in_their_own_order(drawn: tuple[Sample, np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Players of one column each, in another order: the same columns are chosen where none are equal."""
    sample, same, numbers, own = drawn
    same = np.minimum(same, 2)  # columns that no neighbour shares are equal
    moments = weighted_moments(sample, same, numbers, own, np.zeros((5, 1), int), 1.7)
    at_row = np.hstack([np.ones((5, 6)), numbers])
    for features in (2, 7):
        plain = fit(moments, 1, at_row, features)
        moved = fit(moments, 1, at_row, features, np.eye(D, dtype=bool)[::-1])
        np.testing.assert_allclose(moved.coefficients, plain.coefficients, atol=1e-12)
