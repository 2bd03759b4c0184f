"""The whole flow on a small subject, against Prefect's real server: what comes out, and what bad input gets."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from tasks.contracts import TABLES, schema_of
from tasks.errors import AuditError, ConfigError, ModelError, Stopped, StorageError
from tasks.watch import Watch
from tests.tasks.load.web import site


def _tables(folder: Path) -> dict[str, pa.Table]:
    root = folder / "artifacts"
    return {p.relative_to(root).with_suffix("").as_posix(): pq.read_table(p) for p in sorted(root.rglob("*.parquet"))}


def _nothing_published(reports: Path) -> bool:
    """No run under a final name, and nothing half-made left; what steps came to may be kept for the next run."""
    return not [p for p in reports.glob("credit/*") if p.is_dir() and p.name != ".finished"]


# What a finished audit leaves


@pytest.fixture(scope="module")
def finished(prefect_server, subject, tmp_path_factory):
    from flows.audit import audit as flow

    tmp_path = tmp_path_factory.mktemp("finished")
    path = subject.write(tmp_path, {"report.formats": ["html", "pdf", "json", "markdown"]})
    return flow(config=str(path), reports=str(tmp_path / "reports"), return_state=True).result(raise_on_failure=False)


def test_every_file_of_the_contract_is_there(finished):
    folder = Path(finished.folder)
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    files = {
        "summary.json",
        "report.html",
        "report.pdf",
        "report.md",
        "config.yaml",
        "manifest.json",
        "manifest.sha256",
    }
    tables = (
        "predictions", "validation", "attributions/shap", "attributions/lime", "importance", "groups", "group_metrics",
        "disparities", "agreement", "explanation_quality", "drift",
    )  # fmt: skip
    assert files | {f"artifacts/{name}.parquet" for name in tables} <= names
    assert (folder.parent / "latest").readlink() == Path(folder.name)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_every_table_has_the_columns_of_the_contract(finished):
    for name, table in _tables(Path(finished.folder)).items():
        row_id = table.schema.field("row_id").type if "row_id" in table.column_names else None
        assert table.schema.equals(schema_of(name, row_id)), name
        assert table.schema.metadata[b"keras_audit.run_id"].decode() == finished.run_id
        assert name.partition("/")[0] in TABLES


def test_row_ids_keep_the_type_of_the_id_column(finished):
    tables = _tables(Path(finished.folder))
    assert tables["predictions"].schema.field("row_id").type == pa.string()
    assert pc.all(pc.starts_with(tables["attributions/shap"]["row_id"], "p")).as_py()


def test_the_manifest_covers_every_other_file(finished):
    folder = Path(finished.folder)
    manifest = (folder / "manifest.json").read_bytes()
    assert (folder / "manifest.sha256").read_text().split()[0] == hashlib.sha256(manifest).hexdigest()
    subjects = {s["name"]: s["digest"]["sha256"] for s in json.loads(manifest)["subject"]}
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    assert set(subjects) == set(files) - {"manifest.json", "manifest.sha256"}
    assert all(hashlib.sha256(files[name].read_bytes()).hexdigest() == digest for name, digest in subjects.items())


def test_shap_adds_up_to_the_prediction(finished):
    shap = _tables(Path(finished.folder))["attributions/shap"].to_pandas()
    for _, row in shap.groupby("row_id"):
        assert row.attribution.sum() + row.base_value.iloc[0] == pytest.approx(row.prediction.iloc[0], abs=1e-6)


def test_the_verdict_is_the_policys(finished):
    summary = json.loads((Path(finished.folder) / "summary.json").read_text())
    assert summary["verdict"] == finished.verdict == "not_satisfied"
    assert finished.exit_code == 1
    (check,) = finished.checks
    assert check["verdict"] == "not_satisfied"
    assert check["value"] < 0.8


def test_two_runs_are_equal_value_by_value(finished, audit):
    again = _tables(Path(audit().folder))
    first = _tables(Path(finished.folder))
    assert first.keys() == again.keys()
    for name in first:
        assert first[name].equals(again[name]), name


def test_one_worker_gives_the_same_tables_as_four(finished, audit):
    again = _tables(Path(audit({"run": {"workers": 1}}).folder))
    assert all(table.equals(again[name]) for name, table in _tables(Path(finished.folder)).items())


def test_the_resolved_config_runs_again(finished):
    from flows.request import load_config

    config = load_config(Path(finished.folder) / "config.yaml")
    assert config.name == "credit"
    assert config.bias.min_group_size == 30


def test_prefect_shows_the_run_by_name_and_its_artifacts(finished):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        run = max(client.read_flow_runs(), key=lambda r: r.start_time or r.created)
        artifacts = {a.key for a in client.read_artifacts()} if hasattr(client, "read_artifacts") else None
    assert run.name.startswith("credit v1")
    assert run.state.name == "Completed: policy not satisfied"
    if artifacts is not None:
        assert {"credit-summary", "credit-policy", "credit-disparities"} <= artifacts


def test_an_audit_without_a_policy_is_satisfied(audit):
    assert audit({"policy": []}).exit_code == 0


def test_a_technique_that_does_not_fit_is_not_applicable(audit):
    outcome = audit({"explain.techniques": {"gradcam": {}, "permutation": {"repeats": 1}}})
    assert outcome.verdict == "not_satisfied"  # the policy's; the audit is complete
    assert "not applicable" in (Path(outcome.folder) / "report.md").read_text().lower()


# Bad config: exit 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"explain.rosw": 5}, ["explain.rosw", "did you mean rows?"]),
        ({"explain.rows": "many"}, ["explain.rows", "many"]),
        ({"explain.techniques": {"shpa": {}}}, ["shpa", "did you mean shap?"]),
        ({"explain.techniques": {"lime": {"sampels": 5}}}, ["sampels", "samples"]),
        ({"policy": [{"metric": "impact_ration", "attribute": "sex", "min": 0.8}]}, ["impact_ration", "impact_ratio"]),
        ({"policy": [{"metric": "impact_ratio", "attribute": "sxe", "min": 0.8}]}, ["sxe", "sex"]),
        ({"report.regulations": ["nyc_ll_144"]}, ["nyc_ll_144", "nyc_ll144"]),
        ({"data.expectations": [{"type": "expect_column_to_exists", "column": "sex"}]}, ["expect_column_to_exist"]),
        ({"data.path": "nowhere.parquet"}, ["nowhere.parquet"]),
        ({"data.reference": "nowhere.parquet"}, ["nowhere.parquet"]),
        ({"model.path": "nowhere"}, ["nowhere"]),
        ({"model.version": 7}, ["7", "1"]),
        ({"model.sha256": "0" * 64}, ["0000", "digest"]),
        ({"data.target.favorable": None}, ["favorable"]),
    ],
)  # fmt: skip
def test_a_bad_config_is_told_in_one_line(audit, tmp_path, changes, words):
    with pytest.raises(AuditError) as caught:
        audit(changes)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert _nothing_published(tmp_path / "reports")


def _model_with(subject, tmp_path, layer) -> str:
    import keras

    inputs = keras.Input((7,))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(layer(inputs)))
    (tmp_path / "odd").mkdir()
    model.save(tmp_path / "odd" / "model.keras")
    preprocessor = subject.folder / "model" / "1" / "preprocessor.skops"
    (tmp_path / "odd" / "preprocessor.skops").write_bytes(preprocessor.read_bytes())
    return str(tmp_path / "odd")


def test_a_lambda_layer_is_refused(audit, subject, tmp_path):
    import keras

    path = _model_with(subject, tmp_path, keras.layers.Lambda(lambda x: x * 2, output_shape=(7,)))
    with pytest.raises(ModelError, match="Lambda") as caught:
        audit({"model.path": path})
    assert caught.value.hint


def test_a_custom_class_is_refused(audit, subject, tmp_path):
    import keras

    class Doubling(keras.layers.Layer):
        def call(self, x):
            return x * 2

    with pytest.raises(ModelError, match="Doubling"):
        audit({"model.path": _model_with(subject, tmp_path, Doubling())})


def test_what_is_no_keras_file_is_refused(audit, tmp_path):
    (tmp_path / "text.keras").write_text("not a model")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("readme.txt", "not a model either")
    for name in ("text.keras", "empty.keras"):
        with pytest.raises(ModelError, match=name):
            audit({"model.path": str(tmp_path / name)})


# Bad data: exit 3, with a report that says why


def _with(table: pa.Table, column: str, values: list) -> pa.Table:
    return table.set_column(table.schema.get_field_index(column), column, pa.array(values))


def _refused(outcome, *words: str) -> None:
    assert outcome.verdict == "refused", outcome
    assert outcome.exit_code == 3
    report = (Path(outcome.folder) / "report.md").read_text()
    said = " ".join(outcome.reasons)
    assert all(word in said for word in words), said
    assert "refused" in report.lower()
    assert (Path(outcome.folder) / "summary.json").is_file()


def test_a_missing_column_is_refused(audit, subject):
    _refused(audit(data=subject.data.drop_columns(["debt"])), "debt")


def test_an_unknown_class_is_refused(audit, subject):
    labels = subject.data["outcome"].to_pylist()
    _refused(audit(data=_with(subject.data, "outcome", ["ugly", *labels[1:]])), "outcome", "ugly", "1")


def test_rows_of_one_class_are_refused(audit, subject):
    _refused(audit(data=_with(subject.data, "outcome", ["good"] * len(subject.data))), "outcome")


def test_nan_that_the_model_cannot_take_is_refused(audit, subject):
    values = subject.data["income"].to_pylist()
    _refused(audit(data=_with(subject.data, "income", [None, float("nan"), *values[2:]])), "income", "2")


def test_an_empty_table_is_refused(audit, subject):
    _refused(audit(data=subject.data.slice(0, 0)), "no rows")


def test_duplicate_ids_are_refused(audit, subject):
    ids = subject.data["person"].to_pylist()
    _refused(audit(data=_with(subject.data, "person", [ids[1], *ids[1:]])), "person")


def test_an_expectation_of_the_config_refuses_or_warns(audit, subject):
    expectation = {"type": "expect_column_values_to_be_between", "column": "income", "min_value": 1000}
    _refused(audit({"data.expectations": [expectation]}), "income")
    warned = audit({"data.expectations": [{**expectation, "severity": "warning"}]})
    assert warned.verdict == "not_satisfied"
    report = (Path(warned.folder) / "report.md").read_text().replace("\\", "")
    assert "expect_column_values_to_be_between" in report


# Odd data: reported, not crashed


def test_a_group_never_seen_and_a_group_of_one_are_reported(audit, subject):
    sex = ["Other", *subject.data["sex"].to_pylist()[1:]]
    outcome = audit(data=_with(subject.data, "sex", sex))
    metrics = _tables(Path(outcome.folder))["group_metrics"].to_pandas()
    other = metrics[(metrics.group == "Other") & (metrics.metric == "selection_rate")]
    assert other.status.tolist() == ["insufficient_data"]
    assert other.n.tolist() == [1]
    assert "Other" in (Path(outcome.folder) / "report.md").read_text()


# Incomplete: exit 4, with everything else in place


def test_a_model_that_returns_nan_names_the_rows(audit, subject, tmp_path):
    subject.save_model(tmp_path / "nan" / "1", weights=(np.nan, 0, 0, 0, 0, 0, 0))
    outcome = audit({"model.path": str(tmp_path / "nan")})
    assert (outcome.verdict, outcome.exit_code) == ("incomplete", 4)
    report = (Path(outcome.folder) / "report.md").read_text()
    assert "p0000" in report
    assert "incomplete" in report.lower()
    assert "validation" in _tables(Path(outcome.folder))


def test_a_technique_that_fails_leaves_everything_else_in_place(audit, subject, tmp_path):
    # √(income − debt): every real row has both equal, but a row that SHAP or a permutation mixes need not.
    import keras

    inputs = keras.Input((7,))
    rest = keras.layers.Dense(1, name="rest")
    model = keras.Model(inputs, keras.layers.Activation("sigmoid")(keras.ops.sqrt(rest(inputs))))
    rest.set_weights([np.array([1, -1, 0, 0, 0, 0, 0], "float32")[:, None], np.array([0.01], "float32")])
    subject.save_model(tmp_path / "root")
    model.save(tmp_path / "root" / "model.keras")
    same = {name: _with(table, "debt", table["income"].to_pylist()) for name, table in
            (("data", subject.data), ("reference", subject.reference))}  # fmt: skip
    pq.write_table(same["reference"], tmp_path / "same.parquet")
    import skops.io

    columns = skops.io.load(subject.folder / "model" / "1" / "preprocessor.skops")
    skops.io.dump(columns.fit(same["reference"].to_pandas()), tmp_path / "root" / "preprocessor.skops")

    outcome = audit(
        {"model.path": str(tmp_path / "root"), "data.reference": str(tmp_path / "same.parquet")}, same["data"]
    )
    assert (outcome.verdict, outcome.exit_code) == ("incomplete", 4)
    assert {sentence.split(":")[0] for sentence in outcome.missing} >= {"explain/shap", "explain/permutation"}
    tables = _tables(Path(outcome.folder))
    assert {"predictions", "groups", "group_metrics", "disparities"} <= tables.keys()
    assert "attributions/shap" not in tables
    report = (Path(outcome.folder) / "report.md").read_text()
    assert report.index("Explaining with SHAP") < report.index("Performance")  # what is missing stands at the top
    summary = json.loads((Path(outcome.folder) / "summary.json").read_text())
    assert summary["verdict"] == "incomplete"


def test_a_deadline_makes_the_audit_incomplete(audit):
    outcome = audit({"run": {"deadline": 0.000001}})
    assert outcome.exit_code == 4
    assert any("deadline" in sentence for sentence in outcome.missing)
    assert (Path(outcome.folder) / "manifest.json").is_file()


def test_data_that_changes_during_the_run_makes_the_audit_incomplete(audit, subject, tmp_path):
    path = tmp_path / "changed.parquet"

    def report(task: str, done: int, total: int | None) -> None:
        if task == "predict every row" and total and done >= total:
            pq.write_table(subject.data.slice(50), path)

    outcome = audit(data=subject.data, watch=Watch(report=report))
    assert outcome.exit_code == 4
    assert any("changed.parquet" in sentence for sentence in outcome.missing), outcome.missing


def test_data_that_cannot_be_reached_at_first_are_asked_for_again(audit, subject):
    import io

    import pyarrow.csv

    with site() as web:
        content = io.BytesIO()
        pyarrow.csv.write_csv(subject.data, content)
        web.content, web.status = content.getvalue(), 503

        def report(task: str, done: int, total: int | None) -> None:
            if task == "load data" and web.asked:
                web.status = 200  # the second try finds the server well

        outcome = audit({"data.path": web.address}, watch=Watch(report=report))
    assert outcome.verdict == "not_satisfied"
    assert json.loads((Path(outcome.folder) / "summary.json").read_text())["data"][0]["rows"] == 200


# Stopped: exit 130, nothing left


def test_a_stop_leaves_no_run(audit, tmp_path):
    stop = threading.Event()

    def report(task: str, done: int, total: int | None) -> None:
        if task.startswith("explain"):
            stop.set()

    with pytest.raises(Stopped):
        audit(watch=Watch(stop=stop, report=report))
    assert _nothing_published(tmp_path / "reports")


def test_reports_that_cannot_be_written_are_told(audit, tmp_path):
    (tmp_path / "reports").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="reports"):
        audit()


def test_a_name_with_a_path_in_it_is_refused(audit):
    with pytest.raises(ConfigError, match="name"):
        audit({"name": "../elsewhere"})


def test_hostile_text_survives_as_text(audit, subject, tmp_path):
    hostile = '<script>alert("x")</script>|`#\u202e' + "w" * 200
    sex = [hostile if s == "Male" else s for s in subject.data["sex"].to_pylist()]
    outcome = audit({"title": hostile}, data=_with(subject.data, "sex", sex))
    html = (Path(outcome.folder) / "report.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    assert yaml.safe_load((Path(outcome.folder) / "config.yaml").read_text())["title"] == hostile
