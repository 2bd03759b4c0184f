from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.bias.rows.memo import Memo


def test_a_value_is_made_once() -> None:
    memo, made = Memo(), []
    for _ in range(3):
        assert memo.get("a", lambda: made.append(1) or len(made)) == 1


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    memo, made = Memo(limit=200), []

    def array(name: str) -> np.ndarray:
        return memo.get(name, lambda: made.append(name) or np.zeros(10))  # 80 bytes

    for name in ("a", "b", "a", "c", "a", "b"):
        array(name)
    assert made == ["a", "b", "c", "b"]


def test_what_is_too_large_is_not_kept() -> None:
    memo, made = Memo(limit=100), []
    for _ in range(2):
        memo.get("small", lambda: made.append("small") or np.zeros(10))
        memo.get("large", lambda: made.append("large") or np.zeros(100))
    assert made == ["small", "large", "large"]


def test_arrays_in_tuples_and_records_count() -> None:
    @dataclass(frozen=True)
    class Record:
        x: np.ndarray
        y: tuple[np.ndarray, str]

    memo, made = Memo(limit=300), []
    for _ in range(2):
        memo.get("record", lambda: made.append("record") or Record(np.zeros(10), (np.zeros(20), "text")))
        memo.get("other", lambda: made.append("other") or np.zeros(10))
    assert made == ["record", "other", "record", "other"]


def test_a_value_may_be_made_of_others() -> None:
    memo = Memo()
    assert memo.get("sum", lambda: memo.get("part", lambda: 2) + memo.get("part", lambda: 3)) == 4
