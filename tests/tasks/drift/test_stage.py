"""Drift on the bundled data, and on data that was shifted on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows.request import load_config
from tasks.contracts import TABLES, Done, NotApplicable
from tasks.drift import drift_table, feature_drift, measure_drift, score_drift
from tasks.load import Feature, open_subject
from tasks.persist import Workspace
from tasks.predict import predict
from tasks.watch import Watch

NAN = float("nan")


def drift(folder: Path, *settings: str) -> tuple[Done, dict[tuple[str, str, str], dict[str, Any]]]:
    workspace = Workspace(folder, "20261122T000000Z-00000000")
    config = load_config("configs/adult_income.yaml", settings)
    predict(config, workspace, Watch())
    done = measure_drift(config, workspace, Watch())
    assert isinstance(done, Done)
    table = workspace.read_table("drift")
    assert table.schema.remove_metadata().equals(TABLES["drift"])
    return done, {(r["kind"], r["feature"] or r["attribute"], r["measure"]): r for r in table.to_pylist()}


def test_adults_two_parts_are_alike(tmp_path: Path) -> None:
    done, rows = drift(tmp_path)
    assert done.findings == ()
    assert done.facts["drifted"] == done.facts["drifted_outputs"] == []
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert rows["data", "age", "population_stability_index"]["threshold"] == 0.25
    assert rows["data", "age", "kolmogorov_smirnov"]["threshold"] is None
    assert ("data", "occupation", "total_variation") in rows
    assert ("data", "occupation", "kolmogorov_smirnov") not in rows
    before = pq.read_table("data/adult/train.parquet").column("age").to_numpy()
    now = pq.read_table("data/adult/test.parquet").column("age").to_numpy()
    from scipy.stats import ks_2samp

    assert rows["data", "age", "kolmogorov_smirnov"]["value"] == pytest.approx(ks_2samp(before, now).statistic)
    assert rows["prediction", ">50K", "population_stability_index"]["value"] < 0.01


def test_a_shift_is_found_where_it_is(tmp_path: Path) -> None:
    table = pq.read_table("data/adult/test.parquet")
    older = table.filter(pc.greater(table.column("age"), 45))
    done, rows = drift(tmp_path, f"data.path={written(older, tmp_path)}", "data.expectations=[]")
    assert "age" in done.facts["drifted"]
    assert "education" not in done.facts["drifted"]
    # Half of the reference's tenths are empty now: the index has no bound, and no number is made up for it.
    row = rows["data", "age", "population_stability_index"]
    assert (row["value"], row["status"]) == (None, "undefined")
    assert rows["data", "age", "kolmogorov_smirnov"]["value"] > 0.5
    (text,) = [f.text for f in done.findings if f.text.startswith("Feature age ")]
    assert "has no bound" in text
    assert {f.severity for f in done.findings} == {"warning"}
    assert {f.evidence for f in done.findings} == {"drift"}


def written(table: pa.Table, folder: Path) -> Path:
    path = folder / "data.parquet"
    pq.write_table(table, path)
    return path


def test_an_attribute_that_is_no_feature_can_drift_too(tmp_path: Path) -> None:
    table = pq.read_table("data/adult/test.parquet")
    women = table.filter(pc.equal(table.column("sex"), "Female"))
    done, rows = drift(tmp_path, f"data.path={written(women, tmp_path)}", "model.version=2")
    row = rows["data", "sex", "total_variation"]
    reference = pq.read_table("data/adult/train.parquet").column("sex").to_pylist()
    assert row["value"] == pytest.approx(reference.count("Male") / len(reference))
    assert (row["attribute"], row["feature"]) == ("sex", None)
    assert rows["data", "race", "total_variation"]["attribute"] == "race"
    assert rows["data", "age", "kolmogorov_smirnov"]["feature"] == "age"  # an attribute, and a feature: said once
    assert "sex" in done.facts["drifted"]
    assert any(f.text.startswith("Attribute sex differs between ") for f in done.findings)


def test_without_a_reference_it_does_not_apply(tmp_path: Path) -> None:
    config = load_config("configs/adult_income.yaml", ["data.reference=null"])
    result = measure_drift(config, Workspace(tmp_path, "x"), Watch())
    assert isinstance(result, NotApplicable)
    assert "data.reference" in result.reason


def test_scores_are_those_of_the_predictions(tmp_path: Path) -> None:
    """In whatever order the table has its outputs."""
    config = load_config("configs/adult_income.yaml", [])
    workspace = Workspace(tmp_path, "x")
    low = {"row_id": range(200), "output": [">50K", "other"] * 100, "score": [0.001, 0.9] * 100}
    workspace.write_table("predictions", pa.table(low))
    done = measure_drift(config, workspace, Watch())
    assert isinstance(done, Done)
    assert done.facts["drifted_outputs"] == [">50K"]
    row = next(
        r
        for r in workspace.read_table("drift").to_pylist()
        if (r["kind"], r["measure"]) == ("prediction", "kolmogorov_smirnov")
    )
    reference = open_subject(config).predictor(open_subject(config).reference)[:, 0]
    assert row["value"] == pytest.approx((reference > 0.001).mean())


def values(found: list[Any]) -> dict[str, tuple[float, str]]:
    return {one.measure: (one.value, one.status) for one in found}


def test_a_number_with_missing_values() -> None:
    feature = Feature("x", "number")
    reference = np.append(np.arange(90.0), [NAN] * 10)
    audited = np.append(np.arange(90.0), [NAN] * 110)
    found = values(feature_drift(feature, reference, audited))
    assert found["kolmogorov_smirnov"] == (0.0, "ok")  # of the numbers that are there
    assert found["missing_rate_difference"][0] == pytest.approx(110 / 200 - 10 / 100)
    assert found["population_stability_index"][0] > 0.25


def test_a_category_with_codes_for_missing_values() -> None:
    feature = Feature("x", "category", ("a", "b", "never"))
    reference, audited = np.array([0.0, 1.0] * 500), np.array([0.0] * 400 + [1.0] * 400 + [3.0] * 200)
    found = values(feature_drift(feature, reference, audited))
    assert found["total_variation"] == (pytest.approx(0.2), "ok")
    assert found["missing_rate_difference"][0] == pytest.approx(0.2)
    assert found["population_stability_index"] == (np.inf, "undefined")


def test_few_rows_are_not_enough() -> None:
    generator = np.random.default_rng(1)
    feature = Feature("x", "number")
    few = values(feature_drift(feature, generator.normal(size=1000), generator.normal(size=20)))
    assert {status for _, status in few.values()} == {"insufficient_data"}
    assert few["population_stability_index"][0] == np.inf  # a tenth that none of 20 rows fell into: an accident
    # Enough for a distance, but ten cells of 60 rows make an index of 0.15 + 0.01 by chance.
    some = values(feature_drift(feature, generator.normal(size=1000), generator.normal(size=60)))
    assert some["kolmogorov_smirnov"][1] == "ok"
    assert some["population_stability_index"][1] == "insufficient_data"
    assert values(score_drift("yes", generator.random(5), generator.random(5)))["kolmogorov_smirnov"][1] != "ok"


def test_features_without_any_value_and_no_rows() -> None:
    for feature in (Feature("x", "number"), Feature("x", "category")):
        null = NAN if feature.kind == "number" else 0.0
        found = feature_drift(feature, np.full(50, null), np.full(50, null))
        assert all(one.value == 0 or one.status == "undefined" for one in found)
        empty = feature_drift(feature, np.full(50, null), np.empty(0))
        assert {one.status for one in empty} == {"undefined"}
        assert drift_table(empty).column("value").null_count == len(empty)
