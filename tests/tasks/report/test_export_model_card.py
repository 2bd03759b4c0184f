"""model_card.json against the official schema, and against the summary that it is an export of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.report.exports import render_model_card
from tests.tasks.report.export_summaries import attested, regression, texts
from tests.tasks.report.report_runs import HOSTILE

FOLDER = Path(__file__).with_name("schemas")


@pytest.fixture(scope="module")
def validator():
    import jsonschema

    return jsonschema.Draft7Validator(json.loads((FOLDER / "model_card.schema.json").read_text(encoding="utf-8")))


def parsed(summary: dict[str, Any]) -> dict[str, Any]:
    return json.loads(render_model_card(summary))


def test_the_schema_is_the_one_that_its_card_tells_of() -> None:
    card = yaml.safe_load((FOLDER / "card.yaml").read_text(encoding="utf-8"))
    for name, told in card["files"].items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == told["sha256"]


def test_every_kind_of_run_validates(run, validator) -> None:
    written = (run.folder / "model_card.json").read_bytes()
    validator.validate(json.loads(written))
    assert written == render_model_card(run.summary)


@pytest.mark.parametrize("change", [regression, attested])
def test_regressions_and_statements_of_people_validate(tabular, validator, change) -> None:
    validator.validate(parsed(change(tabular.summary)))


def test_no_key_stands_where_the_schema_has_none(run, validator) -> None:
    """The schema forbids strangers at its top only: hold the rest to its lists too."""
    schema = validator.schema

    def strangers(value: Any, rule: dict[str, Any]) -> list[str]:
        if "$ref" in rule:
            rule = schema["definitions"][rule["$ref"].rpartition("/")[2]]
        if isinstance(value, list):
            return [key for one in value for key in strangers(one, rule["items"])]
        if not isinstance(value, dict):
            return []
        known = rule["properties"]
        return [key for key in value if key not in known] + [
            key for name, one in value.items() if name in known for key in strangers(one, known[name])
        ]

    card = parsed(attested(run.summary) if run.summary["controls"] else run.summary)
    assert strangers(card, schema) == []
    assert strangers({"schema_version": "1", "foo": 1, "model_details": {"bar": 1}}, schema) == ["foo", "bar"]


def test_every_value_is_there_and_exact(tabular) -> None:
    results = tabular.summary["results"]
    found = parsed(tabular.summary)["quantitative_analysis"]["performance_metrics"]
    rows = results["performance"]["metrics"]["rows"] + results["fairness"]["metrics"]["rows"]
    rows += [row for row in results["fairness"]["disparities"]["rows"] if row["group"] is None]
    compared = [
        row
        for row in results["fairness"]["disparities"]["rows"]
        if row["group"] is not None and row["group"] != row["reference"]
    ]
    expected = [row for row in rows + compared if row["value"] is not None]
    assert [(one["type"], float(one["value"])) for one in found] == [(r["metric"], r["value"]) for r in expected]
    for one, row in zip(found, expected, strict=True):
        interval = one.get("confidence_interval")
        assert (interval is None) == (row["ci_low"] is None)
        if interval is not None:
            assert [float(interval[f"{end}_bound"]) for end in ("lower", "upper")] == [row["ci_low"], row["ci_high"]]
        assert ("insufficient data" in one.get("slice", "")) == (row["status"] == "insufficient_data")
    assert "sex = Female against Male" in {one.get("slice") for one in found if one["type"] == "impact_ratio"}


def test_what_is_undefined_is_a_limitation(tabular) -> None:
    told = {one["description"] for one in parsed(tabular.summary)["considerations"]["limitations"]}
    for attribute in ("sex", "race", "sex × race"):
        assert f"Without a value: equalized_odds_difference ({attribute}): undefined: 0/0" in told


def test_details_come_from_the_card_and_from_people(tabular) -> None:
    bare = parsed(tabular.summary)
    assert "owners" not in bare["model_details"]
    assert bare["model_details"]["name"] == "Income classifier, UCI Adult"
    assert bare["model_details"]["version"] == {"name": "2"}
    card = parsed(attested(tabular.summary))
    assert card["model_details"]["owners"] == [{"name": "A. Auditor"}]
    assert card["model_details"]["licenses"] == [{"identifier": "MIT"}, {"custom_text": "our own, ask us"}]
    assert [one["description"] for one in card["considerations"]["use_cases"]] == [
        "Tests.",
        "statement on intended_use",
    ]
    assert card["considerations"]["users"] == [{"description": "statement on users"}]
    sensitive = [one["sensitive"]["sensitive_data"] for one in card["model_parameters"]["data"]]
    assert sensitive == [["sex", "race"]] * 2


def test_lines_that_the_summary_leaves_out_are_counted(tabular) -> None:
    summary = json.loads(json.dumps(tabular.summary))
    summary["results"]["fairness"]["disparities"]["omitted"] = 17
    told = [one["description"] for one in parsed(summary)["considerations"]["limitations"]]
    assert "17 more metrics and comparisons are in the tables of the audit, and not here." in told


def test_hostile_text_is_kept_as_text_and_paths_are_not(hostile) -> None:
    summary = json.loads(json.dumps(hostile.summary))
    summary["data"][0]["path"] = "/home/secret/<b>.csv"
    written = render_model_card(summary).decode("utf-8")
    assert "secret" not in written
    assert not {c for c in written if ord(c) < 32} - {"\n"}
    all_texts = "\x00".join(texts(json.loads(written)))
    for name in HOSTILE[:-1]:
        assert name in all_texts
