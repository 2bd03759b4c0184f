"""Heat maps over images, as PNG: the image as the model saw it beside the same in grey with the map on it.

Colour never carries the message alone: a map that is never negative gets a line around its upper half, and hue and
opacity rise together. The hues (orange for, blue against) are told apart with every common form of colour blindness,
and in grey orange is light and blue is dark. Superpixels are outlined, those that speak against are hatched too, and a
thick line surrounds the strongest.
"""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

#: pixels of a panel's longer side, at least and at most
SMALLEST, LARGEST = 256, 512
GAP = 8
#: pixels from one stripe of a hatching to the next
HATCH = 6

#: what a report writes under the overlays
CAPTION = (
    "Left: the image as the model saw it. Right: the same in grey under the map, from nothing (grey) to the map's own"
    " maximum (yellow); the white line surrounds where it is at least half of that."
)
CAPTION_SUPERPIXELS = (
    "Left: the image as the model saw it. Right: the same in grey, cut into superpixels along the thin lines. Plain"
    " orange speaks for the output, hatched blue against it, the stronger the more opaque; a thick white line surrounds"
    " those at least half as strong as the strongest."
)
CAPTION_SIGNED = (
    "Left: the image as the model saw it. Right: the same in grey under the map: orange speaks for the output, blue"
    " against it, the stronger the more opaque. Each map has its own scale, up to the 99.5th percentile of its size."
)
CAPTION_BOX = "The dashed frame is the recorded box of the object."


def resize_matrix(target: int, source: int) -> np.ndarray:
    """(target, source) float64: bilinear interpolation along one axis, pixel centres at half a pixel, edges repeated.

    Rows add up to 1; the identity where target and source are equal.
    """
    centres = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    left = np.minimum(np.floor(centres).astype(int), max(source - 2, 0))
    share = centres - left
    matrix = np.zeros((target, source))
    matrix[np.arange(target), left] += 1 - share
    if source > 1:
        matrix[np.arange(target), left + 1] += share
    return matrix


def upsampled(heat: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map, (h, w), bilinearly at another resolution, (height, width) float64."""
    h, w = heat.shape
    return resize_matrix(height, h) @ heat.astype(np.float64) @ resize_matrix(width, w).T


def panel_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of a panel: a whole multiple for small images, so that a pixel stays a square; less for large."""
    longer = max(height, width)
    if longer <= LARGEST:
        factor = -(-SMALLEST // longer) if longer < SMALLEST else 1
        return height * factor, width * factor
    return max(1, round(height * LARGEST / longer)), max(1, round(width * LARGEST / longer))


def overlay(
    image: np.ndarray,
    heat: np.ndarray,
    *,
    signed: bool,
    box: np.ndarray | None = None,
    segments: np.ndarray | None = None,
) -> bytes:
    """A PNG with the image and its overlay side by side.

    Args:
        image: (h, w, c), 0–255; three or four channels are shown in colour (not the fourth, opacity), else grey.
        heat: (h', w') of any resolution, finite; ≥ 0 unless signed.
        signed: negative values speak against.
        box: (4,) left, top, right, bottom in pixels of image, or None.
        segments: (h, w) ints, superpixels in each of which heat, then (h, w) too, has one value; or None.

    Returns:
        The file's bytes; the same bytes for the same input and libraries.
    """
    from PIL import Image

    height, width = panel_size(*image.shape[:2])
    seen = _picture(image, height, width)
    grey = np.asarray(seen.convert("L"), np.float64)[..., None] / 255
    # Kept in the middle of the range, so that colour is seen on black as on white.
    under = 0.12 + 0.66 * np.repeat(grey, 3, axis=2)
    strength = upsampled(heat, height, width) if segments is None else _nearest(heat, height, width)
    colour, opacity = _signed_colour(strength, heat) if signed else _heat_colour(strength, heat)
    if segments is not None:
        colour = _hatched(colour, strength)
    over = under * (1 - opacity[..., None]) + colour * opacity[..., None]
    if segments is not None:
        over = _outlined(over, _nearest(segments, height, width), strength)
    elif not signed:
        over[_outline(strength, heat)] = 1.0
    right = Image.fromarray((over * 255 + 0.5).astype(np.uint8))
    if box is not None and np.isfinite(box).all():
        scale = np.array([width / image.shape[1], height / image.shape[0]] * 2)
        for panel in (seen, right):
            _frame(panel, np.asarray(box) * scale)
    sheet = Image.new("RGB", (2 * width + GAP, height), "white")
    sheet.paste(seen, (0, 0))
    sheet.paste(right, (width + GAP, 0))
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _picture(image: np.ndarray, height: int, width: int) -> Image.Image:
    from PIL import Image

    pixels = image[..., :3] if image.shape[2] >= 3 else np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    picture = Image.fromarray((np.clip(np.nan_to_num(pixels), 0, 255) + 0.5).astype(np.uint8))
    smaller = height < image.shape[0]
    return picture.resize((width, height), Image.Resampling.BOX if smaller else Image.Resampling.NEAREST)


def _heat_colour(strength: np.ndarray, heat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from matplotlib import colormaps

    top = float(heat.max(initial=0.0))
    share = np.clip(strength / top, 0, 1) if top > 0 else np.zeros_like(strength)
    colour = colormaps["plasma"](0.15 + 0.85 * share)[..., :3]
    return colour, 0.72 * np.clip(share / 0.5, 0, 1)


def _signed_colour(strength: np.ndarray, heat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = np.abs(heat)
    # Pixel maps have a few values that dwarf the rest; without the percentile the others would not be seen.
    top = float(np.percentile(size, 99.5)) or float(size.max(initial=0.0))
    share = np.clip(strength / top, -1, 1) if top > 0 else np.zeros_like(strength)
    orange, blue = np.array([1.0, 0.68, 0.20]), np.array([0.05, 0.30, 0.95])
    colour = np.where((share > 0)[..., None], orange, blue)
    return colour, 0.95 * np.abs(share) ** 0.7


def _outline(strength: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """(h, w) bool: the rim of where the map reaches half of its maximum; nothing where it is flat."""
    top = float(heat.max(initial=0.0))
    if top <= 0 or float(heat.min()) == top:
        return np.zeros(strength.shape, bool)
    return _rim(strength >= top / 2)


def _rim(inside: np.ndarray) -> np.ndarray:
    """(h, w) bool: what is inside beside something that is not; the edge of the picture is no rim."""
    around = np.pad(inside, 1, mode="edge")
    return inside & ~(around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:])


def _nearest(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w) at another resolution, (height, width), no two mixed."""
    rows, columns = (
        np.minimum(((np.arange(target) + 0.5) * source / target).astype(int), source - 1)
        for target, source in ((height, values.shape[0]), (width, values.shape[1]))
    )
    return values[rows[:, None], columns[None, :]]


def _hatched(colour: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """The colours, (h, w, 3), with pale diagonal stripes where the strength is negative: seen in grey too."""
    rows, columns = np.indices(strength.shape)
    stripes = (rows + columns) % HATCH < HATCH // 3
    return np.where(((strength < 0) & stripes)[..., None], 0.25 * colour + 0.75, colour)


def _outlined(over: np.ndarray, segments: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """The picture with a thin line between superpixels, and a thick white one around those of at least half the top."""
    over = over.copy()
    between = np.zeros(segments.shape, bool)
    between[1:] |= segments[1:] != segments[:-1]
    between[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    over[between] = 0.5 * over[between] + 0.25
    top = float(np.abs(strength).max(initial=0.0))
    if top > 0:
        for sign in (1, -1):
            strong = sign * strength >= top / 2
            rim = _rim(strong)
            over[rim | (_rim(strong & ~rim) & strong)] = 1.0
    return over


def _frame(panel: Image.Image, box: np.ndarray, dash: int = 6) -> None:
    """Draws a dashed frame, white on black, on the outer side of a box in pixels of the panel."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(panel)
    left, top, right, bottom = (round(float(edge)) for edge in box)
    corners = ((left - 1, top - 1), (right, top - 1), (right, bottom), (left - 1, bottom), (left - 1, top - 1))
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        draw.line((x0, y0, x1, y1), fill="black", width=3)
        length = max(abs(x1 - x0), abs(y1 - y0))
        for start in range(0, length, 2 * dash):
            a, b = start / length, min(start + dash, length) / length
            ends = (x0 + (x1 - x0) * a, y0 + (y1 - y0) * a, x0 + (x1 - x0) * b, y0 + (y1 - y0) * b)
            draw.line(ends, fill="white", width=1)
