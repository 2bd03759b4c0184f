"""Faithfulness by group, from the table that the techniques' judges write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from tasks.bias.families.fidelity import mean_faithfulness
from tasks.bias.measure import Of
from tasks.bias.rows.groups import Attribute, everyone
from tasks.errors import Incomplete
from tasks.persist.store import Workspace

RNG = np.random.default_rng(3)
N = 100
G = Attribute("g", ("a", "b", "c"), (np.arange(N) % 2).astype(np.int32))
JUDGED = np.sort(RNG.choice(N, 60, replace=False))
IDS = pa.array(np.arange(N))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "x")


def write(workspace: Workspace, *parts: tuple[str, str, list | np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Parts: technique, measure, output(s), rows, values."""
    tables = [
        pa.table({
            "row_id": rows, "technique": [technique] * len(rows), "measure": [measure] * len(rows),
            "output": [output] * len(rows) if isinstance(output, str) else output, "value": values,
        })
        for technique, measure, output, rows, values in parts
    ]  # fmt: skip
    workspace.write_table("faithfulness", pa.concat_tables(tables))


def test_means_by_group(workspace: Workspace) -> None:
    values, errors = RNG.normal(size=60), RNG.random(N)
    write(workspace, ("shap", "insertion_minus_deletion", "p", JUDGED, values),
          ("lime", "completeness_error", "p", np.arange(N), errors))  # fmt: skip
    whole, groups = mean_faithfulness(workspace, IDS, [everyone(N), G], None, 0.95)
    faith, error = Of("faithfulness", "p", None, "shap"), Of("completeness_error", "p", None, "lime")
    assert set(whole) == set(groups) == {faith, error}
    assert whole[faith].value[0] == pytest.approx(values.mean())
    for g in (0, 1):
        own = values[g == JUDGED % 2]
        assert groups[faith].value[g] == pytest.approx(own.mean())
        assert (groups[faith].low[g], groups[faith].high[g]) == pytest.approx(
            stats.t.interval(0.95, len(own) - 1, own.mean(), stats.sem(own))
        )
        assert groups[error].value[g] == pytest.approx(errors[g::2].mean())
    assert groups[faith].status(2, 1) == ("undefined", "0/0: no judged row")


def test_a_row_of_several_outputs_counts_once(workspace: Workspace) -> None:
    write(workspace, ("lime", "completeness_error", "x", np.arange(N), np.zeros(N)),
          ("lime", "completeness_error", "y", np.arange(50), np.full(50, 2.0)))  # fmt: skip
    (found,) = mean_faithfulness(workspace, IDS, [everyone(N)], None, 0.95)
    means = found[Of("completeness_error", None, None, "lime")]
    assert (means.value[0], means.n[0]) == (0.5, N)


def test_weights(workspace: Workspace) -> None:
    values, weight = RNG.normal(size=60), RNG.exponential(size=N)
    write(workspace, ("shap", "mu_fidelity", "p", JUDGED, values))
    (found,) = mean_faithfulness(workspace, IDS, [everyone(N)], weight, 0.95)
    means = found[Of("mu_fidelity", "p", None, "shap")]
    assert means.value[0] == pytest.approx(np.average(values, weights=weight[JUDGED]))


def test_without_the_table_there_is_nothing(workspace: Workspace) -> None:
    assert mean_faithfulness(workspace, IDS, [everyone(N), G], None, 0.95) == ({}, {})
    write(workspace, ("shap", "mu_fidelity", "p", JUDGED[:0], np.zeros(0)))
    assert mean_faithfulness(workspace, IDS, [G], None, 0.95) == ({},)


def test_a_measure_without_a_value_in_any_row(workspace: Workspace) -> None:
    write(workspace, ("shap", "mu_fidelity", "p", JUDGED, np.full(60, np.nan)))
    assert mean_faithfulness(workspace, IDS, [G], None, 0.95) == ({},)


def test_a_row_that_was_not_predicted(workspace: Workspace) -> None:
    write(workspace, ("shap", "mu_fidelity", "p", np.array([N + 1]), np.ones(1)))
    with pytest.raises(Incomplete, match="not predicted"):
        mean_faithfulness(workspace, IDS, [G], None, 0.95)
