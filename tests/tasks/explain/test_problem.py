"""The sample, the background, the outputs explained, and the boxes of images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.schema import AuditConfig
from tasks.errors import ConfigError
from tasks.explain.base import Problem
from tasks.explain.problem import outputs_chosen, problem_of, sampled_positions
from tasks.load import open_subject


def problem_from(files: dict[str, Any], **changes: Any) -> Problem:
    """The problem of an audit whose blocks are changed."""
    values = {**files, **{block: {**files.get(block, {}), **change} for block, change in changes.items()}}
    return problem_of(open_subject(AuditConfig.model_validate(values)))


@pytest.mark.parametrize(
    ("n", "wanted", "expected"), [(10, "all", 10), (10, 10, 10), (10, 99, 10), (10, 4, 4), (0, 5, 0)]
)
def test_positions(n: int, wanted: int | str, expected: int) -> None:
    positions = sampled_positions(n, wanted, 3)
    assert len(positions) == len(set(positions.tolist())) == expected
    assert (np.diff(positions) > 0).all()
    np.testing.assert_array_equal(positions, sampled_positions(n, wanted, 3))


def test_positions_follow_the_seed_and_favour_none() -> None:
    assert sampled_positions(1000, 10, 0).tolist() != sampled_positions(1000, 10, 1).tolist()
    counts = np.bincount(np.concatenate([sampled_positions(20, 5, seed) for seed in range(400)]), minlength=20)
    assert ((counts - 100) ** 2 / 100).sum() * 20 / 15 < 43.8  # χ² of 19 degrees of freedom, 99.9 %


def test_rows_target_and_weight_are_those_of_the_positions(audit_files: dict[str, Any]) -> None:
    problem = problem_from(audit_files, data={"weight": "weight"})
    table = pq.read_table(audit_files["data"]["path"])
    ages = table.column("age").to_numpy()
    np.testing.assert_array_equal(problem.rows[:, 0], ages[problem.positions])
    labels = table.column("ok").to_pylist()
    expected = [{None: -1, "no": 0, "yes": 1}[labels[i]] for i in problem.positions]
    assert problem.target.tolist() == expected
    assert problem.weight is not None
    np.testing.assert_array_equal(problem.weight, table.column("weight").to_numpy()[problem.positions])
    assert problem.limitations == ()


def test_the_background_is_drawn_from_the_reference(audit_files: dict[str, Any]) -> None:
    problem = problem_from(audit_files)
    assert problem.background.shape == (20, 3)
    reference = {tuple(row) for row in problem.reference.tolist()}
    assert len(problem.reference) == 150
    assert {tuple(row) for row in problem.background.tolist()} <= reference
    again = problem_from(audit_files)
    np.testing.assert_array_equal(problem.background, again.background)
    other = problem_from(audit_files, explain={"seed": 1})
    assert not np.array_equal(problem.background, other.background)


def test_a_small_reference_is_taken_whole(audit_files: dict[str, Any]) -> None:
    problem = problem_from(audit_files, explain={"background": 150})
    np.testing.assert_array_equal(problem.background, problem.reference)


def test_without_a_reference_it_comes_from_the_data_and_that_is_said(audit_files: dict[str, Any]) -> None:
    problem = problem_from(audit_files, data={"reference": None})
    assert len(problem.reference) == 60
    assert "No data.reference" in problem.limitations[0]


@pytest.mark.parametrize(
    ("task", "names", "audited", "wanted", "expected"),
    [
        ("binary", ("yes",), slice(0, 1), "auto", [0]),
        ("binary", ("no", "yes"), slice(0, 2), "auto", [1]),
        ("binary", ("no", "yes"), slice(0, 2), "all", [0, 1]),
        ("regression", ("value",), slice(0, 1), "auto", [0]),
        ("multiclass", tuple("abcdefghij"), slice(0, 10), "auto", list(range(10))),
        ("multiclass", tuple("abcdefghijk"), slice(0, 11), "auto", None),
        ("multiclass", tuple("abcdefghijk"), slice(0, 11), "all", list(range(11))),
        ("multiclass", ("a", "b", "c"), slice(0, 3), ["c", "a", "c"], [2, 0]),
        ("multiclass", ("1", "2", "3"), slice(0, 3), [2], [1]),
        ("multiclass", ("x/a", "x/b", "y/a"), slice(0, 2), "auto", [0, 1]),
        ("multiclass", ("x/a", "x/b", "y/a"), slice(0, 2), "all", [0, 1, 2]),
        ("multiclass", ("x/a", "x/b", "y/a"), slice(0, 2), ["a", "y/a"], [0, 2]),
        ("multiclass", ("a/b", "b", "c"), slice(0, 3), ["b"], [1]),
    ],
)
def test_outputs(
    audit_files: dict[str, Any],
    task: str,
    names: tuple[str, ...],
    audited: slice,
    wanted: Any,
    expected: list[int] | None,
) -> None:
    values = {**audit_files, "explain": {"outputs": wanted}}
    config = AuditConfig.model_validate(values)
    config = config.model_copy(update={"model": config.model.model_copy(update={"task": task})})
    assert outputs_chosen(config, names, audited) == expected


def test_an_unknown_output_is_told(audit_files: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"explain.outputs: is not an output of the model: yess; available: yes"):
        problem_from(audit_files, explain={"outputs": ["yess"]})


def test_each_rows_predicted_class(audit_of_three: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.explain.problem.MOST_OUTPUTS", 2)
    problem = problem_from(audit_of_three)
    np.testing.assert_array_equal(problem.explained[:, 0], problem.predictor(problem.rows).argmax(axis=1))
    assert problem.explained.shape == (25, 1)


@pytest.mark.parametrize(
    ("decision", "threshold", "decided_by"),
    [
        ({}, 0.5, "score"),
        ({"threshold": 0.2}, 0.2, "score"),
        ({"top_k": 3}, 0.5, "rank"),
        ({"column": "ok"}, 0.5, "record"),
    ],
)
def test_what_decides(audit_files: dict[str, Any], decision: dict[str, Any], threshold: float, decided_by: str) -> None:
    problem = problem_from(audit_files, bias={"decision": decision})
    assert (problem.threshold, problem.decided_by) == (threshold, decided_by)


# ---------------------------------------------------------------- images


def png(width: int, height: int) -> bytes:
    from PIL import Image

    sink = io.BytesIO()
    Image.new("L", (width, height), 128).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Images of 20×10 and 8×8 for a model of 8×8, with boxes; one row has none."""
    import keras

    folder = tmp_path_factory.mktemp("images")
    table = pa.table(
        {
            "image": [png(20, 10), png(8, 8), png(8, 8)],
            "label": ["a", "b", "a"],
            "box_left": [10.0, 1.0, None],
            "box_top": [5.0, 2.0, None],
            "box_right": [20.0, 3.0, None],
            "box_bottom": [10.0, 4.0, None],
        }
    )
    pq.write_table(table, folder / "data.parquet")
    inputs = keras.Input((8, 8, 1))
    outputs = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(inputs))
    keras.Model(inputs, outputs).save(folder / "model.keras")
    return {
        "name": "images",
        "model": {"path": str(folder / "model.keras"), "task": "binary", "classes": ["a", "b"], "inputs": "image"},
        "data": {"path": str(folder / "data.parquet"), "target": {"column": "label"}, "image": "image"},
        "explain": {"rows": "all", "background": 2},
    }


def test_boxes_are_in_pixels_of_the_models_input(images: dict[str, Any]) -> None:
    problem = problem_from(images)
    assert problem.features is None
    assert problem.modality == "image"
    assert problem.rows.shape == (3, 8, 8, 1)
    assert problem.background.shape == problem.reference.shape == (2, 8, 8, 1)
    assert problem.boxes is not None
    np.testing.assert_allclose(problem.boxes[:2], [[4, 4, 8, 8], [1, 2, 3, 4]])
    assert np.isnan(problem.boxes[2]).all()


def test_boxes_of_images_that_lie_beside_the_table(images: dict[str, Any], tmp_path: Path) -> None:
    table = pq.read_table(images["data"]["path"])
    for name, content in zip(("a.png", "b.png", "c.png"), table.column("image").to_pylist(), strict=True):
        (tmp_path / name).write_bytes(content)
    table = table.set_column(0, "image", pa.array(["a.png", "b.png", "c.png"]))
    pq.write_table(table, tmp_path / "data.parquet")
    boxes = problem_from(images, data={"path": str(tmp_path / "data.parquet")}).boxes
    np.testing.assert_array_equal(boxes, problem_from(images).boxes)


def test_no_boxes_without_all_four_numbers(images: dict[str, Any], tmp_path: Path) -> None:
    table = pq.read_table(images["data"]["path"])
    for change in (
        lambda t: t.drop_columns(["box_top"]),
        lambda t: t.set_column(t.column_names.index("box_top"), "box_top", pa.array(["a", "b", "c"])),
    ):
        path = tmp_path / "changed.parquet"
        pq.write_table(change(table), path)
        assert problem_from(images, data={"path": str(path)}).boxes is None


def test_the_problem_is_the_same_whenever_it_is_made(audit_files: dict[str, Any]) -> None:
    one, two = problem_from(audit_files), problem_from(audit_files)
    for name in ("rows", "background", "explained", "target", "positions"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


# ---------------------------------------------------------------- feature groups


def test_without_groups_every_feature_is_a_player(audit_files: dict[str, Any]) -> None:
    problem = problem_from(audit_files)
    assert problem.features is not None
    assert [(p.name, p.columns) for p in problem.players] == [(f.name, (j,)) for j, f in enumerate(problem.features)]
    values = np.arange(6.0).reshape(2, 3)
    assert problem.by_player(values) is values
    np.testing.assert_array_equal(problem.membership, np.eye(3, dtype=bool))


def test_a_group_stands_where_its_first_column_does_and_adds_up(audit_files: dict[str, Any]) -> None:
    names = [feature.name for feature in problem_from(audit_files).features or ()]
    problem = problem_from(audit_files, explain={"feature_groups": {"ends": [names[2], names[0]]}})
    assert [(p.name, p.columns) for p in problem.players] == [("ends", (0, 2)), (names[1], (1,))]
    np.testing.assert_array_equal(problem.membership, [[True, False, True], [False, True, False]])
    np.testing.assert_array_equal(problem.by_player(np.array([[1.0, 2, 4], [8, 16, 32]])), [[5, 2], [40, 16]])


def test_a_group_may_bear_the_name_of_one_of_its_columns_alone(audit_files: dict[str, Any]) -> None:
    names = [feature.name for feature in problem_from(audit_files).features or ()]
    problem = problem_from(audit_files, explain={"feature_groups": {names[0]: names[:2]}})
    assert [p.name for p in problem.players] == [names[0], names[2]]
    with pytest.raises(ConfigError, match=rf"explain.feature_groups.{names[2]}: {names[2]} is a feature of its own"):
        problem_from(audit_files, explain={"feature_groups": {names[2]: names[:2]}})


def test_a_group_of_unknown_columns_is_told(audit_files: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"explain.feature_groups.x: is not a feature.*nope.*available"):
        problem_from(audit_files, explain={"feature_groups": {"x": ["age", "nope"]}})
