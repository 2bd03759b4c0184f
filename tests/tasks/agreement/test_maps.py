"""Saliency maps compared: sizes, constants, and scikit-image as the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.agreement import maps

NAN = float("nan")


def test_maps_come_to_another_size() -> None:
    fine = np.arange(2 * 8 * 12, dtype=np.float32).reshape(2, 8, 12)
    coarse = maps.resized(fine, (4, 3))
    assert coarse.shape == (2, 4, 3)
    assert coarse[0, 0, 0] == fine[0, :2, :4].mean()  # whole blocks: their mean
    assert maps.resized(np.ones((1, 10, 7)), (4, 3)) == pytest.approx(np.ones((1, 4, 3)))
    assert maps.resized(np.ones((1, 2, 2)), (8, 8)) == pytest.approx(np.ones((1, 8, 8)))
    assert maps.resized(fine, (8, 12)).dtype == np.float64


def test_equal_maps_agree_and_opposite_ones_do_not() -> None:
    generator = np.random.default_rng(0)
    a = generator.random((3, 8, 8))
    assert maps.structural_similarity(a, 5 * a) == pytest.approx(1)
    assert np.all(maps.structural_similarity(a, -a) < 0)
    signed = a - 0.5
    assert maps.structural_similarity(signed, 3 * signed) == pytest.approx(1)
    assert np.all(maps.structural_similarity(signed, -signed) < 0)


@pytest.mark.parametrize(("side", "window"), [(32, 7), (8, 7), (7, 7), (6, 5), (3, 3)])
@pytest.mark.parametrize("signed", [False, True])
def test_against_scikit_image(side: int, window: int, signed: bool) -> None:
    from skimage.metrics import structural_similarity

    generator = np.random.default_rng(side)
    a, b = generator.random((2, 4, side, side)) - (0.5 if signed else 0)
    a[0], b[0] = np.abs(a[0]), np.abs(b[0])  # a pair without negative values among others
    found = maps.structural_similarity(a, b)
    for i in range(4):
        x, y = a[i] / np.abs(a[i]).max(), b[i] / np.abs(b[i]).max()
        if signed and i:
            x, y = (x + 1) / 2, (y + 1) / 2
        assert found[i] == pytest.approx(structural_similarity(x, y, data_range=1.0, win_size=window), abs=1e-12)


def test_what_has_no_value() -> None:
    nothing, something = np.zeros((1, 4, 4)), np.random.default_rng(0).random((1, 4, 4))
    assert np.isnan(maps.structural_similarity(nothing, something)[0])
    assert np.isnan(maps.structural_similarity(np.ones((1, 2, 9)), np.ones((1, 2, 9)))[0])
    mixed = np.concatenate([nothing, something])
    assert maps.structural_similarity(mixed, mixed) == pytest.approx([NAN, 1], nan_ok=True)
    assert maps.structural_similarity(np.ones((0, 8, 8)), np.ones((0, 8, 8))).shape == (0,)
