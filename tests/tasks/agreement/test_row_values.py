"""The faithfulness table: which rows, measures and techniques it has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tasks.agreement.explanations import Explained
from tasks.agreement.judged import Judged
from tasks.agreement.row_values import completeness_error, faithfulness_table
from tasks.contracts import schema_of

OUTPUTS = ("x", "y")
IDS = pa.array(["r1", "r2", "r3"])


def explained(technique: str, output: str, miss: list[float]) -> Explained:
    values = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]])
    return Explained(
        technique, output, IDS, ("f", "g"), values, np.full(3, 0.25), values.sum(1) + 0.25 + np.array(miss)
    )  # fmt: skip


def judged() -> Judged:
    none = np.zeros((3, 2))
    return Judged(none, np.array([0, 1, 0]), np.zeros(3), {"t": none}, {}, lambda *_: none, None, IDS)  # type: ignore[arg-type]


def test_judged_rows_have_the_output_that_they_are_judged_on() -> None:
    scores = {
        ("t", "insertion_minus_deletion"): np.array([0.1, 0.2, 0.3]),
        ("t", "mu_fidelity"): np.array([0.5, np.nan, 0.7]),
        ("t", "entropy"): np.ones(3),
        ("random", "insertion_minus_deletion"): np.zeros(3),
    }
    table = faithfulness_table([], judged(), scores, OUTPUTS, pa.string())
    assert table.schema == schema_of("faithfulness", pa.string())
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("r1", "t", "x", "insertion_minus_deletion", 0.1), ("r2", "t", "y", "insertion_minus_deletion", 0.2),
        ("r3", "t", "x", "insertion_minus_deletion", 0.3), ("r1", "t", "x", "mu_fidelity", 0.5),
        ("r3", "t", "x", "mu_fidelity", 0.7),
    ]  # fmt: skip


def test_completeness_is_of_every_explained_row_and_output_unless_it_holds_by_construction() -> None:
    exact = explained("shap", "x", [0.0, 1e-9, 0.0])
    assert completeness_error(exact) == pytest.approx(np.zeros(3), abs=1e-8)
    lime = [explained("lime", "x", [0.5, -0.25, 0.0]), explained("lime", "y", [0.0, 0.0, 0.0])]
    table = faithfulness_table([exact, *lime], None, {}, OUTPUTS, pa.string())
    assert [(r["row_id"], r["technique"], r["output"], r["value"]) for r in table.to_pylist()] == [
        ("r1", "lime", "x", 0.5), ("r2", "lime", "x", 0.25), ("r3", "lime", "x", pytest.approx(0, abs=1e-12)),
        *((row, "lime", "y", pytest.approx(0, abs=1e-12)) for row in ("r1", "r2", "r3")),
    ]  # fmt: skip
    assert set(table.column("measure").to_pylist()) == {"completeness_error"}


def test_what_has_no_base_value_has_no_completeness() -> None:
    one = explained("smooth_grad", "x", [1.0, 1.0, 1.0])
    without = replace(one, base=np.full(3, np.nan))
    assert faithfulness_table([without], None, {}, OUTPUTS, pa.string()).num_rows == 0
    some = replace(one, base=np.array([np.nan, 0.25, 0.25]))
    assert faithfulness_table([some], None, {}, OUTPUTS, pa.string()).column("row_id").to_pylist() == ["r2", "r3"]
    gone = replace(one, base=np.array([np.nan, 0.25, 0.25]), prediction=np.array([1.0, np.nan, np.nan]))
    assert faithfulness_table([gone], None, {}, OUTPUTS, pa.string()).num_rows == 0


def test_nothing_explained() -> None:
    table = faithfulness_table([], None, {}, OUTPUTS, pa.int64())
    assert (table.num_rows, table.schema) == (0, schema_of("faithfulness", pa.int64()))
