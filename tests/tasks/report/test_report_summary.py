from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jsonschema
import pyarrow.parquet as pq
import pytest

from tasks.contracts import Done
from tasks.persist import values_digest
from tasks.report import summary_schema
from tasks.report.reading import Reading
from tasks.report.summary import MOST_ROWS, render_summary, summary_of
from tests.tasks.report.report_builder import config_of

KEYS = [
    "schema_version", "report_id", "generated_at", "as_of_law", "verdict", "subject", "data", "policy", "run",
    "results", "controls", "limitations", "human_attestations", "artifacts",
]  # fmt: skip


def validator() -> jsonschema.Draft202012Validator:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(summary_schema(), format_checker=checker)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for child in value.values():
            yield from leaves(child)
    elif isinstance(value, list):
        for child in value:
            yield from leaves(child)
    else:
        yield value


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(summary_schema())
    assert summary_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert summary_schema()["required"] == KEYS
    assert summary_schema()["additionalProperties"] is False


def test_every_summary_is_valid_and_has_the_contracts_keys_in_order(run) -> None:
    validator().validate(run.summary)
    assert list(run.summary) == KEYS


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "passed"}, {"extra": 1}, {"report_id": "x"}, {"generated_at": "yesterday"},
        {"artifacts": [{"path": "/etc/passwd"}]}, {"controls": [{"id": "x"}]}, {"results": {}},
    ],
)  # fmt: skip
def test_the_schema_refuses_what_is_wrong(tabular, change: dict[str, Any]) -> None:
    assert not validator().is_valid({**tabular.summary, **change})


def test_it_holds_no_number_that_json_lacks(run) -> None:
    text = (run.folder / "summary.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda constant: pytest.fail(constant))
    assert all(math.isfinite(v) for v in leaves(run.summary) if isinstance(v, float))


def test_nan_and_infinity_become_null(tabular) -> None:
    odd = Done("policy", facts={"checks": [{"metric": "m", "verdict": "satisfied", "value": math.nan, "n": math.inf}]})
    results = tuple(odd if r.stage == "policy" else r for r in tabular.record.results)
    found = summary_of(Reading(tabular.config, tabular.workspace, replace(tabular.record, results=results)))
    assert (found["policy"]["checks"][0]["value"], found["policy"]["checks"][0]["n"]) == (None, None)
    validator().validate(found)


def test_the_same_run_gives_the_same_bytes(run) -> None:
    assert render_summary(run.reading) == render_summary(run.reading) == (run.folder / "summary.json").read_bytes()


def test_numbers_are_those_of_the_tables_not_rounded(tabular) -> None:
    metrics = tabular.summary["results"]
    told = metrics["performance"]["metrics"]["rows"] + metrics["fairness"]["metrics"]["rows"]

    def by_name(rows: list[dict[str, Any]]) -> dict[tuple, tuple]:
        return {(r["attribute"], r["group"], r["metric"]): (r["value"], r["ci_low"], r["numerator"]) for r in rows}

    assert by_name(told) == by_name(tabular.rows("group_metrics"))


def test_artifacts_are_the_tables_and_images_with_their_digests(run) -> None:
    listed = {a["path"]: a for a in run.summary["artifacts"]}
    files = {p.relative_to(run.folder).as_posix() for p in (run.folder / "artifacts").rglob("*") if p.is_file()}
    assert set(listed) == files
    for path, artifact in listed.items():
        content = (run.folder / path).read_bytes()
        assert artifact["sha256"] == hashlib.sha256(content).hexdigest()
        assert artifact["bytes"] == len(content)
        rows = pq.read_metadata(run.folder / path).num_rows if path.endswith(".parquet") else None
        assert artifact["rows"] == rows


def test_lines_beyond_the_limit_are_counted(run_of) -> None:
    reading = run_of("large").reading
    assert len(reading.group_metrics) < MOST_ROWS  # those of single features are left to the table
    many = [dict(reading.group_metrics[-1]) for _ in range(MOST_ROWS + 7)]
    reading.__dict__["group_metrics"] = many
    found = summary_of(reading)["results"]["fairness"]["metrics"]
    assert (len(found["rows"]), found["omitted"]) == (MOST_ROWS, 7)


def test_what_is_missing_and_why(run_of) -> None:
    incomplete = run_of("incomplete").summary["run"]
    assert incomplete["missing"] == [
        {"stage": "explain/lime", "code": "model_output", "reason": "the model returned NaN in rows 3, 17"}
    ]
    refused = run_of("refused").summary["run"]
    assert refused["refused"] == ["There is no column age (the feature)."]
    assert {m["code"] for m in refused["missing"]} == {"not_reached"}
    assert run_of("unreadable").summary["run"]["refused"] == ["more than one column has the name: age"]


def test_attestations_given_and_wanted(tabular) -> None:
    wanted = {a["topic"]: a for a in tabular.summary["human_attestations"]}
    assert not wanted["independence"]["given"]
    assert wanted["independence"]["controls"] == ["ll144-independence"]
    stated = {"independence": {"statement": "Independent.", "who": "A. Auditor", "date": "2026-11-20"}, "owner": "Risk"}
    config = config_of(report={"attestations": stated})
    found = summary_of(Reading(config, tabular.workspace, tabular.record))
    given = {a["topic"]: a for a in found["human_attestations"]}
    assert (given["independence"]["given"], given["independence"]["who"]) == (True, "A. Auditor")
    assert given["owner"] == {"topic": "owner", "given": True, "statement": "Risk", "who": None, "role": None,
                              "date": None, "controls": []}  # fmt: skip
    control = next(c for c in found["controls"] if c["id"] == "ll144-independence")
    assert control["status"] == "satisfied"
    assert "A. Auditor" in control["rationale"]


def test_what_stages_state_are_limitations(tabular) -> None:
    texts = [entry["text"] for entry in tabular.summary["limitations"]]
    assert "The margin is the logit of a clipped probability." in texts


def test_the_policy_has_the_digest_that_the_manifest_gives_it(tabular) -> None:
    values = tabular.config.model_dump(mode="json")
    assert tabular.summary["policy"]["sha256"] == values_digest(values["policy"])
    assert len(tabular.summary["policy"]["declared"]) == 3


def test_no_text_is_lost_to_its_encoding(hostile) -> None:
    assert hostile.summary["subject"]["features"][4] == "שלום \u202egnitset عربى"
    assert hostile.summary["human_attestations"][0]["topic"] == "<script>alert(1)</script>"
