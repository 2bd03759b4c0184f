from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from tasks.bias.rows import loop_bodies, loops

RNG = np.random.default_rng(0)
N, GROUPS = 500, 4
CODES = RNG.integers(0, GROUPS, N)
X = np.where(np.arange(N) % 17 == 0, np.nan, RNG.normal(size=N))
WEIGHT = np.where(np.arange(N) % 13 == 0, 0.0, RNG.random(N))


def test_every_loop_has_its_signature() -> None:
    tree = ast.parse(Path(loop_bodies.__file__).read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert set(functions) == set(loop_bodies.SIGNATURES)
    for name, function in functions.items():
        assert len(function.args.args) == len(loop_bodies.SIGNATURES[name].split()), name


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_moments_are_those_of_numpy(weight: np.ndarray | None) -> None:
    sums, off = loops.moments(CODES, X, weight, GROUPS)
    w = np.ones(N) if weight is None else weight
    for g in range(GROUPS):
        own = (g == CODES) & np.isfinite(X) & (w > 0)
        x, v = X[own], w[own]
        assert sums[:, g] == pytest.approx([own.sum(), v.sum(), (v**2).sum(), v @ x], rel=1e-13)
        assert off[g] == pytest.approx(((v * (x - np.average(x, weights=v))) ** 2).sum(), rel=1e-12)


def test_a_group_without_rows_has_sums_of_zero() -> None:
    sums, off = loops.moments(np.zeros(3, int), np.ones(3), None, 2)
    assert sums[:, 1].tolist() == [0, 0, 0, 0]
    assert off[1] == 0


@pytest.mark.parametrize("codes", [[0, 2], [-1, 0]])
def test_a_group_that_is_not_there_is_refused(codes: list[int]) -> None:
    with pytest.raises(IndexError, match="a group beyond the 2 that there are"):
        loops.moments(np.array(codes), np.ones(2), None, 2)


def test_offsets_do_not_cancel() -> None:
    """A mean of 10⁹ with a spread of one: the sum of squares less the square of the sum would be noise."""
    x = 1e9 + np.array([-1.0, 0.0, 1.0])
    assert loops.moments(np.zeros(3, int), x, None, 1)[1][0] == pytest.approx(2.0)


def test_tallies_leave_out_what_is_in_no_bin() -> None:
    cell = np.array([0, 1, 1, loops.NO_BIN], np.uint8)
    weight = np.array([1.0, 2.0, 0.0, 4.0])
    found = loops.tally(np.array([0, 0, 1, 1]), cell, np.array([0.5, 0.25, 1.0, 1.0]), weight, (2, 2))
    assert found[0].tolist() == [[1, 1], [0, 0]]
    assert found[1].tolist() == [[1, 2], [0, 0]]
    assert found[2].tolist() == [[1, 4], [0, 0]]
    assert found[3].tolist() == [[0.5, 0.5], [0, 0]]


def test_what_is_read_may_be_read_only() -> None:
    x = X.copy()
    x.setflags(write=False)
    assert np.array_equal(loops.moments(CODES, x, None, GROUPS)[0], loops.moments(CODES, X, None, GROUPS)[0])


def test_curves_at_steps_are_those_of_interpolation() -> None:
    tables = RNG.integers(0, 9, (20, 12)).astype(float)
    tables[:, :2] += 1
    drawn = loops.curves_at(tables, 11)
    for row, curve in zip(tables, drawn, strict=True):
        down, up = row[::2].cumsum() / row[::2].sum(), row[1::2].cumsum() / row[1::2].sum()
        for x, y in zip(np.linspace(0, 1, 11)[1:-1], curve[1:-1], strict=True):
            k = int(np.searchsorted(down, x))  # the first point that reaches x
            x0, y0 = (down[k - 1], up[k - 1]) if k else (0.0, 0.0)
            assert y == pytest.approx(y0 + (up[k] - y0) * (x - x0) / (down[k] - x0))
    assert np.isnan(loops.curves_at(np.array([[0.0, 1.0]]), 3)).all()


def test_extents_are_by_label() -> None:
    hit = np.array([1, 0, 1, -1, 0], np.int8)
    ends, rows = loops.extents(np.zeros(5, int), np.array([2.0, -1.0, 5.0, 9.0, 0.0]), hit, None, 2)
    assert ends[:, :, 0].tolist() == [[-1, 0], [2, 5]]
    assert rows[:, 0].tolist() == [2, 2]
    assert np.isinf(ends[:, :, 1]).all()


def test_nearest_rows_are_those_of_scikit_learn() -> None:
    from sklearn.neighbors import NearestNeighbors

    numbers, codes = RNG.normal(size=(700, 3)), RNG.integers(0, 4, (700, 2))
    hot = np.concatenate([numbers, *(np.eye(4)[codes[:, j]] for j in range(2))], axis=1)
    theirs = NearestNeighbors(n_neighbors=5, algorithm="ball_tree").fit(hot[:400]).kneighbors(hot)[1]
    assert np.array_equal(loops.nearest(numbers[:400], codes[:400], numbers, codes, 5), theirs)


def test_of_equally_near_rows_the_first_come_first() -> None:
    same = np.zeros((6, 1))
    assert loops.nearest(same, np.zeros((6, 0), int), same[:1], np.zeros((1, 0), int), 3).tolist() == [[0, 1, 2]]
