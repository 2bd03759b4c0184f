"""The stage on a small audit with hostile names: its tables, their seam with the contract, and what goes wrong."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.schema import AuditConfig
from tasks.contracts import Done, NotApplicable, schema_of
from tasks.errors import ConfigError, OutputError, Stopped
from tasks.explain import TECHNIQUES, drop_parts, explain, join_importance, planned, stage
from tasks.explain.base import Importance
from tasks.explain.stage import importance_rows
from tasks.load import open_subject
from tasks.persist import Workspace
from tasks.persist.store import file_digest
from tasks.watch import Watch


def config_of(files: dict[str, Any], **changes: Any) -> AuditConfig:
    blocks = {block: {**files.get(block, {}), **change} for block, change in changes.items()}
    return AuditConfig.model_validate({**files, **blocks})


def run_all(config: AuditConfig, folder: Path) -> tuple[Workspace, list[Done]]:
    workspace = Workspace(folder, "20260101T000000Z-00000000", {"keras_audit.run_id": "r"})
    done = []
    for name in planned(config, "table"):
        result = explain(name, config, workspace, Watch())
        assert isinstance(result, Done), result
        done.append(result)
    join_importance(workspace, done)
    drop_parts(workspace)
    return workspace, done


@pytest.fixture(scope="module")
def audit(
    audit_files: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[AuditConfig, Workspace, list[Done]]:
    config = config_of(audit_files)
    return config, *run_all(config, tmp_path_factory.mktemp("run"))


def test_tables_have_the_columns_of_the_contract(audit: tuple[AuditConfig, Workspace, list[Done]]) -> None:
    _, workspace, done = audit
    for name, row_id in (
        ("attributions/shap", pa.large_string()),
        ("attributions/lime", pa.large_string()),
        ("importance", None),
    ):
        found = pq.read_schema(workspace.table_path(name))
        assert found.remove_metadata().equals(schema_of(name, row_id))
        assert found.metadata[b"keras_audit.table"] == name.encode()
    refs = [table for result in done for table in result.tables]
    assert [ref.name for ref in refs] == ["attributions/shap", "attributions/lime"]
    for ref in refs:
        assert ref.sha256 == file_digest(ref.path)
        assert ref.rows == 25 * 3
    assert sorted(p.name for p in workspace.folder.rglob("*") if p.is_file()) == [
        "importance.parquet", "lime.parquet", "shap.parquet",
    ]  # fmt: skip


def test_attributions_say_row_output_feature_value_and_prediction(
    audit: tuple[AuditConfig, Workspace, list[Done]],
) -> None:
    config, workspace, _ = audit
    subject = open_subject(config)
    source = {row["key"]: row for row in pq.read_table(config.data.path).to_pylist()}
    keys = list(source)
    table = workspace.read_table("attributions/shap").to_pylist()
    names = [feature.name for feature in subject.features]
    assert names == ["age", "a | <b>&amp;", "colour"]
    assert [row["feature"] for row in table] == names * 25
    ids = [row["row_id"] for row in table[::3]]
    assert ids == sorted(ids, key=keys.index)
    predictions = subject.predictor(subject.rows)[:, 0]
    values = set()
    for row in table:
        raw = source[row["row_id"]][row["feature"]]
        if row["feature"] == "age":
            assert row["value"] == str(raw)
        elif row["feature"] == "colour":
            assert row["value"] == raw
            values.add(row["value"])
        else:
            assert float(row["value"]) == raw
        assert row["output"] == "yes"
        assert row["prediction"] == predictions[keys.index(row["row_id"])]
    assert None in values
    assert "<script>alert('x')</script>" in values
    assert "\u202eright to left" in values


def test_attributions_add_up_to_the_prediction(audit: tuple[AuditConfig, Workspace, list[Done]]) -> None:
    _, workspace, _ = audit
    table = workspace.read_table("attributions/shap")
    values = {name: table.column(name).to_numpy() for name in ("attribution", "base_value", "prediction")}
    sums = values["attribution"].reshape(25, 3).sum(axis=1)
    np.testing.assert_allclose(sums + values["base_value"][::3], values["prediction"][::3], atol=1e-9)
    assert table.column("std_error").null_count == 75  # three features: exact


def test_importance_is_the_mean_size_over_rows(audit: tuple[AuditConfig, Workspace, list[Done]]) -> None:
    _, workspace, _ = audit
    rows = workspace.read_table("importance").to_pylist()
    assert [(r["technique"], r["output"], r["feature"]) for r in rows] == [
        (technique, output, feature)
        for technique, output in (("permutation", None), ("shap", "yes"), ("lime", "yes"))
        for feature in ("age", "a | <b>&amp;", "colour")
    ]
    for technique in ("shap", "lime"):
        sizes = np.abs(
            workspace.read_table(f"attributions/{technique}").column("attribution").to_numpy().reshape(25, 3)
        )
        own = [row for row in rows if row["technique"] == technique]
        error = sizes.std(axis=0, ddof=1) / 5
        np.testing.assert_allclose([r["importance"] for r in own], sizes.mean(axis=0))
        np.testing.assert_allclose([r["std_error"] for r in own], error)
        np.testing.assert_allclose([r["ci_low"] for r in own], sizes.mean(axis=0) - 1.959964 * error, rtol=1e-5)
        assert sorted(r["rank"] for r in own) == [1, 2, 3]
        assert max(own, key=lambda r: r["importance"])["rank"] == 1
        assert {r["n_rows"] for r in own} == {25}
    labelled = [r["n_rows"] for r in rows if r["technique"] == "permutation"]
    assert labelled[0] < 25  # some labels are null


def test_facts_are_json_and_say_how_it_was_done(audit: tuple[AuditConfig, Workspace, list[Done]]) -> None:
    _, workspace, done = audit
    permutation, shap, lime = (json.loads(json.dumps(dict(result.facts), allow_nan=False)) for result in done)
    assert [result.stage for result in done] == ["explain/permutation", "explain/shap", "explain/lime"]
    for facts in (permutation, shap, lime):
        assert {"technique", "title", "source", "settings", "rows", "evaluations"} <= set(facts)
    assert permutation["settings"].items() >= {"repeats": 3, "score": "auto"}.items()
    assert permutation["measured"] == "accuracy"
    assert "left out" in done[0].limitations[0]
    assert (shap["estimator"], shap["coalitions"], shap["output"], shap["outputs"]) == (
        "exact",
        8,
        "probability",
        ["yes"],
    )
    assert lime["evaluations"] == 299 + 25
    together = lime["quality"]["local_r2"][0]
    assert (together["output"], together["n"]) == (None, 25)
    assert 0 < together["mean"] <= 1
    assert str(workspace.folder) not in json.dumps([permutation, shap, lime])


def test_two_runs_are_equal(audit: tuple[AuditConfig, Workspace, list[Done]], tmp_path: Path) -> None:
    config, workspace, done = audit
    again, repeated = run_all(config, tmp_path)
    for name in ("attributions/shap", "attributions/lime", "importance"):
        assert file_digest(again.table_path(name)) == file_digest(workspace.table_path(name))
    assert [dict(r.facts) for r in repeated] == [dict(r.facts) for r in done]


def test_techniques_side_by_side_give_what_they_give_alone(
    audit: tuple[AuditConfig, Workspace, list[Done]], tmp_path: Path
) -> None:
    config, workspace, _ = audit
    shared = Workspace(tmp_path, workspace.run_id, workspace.metadata)
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda name: explain(name, config, shared, Watch()), planned(config, "table")))
    join_importance(shared, [result for result in done if isinstance(result, Done)])
    for name in ("attributions/shap", "attributions/lime", "importance"):
        assert file_digest(shared.table_path(name)) == file_digest(workspace.table_path(name))


def test_batches_and_row_groups_change_nothing(
    audit: tuple[AuditConfig, Workspace, list[Done]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, workspace, _ = audit
    from dataclasses import replace

    small = tuple(replace(technique, batch=7) for technique in TECHNIQUES)
    monkeypatch.setattr("tasks.explain.TECHNIQUES", small)
    monkeypatch.setattr("tasks.explain.attributions.ROW_GROUP", 10)
    other, _ = run_all(config, tmp_path)
    assert pq.ParquetFile(other.table_path("attributions/shap")).num_row_groups == 4
    for name in ("attributions/shap", "attributions/lime"):
        assert other.read_table(name).equals(workspace.read_table(name))
    for column in ("importance", "std_error"):
        ours, theirs = (w.read_table("importance").column(column).to_numpy() for w in (workspace, other))
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_three_classes_margins_weights_and_chosen_outputs(audit_of_three: dict[str, Any], tmp_path: Path) -> None:
    config = config_of(
        audit_of_three,
        data={"weight": "weight"},
        explain={"output": "margin", "outputs": ["yes", "no"], "rows": 10},
    )
    workspace, done = run_all(config, tmp_path)
    table = workspace.read_table("attributions/shap")
    assert table.column("output").to_pylist() == (["yes"] * 3 + ["no"] * 3) * 10
    assert min(table.column("prediction").to_pylist()) < 0  # a margin
    importance = workspace.read_table("importance").to_pylist()
    # In the order of the model's outputs, whatever the order asked for.
    assert [r["output"] for r in importance if r["technique"] == "shap"] == ["no"] * 3 + ["yes"] * 3
    assert done[1].facts["outputs"] == ["no", "yes"]
    entries = done[2].facts["quality"]["local_r2"]
    assert [entry["output"] for entry in entries] == [None, "no", "yes"]


def test_one_row(audit_files: dict[str, Any], tmp_path: Path) -> None:
    workspace, _ = run_all(config_of(audit_files, explain={"rows": 1}), tmp_path)
    for row in workspace.read_table("importance").to_pylist():
        assert row["n_rows"] == 1
        assert (row["std_error"] is None) == (row["technique"] != "permutation")


# ---------------------------------------------------------------- what does not fit, what goes wrong


@pytest.mark.parametrize(
    ("technique", "settings", "code", "reason"),
    [
        ("gradcam", {}, "modality", "Grad-CAM is for models that take images; this one takes a table"),
    ],
)
def test_not_applicable(
    audit_files: dict[str, Any], tmp_path: Path, technique: str, settings: dict[str, Any], code: str, reason: str
) -> None:
    config = config_of(audit_files, explain={"techniques": {technique: settings}})
    found = explain(technique, config, Workspace(tmp_path, "r"), Watch())
    assert found == NotApplicable(f"explain/{technique}", code, reason)
    assert not list(tmp_path.iterdir())


def test_an_estimator_that_is_named_and_cannot_be_is_an_error(audit_files: dict[str, Any], tmp_path: Path) -> None:
    import keras

    own = open_subject(config_of(audit_files)).predictor
    assert own.differentiable
    inputs = keras.Input(own.keras_model.inputs[0].shape[1:], dtype="int32")
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.ops.cast(inputs, "float32")))
    place = tmp_path / "model" / "1"
    place.mkdir(parents=True)
    model.save(place / "model.keras")
    original = Path(audit_files["model"]["path"]) / "1" / "preprocessor.skops"
    (place / "preprocessor.skops").write_bytes(original.read_bytes())
    files = {**audit_files, "model": {**audit_files["model"], "path": str(tmp_path / "model")}}
    for estimator in ("shap.gradient", "shap.deep"):
        config = config_of(files, explain={"techniques": {"shap": {"estimator": estimator}}})
        with pytest.raises(ConfigError, match=rf"shap\.estimator: asked for, but {estimator} needs gradients"):
            explain("shap", config, Workspace(tmp_path / "run", "r"), Watch())
    assert not (tmp_path / "run").exists()


def test_top_k_and_recorded_decisions_are_told(audit_files: dict[str, Any], tmp_path: Path) -> None:
    for rule in ({"top_k": 20}, {"column": "ok"}):
        config = config_of(audit_files, bias={"decision": rule})
        done = explain("permutation", config, Workspace(tmp_path, "r"), Watch())
        assert isinstance(done, Done)
        assert done.facts["score"] == "log_loss"
        assert any(next(iter(rule)) in sentence for sentence in done.limitations)


def test_wrong_settings_and_names_are_told(audit_files: dict[str, Any], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "r")
    with pytest.raises(ConfigError, match="unknown key x"):
        explain("lime", config_of(audit_files, explain={"techniques": {"lime": {"x": 1}}}), workspace, Watch())
    with pytest.raises(ConfigError, match=r"unknown technique limes.*did you mean lime?"):
        explain("limes", config_of(audit_files), workspace, Watch())


def test_progress_and_stop(audit_files: dict[str, Any], tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    watch = Watch(report=lambda task, done, total: seen.append((done, total)))
    explain("lime", config_of(audit_files), Workspace(tmp_path, "r"), watch)
    assert seen[-1] == (25, 25)
    stop = threading.Event()
    stop.set()
    for name in ("permutation", "shap", "lime"):
        with pytest.raises(Stopped):
            explain(name, config_of(audit_files), Workspace(tmp_path / name, "r"), Watch(stop=stop))
        assert not list((tmp_path / name).rglob("*.parquet"))


def test_a_broken_answer_names_the_rows(
    audit_files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN from between row and background is told with the rows' own ids, wherever in a batch they stand."""
    from dataclasses import replace

    from tasks.explain.engine import masking

    config = config_of(audit_files)
    original = masking.MaskedMeans.unjudged

    def broken(self: Any, rows: np.ndarray) -> np.ndarray:
        found = original(self, rows)
        found[len(rows) - 1 :] = np.nan if len(rows) == 10 else found[len(rows) - 1 :]
        return found

    monkeypatch.setattr("tasks.explain.TECHNIQUES", tuple(replace(t, batch=10) for t in TECHNIQUES))
    monkeypatch.setattr(masking.MaskedMeans, "unjudged", broken)
    ids = pq.read_table(config.data.path).column("key").to_pylist()
    from tasks.explain.problem import problem_of

    expected = ids[problem_of(open_subject(config)).positions[9]]
    with pytest.raises(OutputError) as error:
        explain("shap", config, Workspace(tmp_path, "r"), Watch())
    assert error.value.values == (expected,)
    assert not list(tmp_path.rglob("*.parquet"))


# ---------------------------------------------------------------- importance


def test_ranks_of_equals_follow_the_features() -> None:
    values = np.array([[0.1, 0.4, -0.2, 0.4]])
    nan = np.full((1, 4), np.nan)
    table = importance_rows("t", list("abcd"), Importance((None,), values, nan, nan, nan, np.array([3])))
    assert table.column("rank").to_pylist() == [3, 1, 4, 2]
    assert table.column("std_error").null_count == 4
    assert table.column("output").null_count == 4


def test_joining_takes_the_registrys_order_and_only_what_finished(audit_files: dict[str, Any], tmp_path: Path) -> None:
    config, workspace = config_of(audit_files), Workspace(tmp_path, "r")
    lime, permutation, _ = (explain(n, config, workspace, Watch()) for n in ("lime", "permutation", "shap"))
    assert isinstance(lime, Done)
    assert isinstance(permutation, Done)
    ref = join_importance(workspace, [lime, permutation])
    assert ref is not None
    assert ref.rows == 6
    found = workspace.read_table("importance").column("technique").to_pylist()
    assert found == ["permutation"] * 3 + ["lime"] * 3
    drop_parts(workspace)
    assert not (tmp_path / stage.PARTS).exists()


def test_joining_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "r")
    assert join_importance(workspace, []) is None
    assert not workspace.has_table("importance")
    ref = join_importance(workspace, [Done("explain/gradcam")])  # an image technique has no features
    assert ref is not None
    assert ref.rows == 0
    assert workspace.read_table("importance").column_names == schema_of("importance").names
