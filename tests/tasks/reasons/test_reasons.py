"""Principal reasons: chosen by hand-computed cases, and on the bundled model as the recipe says."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from configs.schema import AuditConfig
from flows.request import load_config
from tasks.contracts import Done, NotApplicable, schema_of
from tasks.load import open_subject
from tasks.persist.publish import begin, new_run_id
from tasks.predict import predict
from tasks.reasons import principal_reasons, state_reasons
from tasks.reasons.stage import code_of
from tasks.watch import Watch


@pytest.mark.parametrize(
    ("contribution", "chosen"),
    [
        ([-1.0, -2.0, 3.0, 0.0], ["b", "a"]),  # worst first; what helps or is nought is no reason
        ([-1.0, -1.0, -1.0, -1.0], ["a", "b", "c", "d"]),  # ties by name
        ([1.0, 0.0, 2.0, 3.0], []),
        ([-1.0, -5.0, -3.0, -2.0], ["b", "c", "d", "a"]),
    ],
)
def test_principal_reasons(contribution, chosen):
    names = ["a", "b", "c", "d"]
    assert [names[j] for j in principal_reasons(np.array(contribution), names)] == chosen


def test_no_more_than_four():
    assert len(principal_reasons(-np.arange(1.0, 9.0), [f"f{i}" for i in range(8)])) == 4


def test_codes_are_stable_and_plain():
    assert code_of("capital_gain") == "R-CAPITAL-GAIN"
    assert code_of("<script>") == "R--SCRIPT-"


@pytest.fixture(scope="module")
def stated(tmp_path_factory):
    config = load_config("configs/adult_income.yaml", ["model.version=1", "explain.rows=40", "explain.background=20"])
    workspace = begin(tmp_path_factory.mktemp("reasons"), config.name, new_run_id())
    predict(config, workspace, Watch())
    return config, workspace, state_reasons(config, workspace, Watch())


def test_every_adverse_row_of_the_sample_has_its_reasons(stated):
    _, workspace, done = stated
    assert isinstance(done, Done)
    table = workspace.read_table("reason_codes")
    assert table.schema.equals(schema_of("reason_codes", pa.int64()))
    reasons = table.to_pandas()
    assert reasons.row_id.nunique() == done.facts["adverse"] > 10
    assert (reasons.contribution < 0).all()
    decided = workspace.read_table("predictions").to_pandas().set_index("row_id").decision
    assert set(decided.loc[reasons.row_id]) == {"<=50K"}
    for _, row in reasons.groupby("row_id"):
        assert row["rank"].tolist() == list(range(1, len(row) + 1))
        assert row.contribution.is_monotonic_increasing
        assert len(row) <= 4


def test_a_sensitive_feature_among_the_reasons_is_a_finding(stated):
    _, workspace, done = stated
    reasons = workspace.read_table("reason_codes").to_pandas()
    named = reasons.features.map(lambda features: features[0]).value_counts()
    for finding in done.findings:
        name = finding.text.partition(",")[0]
        assert f"{named[name]} of {done.facts['adverse']}" in finding.text
    assert set(done.facts["protected"]) == {"age", "race", "sex"} & set(named.index)


def test_contributions_are_of_the_margin_against_approved_rows(stated):
    # Efficiency: all contributions of a row add up to its margin less the mean margin of rows just above the cut-off.
    from tasks.explain import contributions, problem_of

    config, _, _ = stated
    subject = open_subject(config)
    scores = subject.predictor(subject.rows)[:, 0]
    approved = np.flatnonzero(scores >= 0.5)
    background = subject.rows[approved[np.argsort(scores[approved])][:50]]
    rows = subject.rows[np.flatnonzero(scores < 0.5)[:8]]
    found = contributions(subject, problem_of(subject), rows, background, 512, Watch())
    margin = subject.predictor(rows, "margin")[:, 0] - subject.predictor(background, "margin")[:, 0].mean()
    np.testing.assert_allclose(found.sum(axis=1), margin, atol=1e-5)


def test_of_very_many_adverse_decisions_a_sample_has_its_reasons_and_the_report_says_so(stated, tmp_path, monkeypatch):
    config, every, all_of_them = stated
    monkeypatch.setattr("tasks.reasons.stage.MOST_ROWS", 12)
    tables = []
    for run in ("a", "b"):
        workspace = begin(tmp_path / run, config.name, new_run_id())
        predict(config, workspace, Watch())
        done = state_reasons(config, workspace, Watch())
        tables.append(workspace.read_table("reason_codes"))
    adverse = all_of_them.facts["adverse"]
    assert (done.facts["stated"], done.facts["adverse"]) == (12, adverse)
    assert done.limitations == (
        f"Reasons are stated for 12 of the {adverse} adverse decisions among the 40 explained rows,"
        " a simple random sample.",
    )
    assert all(" of 12 adverse decisions" in finding.text for finding in done.findings)
    assert tables[0].equals(tables[1])
    found, whole = tables[0].to_pandas(), every.read_table("reason_codes").to_pandas()
    assert found.row_id.nunique() == 12
    # The same reasons as where all rows have theirs.
    joined = found.merge(whole, on=["row_id", "rank"], suffixes=("", "_whole"))
    assert len(joined) == len(found)
    assert (joined.code == joined.code_whole).all()


NO_OUTCOME = ["data.sensitive={}", "data.intersections=[]", "policy=[]", "data.target.favorable=null"]


@pytest.mark.parametrize(
    ("config", "settings", "words"),
    [
        ("configs/digit_scenes.yaml", [], "images"),
        ("configs/adult_income.yaml", NO_OUTCOME, "favourable"),
    ],
)
def test_where_there_is_no_adverse_decision_reasons_do_not_apply(tmp_path, config, settings, words):
    checked = load_config(config, [*settings, "explain.rows=5"])
    found = state_reasons(checked, begin(tmp_path, checked.name, new_run_id()), Watch())
    assert isinstance(found, NotApplicable)
    assert words in found.reason


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """An audit whose target is 0 or 1, so that a config may write its class in several ways."""
    import keras
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("numbered")
    rows = np.random.default_rng(0).normal(size=(60, 3))
    columns = {name: rows[:, j] for j, name in enumerate("abc")}
    pq.write_table(pa.table({**columns, "y": (rows[:, 0] > 0).astype(np.int64)}), folder / "data.parquet")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.set_weights([np.array([[2.0], [-1.0], [0.5]], np.float32), np.array([0.1], np.float32)])
    model.save(folder / "model.keras")

    def run(favorable, number):
        config = AuditConfig.model_validate(
            {
                "name": "numbered",
                "model": {"path": str(folder / "model.keras"), "task": "binary"},
                "data": {
                    "path": str(folder / "data.parquet"),
                    "features": ["a", "b", "c"],
                    "target": {"column": "y", "favorable": favorable},
                },
                "explain": {"rows": "all", "background": 10},
            }
        )
        workspace = begin(folder / number, config.name, new_run_id())
        predict(config, workspace, Watch())
        done = state_reasons(config, workspace, Watch())
        assert isinstance(done, Done), done
        return workspace.read_table("reason_codes"), done

    return run


def test_the_favourable_class_may_be_written_in_any_way(numbered):
    expected, done = numbered(1, "plain")
    assert 10 < done.facts["adverse"] < 50
    assert done.facts["background"].startswith("the rows decided in favour")
    for number, favorable in enumerate(["1", 1.0, True, [1.0]]):
        table, again = numbered(favorable, str(number))
        assert table.equals(expected)
        assert again.facts == done.facts


def test_the_other_class_has_the_other_reasons(numbered):
    # The margin is 2a − b + c/2 + 0.1: with 0 favourable, a large `a` speaks against, with 1 a small one.
    for favorable, sign in ((1.0, 1), (0.0, -1)):
        table, _ = numbered(favorable, f"sign {sign}")
        first = table.filter(pc.equal(table["rank"], 1))
        values = np.random.default_rng(0).normal(size=(60, 3))[first["row_id"].to_numpy(), 0]
        of_a = np.array([features == ["a"] for features in first["features"].to_pylist()])
        assert of_a.sum() > 5
        assert (sign * values[of_a] < 0.5).all()
