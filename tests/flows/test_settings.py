"""`--set key.key=value`: what it changes, and what a wrong one gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.request import load_config
from tasks.errors import ConfigError

#: every block of the schema
WHOLE = (Path(__file__).parent / "whole_config.yaml").read_text(encoding="utf-8")
#: parts of keys, known and unknown
KEYS = ["model", "data", "policy", "0", "1", "explain", "rows", "techniques", "shap", "x", "classes"]
LEAST = "name: credit\nmodel: {path: m, task: binary}\ndata:\n  path: d\n  target: {column: paid}\n"


@pytest.fixture
def file(tmp_path):
    """Writes text as a config and hands back its path."""

    def write(content: str) -> str:
        path = tmp_path / "audit.yaml"
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write


def refused(path: str, *overrides: str) -> str:
    """The line that a config with settings gets, with the folder taken off."""
    with pytest.raises(ConfigError) as raised:
        load_config(path, overrides)
    return str(raised.value).replace(f"{Path(path).parent}/", "")


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("explain.rows=5", "explain.rows", 5),
        ("explain.rows=all", "explain.rows", "all"),
        (" explain . rows = 5 ", "explain.rows", 5),
        ("title=", "title", None),
        ("title=a=b", "title", "a=b"),
        ("title='5'", "title", "5"),
        ("title=größe", "title", "größe"),
        ("policy.0.min=0.9", "policy.0.min", 0.9),
        ("policy.1.attribute=age", "policy.1.attribute", "age"),
        ("data.sensitive.sex.column=gender", "data.sensitive.sex.column", "gender"),
        ("data.intersections=[[age, sex], [sex, age]]", "data.intersections", [["age", "sex"], ["sex", "age"]]),
        ("data.intersections.0=[age, sex]", "data.intersections.0", ["age", "sex"]),
        ("model.classes.0=no", "model.classes", ["no", "good"]),
        ("explain.techniques.lime.samples=50", "explain.techniques", {"shap": {}, "lime": {"samples": 50}}),
        ("explain.techniques.shap.estimator=kernel", "explain.techniques", {"shap": {"estimator": "kernel"}}),
        ("explain.techniques.lime=", "explain.techniques", {"shap": {}, "lime": {}}),
        ("report.attestations.a={b: C, d: [[1], [3]]}", "report.attestations", {"a": {"b": "C", "d": [[1], [3]]}}),
        ("report.rows.redact=[a, b]", "report.rows.redact", ["a", "b"]),
        ("bias.decision={top_k: 3}", "bias.decision.top_k", 3),
    ],
)  # fmt: skip
def test_a_setting_changes_a_key(file, override, key, value):
    found = load_config(file(WHOLE), [override]).model_dump()
    for part in key.split("."):
        found = found[int(part) if part.isdecimal() else part]
    assert found == value


def test_settings_apply_in_their_order(file):
    assert load_config(file(WHOLE), ["explain.rows=1", "explain.rows=2", "explain.seed=3"]).explain.rows == 2


def test_a_setting_makes_the_blocks_above_it(file):
    config = load_config(file(LEAST), ["report.rows.show=7", "schedule.cron=0 6 * * 1"])
    assert config.report.rows.show == 7
    assert config.schedule.cron == "0 6 * * 1"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("", "--set: not of the form key.key=value"),
        ("explain.rows", "--set explain.rows: not of the form key.key=value"),
        ("=5", "--set =5: not of the form key.key=value"),
        (".rows=5", "--set .rows=5: not of the form key.key=value"),
        ("explain.=5", "--set explain.=5: not of the form key.key=value"),
        ("explain..rows=5", "--set explain..rows=5: not of the form key.key=value"),
        ("name.x=5", "--set name.x=5: name is a single value and has no keys"),
        ("explain.rows.x.y=5", "--set explain.rows.x.y=5: rows is a single value and has no keys"),
        ("policy.2.min=0", "--set policy.2.min=0: 2 is not a position in a list of 2 (the first is 0)"),
        ("policy.-1.min=0", "--set policy.-1.min=0: -1 is not a position in a list of 2 (the first is 0)"),
        ("policy.first.min=0", "--set policy.first.min=0: first is not a position in a list of 2 (the first is 0)"),
        ("policy.²=0", "--set policy.²=0: ² is not a position in a list of 2 (the first is 0)"),
        ("model.classes.9=x", "--set model.classes.9=x: 9 is not a position in a list of 2 (the first is 0)"),
        ("explain.rows=[", "--set explain.rows=[: not valid YAML: expected the node content, but found '<stream end>'"),
        ("explain.rows=*a", "--set explain.rows=*a: aliases (*name) are not supported"),
        ("bias={resamples: 1, resamples: 2}", "--set bias={resamples: 1, resamples: 2}: resamples is given twice"),
        ("title=!!python/name:os.system", "--set title=!!python/name:os.system: not valid YAML: could not determine"),
        ("title=a\0b", "--set title=a\\x00b: not valid YAML: the character U+0000 is not allowed"),
        ("policy.0.min=.nan", "--set policy.0.min=.nan: .nan is not a finite number"),
        (f"title={'[' * 5000}", f"--set title={'[' * 93}…: nested deeper than 40 levels"),
        ("explain.rows=many", "--set explain.rows=many, explain.rows: should be 'all' or a whole number, not \"many\""),
        ("explain.rowz=5", "--set explain.rowz=5, explain.rowz: unknown key rowz; available: "),
        ("explain.techniques.x=y", "--set explain.techniques.x=y, explain.techniques.x: should be a mapping, not "),
        ("policy.1={metric: a, mim: 3}", "--set policy.1={metric: a, mim: 3}, policy.1.mim: unknown key mim; "),
        ("policy.1.attribute=race", "--set policy.1.attribute=race, policy.1.attribute: race is not declared"),
        ("data.target.favorable=best", "--set data.target.favorable=best, data.target.favorable: best is not a class"),
        ("name=../../up", "--set name=../../up, name: should be up to 80 letters"),
        ("model=", "--set model=, model: should be a mapping, not null"),
    ],
    ids=lambda part: part[:40],
)  # fmt: skip
def test_a_setting_that_is_wrong_is_told_as_the_setting(file, override, says):
    assert refused(file(WHOLE), override).startswith(says)


def test_a_wrong_line_of_the_file_is_not_told_as_a_setting(file):
    path = file(WHOLE.replace("rows: 20", "rows: many"))
    assert refused(path, "explain.seed=1").startswith("audit.yaml:26, explain.rows: ")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "audit.yaml"
    path.write_text(WHOLE, encoding="utf-8")
    return path


@settings(max_examples=120, derandomize=True, deadline=None)
@given(
    st.lists(st.sampled_from(KEYS), max_size=4),
    st.one_of(st.text(max_size=8), st.sampled_from(["[]", "{}", "null", "[[1, 2]]", "{a: b}", "-1", "1e400", "true"])),
)  # fmt: skip
def test_any_setting_ends_in_a_config_or_a_line(scratch, keys, value):
    try:
        load_config(scratch, [f"{'.'.join(keys)}={value}"]).model_dump_json().encode()
    except ConfigError as error:
        line = str(error)
        assert line.startswith(("--set ", str(scratch)))
        assert "\n" not in line
