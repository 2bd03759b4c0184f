"""What the techniques of global shape share, and their way through the stage into tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import AuditConfig
from tasks.contracts import Done, NotApplicable, schema_of
from tasks.explain import explain, join_importance, problem_of
from tasks.explain.engine.shapes import answers, effect_rows, mean_and_error, sampled, spread, text_of
from tasks.load import open_subject
from tasks.load.encoding import Feature
from tasks.persist import Workspace
from tasks.persist.store import file_digest
from tasks.watch import Watch

NAMES = ("partial_dependence", "ale", "interactions")


# ---------------------------------------------------------------- where the model is asked


@given(st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=True)), max_size=60), st.integers(1, 12))
def test_spread_values_rise_occur_and_are_as_many_as_there_can_be(values: list[float], wanted: int) -> None:
    array = np.array(values, np.float64)
    found = spread(array, wanted)
    finite = set(array[np.isfinite(array)].tolist())
    assert len(found) == min(wanted, len(finite))
    assert set(found.tolist()) <= finite
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(
    ("values", "wanted", "expected"),
    [
        (range(10), 5, [1, 3, 5, 7, 9]),
        ([0] * 96 + [1, 2, 3, 4], 3, [0, 2, 4]),
        ([5, 5, 5], 4, [5]),
        ([np.nan, np.inf, 1], 4, [1]),
        ([], 4, []),
        ([1, 1, 2, 3, 3, 4], 4, [1, 2, 3, 4]),
    ],
)
def test_spread_values_by_hand(values: Any, wanted: int, expected: list[float]) -> None:
    assert spread(np.array(list(values), np.float64), wanted).tolist() == expected


@pytest.mark.parametrize(
    ("feature", "position", "text"),
    [
        (Feature("n", "number"), 0.1, "0.1"),
        (Feature("n", "number"), 3.0, "3.0"),
        (Feature("n", "number", integer=True), 3.0, "3"),
        (Feature("n", "number", integer=True), 3.5, "3.5"),
        (Feature("c", "category", ("a", "b")), 1.0, "b"),
        (Feature("c", "category", ("a", "b")), 2.0, "(missing)"),
    ],
)
def test_positions_as_text(feature: Feature, position: float, text: str) -> None:
    assert text_of(feature, position) == text


def test_sampled_rows_rise_and_are_the_same_again(table_problem: Any, network: Any) -> None:
    problem = table_problem(network(2), np.zeros((50, 2)), np.zeros((1, 2)), seed=3)
    assert sampled(problem, 80, "a").tolist() == list(range(50))
    one = sampled(problem, 20, "a")
    assert (np.diff(one) > 0).all()
    assert len(one) == 20
    assert one.tolist() == sampled(problem, 20, "a").tolist()
    assert one.tolist() != sampled(problem, 20, "b").tolist()


# ---------------------------------------------------------------- asking and telling


def test_answers_come_in_order_whatever_the_batch(table_problem: Any, network: Any) -> None:
    rows = np.random.default_rng(0).normal(size=(37, 2))
    asked = [(f"q{i}", rows[: 1 + 5 * i]) for i in range(6)]
    model = network(2)
    for batch in (16, 4096):
        problem = table_problem(model, rows, rows[:1], batch=batch)
        watch = Watch()
        watch.expect(0)
        found = list(answers(problem, iter(asked), np.array([0]), watch))
        assert [len(a) for a in found] == [1 + 5 * i for i in range(6)]
        assert watch.done == sum(len(a) for a in found)
        for (_, own), answer in zip(asked, found, strict=True):
            np.testing.assert_allclose(answer, problem.predictor(own, "margin"), atol=1e-6)


def test_nothing_asked_is_nothing_answered(table_problem: Any, network: Any) -> None:
    problem = table_problem(network(2), np.zeros((3, 2)), np.zeros((1, 2)))
    assert list(answers(problem, [], np.array([0]), Watch())) == []


def test_rows_of_effects() -> None:
    table = effect_rows(
        2, output="o", feature="f", effect=np.array([1.0, np.nan]), error=np.array([0.5, np.nan]), n_rows=7
    )
    assert table.schema.equals(schema_of("effects", pa.int64()))
    first, second = table.to_pylist()
    assert (first["ci_low"], first["ci_high"]) == pytest.approx((1 - 0.5 * 1.959964, 1 + 0.5 * 1.959964))
    assert (second["effect"], second["std_error"], second["ci_low"]) == (None, None, None)
    assert (first["row_id"], first["with_feature"], first["point"], first["n_rows"]) == (None, None, None, 7)


def test_a_mean_of_one_has_no_error() -> None:
    mean, error = mean_and_error(np.array([[3.0], [4.0]]), axis=1)
    assert mean.tolist() == [3.0, 4.0]
    assert np.isnan(error).all()


# ---------------------------------------------------------------- through the stage


@pytest.fixture(scope="module")
def written(audit_files: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The three techniques on the small audit with hostile names, its ids texts."""
    techniques = {"partial_dependence": {"points": 4, "curves": 3}, "ale": {"intervals": 3}, "interactions": {}}
    files = {**audit_files, "explain": {**audit_files["explain"], "techniques": techniques}}
    config = AuditConfig.model_validate(files)
    workspace = Workspace(tmp_path_factory.mktemp("run"), "20260101T000000Z-00000000", {"keras_audit.run_id": "r"})
    done = [explain(name, config, workspace, Watch()) for name in NAMES]
    return config, workspace, done


def test_the_stage_writes_a_table_each(written: Any) -> None:
    _, workspace, done = written
    for name, result in zip(NAMES, done, strict=True):
        assert isinstance(result, Done)
        (ref,) = result.tables
        assert ref.name == f"effects/{name}"
        assert ref.sha256 == file_digest(ref.path)
        found = pq.read_table(ref.path)
        assert found.schema.remove_metadata().equals(schema_of(ref.name, pa.large_string()))
        assert found.num_rows == ref.rows > 0
        assert result.facts["scope"] == "shape"
        assert result.facts["output"] == "probability"
        assert result.facts["evaluations"] > 0
    assert join_importance(workspace, done).rows == 0  # they attribute nothing


def test_curves_of_single_rows_bear_the_ids_of_their_rows(written: Any) -> None:
    config, workspace, _ = written
    subject = open_subject(config)
    problem = problem_of(subject)
    ids = subject.row_id.to_pylist()
    table = workspace.read_table("effects/partial_dependence")
    single = table.filter(pc.is_valid(table["row_id"])).to_pylist()
    assert len({r["row_id"] for r in single}) == 3
    places = [subject.features.index(f) for f in subject.features if f.name == "age"]
    for r in single:
        if r["feature"] == "age":
            row = subject.rows[ids.index(r["row_id"])].copy()
            row[places] = r["position"]
            assert r["effect"] == pytest.approx(problem.predictor(row[None])[0, 0], abs=1e-6)
            assert r["n_rows"] == 1
            assert r["value"] == str(int(r["position"]))


def test_names_and_values_come_through_as_they_are(written: Any) -> None:
    config, workspace, _ = written
    names = [f.name for f in open_subject(config).features]
    for name in ("partial_dependence", "ale"):
        table = workspace.read_table(f"effects/{name}")
        assert set(table["feature"].to_pylist()) == set(names)
        colours = table.filter(pc.equal(table["feature"], "colour"))["value"].to_pylist()
        assert "<script>alert('x')</script>" in colours
        assert "(missing)" in colours


def test_images_and_groups_of_everything_do_not_fit(
    image_problem: Any, audit_files: dict[str, Any], tmp_path: Path
) -> None:
    files = {**audit_files, "explain": {**audit_files["explain"], "techniques": {"ale": {}, "partial_dependence": {}}}}
    names = [f.name for f in open_subject(AuditConfig.model_validate(audit_files)).features]
    files["explain"]["feature_groups"] = {"everything": names}
    config = AuditConfig.model_validate(files)
    workspace = Workspace(tmp_path, "20260101T000000Z-00000000")
    for name in ("ale", "partial_dependence"):
        result = explain(name, config, workspace, Watch())
        assert isinstance(result, NotApplicable)
        assert "no axis" in result.reason


def test_three_outputs_have_three_curves(audit_of_three: dict[str, Any], tmp_path: Path) -> None:
    files = {**audit_of_three, "explain": {**audit_of_three["explain"], "techniques": {"ale": {}}}}
    workspace = Workspace(tmp_path, "20260101T000000Z-00000000")
    done = explain("ale", AuditConfig.model_validate(files), workspace, Watch())
    assert isinstance(done, Done)
    assert set(workspace.read_table("effects/ale")["output"].to_pylist()) == {"no", "yes", "perhaps"}
    assert set(done.facts["mean_output"]) == {"no", "yes", "perhaps"}
