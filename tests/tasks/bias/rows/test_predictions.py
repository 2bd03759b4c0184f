from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tasks.bias.rows.predictions
from tasks.bias.rows.predictions import Predicted, read_predictions
from tasks.contracts import schema_of
from tasks.errors import Incomplete


def _read(folder: Path, columns: dict, group: int = 1000, **given) -> Predicted:
    row_id = pa.array(columns["row_id"])
    schema = schema_of("predictions", row_id.type)
    table = pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names})
    pq.write_table(table, folder / "p.parquet", row_group_size=group)
    options = {"target": "y", "classes": (), "numbers": False, **given}
    return read_predictions(folder / "p.parquet", **options)


def _plain(n: int, outputs: list[str], seed: int = 0) -> dict:
    """Rows of n people, the outputs of one side by side."""
    rng, k = np.random.default_rng(seed), len(outputs)
    label, decision = ([None if v == "?" else v for v in rng.choice(["a", "b", "?"], n)] for _ in range(2))
    return {
        "row_id": np.repeat(np.arange(n), k), "output": outputs * n, "score": rng.random(n * k),
        "y_true": [v for v in label for _ in range(k)], "decision": [v for v in decision for _ in range(k)],
    }  # fmt: skip


def _texts(found: Predicted, codes: np.ndarray) -> list[str | None]:
    return [*(found.texts[code] if code >= 0 else None for code in codes)]


@pytest.mark.parametrize("outputs", [["yes"], ["a", "b", "c"]])
@pytest.mark.parametrize("batch", [1, 7, 1 << 18])
@pytest.mark.parametrize("group", [2, 1000])
def test_rows_come_out_as_they_were_written(
    tmp_path: Path, outputs: list[str], batch: int, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.bias.rows.predictions, "BATCH", batch)
    columns, k = _plain(25, outputs), len(outputs)
    found = _read(tmp_path, columns, group)
    assert found.row_id.to_pylist() == list(range(25))
    assert found.outputs == tuple(outputs)
    np.testing.assert_array_equal(found.scores, columns["score"].reshape(25, k))
    assert _texts(found, found.label) == columns["y_true"][::k]
    assert _texts(found, found.decision) == columns["decision"][::k]
    assert found.truth is None


@pytest.mark.parametrize("batch", [5, 1 << 18])
def test_outputs_may_be_in_any_order(tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.bias.rows.predictions, "BATCH", batch)
    columns = _plain(40, ["a", "b"])
    order = np.random.default_rng(1).permutation(80)
    mixed = {name: [values[i] for i in order] for name, values in columns.items()}
    found = _read(tmp_path, mixed)
    whole = columns["score"].reshape(40, 2)
    ids = found.row_id.to_numpy()
    assert sorted(ids) == list(range(40))
    for k, name in enumerate(found.outputs):
        np.testing.assert_array_equal(found.scores[:, k], whole[ids, "ab".index(name)])
    assert _texts(found, found.label) == [columns["y_true"][2 * i] for i in ids]


def test_outputs_one_after_the_other_too(tmp_path: Path) -> None:
    columns = _plain(40, ["a", "b"])
    order = np.argsort(np.tile([0, 1], 40), kind="stable")
    found = _read(tmp_path, {name: [values[i] for i in order] for name, values in columns.items()})
    np.testing.assert_array_equal(found.scores, columns["score"].reshape(40, 2))


@pytest.mark.parametrize("ids", [[0, 0, 1], [0, 0, 1, 2], [0, 0, 1, 0]])
def test_outputs_with_other_rows_are_incomplete(tmp_path: Path, ids: list[int]) -> None:
    n = len(ids)
    columns = {"row_id": ids, "output": ["a", "b"] * (n // 2) + ["a"] * (n % 2), "score": [0.5] * n,
               "y_true": ["a"] * n, "decision": ["a"] * n}  # fmt: skip
    with pytest.raises(Incomplete, match="output b has other rows than a"):
        _read(tmp_path, columns)


def test_an_empty_table_is_incomplete(tmp_path: Path) -> None:
    with pytest.raises(Incomplete, match="the predictions are empty") as caught:
        _read(tmp_path, {name: [] for name in ("row_id", "output", "y_true", "score", "decision")})
    assert caught.value.code == "no_predictions"


def test_of_several_heads_one_is_read(tmp_path: Path) -> None:
    columns = _plain(10, ["other/1", "y/a", "y/b"])
    whole = columns["score"].reshape(10, 3)
    found = _read(tmp_path, columns)
    assert found.outputs == ("a", "b")
    np.testing.assert_array_equal(found.scores, whole[:, 1:])
    found = _read(tmp_path, columns, target="none of them")
    assert found.outputs == ("1",)
    np.testing.assert_array_equal(found.scores, whole[:, :1])


def test_classes_with_a_slash_are_no_heads(tmp_path: Path) -> None:
    columns = _plain(10, ["x/1", "y/2"])
    assert _read(tmp_path, columns, classes=("x/1", "y/2")).outputs == ("x/1", "y/2")
    assert _read(tmp_path, {**columns, "y_true": ["x/1"] * 20}).outputs == ("x/1", "y/2")
    assert _read(tmp_path, columns).outputs == ("2",)  # that of the target, y


def test_labels_of_a_regression_are_numbers(tmp_path: Path) -> None:
    columns = {"row_id": ["r1", "r2", "r3", "r4"], "output": ["value"] * 4, "score": [1.0, 2.0, None, 4.0],
               "y_true": ["1.5", None, "-2e3", "inf"], "decision": [None, "hire", "no", None]}  # fmt: skip
    found = _read(tmp_path, columns, numbers=True)
    np.testing.assert_array_equal(found.truth, [1.5, np.nan, -2000, np.nan])
    np.testing.assert_array_equal(found.scores[:, 0], [1, 2, np.nan, 4])
    assert found.label.tolist() == [-1] * 4
    assert _texts(found, found.decision) == [None, "hire", "no", None]
    with pytest.raises(Incomplete, match="not a number") as caught:
        _read(tmp_path, {**columns, "y_true": ["1", "2", "3", "many"]}, numbers=True)
    assert caught.value.code == "label_not_a_number"
