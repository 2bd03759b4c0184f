"""What is judged: which rows, which output of each, in which order of players; and the decided output of agreement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from configs.schema import AuditConfig
from tasks.agreement import compare_techniques, explanations, scores
from tasks.agreement.explanations import Explained, Mapped, decided, read_maps
from tasks.agreement.judged import judged_tables
from tasks.contracts import Done
from tasks.explain import explain, problem_of
from tasks.load import Subject, open_subject
from tasks.persist import Workspace
from tasks.watch import Watch
from tests.tasks.explain.conftest import make_audit


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> AuditConfig:
    """Three classes, three features, 25 rows explained."""
    return AuditConfig.model_validate(make_audit(tmp_path_factory.mktemp("three"), outputs=3))


def explained(
    subject: Subject, technique: str, output: str, positions: list[int], values: np.ndarray, order: list[int]
) -> Explained:
    names = [feature.name for feature in subject.features]
    ids = subject.row_id.take(pa.array(positions))
    nothing = np.zeros(len(positions))
    return Explained(technique, output, ids, tuple(names[j] for j in order), values[:, order], nothing, nothing)


def test_each_row_is_judged_by_the_highest_output_that_all_explained(three: AuditConfig) -> None:
    subject = open_subject(three)
    problem = problem_of(subject)
    outputs = subject.predictor.outputs
    rows = list(range(12))
    found = subject.predictor(subject.rows[:12])
    generator = np.random.default_rng(0)
    values = {(t, o): generator.normal(size=(12, 3)) for t in "ab" for o in outputs}
    entries = [explained(subject, "a", o, rows, values["a", o], [0, 1, 2]) for o in outputs]
    # b explained the first two outputs only, for half of the rows the first alone, features in another order
    entries += [
        explained(subject, "b", outputs[0], rows[::-1], values["b", outputs[0]][::-1], [2, 0, 1]),
        explained(subject, "b", outputs[1], rows[:6], values["b", outputs[1]][:6], [2, 0, 1]),
    ]
    judged = judged_tables(subject, problem, entries, 100, Watch())
    assert judged is not None
    expected = np.where(np.arange(12) < 6, found[:, :2].argmax(axis=1), 0)
    assert judged.output.tolist() == expected.tolist()
    assert judged.own == pytest.approx(found[np.arange(12), expected])
    for technique in "ab":
        own = np.array([values[technique, outputs[k]][i] for i, k in enumerate(expected)])
        assert np.array_equal(judged.attributions[technique], own)
    assert judged.name is None
    assert judged.others == {}  # some rows have one output alone that all explained
    few = judged_tables(subject, problem, entries, 5, Watch())
    assert few is not None
    assert len(few.rows) == 5


def test_without_a_common_row_or_usable_features_nothing_is_judged(three: AuditConfig) -> None:
    subject = open_subject(three)
    problem, name = problem_of(subject), open_subject(three).predictor.outputs[0]
    values = np.ones((4, 3))
    a = explained(subject, "a", name, [0, 1, 2, 3], values, [0, 1, 2])
    b = explained(subject, "b", name, [4, 5, 6, 7], values, [0, 1, 2])
    assert judged_tables(subject, problem, [a, b], 9, Watch()) is None
    assert (
        judged_tables(subject, problem, [explained(subject, "a", name, [0, 1], values[:2], [0, 1])], 9, Watch()) is None
    )
    assert judged_tables(subject, problem, [], 9, Watch()) is None
    empty = explained(subject, "a", name, [0, 1, 2, 3], np.full((4, 3), np.nan), [0, 1, 2])
    assert judged_tables(subject, problem, [empty], 9, Watch()) is None
    one = judged_tables(
        subject,
        problem,
        [a, explained(subject, "e", name, [0, 1, 2, 3], np.full((4, 3), np.nan), [0, 1, 2])],
        9,
        Watch(),
    )
    assert one is not None
    assert list(one.attributions) == ["a"]


def test_several_classes_end_to_end(three: AuditConfig, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "x")
    done = [explain(name, three, workspace, Watch()) for name in ("shap", "lime")]
    found = compare_techniques(three, workspace, Watch(), explained=done)  # type: ignore[arg-type]
    assert isinstance(found, Done)
    quality = workspace.read_table("explanation_quality").to_pylist()
    by_key = {(r["technique"], r["output"], r["measure"]): r for r in quality}
    assert len(by_key) == len(quality)
    whole = by_key["shap", None, "insertion_minus_deletion"]
    parts = [r for (t, o, m), r in by_key.items() if t == "shap" and m == "insertion_minus_deletion" and o is not None]
    assert sum(r["n_rows"] for r in parts) == whole["n_rows"] == 25
    assert sum(r["n_rows"] * r["value"] for r in parts) / 25 == pytest.approx(whole["value"])
    assert by_key["shap", None, "random_logit"]["n_rows"] == 25
    assert by_key["shap", None, "completeness_error"]["value"] < 1e-6
    assert found.facts["verdicts"]["shap"] == "passes"
    agreement = workspace.read_table("agreement").to_pylist()
    assert {r["output"] for r in agreement if r["measure"] == "kendall"} == {None, *three.model.classes}
    assert all(d["output"] is None for d in found.facts["disagreements"])
    again = Workspace(tmp_path / "again", "x")
    for name in ("shap", "lime"):
        again.write_table(f"attributions/{name}", workspace.read_table(f"attributions/{name}"))
    again.write_table("importance", workspace.read_table("importance")) if workspace.has_table("importance") else None
    compare_techniques(three, again, Watch(), explained=done)  # type: ignore[arg-type]
    assert again.read_table("explanation_quality").to_pylist() == quality  # to the last bit


@pytest.mark.parametrize("rows", [1, 9])
def test_few_rows_are_measured_and_not_judged(three: AuditConfig, tmp_path: Path, rows: int) -> None:
    config = three.model_copy(update={"explain": three.explain.model_copy(update={"rows": rows})})
    workspace = Workspace(tmp_path, "x")
    done = explain("shap", config, workspace, Watch())
    found = compare_techniques(config, workspace, Watch(), explained=[done])  # type: ignore[list-item]
    assert isinstance(found, Done)
    assert found.facts["verdicts"] == {"shap": "not_judged"}
    assert found.facts["failing"] == []
    assert any("10 are needed" in sentence for sentence in found.limitations)
    statuses = {r["status"] for r in workspace.read_table("explanation_quality").to_pylist() if r["n_rows"] == 1}
    assert statuses <= {"insufficient_data"}


# ---------------------------------------------------------------- one feature, features that do nothing


@pytest.mark.parametrize(
    ("weights", "columns"),
    [([[0.0], [0.0], [0.0]], ["a", "b", "c"]), ([[2.0]], ["a"])],
    ids=["a constant model", "one feature"],
)
def test_where_no_order_is_better_than_another_no_technique_is_failing(
    tmp_path: Path, weights: list[list[float]], columns: list[str]
) -> None:
    """Exact attributions of a model that has nothing to put in order are not worse than chance, nor better."""
    import keras
    import pyarrow.parquet as pq

    values = np.random.default_rng(0).normal(size=(40, len(columns)))
    table = pa.table({name: values[:, j] for j, name in enumerate(columns)} | {"y": values[:, 0]})
    pq.write_table(table, tmp_path / "data.parquet")
    model = keras.Sequential([keras.Input((len(columns),)), keras.layers.Dense(1)])
    model.set_weights([np.array(weights, np.float32), np.array([0.3], np.float32)])
    model.save(tmp_path / "model.keras")
    config = AuditConfig.model_validate(
        {
            "name": "flat",
            "model": {"path": str(tmp_path / "model.keras"), "task": "regression"},
            "data": {"path": str(tmp_path / "data.parquet"), "features": columns, "target": {"column": "y"}},
            "explain": {"background": 10},
        }
    )
    workspace = Workspace(tmp_path / "run", "x")
    done = [explain(name, config, workspace, Watch()) for name in ("shap", "lime")]
    found = compare_techniques(config, workspace, Watch(), explained=done)  # type: ignore[arg-type]
    assert isinstance(found, Done)
    assert found.facts["failing"] == []
    assert not any("random" in finding.text for finding in found.findings)
    assert found.facts["verdicts"] == {"shap": "not_judged", "lime": "not_judged"}
    assert any("does not depend on the order" in sentence for sentence in found.limitations)


def of_sum(weights: np.ndarray, n: int = 12) -> scores.Judged:
    from tasks.agreement.masked import masked_table

    generator = np.random.default_rng(0)
    d = len(weights)
    rows, background = generator.normal(size=(n, d)), generator.normal(size=(4, d))
    masked = masked_table(lambda x: (x @ weights)[:, None], background, np.eye(d, dtype=bool))
    exact = weights * (rows - background.mean(axis=0))
    everything = {"exact": exact, "wrong": generator.normal(size=(n, d))}
    ids = pa.array(range(n))
    return scores.Judged(rows, np.zeros(n, np.int64), rows @ weights, everything, {}, masked, "value", ids)


def test_one_feature_has_areas_and_no_correlations() -> None:
    found = scores.faithfulness_scores(of_sum(np.array([2.0])), "table", np.random.default_rng(0))
    judged = of_sum(np.array([2.0]))
    assert found["exact", "deletion_area"] == pytest.approx(found["random", "deletion_area"])
    assert np.isnan(found["exact", "mu_fidelity"]).all()
    assert np.isnan(found["exact", "monotonicity"]).all()
    assert found["exact", "infidelity"] == pytest.approx(np.zeros(len(judged.rows)))


def test_what_goes_to_features_that_change_nothing() -> None:
    judged = of_sum(np.array([2.0, 0.0, -1.0]))
    found = scores.faithfulness_scores(judged, "table", np.random.default_rng(0))
    assert found["exact", "null_feature_share"] == pytest.approx(np.zeros(12))
    wrong = np.abs(judged.attributions["wrong"])
    assert found["wrong", "null_feature_share"] == pytest.approx(wrong[:, 1] / wrong.sum(axis=1))
    used = scores.faithfulness_scores(of_sum(np.array([2.0, 1.0, -1.0])), "table", np.random.default_rng(0))
    assert not any(measure == "null_feature_share" for _, measure in used)  # every feature does something


def test_a_sum_is_explained_without_a_miss_and_a_random_attribution_is_not() -> None:
    found = scores.faithfulness_scores(of_sum(np.arange(1.0, 9.0)), "table", np.random.default_rng(0))
    assert found["exact", "mu_fidelity"] == pytest.approx(np.ones(12))
    assert found["exact", "infidelity"] == pytest.approx(np.zeros(12), abs=1e-12)
    for technique in ("wrong", "random"):
        assert np.all(found["exact", "deletion_area"] <= found[technique, "deletion_area"] + 1e-9)
        assert np.all(found["exact", "insertion_minus_deletion"] >= found[technique, "insertion_minus_deletion"] - 1e-9)


def test_the_cost_of_a_row_is_what_is_evaluated() -> None:
    judged = of_sum(np.arange(1.0, 9.0))
    counted = 0
    inner = judged.masked

    def counting(rows: np.ndarray, present: np.ndarray, output: np.ndarray) -> np.ndarray:
        nonlocal counted
        counted += present.shape[0] * present.shape[1] * 4  # four background rows
        return inner(rows, present, output)

    watched = replace(judged, masked=counting)
    scores.faithfulness_scores(watched, "table", np.random.default_rng(0))
    subsets = 28  # all pairs of eight features: fewer than are asked for
    assert counted == 12 * (scores.evaluations_of(8, 2, "table", 4) - 4 * (scores.SUBSETS - subsets))


# ---------------------------------------------------------------- the decided output of agreement


def test_the_decided_output_by_hand() -> None:
    ids = pa.array(["p", "q", "r"])

    def entry(output: str, rows: list[str], value: float) -> Explained:
        n = len(rows)
        values = np.full((n, 2), value) + np.arange(n)[:, None]
        return Explained("t", output, pa.array(rows), ("f", "g"), values, np.zeros(n), np.full(n, value))

    entries = [entry("x", ["q", "p"], 10.0), entry("y", ["p", "q", "r"], 20.0)]
    of_output = {"x": np.array([0.9, 0.5, 0.9]), "y": np.array([0.1, 0.5, 0.1])}
    found = decided(entries, of_output, ids)
    assert isinstance(found, Explained)
    assert found.output is None
    assert found.row_id.to_pylist() == ["p", "q", "r"]
    # p: x, its second row; q: a tie, which the first wins; r: x was not explained
    assert found.values[:, 0].tolist() == [11.0, 10.0, 22.0]
    assert found.prediction.tolist() == [10.0, 10.0, 20.0]
    assert decided(entries[:1], of_output, ids) is None
    images = [Mapped("t", o, ids, np.full((3, 2, 2), v)) for o, v in (("x", 1.0), ("y", 2.0))]
    of_images = decided(images, of_output, ids)
    assert isinstance(of_images, Mapped)
    assert of_images.maps[:, 0, 0].tolist() == [1.0, 1.0, 1.0]


def test_of_many_maps_some_are_read_and_large_ones_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanations, "MOST_MAPS", 4)
    monkeypatch.setattr(explanations, "_MAPS_AT_ONCE", 3)
    workspace = Workspace(tmp_path, "x")
    generator = np.random.default_rng(0)
    maps = generator.random((10, 64, 32)).astype(np.float32)
    lines: dict[str, Any] = {
        "row_id": np.repeat(np.arange(10), 2),
        "output": ["a", "b"] * 10,
        "height": [64, 2] * 10,
        "width": [32, 1] * 10,
        "heatmap": pa.array([m for one in maps for m in (one.ravel().tolist(), [1.0, 2.0])], pa.list_(pa.float32())),
    }
    workspace.write_table("saliency/t", pa.table(lines))
    a, b = read_maps(workspace, "t")
    assert a.row_id.to_pylist() == b.row_id.to_pylist() == [0, 3, 6, 9]
    assert a.maps.shape == (4, 32, 32)
    assert a.maps[1] == pytest.approx(maps[3].reshape(32, 2, 32, 1).mean(axis=(1, 3)))
    assert b.maps.tolist() == [[[1.0], [2.0]]] * 4


def test_a_line_end_to_end(tmp_path: Path) -> None:
    """A linear regression of four features, of which one has no weight: exact Shapley values are perfect."""
    import keras
    import pandas as pd

    generator = np.random.default_rng(0)
    names = ["a", "b", "c", "nothing"]
    frame = pd.DataFrame(generator.normal(size=(90, 4)), columns=names)
    frame["y"] = generator.normal(size=90)
    frame[:40].to_parquet(tmp_path / "train.parquet")
    frame[40:].to_parquet(tmp_path / "test.parquet")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.set_weights([np.array([[3.0], [-2.0], [0.5], [0.0]], np.float32), np.array([1.0], np.float32)])
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model" / "model.keras")
    config = AuditConfig.model_validate(
        {
            "name": "line",
            "model": {"path": str(tmp_path / "model"), "task": "regression"},
            "data": {
                "path": str(tmp_path / "test.parquet"),
                "reference": str(tmp_path / "train.parquet"),
                "target": {"column": "y"},
            },
            "explain": {"rows": "all", "techniques": {"shap": {}, "lime": {"samples": 500}}},
        }
    )
    workspace = Workspace(tmp_path / "run", "x")
    done = [explain(name, config, workspace, Watch()) for name in ("shap", "lime")]
    found = compare_techniques(config, workspace, Watch(), explained=done)  # type: ignore[arg-type]
    assert isinstance(found, Done)
    rows = workspace.read_table("explanation_quality").to_pylist()
    quality = {(r["technique"], r["measure"]): r for r in rows}
    assert len(quality) == len(rows)
    assert {r["output"] for r in rows} <= {"value", None}
    assert quality["shap", "null_feature_share"]["value"] == pytest.approx(0, abs=1e-6)
    assert 0.1 < quality["random", "null_feature_share"]["value"] < 0.4
    assert quality["shap", "mu_fidelity"]["value"] == pytest.approx(1, abs=1e-6)
    assert quality["shap", "infidelity"]["value"] == pytest.approx(0, abs=1e-6)
    assert quality["shap", "monotonicity"]["value"] == pytest.approx(1, abs=1e-6)
    assert quality["random", "mu_fidelity"]["value"] < 0.3
    assert quality["random", "infidelity"]["value"] > 1
    assert quality["shap", "completeness_error"]["value"] < 1e-5
    assert quality["shap", "seed_stability"]["value"] == 1
    assert found.facts["verdicts"] == {"shap": "passes", "lime": "passes"}
    assert quality["lime", "completeness_error"]["n_rows"] == 50


@pytest.mark.parametrize(
    ("kind", "spent", "a_row", "background", "expected"),
    [
        ("table", 0, 100, 100, (100, 100)),  # a million evaluations, 10,000 a row
        ("table", 10**9, 100, 100, (100, 200)),  # no more rows than are asked for
        ("table", 40_000_000, 100, 100, (100, 200)),  # a twentieth of what was spent
        ("table", 0, 1000, 100, (25, 40)),  # a quarter of the background leaves 40 rows
        ("table", 0, 100_000, 100, (10, 40)),  # never fewer than these
        ("table", 0, 100, 4, (4, 200)),
        ("image", 0, 400, 50, (1, 20)),
        ("image", 30_000, 400, 50, (1, 24)),
    ],
)
def test_what_judging_may_cost(kind: str, spent: int, a_row: int, background: int, expected: tuple[int, int]) -> None:
    from tasks.agreement.stage import _affordable

    done = [Done("explain/x", facts={"evaluations": spent})]
    assert _affordable(kind, done, a_row, background) == expected
