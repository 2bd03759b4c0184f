"""How far two saliency maps of the same image agree: pure functions on stacks of maps, a value a map."""

from __future__ import annotations

import numpy as np

from tasks.agreement.measures import spearman

#: side of the window that structural similarity slides over a map, where the map is as large
_WINDOW = 7


def on_one_grid(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both stacks at the coarser resolution, so that neither is credited with detail that it does not have.

    Args:
        a, b: (n, height, width) float, each with a resolution of its own.

    Returns:
        Two stacks (n, h, w) float64: h and w the smaller of the two; averaged where they shrink.
    """
    size = min(a.shape[1], b.shape[1]), min(a.shape[2], b.shape[2])
    return _resized(a, size), _resized(b, size)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of the cells of each map. −1 to 1; NaN where a map is constant.

    Args:
        a, b: (n, h, w) on one grid.
    """
    return spearman(a.reshape(len(a), -1), b.reshape(len(b), -1))


def structural_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity of each pair of maps, each divided by its largest size. −1 to 1; NaN where a map is 0.

    Wang et al., IEEE Trans. Image Processing 13(4), 2004, as scikit-image computes it, with a window of 7 cells or
    the largest odd one that fits; NaN for maps smaller than 3 × 3.

    Args:
        a, b: (n, h, w) on one grid.
    """
    from skimage.metrics import structural_similarity as ssim

    found = np.full(len(a), np.nan)
    window = min(_WINDOW, *a.shape[1:])
    window -= 1 - window % 2
    if window < 3:
        return found
    largest_a, largest_b = np.abs(a).max(axis=(1, 2)), np.abs(b).max(axis=(1, 2))
    for i in np.flatnonzero((largest_a > 0) & (largest_b > 0)):
        x, y = a[i] / largest_a[i], b[i] / largest_b[i]
        if min(x.min(), y.min()) < 0:  # its product of means would call two opposite maps alike: 0 comes to ½
            x, y = (x + 1) / 2, (y + 1) / 2
        found[i] = ssim(x, y, data_range=1.0, win_size=window)
    return found


def _resized(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    maps = maps.astype(np.float64)
    if maps.shape[1:] == size:
        return maps
    height, width = maps.shape[1:]
    if height % size[0] == 0 and width % size[1] == 0:  # whole blocks: their mean, exactly
        blocks = maps.reshape(len(maps), size[0], height // size[0], size[1], width // size[1])
        return blocks.mean(axis=(2, 4))
    from skimage.transform import resize

    return np.stack([resize(one, size, order=1, mode="edge", anti_aliasing=True) for one in maps])
