"""Make the digit scenes: ``python -m data.digit_scenes.make`` in the repository's root.

A scene is a grey 64×64 picture with one handwritten digit at a random place, size, tilt and contrast, among
strokes that mean nothing. Every scene has a random generator of its own, seeded by its split and number, so
any scene can be made again alone. The digits of the test scenes never appear in a training scene.
"""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from data import sources

SEED = 20240
CANVAS = 64
SIZES = (18, 34)  # the longer side of the digit, pixels
TILT = 12.0  # degrees, either way
INK = 16  # below this (of 255) a resized digit's edge counts as no ink
TEST_SHARE = 0.2
REFERENCE_ROWS = 1000

CONTRASTS = {"low": (70, 100), "medium": (120, 160), "high": (190, 230)}  # grey levels above the background
CLUTTERS = {"few": (2, 4), "some": (6, 9), "many": (12, 16)}  # strokes
BACKGROUNDS = (0, 24)
STROKE_LEVELS = (70, 230)

SCHEMA = pa.schema(
    {
        "scene_id": pa.string(),
        "image": pa.binary(),
        "digit": pa.string(),
        "box_left": pa.int64(),
        "box_top": pa.int64(),
        "box_right": pa.int64(),
        "box_bottom": pa.int64(),
        "contrast": pa.string(),
        "clutter": pa.string(),
        "place": pa.string(),
        "source_row": pa.int64(),
    }
)

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """One picture and what is known of it; the box is (left, top, right, bottom), the last two exclusive."""

    pixels: np.ndarray  # (64, 64) uint8
    box: Box
    contrast: str
    clutter: str

    @property
    def place(self) -> str:
        """The quarter of the canvas in which the middle of the box lies."""
        left, top, right, bottom = self.box
        row = "top" if top + bottom < CANVAS else "bottom"
        return f"{row}-{'left' if left + right < CANVAS else 'right'}"


def source_digits(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The 28×28 digits, (n, 28, 28) uint8, and their labels, (n,) int64, from the gzipped CSV."""
    values = np.loadtxt(io.BytesIO(gzip.decompress(content)), delimiter=",", dtype=np.int64)
    return values[:, :-1].reshape(-1, 28, 28).astype(np.uint8), values[:, -1]


def split_rows(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the training digits and of the test digits, shuffled, with the same share of each class."""
    generator = np.random.default_rng(SEED)
    train, test = [], []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        cut = round(len(rows) * TEST_SHARE)
        test.append(rows[:cut])
        train.append(rows[cut:])
    return generator.permutation(np.concatenate(train)), generator.permutation(np.concatenate(test))


def scene(digit: np.ndarray, split: int, number: int) -> Scene:
    """The scene of that number in that split (0 train, 1 test) around the 28×28 digit."""
    generator = np.random.default_rng([SEED, split, number])
    contrast, clutter = generator.choice(list(CONTRASTS)), generator.choice(list(CLUTTERS))
    background = int(generator.integers(*BACKGROUNDS, endpoint=True))
    ink = resized_ink(digit, generator)
    height, width = ink.shape
    left = int(generator.integers(1, CANVAS - width))
    top = int(generator.integers(1, CANVAS - height))
    box = (left, top, left + width, top + height)

    level = int(generator.integers(*CONTRASTS[contrast], endpoint=True))
    count = int(generator.integers(*CLUTTERS[clutter], endpoint=True))
    light = strokes(count, box, generator)
    light[top : top + height, left : left + width] = ink * (level / 255)
    pixels = np.minimum(np.rint(background + light), 255).astype(np.uint8)
    return Scene(pixels, box, str(contrast), str(clutter))


def resized_ink(digit: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The digit tilted, resized and cropped to its ink: float 0–255, no empty row or column at its edges."""
    tilted = Image.fromarray(digit).rotate(generator.uniform(-TILT, TILT), Image.Resampling.BICUBIC)
    cropped = tilted.crop(ink_box(np.asarray(tilted)))
    scale = int(generator.integers(*SIZES, endpoint=True)) / max(cropped.size)
    width, height = (max(1, round(side * scale)) for side in cropped.size)
    ink = np.asarray(cropped.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    ink[ink < INK] = 0
    left, top, right, bottom = ink_box(ink)
    return ink[top:bottom, left:right]


def ink_box(values: np.ndarray) -> Box:
    """The smallest box around all values that count as ink."""
    rows, columns = np.nonzero(values >= INK)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def strokes(count: int, box: Box, generator: np.random.Generator) -> np.ndarray:
    """Light of ``count`` short curved strokes that keep clear of the box: (64, 64) float, grey levels."""
    fine = 4  # drawn four times as large, then averaged, for smooth edges
    picture = Image.new("L", (CANVAS * fine, CANVAS * fine))
    draw = ImageDraw.Draw(picture)
    for curve in clear_curves(count, box, generator):
        level, width = int(generator.integers(*STROKE_LEVELS)), int(generator.integers(5, 11))
        draw.line([tuple(point) for point in np.rint(curve * fine).astype(int).tolist()], level, width)
    return np.asarray(picture.resize((CANVAS, CANVAS), Image.Resampling.BOX)).astype(float)


def clear_curves(count: int, box: Box, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """``count`` quadratic Bézier curves, (12, 2) points (x, y), none nearer to the box than 3 pixels."""
    left, top, right, bottom = box
    t = np.linspace(0, 1, 12)[:, None]
    found = 0
    while found < count:
        start = generator.uniform(0, CANVAS, 2)
        angle, length, bend = (
            generator.uniform(0, 2 * np.pi),
            generator.uniform(5, 13),
            generator.uniform(-7, 7),
        )
        along = np.array([np.cos(angle), np.sin(angle)])
        middle = start + along * length / 2 + np.array([-along[1], along[0]]) * bend
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * (start + along * length)
        x, y = curve.T
        if not ((x > left - 3) & (x < right + 3) & (y > top - 3) & (y < bottom + 3)).any():
            found += 1
            yield curve


def png(pixels: np.ndarray) -> bytes:
    """The picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def scene_table(name: str, split: int, rows: np.ndarray, digits: np.ndarray, labels: np.ndarray) -> pa.Table:
    """One scene for each source row, numbered from 0."""
    records = []
    for number, row in enumerate(rows.tolist()):
        made = scene(digits[row], split, number)
        boxes = dict(zip(("box_left", "box_top", "box_right", "box_bottom"), made.box, strict=True))
        records.append(
            {
                "scene_id": f"{name}-{number:05d}",
                "image": png(made.pixels),
                "digit": str(labels[row]),
                **boxes,
                "contrast": made.contrast,
                "clutter": made.clutter,
                "place": made.place,
                "source_row": row,
            }
        )
    return pa.Table.from_pylist(records, SCHEMA)


def tables(files: dict[str, bytes]) -> dict[str, pa.Table]:
    """The tables to write: every test digit in one scene, and the first training scenes as reference."""
    digits, labels = source_digits(files["mnist_5k.csv.gz"])
    train, test = split_rows(labels)
    return {
        "test.parquet": scene_table("scene", 1, test, digits, labels),
        "reference.parquet": scene_table("train", 0, train[:REFERENCE_ROWS], digits, labels),
    }


if __name__ == "__main__":
    sys.exit(sources.run(Path(__file__).parent, tables, __doc__))
