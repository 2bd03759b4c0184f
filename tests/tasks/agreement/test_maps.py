"""Saliency maps compared: resolutions, constants, and scikit-image as the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.agreement import maps

NAN = float("nan")


def test_both_come_to_the_coarser_grid() -> None:
    fine = np.arange(2 * 8 * 12, dtype=np.float32).reshape(2, 8, 12)
    coarse = np.zeros((2, 4, 3), np.float32)
    a, b = maps.on_one_grid(fine, coarse)
    assert a.shape == b.shape == (2, 4, 3)
    assert a[0, 0, 0] == fine[0, :2, :4].mean()  # whole blocks: their mean
    a, b = maps.on_one_grid(np.ones((1, 10, 3)), np.ones((1, 4, 7)))
    assert a.shape == b.shape == (1, 4, 3)
    assert a == pytest.approx(np.ones((1, 4, 3)))


def test_equal_maps_agree_and_opposite_ones_do_not() -> None:
    generator = np.random.default_rng(0)
    a = generator.random((3, 8, 8))
    assert maps.rank_correlation(a, 5 * a) == pytest.approx(1)
    assert maps.structural_similarity(a, 5 * a) == pytest.approx(1)
    assert maps.rank_correlation(a, -a) == pytest.approx(-1)
    assert np.all(maps.structural_similarity(a, -a) < 0)
    signed = a - 0.5
    assert maps.structural_similarity(signed, 3 * signed) == pytest.approx(1)
    assert np.all(maps.structural_similarity(signed, -signed) < 0)


def test_against_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    generator = np.random.default_rng(0)
    for side, window in ((8, 7), (7, 7), (6, 5), (3, 3)):
        a, b = generator.random((2, 4, side, side))
        found = maps.structural_similarity(a, b)
        for i in range(4):
            x, y = a[i] / a[i].max(), b[i] / b[i].max()
            assert found[i] == pytest.approx(structural_similarity(x, y, data_range=1.0, win_size=window))


def test_what_has_no_value() -> None:
    nothing, something = np.zeros((1, 4, 4)), np.random.default_rng(0).random((1, 4, 4))
    assert np.isnan(maps.rank_correlation(nothing, something)[0])
    assert np.isnan(maps.structural_similarity(nothing, something)[0])
    assert np.isnan(maps.structural_similarity(np.ones((1, 2, 9)), np.ones((1, 2, 9)))[0])
