"""Mean attributions by group: against pandas and scipy, in whatever order and parts the lines come."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from tasks.bias.families import attributions
from tasks.bias.families.attributions import mean_attributions, techniques_of
from tasks.bias.measure import Of
from tasks.bias.rows.groups import Attribute, everyone
from tasks.errors import Incomplete
from tasks.persist.store import Workspace

RNG = np.random.default_rng(1)
N, OUTPUTS, FEATURES = 300, ("a", "b"), ("x", "y", "z")
EXPLAINED = np.sort(RNG.choice(N, 120, replace=False))
VALUES = RNG.normal(size=(len(EXPLAINED), len(OUTPUTS), len(FEATURES)))
WEIGHT = RNG.exponential(size=N)
SEX = Attribute("sex", ("Female", "Male"), RNG.integers(0, 2, N).astype(np.int32))
RACE = Attribute("race", ("p", "q", "r"), RNG.integers(0, 3, N).astype(np.int32))
ATTRIBUTES = [everyone(N), SEX, RACE]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "x")


def lines(ids: np.ndarray | pa.Array, values: np.ndarray, features=FEATURES, outputs=OUTPUTS) -> pa.Table:
    n, m, d = values.shape
    return pa.table(
        {
            "row_id": pa.array(ids).take(pa.array(np.repeat(np.arange(n), m * d))),
            "output": np.tile(np.repeat(outputs, d), n),
            "feature": np.tile(features, n * m),
            "attribution": values.ravel(),
        }
    )


def _frame() -> pd.DataFrame:
    index = pd.MultiIndex.from_product([EXPLAINED, OUTPUTS, FEATURES], names=["row", "output", "feature"])
    frame = pd.DataFrame({"phi": VALUES.ravel()}, index=index).reset_index()
    rows = frame["row"].to_numpy()
    return frame.assign(sex=SEX.codes[rows], race=RACE.codes[rows], all=0, w=WEIGHT[rows])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("batch", [7, 100_000])
def test_means_by_group(workspace, monkeypatch: pytest.MonkeyPatch, weighted: bool, shuffled: bool, batch: int) -> None:
    monkeypatch.setattr(attributions, "BATCH", batch)
    table = lines(EXPLAINED, VALUES)
    workspace.write_table("attributions/t", table.take(RNG.permutation(len(table))) if shuffled else table)
    found = mean_attributions(
        workspace, "t", pa.array(np.arange(N)), ATTRIBUTES, WEIGHT if weighted else None, 0.95
    )  # fmt: skip
    assert found.left_out == ()
    frame = _frame()
    for name, entry in zip(("all", "sex", "race"), found.values, strict=True):
        assert set(entry) == {Of("mean_attribution", o, f, "t") for o in OUTPUTS for f in FEATURES}
        for (output, feature, group), own in frame.groupby(["output", "feature", name]):
            means = entry[Of("mean_attribution", output, feature, "t")]
            weight = own["w"] if weighted else np.ones(len(own))
            assert means.value[group] == pytest.approx(np.average(own["phi"], weights=weight))
            assert means.denominator[group] == pytest.approx(weight.sum())
            assert means.n[group] == len(own)
            if not weighted:
                interval = stats.t.interval(0.95, len(own) - 1, own["phi"].mean(), stats.sem(own["phi"]))
                assert (means.low[group], means.high[group]) == pytest.approx(interval)


@pytest.mark.parametrize("ids", ["texts", "falling", "gaps"])
def test_any_kind_of_row_id(workspace: Workspace, ids: str) -> None:
    numbers = np.arange(N)
    every = {"texts": pa.array([f"r{k}" for k in numbers]), "falling": pa.array(-numbers),
             "gaps": pa.array(3 * numbers + 1)}[ids]  # fmt: skip
    workspace.write_table("attributions/t", lines(every.take(pa.array(EXPLAINED)), VALUES))
    (found,) = mean_attributions(workspace, "t", every, [SEX], None, 0.95).values
    own = VALUES[SEX.codes[EXPLAINED] == 1]
    assert found[Of("mean_attribution", "b", "z", "t")].value[1] == pytest.approx(own[:, 1, 2].mean())


@pytest.mark.parametrize("ids", [pa.array(np.arange(N - 50)), pa.array([f"r{k}" for k in range(3)])])
def test_a_row_that_was_not_predicted(workspace: Workspace, ids: pa.Array) -> None:
    stray = EXPLAINED if pa.types.is_integer(ids.type) else pa.array([f"s{k}" for k in EXPLAINED])
    workspace.write_table("attributions/t", lines(stray, VALUES))
    codes = Attribute("sex", SEX.groups, SEX.codes[: len(ids)])
    with pytest.raises(Incomplete, match="not predicted"):
        mean_attributions(workspace, "t", ids, [codes], None, 0.95)


def test_what_a_technique_could_not_say_is_left_out(workspace: Workspace) -> None:
    values = VALUES.copy()
    values[:100, 0, 0] = np.nan
    workspace.write_table("attributions/t", lines(EXPLAINED, values))
    (found,) = mean_attributions(workspace, "t", pa.array(np.arange(N)), [everyone(N)], None, 0.95).values
    assert found[Of("mean_attribution", "a", "x", "t")].n.tolist() == [20]
    assert found[Of("mean_attribution", "a", "x", "t")].value[0] == pytest.approx(values[100:, 0, 0].mean())
    assert found[Of("mean_attribution", "a", "y", "t")].n.tolist() == [120]


def test_outputs_that_differ_from_row_to_row(workspace: Workspace) -> None:
    table = lines(EXPLAINED, VALUES)
    own = np.array(OUTPUTS)[np.arange(len(EXPLAINED)) % 2]  # each row's own class
    kept = table.filter(pa.array(np.array(table["output"].to_pylist()) == np.repeat(own, 6)))
    workspace.write_table("attributions/t", kept)
    (found,) = mean_attributions(workspace, "t", pa.array(np.arange(N)), [everyone(N)], None, 0.95).values
    assert found[Of("mean_attribution", "b", "x", "t")].value[0] == pytest.approx(VALUES[1::2, 1, 0].mean())
    assert found[Of("mean_attribution", "b", "x", "t")].n[0] == 60


def test_too_many_groups_are_said_to_be_left_out(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.write_table("attributions/t", lines(EXPLAINED, VALUES))
    many = Attribute("many", tuple(map(str, range(N))), np.arange(N, dtype=np.int32))
    found = mean_attributions(workspace, "t", pa.array(np.arange(N)), [many, SEX], None, 0.95)
    assert found.left_out == ("many",)
    assert (found.values[0], len(found.values[1])) == ({}, 6)
    monkeypatch.setattr(attributions, "MAX_CELLS", 12)
    monkeypatch.setattr(attributions, "MAX_CLASSES", 1)
    found = mean_attributions(workspace, "t", pa.array(np.arange(N)), [SEX], None, 0.95)
    assert (found.outputs, set(found.values[0])) == (1, {Of("mean_attribution", "a", f, "t") for f in FEATURES})


def test_an_empty_table_says_nothing(workspace: Workspace) -> None:
    assert techniques_of(workspace) == ()
    workspace.write_table("attributions/t", lines(EXPLAINED, VALUES).slice(0, 0))
    assert techniques_of(workspace) == ("t",)
    assert mean_attributions(workspace, "t", pa.array(np.arange(N)), [SEX], None, 0.95).values == ({},)


def exact_shapley(f, rows: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(n, d) interventional Shapley values by their definition."""
    n, d = rows.shape

    def worth(kept: tuple[int, ...]) -> np.ndarray:
        mixed = np.repeat(background[None], n, axis=0)
        mixed[:, :, list(kept)] = rows[:, None, list(kept)]
        return f(mixed.reshape(-1, d)).reshape(n, -1).mean(1)

    found = np.zeros((n, d))
    for j in range(d):
        others = [k for k in range(d) if k != j]
        for size in range(d):
            share = factorial(size) * factorial(d - size - 1) / factorial(d)
            for kept in combinations(others, size):
                found[:, j] += share * (worth((*kept, j)) - worth(kept))
    return found


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gaps_of_exact_shapley_values_add_up_to_the_gap_in_the_mean_output(workspace, weighted: bool) -> None:
    def f(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x[:, 0] * x[:, 1] + x[:, 2]))

    rows = RNG.normal(size=(N, 3)) + SEX.codes[:, None]
    workspace.write_table(
        "attributions/shap", lines(np.arange(N), exact_shapley(f, rows, rows[:20])[:, None], FEATURES, ["p"])
    )
    weight = WEIGHT if weighted else None
    (found,) = mean_attributions(workspace, "shap", pa.array(np.arange(N)), [SEX], weight, 0.95).values
    means = np.array([found[Of("mean_attribution", "p", name, "shap")].value for name in FEATURES])
    own = [
        np.average(f(rows[SEX.codes == g]), weights=None if weight is None else weight[SEX.codes == g]) for g in (0, 1)
    ]
    assert (means[:, 0] - means[:, 1]).sum() == pytest.approx(own[0] - own[1], rel=1e-9)
    assert np.abs(means[:, 0] - means[:, 1]).max() > 0.05
