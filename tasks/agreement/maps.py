"""How far two saliency maps of the same image agree: pure functions on stacks of maps, a value a map."""

from __future__ import annotations

import numpy as np

#: side of the window that structural similarity slides over a map, where the map is as large
_WINDOW = 7
#: what keeps a flat window from a division by nothing: (0.01 · range)², (0.03 · range)²
_C1, _C2 = 0.01**2, 0.03**2


def structural_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity of each pair of maps, each divided by its largest size. −1 to 1; NaN where a map is 0.

    Wang et al., IEEE Trans. Image Processing 13(4), 2004, with the window and constants of scikit-image: 7 cells, or
    the largest odd window that fits; NaN for maps smaller than 3 × 3. All pairs at once.

    Args:
        a, b: (n, h, w) on one grid.
    """
    from scipy.ndimage import uniform_filter

    found = np.full(len(a), np.nan)
    window = min(_WINDOW, *a.shape[1:])
    window -= 1 - window % 2
    if window < 3:
        return found
    largest_a, largest_b = np.abs(a).max(axis=(1, 2)), np.abs(b).max(axis=(1, 2))
    shown = np.flatnonzero((largest_a > 0) & (largest_b > 0))
    if not len(shown):
        return found
    x, y = a[shown] / largest_a[shown, None, None], b[shown] / largest_b[shown, None, None]
    # The product of means would call two opposite maps alike: where there are negative values, 0 comes to a half.
    signed = np.minimum(x.min(axis=(1, 2)), y.min(axis=(1, 2))) < 0
    x[signed], y[signed] = (x[signed] + 1) / 2, (y[signed] + 1) / 2

    def mean(values: np.ndarray) -> np.ndarray:
        edge = window // 2  # windows that reach beyond the map do not count
        return uniform_filter(values, size=(1, window, window))[:, edge:-edge, edge:-edge]

    mean_x, mean_y = mean(x), mean(y)
    unbiased = window**2 / (window**2 - 1)
    var_x, var_y = unbiased * (mean(x * x) - mean_x**2), unbiased * (mean(y * y) - mean_y**2)
    covariance = unbiased * (mean(x * y) - mean_x * mean_y)
    top = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    bottom = (mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2)
    found[shown] = (top / bottom).mean(axis=(1, 2))
    return found


def resized(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, height, width) maps at another size, float64: averaged where they shrink, straight lines where they grow."""
    maps = maps.astype(np.float64)
    if maps.shape[1:] == size:
        return maps
    height, width = maps.shape[1:]
    if height % size[0] == 0 and width % size[1] == 0:  # whole blocks: their mean, exactly
        blocks = maps.reshape(len(maps), size[0], height // size[0], size[1], width // size[1])
        return blocks.mean(axis=(2, 4))
    from skimage.transform import resize

    return np.stack([resize(one, size, order=1, mode="edge", anti_aliasing=True) for one in maps])
