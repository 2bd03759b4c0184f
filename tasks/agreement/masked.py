"""The model's output with some players away: what every measure of faithfulness asks for.

A player is away where its values come from elsewhere: for a table from the background rows, the output being the mean
over them (as interventional Shapley values mean it); for an image from the mean background image, cell by cell.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: rows (n, …), present (n, s, g) bool, output (n,) index of each row's output → (n, s) float64 outputs
Masked = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
#: rows or images → (n, k) outputs
Predict = Callable[[np.ndarray], np.ndarray]

#: rows of a table that are made and evaluated at once, and numbers in them
_ROWS, _CELLS = 65_536, 2**24
#: numbers of images that are made at once
_PIXELS = 2**23


def masked_table(predict: Predict, background: np.ndarray, membership: np.ndarray) -> Masked:
    """Players of a table: features, or features bound together.

    Args:
        predict: (n, d) coded rows → (n, k) outputs.
        background: (b, d).
        membership: (g, d) bool, which columns a player has; each column has one player.
    """
    owner = membership.argmax(axis=0)
    b, d = background.shape

    def outputs(rows: np.ndarray, present: np.ndarray, output: np.ndarray) -> np.ndarray:
        n, s, g = present.shape
        found = np.empty(n * s)
        shown = present.reshape(n * s, g)
        step = max(1, min(_ROWS, _CELLS // max(1, d)) // b)
        for start in range(0, n * s, step):
            pairs = np.arange(start, min(start + step, n * s))
            mixed = np.where(shown[pairs][:, None, owner], rows[pairs // s][:, None, :], background[None])
            values = predict(mixed.reshape(-1, d)).reshape(len(pairs), b, -1).mean(axis=1)
            found[pairs] = values[np.arange(len(pairs)), output[pairs // s]]
        return found.reshape(n, s)

    return outputs


def masked_image(predict: Predict, behind: np.ndarray, cells: np.ndarray) -> Masked:
    """Players of an image: cells of a grid.

    Args:
        predict: (n, h, w, c) images → (n, k) outputs.
        behind: (h, w, c) what shows where a cell is away.
        cells: (h, w) int64, the cell of each pixel.
    """

    def outputs(rows: np.ndarray, present: np.ndarray, output: np.ndarray) -> np.ndarray:
        n, s, g = present.shape
        found = np.empty(n * s)
        shown = present.reshape(n * s, g)
        step = max(1, _PIXELS // behind.size)
        for start in range(0, n * s, step):
            pairs = np.arange(start, min(start + step, n * s))
            mixed = np.where(shown[pairs][:, cells, None], rows[pairs // s], behind[None])
            found[pairs] = predict(mixed)[np.arange(len(pairs)), output[pairs // s]]
        return found.reshape(n, s)

    return outputs


def grid_cells(height: int, width: int, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A grid of up to side × side cells over an image: (h, w) int64 cell of each pixel, and the grid's size."""
    rows, columns = min(side, height), min(side, width)
    down, across = np.arange(height) * rows // height, np.arange(width) * columns // width
    return down[:, None] * columns + across[None, :], (rows, columns)
