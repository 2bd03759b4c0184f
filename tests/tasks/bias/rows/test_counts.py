from __future__ import annotations

import numpy as np
import pytest

import tasks.bias.rows.counts
from tasks.bias.rows.counts import CELLS, Counts, merged

GROUP = np.array([0, 0, 0, 1, 1, 1, 1])
LABEL = np.array([0, 1, -1, 2, 2, 1, -1])
DECISION = np.array([0, 0, 1, 2, -1, 1, -1])
WEIGHT = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0])


def _as_dict(counts: Counts) -> dict[tuple[int, int, int], tuple[int, float, float]]:
    return {
        (g, y, d): (r, w, s)
        for g, y, d, r, w, s in zip(
            counts.group, counts.label, counts.decision, counts.rows, counts.weight, counts.square, strict=True
        )
    }


def test_cells_hold_rows_weights_and_squares() -> None:
    found = _as_dict(Counts.of(GROUP, 2, LABEL, DECISION, WEIGHT))
    assert found == {
        (0, 0, 0): (1, 1, 1), (0, 1, 0): (1, 2, 4), (0, -1, 1): (1, 3, 9), (1, 2, 2): (1, 4, 16),
        (1, 2, -1): (1, 5, 25), (1, 1, 1): (1, 6, 36), (1, -1, -1): (0, 0, 0),
    }  # fmt: skip


def test_a_question_sorts_the_cells() -> None:
    table = Counts.of(GROUP, 2, LABEL, DECISION, None).asked([1, 2])
    named = [{cell: int(n) for cell, n in zip(CELLS, row, strict=True) if n} for row in table.rows]
    assert named == [{"00": 1, "10": 1, "?1": 1}, {"11": 2, "1?": 1, "??": 1}]


def test_correct_asks_for_equality() -> None:
    table = Counts.of(GROUP, 2, LABEL, DECISION, None).correct()
    named = [{cell: int(n) for cell, n in zip(CELLS, row, strict=True) if n} for row in table.rows]
    assert named == [{"10": 1, "11": 1, "?0": 1}, {"11": 2, "1?": 1, "??": 1}]


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_parts_add_up(weight: np.ndarray | None) -> None:
    whole = Counts.of(GROUP, 2, LABEL, DECISION, weight)
    parts = [
        Counts.of(GROUP[s], 2, LABEL[s], DECISION[s], None if weight is None else weight[s])
        for s in (slice(0, 2), slice(2, 5), slice(5, 7))
    ]
    assert _as_dict(merged(parts)) == _as_dict(whole)


def test_many_classes_need_no_dense_table() -> None:
    rng = np.random.default_rng(0)
    label, decision = rng.integers(0, 5000, 300), rng.integers(0, 5000, 300)
    counts = Counts.of(np.zeros(300, int), 1, label, decision, None)
    assert counts.rows.sum() == 300
    assert len(counts.rows) <= 300
    assert counts.correct().rows[0, CELLS.index("11")] == (label == decision).sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_a_dense_and_a_sparse_table_are_the_same(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    group, label, decision = (rng.integers(low, 4, 500).astype(np.int32) for low in (0, -1, -1))
    weight = rng.random(500) * (rng.random(500) > 0.1) if weighted else None
    dense = Counts.of(group, 4, label, decision, weight)
    monkeypatch.setattr(tasks.bias.rows.counts, "_SMALL", 0)
    many = Counts.of(group * 100, 400, label, decision, weight)  # more cells than four times the rows
    assert {(g // 100, y, d): cell for (g, y, d), cell in _as_dict(many).items()} == _as_dict(dense)
    for k, (g, y, d) in enumerate(zip(dense.group, dense.label, dense.decision, strict=True)):
        own = (group == g) & (label == y) & (decision == d)
        assert dense.rows[k] == (own.sum() if weight is None else (weight[own] > 0).sum())


def test_codes_of_few_bytes_do_not_overflow() -> None:
    group = np.array([9_999, 0, 9_999], np.int16)
    counts = Counts.of(group, 10_000, np.array([100, 0, -1], np.int8), np.array([120, -1, 120], np.int8), None)
    assert _as_dict(counts) == {(0, 0, -1): (1, 1, 1), (9_999, -1, 120): (1, 1, 1), (9_999, 100, 120): (1, 1, 1)}


def test_kish() -> None:
    table = Counts.of(np.zeros(3, int), 1, np.ones(3, int), np.ones(3, int), np.array([1.0, 1.0, 2.0])).asked([1])
    assert table.effective(np.ones(9)) == pytest.approx(16 / 6)
