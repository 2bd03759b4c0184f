"""Overlays: files that decode, sizes, colours that say what they should, and the geometry of boxes and maps."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tasks.explain.engine.overlays import GAP, overlay, panel_size, resize_matrix, upsampled


def panels(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Left and right, (h, w, 3) int."""
    sheet = Image.open(io.BytesIO(content))
    assert (sheet.format, sheet.mode) == ("PNG", "RGB")
    pixels = np.asarray(sheet).astype(int)
    width = (pixels.shape[1] - GAP) // 2
    assert (pixels[:, width : width + GAP] == 255).all()
    return pixels[:, :width], pixels[:, width + GAP :]


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (1, 1, (256, 256)), (64, 64, (256, 256)), (96, 96, (288, 288)), (28, 28, (280, 280)), (255, 10, (510, 20)),
        (256, 256, (256, 256)), (512, 300, (512, 300)), (1024, 512, (512, 256)), (3000, 2, (512, 1)),
    ],
)  # fmt: skip
def test_panel_size(height: int, width: int, expected: tuple[int, int]) -> None:
    assert panel_size(height, width) == expected


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (64, 64), (600, 700)])
@pytest.mark.parametrize("signed", [True, False])
def test_every_form_of_image(
    channels: int, size: tuple[int, int], signed: bool, pictures: Callable[..., np.ndarray]
) -> None:
    image = pictures(1, (*size, channels))[0]
    heat = np.random.default_rng(1).normal(size=(3, 4)) if signed else np.random.default_rng(1).random((3, 4))
    left, right = panels(overlay(image, heat, signed=signed, box=np.array([0, 0, 2, 2])))
    assert left.shape == right.shape == (*panel_size(*size), 3)


def test_left_is_the_image_pixel_by_pixel() -> None:
    image = np.arange(64, dtype=np.float32).reshape(8, 8, 1) * 4
    left, _ = panels(overlay(image, np.zeros((2, 2)), signed=False))
    assert (left[::32, ::32, 0] == image[..., 0]).all()
    assert (left == left[..., :1]).all()


def test_colour_image_keeps_its_colours_on_the_left_and_loses_them_on_the_right() -> None:
    image = np.zeros((4, 4, 3), np.float32)
    image[..., 0] = 200
    left, right = panels(overlay(image, np.zeros((1, 1)), signed=False))
    assert (left == [200, 0, 0]).all()
    assert (right == right[..., :1]).all()


def test_largest_place_is_the_most_coloured() -> None:
    heat = np.zeros((8, 8))
    heat[1, 6] = 3
    _, right = panels(overlay(np.full((64, 64, 1), 120.0), heat, signed=False))
    colourful = right.max(axis=2) - right.min(axis=2)
    row, column = np.unravel_index(colourful.argmax(), colourful.shape)
    assert (row // 32, column // 32) == (1, 6)
    assert colourful[200:, :100].max() == 0  # no heat, no colour


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_signs_are_orange_and_blue_whatever_the_unit(size: float) -> None:
    _, right = panels(overlay(np.full((64, 64, 1), 120.0), np.array([[size, 0, -size]]), signed=True))
    red, _, blue = right[128, 20]
    assert red > blue + 100
    red, _, blue = right[128, 235]
    assert blue > red + 100


def test_few_large_values_do_not_hide_the_rest() -> None:
    heat = np.full((64, 64), 1.0)
    heat[0, 0] = 1e6
    _, right = panels(overlay(np.full((64, 64, 1), 120.0), heat, signed=True))
    assert right[128, 128, 0] > right[128, 128, 2] + 100


@pytest.mark.parametrize("signed", [True, False])
def test_empty_map_shows_grey_alone(signed: bool) -> None:
    _, right = panels(overlay(np.full((16, 16, 1), 200.0), np.zeros((4, 4)), signed=signed))
    assert (right == right[0, 0]).all()
    assert right[0, 0, 0] == right[0, 0, 2]


def test_half_of_the_maximum_is_outlined() -> None:
    heat = np.zeros((8, 8))
    heat[:, 4:] = 1.0
    _, right = panels(overlay(np.zeros((64, 64, 1)), heat, signed=False))
    white = (right == 255).all(axis=2)
    assert set(np.flatnonzero(white.any(axis=0))) == {128}


def test_box_is_drawn_around_its_pixels_on_both_sides() -> None:
    content = overlay(np.full((64, 64, 1), 90.0), np.zeros((4, 4)), signed=False, box=np.array([8, 16, 24, 40]))
    for panel in panels(content):
        white = (panel == 255).all(axis=2)
        rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16 * 4 - 1, 40 * 4, 8 * 4 - 1, 24 * 4)


# ---------------------------------------------------------------- superpixels

#: four quarters of an image of 8 × 8
QUARTERS = np.kron(np.array([[0, 1], [2, 3]]), np.ones((4, 4), int))


def quarters(weights: list[float], level: float = 90.0) -> np.ndarray:
    """The right panel, (256, 256, 3), for weights of the upper left, upper right, lower left, lower right quarter."""
    heat = np.array(weights)[QUARTERS]
    content = overlay(np.full((8, 8, 1), level), heat, signed=True, segments=QUARTERS)
    return panels(content)[1]


def test_superpixels_are_outlined_on_their_borders_alone() -> None:
    right = quarters([0, 0, 0, 0])
    other = (right != right[10, 10]).any(axis=2)
    assert set(np.flatnonzero(other.all(axis=0))) == {128}
    assert set(np.flatnonzero(other.all(axis=1))) == {128}
    assert other.sum() == 256 * 2 - 1


@pytest.mark.parametrize("level", [0.0, 90.0, 255.0])
def test_the_sign_of_a_superpixel_is_seen_in_grey(level: float) -> None:
    """For is plain, against is striped, whatever the picture; and for is lighter between the stripes."""
    right = quarters([1, 0, 0, -1], level)
    grey = right @ np.array([0.2126, 0.7152, 0.0722])
    plain, striped = grey[20:100, 20:100], grey[150:230, 150:230]
    assert np.ptp(plain) < 1
    assert np.ptp(striped) > 60
    assert plain.mean() > np.median(striped) + 40


def test_the_strength_of_a_superpixel_is_its_colour() -> None:
    right = quarters([1, 0.4, -0.4, -1])
    spread = np.ptp(right, axis=2)
    at = [spread[20:100, 20:100], spread[20:100, 150:230], spread[150:230, 20:100], spread[150:230, 150:230]]
    strong, weak, weak_against, strong_against = (np.median(part) for part in at)
    assert strong > weak + 40
    assert strong_against > weak_against + 40
    assert weak > 20
    assert weak_against > 20


def test_the_strongest_superpixels_have_a_thick_white_line() -> None:
    white = (quarters([1, 0.4, -0.6, 0]) == 255).all(axis=2)
    assert white[:128, 126:128].all()  # right rim of the upper left quarter
    assert white[126:130, :128].all()  # between it and the quarter below, which speaks against
    assert white[128:, 126:128].all()
    assert not white[:, 130:].any()
    assert not white[20:100, 20:100].any()


def test_superpixels_of_a_large_image_are_not_blurred(pictures: Callable[..., np.ndarray]) -> None:
    segments = np.zeros((600, 1030), int)
    segments[:, 700:] = 1
    right = panels(overlay(pictures(1, (600, 1030, 3))[0], segments * 1.0, signed=True, segments=segments))[1]
    assert right.shape == (*panel_size(600, 1030), 3)
    assert ((right == 255).all(axis=2).any(axis=0)).sum() == 2


@pytest.mark.parametrize(
    "box", [[np.nan] * 4, [0, 0, 0, 0], [-50, -50, 500, 500], [30, 30, 10, 10], [63.5, 63.5, 64, 64]]
)
def test_odd_boxes_do_no_harm(box: list[float]) -> None:
    left, _ = panels(overlay(np.full((64, 64, 1), 90.0), np.zeros((4, 4)), signed=False, box=np.array(box)))
    assert left.shape == (256, 256, 3)


def test_same_bytes_for_the_same_input(pictures: Callable[..., np.ndarray]) -> None:
    image, heat = pictures(1, (32, 32, 3))[0], np.random.default_rng(0).random((4, 4)).astype(np.float32)
    assert overlay(image, heat, signed=False) == overlay(image, heat, signed=False)


def test_damaged_pixels_do_not_stop_it() -> None:
    image = np.array([[np.nan, np.inf], [-5, 300]], np.float32)[..., None]
    left, _ = panels(overlay(image, np.zeros((1, 1)), signed=True))
    assert left[0, 0, 0] == 0
    assert left[-1, -1, 0] == 255


@pytest.mark.parametrize(("target", "source"), [(1, 1), (7, 1), (64, 8), (10, 3), (5, 5), (4, 9)])
def test_resize_matrix(target: int, source: int) -> None:
    matrix = resize_matrix(target, source)
    assert matrix.shape == (target, source)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    if target == source:
        np.testing.assert_array_equal(matrix, np.eye(source))


def test_upsampled_equals_tensorflow() -> None:
    tf = pytest.importorskip("tensorflow")
    heat = np.random.default_rng(0).random((7, 5)).astype(np.float32)
    expected = tf.image.resize(heat[None, ..., None], (64, 33), method="bilinear").numpy()[0, ..., 0]
    np.testing.assert_allclose(upsampled(heat, 64, 33), expected, atol=1e-6)
