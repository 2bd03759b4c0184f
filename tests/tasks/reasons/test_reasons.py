"""The stage: reasons by hand on linear models, and on the bundled model as the recipe says."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flows.request import load_config
from tasks.contracts import NotApplicable, schema_of
from tasks.errors import ConfigError
from tasks.load import open_subject
from tasks.persist.publish import begin, new_run_id
from tasks.predict import predict
from tasks.reasons import state_reasons
from tasks.steady import steady_algebra
from tasks.watch import Watch

DRAW = np.random.default_rng(0)
COLUMNS = {name: DRAW.normal(size=300) for name in ("income", "debt", "age", "zip")}
WEIGHTS = [2.0, -1.0, 0.5, 0.0]
FILE = """
version: "7"
language: en-GB
reasons:
  - {code: MONEY, text: Income and debts, features: [income, debt]}
  - {code: YOUNG, text: Age below that of comparable applicants, features: [age], when: down}
letter: |
  Dear $id, it is $decision.
  $reasons
"""


def by_hand(columns=COLUMNS, weights=WEIGHTS, bias=0.1):
    """(n, d) β(x − mean of the 50 approved rows with the lowest margin), and which rows are adverse."""
    rows = np.stack([np.asarray(column, float) for column in columns.values()], axis=1)
    beta = np.asarray(weights)
    margin = rows @ beta + bias
    approved = np.flatnonzero(margin >= 0)
    near = approved[np.argsort(margin[approved], kind="stable")][:50]
    return (rows - rows[near].mean(axis=0)) * beta, np.flatnonzero(margin < 0), near


# By hand


def test_a_linear_models_reasons_are_its_weights_times_the_difference(linear):
    workspace, done = linear.stated(linear.config(COLUMNS, WEIGHTS, 0.1))
    expected, adverse, _ = by_hand()
    found = workspace.read_table("reason_codes").to_pandas()
    names = list(COLUMNS)
    assert 100 < len(adverse) == done.facts["adverse"] == done.facts["stated"]
    for row in adverse:
        own = found[found.row_id == row]
        order = [j for j in np.argsort(expected[row], kind="stable") if expected[row, j] < 0]
        assert [features[0] for features in own.features] == [names[j] for j in order]
        np.testing.assert_allclose(own.contribution, expected[row, order], atol=2e-5)
        assert own["rank"].tolist() == list(range(1, len(own) + 1))
    assert set(found.row_id) == set(adverse)
    assert "zip" not in {name for features in found.features for name in features}  # not scored: no reason
    assert done.facts["unsettled"] == 0


def test_the_background_is_told_with_its_digest(linear):
    config = linear.config(COLUMNS, WEIGHTS, 0.1)
    _, done = linear.stated(config)
    _, _, near = by_hand()
    subject = open_subject(config)
    texts = subject.encoder.texts(subject.rows[np.sort(near)])
    content = {"features": list(COLUMNS), "rows": [list(row) for row in zip(*texts, strict=True)]}
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert done.facts["background_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert done.facts["background_rows"] == 50
    assert done.facts["background"].startswith("the rows decided in favour")


def test_all_applicants_may_be_the_background(linear):
    columns = {name: values[:40] for name, values in COLUMNS.items()}
    config = linear.config(columns, WEIGHTS, 0.1, reasons={"background": "applicants"})
    workspace, done = linear.stated(config)
    rows = np.stack(list(columns.values()), axis=1)
    expected = (rows - rows.mean(axis=0)) * np.array(WEIGHTS)
    first = workspace.read_table("reason_codes").to_pandas().query("rank == 1")
    np.testing.assert_allclose(first.contribution, expected[first.row_id].min(axis=1), atol=2e-5)
    assert (done.facts["background"], done.facts["background_rows"]) == ("all applicants", 40)
    _, drawn = linear.stated(linear.config(COLUMNS, WEIGHTS, 0.1, reasons={"background": "applicants"}))
    assert "50 were drawn at random" in drawn.facts["background"]


def test_the_other_class_has_the_other_reasons(linear):
    data = {"target": {"column": "y", "favorable": 0}}
    workspace, _ = linear.stated(linear.config(COLUMNS, WEIGHTS, 0.1, data=data))
    first = workspace.read_table("reason_codes").to_pandas().query("rank == 1")
    income = COLUMNS["income"][first.row_id]
    of_income = np.array([features[0] == "income" for features in first.features])
    assert of_income.sum() > 20
    assert (income[of_income] > -0.5).all()  # a high one speaks for class 1, and 0 is what people want


@pytest.mark.parametrize("favorable", ["1", 1.0, True, [1.0]])
def test_the_favourable_class_may_be_written_in_any_way(linear, favorable):
    tables = []
    for written in (1, favorable):
        data = {"target": {"column": "y", "favorable": written}}
        model = {"classes": None}
        workspace, _ = linear.stated(linear.config(COLUMNS, WEIGHTS, 0.1, data=data, model=model))
        tables.append(workspace.read_table("reason_codes"))
    assert tables[0].equals(tables[1])


def test_ties_go_by_name_and_more_than_four_is_a_limitation(linear):
    same = {name: [-1.0] * 5 + [1.0] * 60 for name in ("f", "b", "e", "a", "d", "c")}
    config = linear.config(same, [1.0] * 6)
    workspace, done = linear.stated(config)
    found = workspace.read_table("reason_codes").to_pandas()
    assert [features[0] for features in found[found.row_id == 0].features] == ["a", "b", "c", "d"]
    assert not any("four" in text for text in done.limitations)
    workspace, done = linear.stated(linear.config(same, [1.0] * 6, reasons={"most": 6}))
    found = workspace.read_table("reason_codes").to_pandas()
    assert [features[0] for features in found[found.row_id == 0].features] == list("abcdef")
    assert any("more than four are not likely to help" in text for text in done.limitations)


# Groups, codes and letters


def test_features_that_the_config_binds_are_one_reason(linear):
    explain = {"feature_groups": {"money": ["income", "debt"]}}
    workspace, _ = linear.stated(linear.config(COLUMNS, WEIGHTS, 0.1, explain=explain))
    expected, _, _ = by_hand()
    found = workspace.read_table("reason_codes").to_pandas()
    money = found[found.code == "R-MONEY"]
    assert {tuple(features) for features in money.features} == {("income", "debt")}
    np.testing.assert_allclose(money.contribution, expected[money.row_id, :2].sum(axis=1), atol=2e-5)


def test_reasons_of_several_features_are_summed_and_named_by_the_file(linear, language):
    config = linear.config(COLUMNS, WEIGHTS, 0.1, reasons={"language": language(FILE)})
    workspace, done = linear.stated(config)
    expected, _, near = by_hand()
    found = workspace.read_table("reason_codes").to_pandas()
    money = found[found.code == "MONEY"]
    assert set(money.text) == {"Income and debts"}
    np.testing.assert_allclose(money.contribution, expected[money.row_id, :2].sum(axis=1), atol=2e-5)
    age = found[found.features.map(lambda features: features[0] == "age")]
    below = COLUMNS["age"][age.row_id] < COLUMNS["age"][near].mean()
    assert below.all()  # a lower age is what speaks against
    assert set(age.code) == {"YOUNG"}
    assert (done.facts["codes_version"], done.facts["language"]) == ("7", "en-GB")
    assert done.facts["language_sha256"] == hashlib.sha256(FILE.encode()).hexdigest()


def test_what_the_file_has_no_text_for_keeps_its_name_and_is_told(linear, language):
    path = language(FILE.replace("when: down", "when: up"))
    workspace, done = linear.stated(linear.config(COLUMNS, WEIGHTS, 0.1, reasons={"language": path}))
    found = workspace.read_table("reason_codes").to_pandas()
    age = found[found.features.map(lambda features: features[0] == "age")]
    assert set(zip(age.code, age.text, strict=True)) == {("R-AGE", "age")}
    assert any(text.startswith("The language file has no text for reasons of age:") for text in done.limitations)
    assert not any("not held against" in text for text in done.limitations)
    _, german = linear.stated(
        linear.config(COLUMNS, WEIGHTS, 0.1, reasons={"language": language(FILE.replace("en-GB", "de"))})
    )
    assert any("which is English" in text for text in german.limitations)


def test_every_adverse_decision_has_its_letter(linear, language):
    workspace, _ = linear.stated(linear.config(COLUMNS, WEIGHTS, 0.1, reasons={"language": language(FILE)}))
    letters = workspace.read_table("letters")
    assert letters.schema.equals(schema_of("letters", pa.int64()))
    _, adverse, _ = by_hand()
    assert letters["row_id"].to_pylist() == adverse.tolist()
    assert set(letters["language"].to_pylist()) == {"en-GB"}
    reasons = workspace.read_table("reason_codes").to_pandas()
    for row, text in zip(adverse, letters["text"].to_pylist(), strict=True):
        told = "\n".join(f"{i}. {t}" for i, t in enumerate(reasons[reasons.row_id == row].text, 1))
        assert text == f"Dear {row}, it is 0.\n{told}\n"


def test_without_a_file_there_are_no_letters_and_that_is_said(linear):
    workspace, done = linear.stated(linear.config(COLUMNS, WEIGHTS, 0.1))
    assert not workspace.has_table("letters")
    assert not workspace.has_table("counterfactuals")
    assert any("no letters are written" in text for text in done.limitations)


HOSTILE = ["<script>alert(1)</script>", "$reasons ${id} $$", "a|b\r\n# c", "\u202eevil\u0000"[:5], "{x.__class__}"]


def test_hostile_names_stay_text(linear, language):
    columns = {name: DRAW.normal(size=80) for name in HOSTILE}
    path = language('version: "1"\nlanguage: en\nreasons: [{code: A, text: "$id <b>", features: ["{x.__class__}"]}]\n'
                    'letter: "$id|$reasons|$changes"\n')  # fmt: skip
    config = linear.config(
        columns, [1.0] * 5, reasons={"language": path, "changeable": {name: {} for name in HOSTILE[:3]}}
    )
    workspace, _ = linear.stated(config)
    text = "\n".join(workspace.read_table("letters")["text"].to_pylist())
    assert "<script>alert(1)</script>" in text  # plain text: whoever shows it escapes it
    assert "$reasons ${id} $$" in text  # put in once, and never again
    assert "$id <b>" in text
    assert "{x.  class  }" not in text
    assert "\u202e" not in text
    assert "\r" not in text


def test_a_file_about_other_features_is_refused(linear, language):
    path = language(FILE.replace("features: [age]", "features: [agee]"))
    with pytest.raises(ConfigError, match=r"YOUNG is about what is not a feature.*agee.*did you mean age\?"):
        linear.stated(linear.config(COLUMNS, WEIGHTS, reasons={"language": path}))
    bound = {"feature_groups": {"money": ["income", "zip"]}}
    with pytest.raises(ConfigError, match="MONEY names a part of money"):
        linear.stated(linear.config(COLUMNS, WEIGHTS, explain=bound, reasons={"language": language(FILE)}))
    path = language(FILE.replace("[age], when", "[income_and], when").replace("[income, debt]", "[zip]"))
    grouped = {"feature_groups": {"income_and": ["income", "debt"]}}
    with pytest.raises(ConfigError, match="YOUNG says when: down, and income_and is not a single number"):
        linear.stated(linear.config(COLUMNS, WEIGHTS, explain=grouped, reasons={"language": path}))


def test_a_reason_about_a_column_that_this_model_does_not_take_is_for_another_one(linear, language):
    path = language(FILE.replace("reasons:", "reasons:\n  - {code: OTHER, text: Of another version, features: [y]}"))
    workspace, _ = linear.stated(linear.config(COLUMNS, WEIGHTS, reasons={"language": path}))
    codes = set(workspace.read_table("reason_codes")["code"].to_pylist())
    assert {"MONEY", "YOUNG"} <= codes
    assert "OTHER" not in codes


# Protected attributes


def test_a_planted_protected_driver_is_a_reason_and_a_finding(linear):
    sex = DRAW.integers(0, 2, 300)
    config = linear.config({**COLUMNS, "sex": sex}, [*WEIGHTS, 6.0], -3.0, sensitive={"s": {"column": "sex"}})
    workspace, done = linear.stated(config)
    found = workspace.read_table("reason_codes").to_pandas()
    named = found[found.features.map(lambda features: "sex" in features)]
    count = named.row_id.nunique()
    assert count == done.facts["protected"]["sex"] == done.facts["protected_decisions"] > 100
    assert (named["rank"] == 1).mean() > 0.8  # never filtered out
    (finding,) = done.findings
    assert (finding.code, finding.severity, finding.evidence) == ("protected_reason", "warning", "reason_codes")
    assert f"of {count} of {done.facts['adverse']} adverse decisions" in finding.text


# Changes


def test_what_would_alter_the_result_is_told(linear, language):
    changeable = {"income": {"direction": "up", "max": 0.0}, "debt": {"direction": "down", "min": -0.5}}
    path = language(FILE.replace("$reasons", "$reasons\n  $changes"))
    config = linear.config(COLUMNS, WEIGHTS, 0.1, reasons={"language": path, "changeable": changeable})
    workspace, done = linear.stated(config)
    table = workspace.read_table("counterfactuals")
    assert table.schema.equals(schema_of("counterfactuals", pa.int64()))
    found = table.to_pandas()
    _, adverse, _ = by_hand()
    assert set(found.row_id) == set(adverse)
    told = done.facts["changeable"]
    assert told["one"] + told["two"] + told["none"] == len(adverse)
    assert min(told["one"], told["two"]) > 0
    rows = np.stack(list(COLUMNS.values()), axis=1)
    for (row, _), own in found.groupby(["row_id", "rank"]):
        moved = rows[row].copy()
        for _, line in own[own.crosses].iterrows():
            assert moved[list(COLUMNS).index(line.feature)] == pytest.approx(float(line["from"]), abs=1e-12)
            moved[list(COLUMNS).index(line.feature)] = float(line.to)
            assert float(line.to) <= 0.0 if line.feature == "income" else float(line.to) < float(line["from"])
        assert (moved @ np.array(WEIGHTS) + 0.1 >= -1e-6) == own.crosses.all()
    letters = dict(zip(*(workspace.read_table("letters")[key].to_pylist() for key in ("row_id", "text")), strict=True))
    for row, own in found.groupby("row_id"):
        assert all(text in letters[row] for text in own.text)


def test_a_record_of_decisions_has_no_changes(linear):
    config = linear.config(
        COLUMNS, WEIGHTS, bias=0.0, reasons={"changeable": {"income": {}}}, data={"sensitive": {}},
    )  # fmt: skip
    recorded = config.model_copy(
        update={"bias": config.bias.model_copy(update={"decision": type(config.bias.decision)(column="y")})}
    )
    workspace, done = linear.stated(recorded)
    assert not workspace.has_table("counterfactuals")
    assert any("no score decides" in text for text in done.limitations)


def test_by_rank_a_change_is_ahead_of_whoever_came_in_last(linear):
    columns = {"a": list(range(20)), "b": [0] * 20}
    config = linear.config(columns, [1.0, 0.0], -30.0, reasons={"changeable": {"a": {"direction": "up"}}})
    ranked = config.model_copy(
        update={"bias": config.bias.model_copy(update={"decision": type(config.bias.decision)(top_k=5)})}
    )
    workspace, done = linear.stated(ranked)
    found = workspace.read_table("counterfactuals").to_pandas()
    assert done.facts["adverse"] == 15
    assert set(found.to) == {"16"}  # the five are 15 to 19; a tie with 15 does not do


# How many


def test_of_many_a_sample_has_its_reasons_and_the_report_says_so(linear):
    config = linear.config(COLUMNS, WEIGHTS, 0.1)
    every, all_of_them = linear.stated(config)
    few = config.model_copy(update={"reasons": type(config.reasons)(rows=12)})
    tables = []
    for _ in range(2):
        workspace, done = linear.stated(few)
        tables.append(workspace.read_table("reason_codes"))
    adverse = all_of_them.facts["adverse"]
    assert (done.facts["stated"], done.facts["adverse"]) == (12, adverse)
    assert done.limitations[0] == (
        f"Reasons are stated for 12 of the {adverse} adverse decisions, a simple random sample (reasons.rows)."
    )
    assert not any("sample" in text for text in all_of_them.limitations)
    assert tables[0].equals(tables[1])
    found, whole = tables[0].to_pandas(), every.read_table("reason_codes").to_pandas()
    joined = found.merge(whole, on=["row_id", "rank"], suffixes=("", "_whole"))
    assert len(joined) == len(found)
    assert (joined.code == joined.code_whole).all()


def test_where_every_row_is_approved_there_is_nothing_to_state(linear):
    workspace, done = linear.stated(linear.config(COLUMNS, WEIGHTS, 50.0))
    assert workspace.read_table("reason_codes").num_rows == 0
    assert (done.facts["adverse"], done.facts["stated"], done.facts["background_rows"]) == (0, 0, 50)


def test_where_no_row_is_approved_the_audits_background_is_taken(linear):
    _, done = linear.stated(linear.config(COLUMNS, WEIGHTS, -50.0))
    assert done.facts["adverse"] == 300
    assert "no row was decided in favour" in done.facts["background"]


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


# The bundled model

ADULT = ["model.version=1", "reasons={rows: 300}", "explain.background=20"]


@pytest.fixture(scope="module")
def adult(tmp_path_factory):
    config = load_config("configs/adult_income.yaml", ADULT)
    workspace = begin(tmp_path_factory.mktemp("reasons"), config.name, new_run_id())
    with steady_algebra():
        predict(config, workspace, Watch())
        return config, workspace, state_reasons(config, workspace, Watch())


def test_the_bundled_models_reasons(adult):
    _, workspace, done = adult
    table = workspace.read_table("reason_codes")
    assert table.schema.equals(schema_of("reason_codes", pa.int64()))
    reasons = table.to_pandas()
    assert reasons.row_id.nunique() == done.facts["stated"] == 300 < done.facts["adverse"]
    assert (reasons.contribution < 0).all()
    decided = workspace.read_table("predictions").to_pandas().set_index("row_id").decision
    assert set(decided.loc[reasons.row_id]) == {"<=50K"}
    for _, row in reasons.groupby("row_id"):
        assert row.contribution.is_monotonic_increasing
        assert len(row) <= 4
    named = reasons.features.map(lambda features: features[0]).value_counts()
    assert done.facts["protected"] == {name: named[name] for name in ("age", "race", "sex") if name in named.index}
    assert 130 <= done.facts["coalitions"] < 500  # most decisions need few


def test_the_bundled_models_reasons_are_those_of_all_coalitions(adult):
    from tasks.explain import contributions, problem_of
    from tasks.reasons.principal import principal
    from tasks.reasons.stage import COALITIONS

    config, workspace, _ = adult
    subject = open_subject(config)
    scores = subject.predictor(subject.rows)[:, 0]
    approved = np.flatnonzero(scores >= 0.5)
    background = subject.rows[np.sort(approved[np.argsort(scores[approved], kind="stable")][:50])]
    reasons = workspace.read_table("reason_codes").to_pandas()
    chosen = reasons.row_id.unique()[:60]
    exact = contributions(subject, problem_of(subject), subject.rows[chosen], background, 2**13, Watch())
    assert exact.facts["estimator"] == "exact"
    assert COALITIONS < 2**13
    values, _, _ = exact.explain(subject.rows[chosen])
    # Efficiency: all contributions of a row add up to its margin less the mean margin of the background.
    margin = subject.predictor(subject.rows[chosen], "margin")[:, 0] - subject.predictor(background, "margin").mean()
    np.testing.assert_allclose(values.sum(axis=1), margin, atol=1e-5)
    names = [feature.name for feature in subject.features]
    right = [
        [names[j] for j in own if j >= 0] == [f[0] for f in reasons[reasons.row_id == row].features]
        for row, own in zip(chosen, principal(values, names, 4), strict=True)
    ]
    assert sum(right) >= 59


def test_parts_of_any_size_give_the_same_tables(adult, tmp_path, monkeypatch):
    config, workspace, _ = adult
    monkeypatch.setattr("tasks.reasons.stage.PART", 256)
    other = begin(tmp_path, config.name, new_run_id())
    with steady_algebra():
        predict(config, other, Watch())
        state_reasons(config, other, Watch())
    assert other.read_table("reason_codes").equals(workspace.read_table("reason_codes"))


SCRIPT = """
import sys
from pathlib import Path
from flows.request import load_config
from tasks.persist.publish import begin, new_run_id
from tasks.predict import predict
from tasks.reasons import state_reasons
from tasks.steady import steady_algebra
from tasks.watch import Watch
config = load_config("configs/adult_income.yaml", sys.argv[2:])
workspace = begin(Path(sys.argv[1]), config.name, new_run_id())
with steady_algebra():
    predict(config, workspace, Watch())
    state_reasons(config, workspace, Watch())
print(workspace.table_path("reason_codes"))
"""


@pytest.mark.soak
def test_one_thread_and_four_give_the_same_bits(tmp_path):
    import pyarrow.parquet as pq

    tables = []
    for threads in ("1", "4"):
        own = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), threads)
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / threads), *ADULT]
        done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=True)
        tables.append(pq.read_table(done.stdout.split()[-1]))
    assert tables[0].equals(tables[1])
    assert pc.count_distinct(tables[0]["row_id"]).as_py() == 300
