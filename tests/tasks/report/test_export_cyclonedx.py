"""bom.cdx.json against the official schema, and against the summary that it is an export of."""

from __future__ import annotations

import copy
import json
import uuid
from typing import Any

import pytest

from tasks.report.exports import render_cyclonedx
from tests.tasks.report.export_summaries import attested, regression, texts
from tests.tasks.report.report_runs import HOSTILE


@pytest.fixture(scope="session")
def strict():
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6)


def parsed(summary: dict[str, Any]) -> dict[str, Any]:
    return json.loads(render_cyclonedx(summary))


def metrics_of(bom: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    found = bom["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    return {(one["type"], one.get("slice", "")): one for one in found}


def refs_made(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["bom-ref"]] if "bom-ref" in value else []
        return own + [ref for inner in value.values() for ref in refs_made(inner)]
    return [ref for inner in value for ref in refs_made(inner)] if isinstance(value, list) else []


def refs_used(bom: dict[str, Any]) -> set[str]:
    said = bom.get("declarations", {})
    used = {one["target"] for one in said.get("claims", ())}
    used |= {
        ref for one in said.get("claims", ()) for key in ("evidence", "counterEvidence") for ref in one.get(key, ())
    }
    for one in said.get("attestations", ()):
        used.add(one["assessor"])
        used |= {entry["requirement"] for entry in one["map"]}
        used |= {ref for entry in one["map"] for key in ("claims", "counterClaims") for ref in entry.get(key, ())}
    used |= {ref for one in bom["dependencies"] for ref in (one["ref"], *one["dependsOn"])}
    return used | {one["ref"] for one in bom["metadata"]["component"]["modelCard"]["modelParameters"]["datasets"]}


# ---------------------------------------------------------------- the standard


def test_every_kind_of_run_validates_strictly(run, strict) -> None:
    written = (run.folder / "bom.cdx.json").read_bytes()
    assert strict.validate_str(written.decode()) is None
    assert written == render_cyclonedx(run.summary)


@pytest.mark.parametrize("change", [regression, attested])
def test_regressions_and_statements_of_people_validate(tabular, strict, change) -> None:
    assert strict.validate_str(render_cyclonedx(change(tabular.summary)).decode()) is None


def test_the_validator_refuses(tabular, strict) -> None:
    """The way of looking can fail: a key that 1.6 does not know, a number where a text belongs."""
    for key, value in (("foo", 1), ("version", "one"), ("serialNumber", "urn:uuid:1")):
        assert strict.validate_str(json.dumps({**parsed(tabular.summary), key: value})) is not None


def test_references_are_unique_and_lead_somewhere(run) -> None:
    for summary in (run.summary, attested(run.summary) if run.summary["controls"] else run.summary):
        bom = parsed(summary)
        made = refs_made(bom)
        assert len(made) == len(set(made))
        assert refs_used(bom) <= set(made)


def test_the_serial_number_is_the_report_id_s(tabular) -> None:
    first, again = parsed(tabular.summary), parsed({**tabular.summary, "report_id": "20270101T000000Z-00000000"})
    assert first["serialNumber"] != again["serialNumber"]
    assert uuid.UUID(first["serialNumber"].removeprefix("urn:uuid:")).version == 5
    assert parsed(tabular.summary) == first


# ---------------------------------------------------------------- the summary


def test_the_model_and_the_data_have_their_digests(tabular) -> None:
    bom, summary = parsed(tabular.summary), tabular.summary
    model = bom["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert (model["name"], model["version"]) == ("adult-income", "2")
    assert model["hashes"] == [{"alg": "SHA-256", "content": summary["subject"]["model"]["sha256"]}]
    data = {one["bom-ref"]: one for one in bom["components"] if one["type"] == "data"}
    for one in summary["data"]:
        (digest,) = data[f"data-{one['role']}"]["hashes"]
        assert digest["content"] == one["sha256"]
    assert data["data-audited"]["name"] == "test.parquet"
    assert data["data-audited"]["data"][0]["sensitiveData"] == ["sex", "race"]


def test_every_value_of_the_summary_is_there_and_exact(tabular) -> None:
    results, found = tabular.summary["results"], metrics_of(parsed(tabular.summary))
    rows = results["performance"]["metrics"]["rows"] + results["fairness"]["metrics"]["rows"]
    rows += [row for row in results["fairness"]["disparities"]["rows"] if row["group"] is None]
    seen = 0
    for row in rows:
        where = f"{row['attribute']} = {row['group']}" if row["group"] is not None else row["attribute"] or ""
        where += " (insufficient data)" if row["status"] == "insufficient_data" else ""
        if row["value"] is None:
            assert (row["metric"], where) not in found
            continue
        one = found[row["metric"], where]
        assert float(one["value"]) == row["value"]
        interval = {key: float(text) for key, text in one.get("confidenceInterval", {}).items()}
        expected = {"lowerBound": row["ci_low"], "upperBound": row["ci_high"]} if row["ci_low"] is not None else {}
        assert interval == expected
        seen += 1
    assert seen == len(found) > 50
    assert any("insufficient data" in where for _, where in found)


def test_what_is_undefined_has_no_value_and_is_told(tabular) -> None:
    bom = parsed(tabular.summary)
    told = [p["value"] for p in bom["metadata"]["component"]["modelCard"]["properties"]]
    rows = tabular.summary["results"]["fairness"]["disparities"]["rows"]
    undefined = [row for row in rows if row["value"] is None]
    assert [f"{row['metric']} ({row['attribute']}): undefined: 0/0" for row in undefined] == told
    assert len(undefined) == 3
    assert "null" not in {one["value"] for one in metrics_of(bom).values()}


def test_groups_have_their_comparisons(tabular) -> None:
    card = parsed(tabular.summary)["metadata"]["component"]["modelCard"]
    found = {one["groupAtRisk"]: one["harms"] for one in card["considerations"]["fairnessAssessments"]}
    rows = tabular.summary["results"]["fairness"]["disparities"]["rows"]
    (row,) = [r for r in rows if (r["metric"], r["group"]) == ("impact_ratio", "Female")]
    assert (
        f"impact_ratio (sex = Female against Male): {row['value']!r}, interval {row['ci_low']!r}"
        in found["sex = Female"]
    )
    assert "sex = Male" not in found  # whom the others are held against


def test_findings_and_limitations_are_considered(tabular) -> None:
    tried = {"severity": "info", "code": "x", "text": "Costs accuracy.", "evidence": None, "stage": "advice"}
    summary = copy.deepcopy(tabular.summary)
    summary["run"]["findings"].append(tried)
    considered = parsed(summary)["metadata"]["component"]["modelCard"]["considerations"]
    told = {one["name"] for one in considered["ethicalConsiderations"]} | set(considered["performanceTradeoffs"])
    assert told == {f"{f['severity']}: {f['text']}" for f in summary["run"]["findings"]}
    assert considered["performanceTradeoffs"] == ["info: Costs accuracy."]
    assert {one["text"] for one in tabular.summary["limitations"]} <= set(considered["technicalLimitations"])
    assert considered["useCases"] == ["Tests."]


def test_claims_rest_on_evidence_and_people_answer_for_themselves(tabular) -> None:
    summary = attested(tabular.summary)
    bom = parsed(summary)
    said = bom["declarations"]
    for claim in said["claims"]:
        assert claim.get("evidence") or claim.get("counterEvidence")
    by_ref = {claim["bom-ref"]: claim for claim in said["claims"]}
    judged = {}
    for attestation in said["attestations"]:
        for entry in attestation["map"]:
            if attestation["assessor"] == "assessor-program":
                judged[entry["requirement"]] = entry
            assert "score" not in entry.get("conformance", {})
    assert len(judged) == len(summary["controls"])
    for number, control in enumerate(summary["controls"]):
        entry = judged[f"requirement-{number}-{control['id']}"]
        assert entry["conformance"]["rationale"].startswith(f"{control['status']}: ")
        refs = [ref for key in ("claims", "counterClaims") for ref in entry.get(key, ())]
        assert bool(refs) == (control["status"] in ("satisfied", "not_satisfied") and bool(control["evidence"]))
        for ref in refs:
            against = control["status"] == "not_satisfied"
            assert ("counterEvidence" in by_ref[ref]) is against
    summaries = [one["summary"] for one in said["attestations"]]
    assert "owner: statement on owner (A. Auditor, auditor, 2026-11-20). Not checked by the audit." in summaries
    assert not any("open" in text.split(":")[0] for text in summaries)  # what nobody stated is not invented
    assert "affirmation" not in said
    for one in said["evidence"]:
        (pointed,) = {
            p["sha256"]
            for c in summary["controls"]
            for p in c["evidence"]
            if f"evidence-{p['table']}" == one["bom-ref"]
        }
        assert pointed in one["description"]


def test_what_was_not_reached_is_told(run_of) -> None:
    for kind, text in (
        ("refused", "The data was refused: There is no column age"),
        ("incomplete", "Not done: explain/lime"),
    ):
        card = parsed(run_of(kind).summary)["metadata"]["component"]["modelCard"]
        assert any(line.startswith(text) for line in card["considerations"]["technicalLimitations"])
    unreadable = parsed(run_of("unreadable").summary)
    for one in unreadable["components"]:
        if one["type"] == "data":
            assert "hashes" not in one
            assert {"name": "keras-audit:rows", "value": "not read"} in one["properties"]


def test_hostile_text_is_kept_as_text(hostile) -> None:
    written = render_cyclonedx(hostile.summary).decode("utf-8")
    assert not {c for c in written if ord(c) < 32} - {"\n"}
    all_texts = "\x00".join(texts(json.loads(written)))
    for name in HOSTILE[:-1]:
        assert name in all_texts


def test_no_absolute_path_is_told(tabular) -> None:
    summary = attested(tabular.summary)
    home = "/home/somebody/secret"
    summary["subject"]["model"]["path"] = f"{home}/model.keras"
    summary["subject"]["model"]["preprocessor"]["path"] = "C:\\secret\\p.skops"
    summary["data"][0]["path"] = f"s3://bucket{home}/data.parquet?token=secret"
    written = render_cyclonedx(summary).decode()
    assert "secret" not in written
    names = {one["name"] for one in parsed(summary)["metadata"]["component"]["components"]}
    assert names == {"model.keras", "p.skops"}
