"""How much an explanation asks of its reader: pure functions on attributions (n, p), a value a row."""

from __future__ import annotations

import numpy as np


def entropy(attributions: np.ndarray) -> np.ndarray:
    """Entropy −Σ p ln p of the shares p = |attribution| / Σ |attribution|, in nats.

    0 (one feature has it all) to ln of the number of features; lower is simpler; undefined where all are 0. Source:
    Bhatt, Weller and Moura, IJCAI 2020, definition 3.4 (Quantus' Complexity).
    """
    share = _shares(attributions)
    return -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1) + 0.0


def gini(attributions: np.ndarray) -> np.ndarray:
    """Gini index of the attributions' sizes. 0 (all equal) to 1 − 1/p (one has it all); higher is sparser.

    Undefined where all are 0. Source: Chalasani et al., Concise explanations of neural networks using adversarial
    training, ICML 2020 (Quantus' Sparseness).
    """
    share = np.sort(_shares(attributions), axis=1)
    p = share.shape[1]
    return (share * (2 * np.arange(1, p + 1) - p - 1)).sum(axis=1) / p


def _shares(attributions: np.ndarray) -> np.ndarray:
    size = np.abs(attributions)
    total = size.sum(axis=1, keepdims=True)
    return np.divide(size, total, out=np.full(size.shape, np.nan), where=total > 0)
