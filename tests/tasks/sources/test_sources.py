"""The stage on the bundled model: its tables, its facts, and what does not apply."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flows.request import load_config
from tasks.contracts import Done, NotApplicable, schema_of
from tasks.persist.publish import begin, new_run_id
from tasks.predict import predict
from tasks.sources import trace_sources
from tasks.watch import Watch

ADULT = ["model.version=1"]


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    config = load_config("configs/adult_income.yaml", ADULT)
    workspace = begin(tmp_path_factory.mktemp("sources"), config.name, new_run_id())
    predict(config, workspace, Watch())
    watch = Watch(task="sources")
    return config, workspace, trace_sources(config, workspace, watch), watch


def test_the_tables_are_those_of_the_contract(traced):
    _, workspace, done, watch = traced
    assert isinstance(done, Done)
    assert [ref.name for ref in done.tables] == ["proxies", "slices"]
    for name in ("proxies", "slices"):
        assert workspace.read_table(name).schema.equals(schema_of(name))
    assert watch.done == watch.total
    json.dumps(done.facts, allow_nan=False)


def test_relationship_stands_for_sex(traced):
    # Husband and wife say it.
    _, workspace, done, _ = traced
    table = workspace.read_table("proxies").to_pandas()
    one = table[(table.attribute == "sex") & table.group.isna() & (table.measure == "auc")].set_index("feature")
    assert one.loc["relationship"].ci_low > 0.8
    assert one[one.index.isna()].iloc[0].value > one.loc["relationship"].value
    asked = one.drop(index="sex")  # its own column asks nothing
    assert (asked.p_adjusted >= asked.p_value).all()
    own = table[(table.attribute == "age") & (table.feature == "age")]
    assert (own.reason == "the attribute's own column").all()
    facts = {told["attribute"]: told for told in done.facts["proxies"]["attributes"]}
    assert facts["sex"]["top"][0]["feature"] == "relationship"
    assert facts["age"]["own"] == ["age"]
    assert any(f.code == "strong_proxy" and f.text.startswith("sex: relationship (0.") for f in done.findings)
    assert not any("sex × race" in str(name) for name in table.attribute)


def test_slices_are_of_the_predictions(traced):
    config, workspace, done, _ = traced
    table = workspace.read_table("slices").to_pandas()
    assert set(table.metric) == {"selection_rate", "accuracy", "true_positive_rate", "false_positive_rate"}
    assert (table.groupby("metric")["rank"].agg(lambda r: r.tolist() == list(range(1, len(r) + 1)))).all()
    assert (table.q_value.dropna() >= table.p_value.dropna()).all()
    np.testing.assert_allclose(table.difference, table.value - table["rest"], atol=1e-12)
    np.testing.assert_allclose(table.value, table.numerator / table.denominator, atol=1e-12)
    facts = done.facts["slices"]
    assert facts["searched_rows"] + facts["confirmed_rows"] == done.facts["rows"] == done.facts["of_rows"]
    assert facts["crossings"] == facts["possible"]
    assert facts["looked_at"] > 1000
    assert "age" not in facts["features"]
    assert facts["attributes"] == ["sex", "race", "age"]
    # A slice by hand, in all rows: both halves are near it.
    data = load_table(config)
    decided = workspace.read_table("predictions", ["decision"])["decision"].to_numpy(zero_copy_only=False)
    young = table[(table.slice == "relationship = Own-child") & (table.metric == "selection_rate")].iloc[0]
    inside = (data["relationship"] == "Own-child").to_numpy()
    assert young.value == pytest.approx((decided[inside] == ">50K").mean(), abs=0.02)
    assert any(f.code == "worst_slice" and f.text.startswith("Selection rate is lower") for f in done.findings)


def load_table(config):
    import pandas as pd

    return pd.read_parquet(config.data.path)


def test_the_same_audit_comes_to_the_same_bits(traced, tmp_path):
    config, workspace, done, _ = traced
    again = begin(tmp_path, config.name, new_run_id())
    predict(config, again, Watch())
    second = trace_sources(config, again, Watch())
    assert isinstance(second, Done)
    for name in ("proxies", "slices"):
        assert again.read_table(name).equals(workspace.read_table(name))
    assert second.facts == done.facts


def test_of_very_many_rows_a_sample_is_looked_at_and_the_report_says_so(traced, monkeypatch):
    config, workspace, _, _ = traced
    monkeypatch.setattr("tasks.sources.stage.MOST_ROWS", 3000)
    monkeypatch.setattr("tasks.sources.proxies.MOST_ROWS", 1000)
    done = trace_sources(config, workspace, Watch())
    assert isinstance(done, Done)
    assert (done.facts["rows"], done.facts["of_rows"]) == (3000, 16281)
    assert any("3,000 of the 16,281 rows" in text for text in done.limitations)
    assert any("measured on 1,000 rows" in text for text in done.limitations)


def test_values_of_redacted_features_name_no_slice(traced):
    config, workspace, _, _ = traced
    used = {part.partition(" ")[0] for row in workspace.read_table("slices").to_pylist() for part in row["parts"]}
    redact = sorted(used - set(config.data.sensitive))
    assert redact
    rows = config.report.rows.model_copy(update={"redact": redact})
    hidden = config.model_copy(update={"report": config.report.model_copy(update={"rows": rows})})
    done = trace_sources(hidden, workspace, Watch())
    assert isinstance(done, Done)
    texts = [part for row in workspace.read_table("slices").to_pylist() for part in row["parts"]]
    texts += [finding.text for finding in done.findings if finding.evidence == "slices"]
    assert texts
    assert not [text for text in texts for name in redact if f"{name} " in text]
    assert isinstance(trace_sources(config, workspace, Watch()), Done)  # for those that share the run


def test_without_attributes_there_is_nothing_to_trace(tmp_path):
    config = load_config("configs/adult_income.yaml", ["data.sensitive={}", "data.intersections=[]", "policy=[]"])
    result = trace_sources(config, begin(tmp_path, config.name, new_run_id()), Watch())
    assert isinstance(result, NotApplicable)
    assert result.code == "no_attributes"
