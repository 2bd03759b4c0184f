"""The manifest covers every other file with its digest, in canonical JSON, and has a digest itself."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pyarrow as pa
import pytest

from tasks.evidence import Account, Signer, new_keys, seal, signing_key
from tasks.evidence.chain import Predecessor
from tasks.evidence.manifest import RESULTS, outputs
from tasks.persist import canonical
from tasks.persist.publish import begin

RUN = "20260102T030405Z-0123abcd"
ACCOUNT = {
    "name": "credit",
    "verdict": "satisfied",
    "inputs": [("data", "d" * 64), ("code", "e" * 64)],
    "about": {"code": {"git_commit": "c" * 40, "git_dirty": False}},
    "checks": {"passedTests": ["accuracy"], "warnedTests": [], "failedTests": ["impact_ratio on sex"]},
    "environment": {"python": "3.11.9", "keras": "3.15"},
    "hardware": {"machine": "x86_64", "cores": 4, "memory_bytes": None},
    "seeds": {"explain": 7},
    "started": "2026-01-02T03:04:05+00:00",
    "finished": "2026-01-02T03:05:05+00:00",
    "tasks": [{"stage": "load_model", "state": "done", "milliseconds": 12}],
    "notes": {"resumed explain/shap": "12 rows"},
}


@pytest.fixture
def whole(tmp_path):
    whole = begin(tmp_path, "credit", RUN)
    whole.write_bytes("summary.json", b"{}")
    whole.write_bytes("report.html", b"<html>")
    whole.write_bytes("config.yaml", b"name: credit\n")
    whole.write_bytes("artifacts/images/b.png", b"b")
    whole.write_bytes("artifacts/images/ä ü.png", b"")
    whole.write_table("groups", pa.table({"row_id": [1]}))
    return whole


def _write(workspace, verdict="satisfied", *, previous=None, signer=None, **changes):
    account = Account(**{**ACCOUNT, "verdict": verdict, **changes})
    seal(workspace, account, outputs(workspace), previous=previous, signer=signer)
    return json.loads((workspace.folder / "manifest.json").read_bytes())


# What it covers


def test_it_covers_every_other_file_sorted_by_name(whole):
    statement = _write(whole)
    names = [subject["name"] for subject in statement["subject"]]
    assert names == [
        "artifacts/groups.parquet", "artifacts/images/b.png", "artifacts/images/ä ü.png", "config.yaml", "report.html",
        "summary.json",
    ]  # fmt: skip
    for subject in statement["subject"]:
        content = (whole.folder / subject["name"]).read_bytes()
        assert subject["digest"] == {"sha256": hashlib.sha256(content).hexdigest()}
        assert subject["annotations"] == {"bytes": len(content)}


def test_a_hidden_file_is_covered_and_a_manifest_elsewhere_too(whole):
    for name in (".hidden", "artifacts/manifest.json", "artifacts/.x/attestation.json"):
        whole.write_bytes(name, b"x")
    covered = {one.name for one in outputs(whole)}
    assert {".hidden", "artifacts/manifest.json", "artifacts/.x/attestation.json"} <= covered


def test_its_own_files_are_not_in_it(whole):
    for name in ("manifest.json", "manifest.sha256", "attestation.json"):
        whole.write_bytes(name, b"an older one")
    statement = _write(whole)
    assert not {subject["name"] for subject in statement["subject"]} & {
        "manifest.json", "manifest.sha256", "attestation.json",
    }  # fmt: skip


def test_an_empty_run_has_a_manifest_too(tmp_path):
    assert _write(begin(tmp_path, "empty", RUN))["subject"] == []


# What it says


def test_it_is_an_in_toto_statement_about_a_test(whole):
    statement = _write(whole)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["predicate"] == {
        "result": "PASSED",
        "configuration": [
            {"name": "data", "digest": {"sha256": "d" * 64}},
            {
                "name": "code",
                "digest": {"sha256": "e" * 64},
                "annotations": {"git_commit": "c" * 40, "git_dirty": False},
            },
        ],
        "passedTests": ["accuracy"],
        "warnedTests": [],
        "failedTests": ["impact_ratio on sex"],
        "annotations": {
            "resumed explain/shap": "12 rows",
            "run_id": RUN,
            "predecessor": None,
            "signer": None,
            **{key: ACCOUNT[key] for key in ("name", "verdict", "started", "finished", "environment", "hardware")},
            **{key: ACCOUNT[key] for key in ("seeds", "tasks")},
        },
    }
    assert set(statement) == {"_type", "subject", "predicateType", "predicate"}


@pytest.mark.parametrize(
    ("verdict", "result"),
    [
        ("satisfied", "PASSED"),
        ("not_satisfied", "FAILED"),
        ("inconclusive", "WARNED"),
        ("refused", "FAILED"),
        ("incomplete", "FAILED"),
    ],
)
def test_every_verdict_has_a_result(whole, verdict, result):
    statement = _write(whole, verdict)
    assert statement["predicate"]["result"] == result
    assert statement["predicate"]["annotations"]["verdict"] == verdict


def test_there_is_no_other_verdict(whole):
    assert len(RESULTS) == 5
    with pytest.raises(KeyError):
        _write(whole, "fine")
    assert not (whole.folder / "manifest.json").exists()


def test_it_is_canonical_and_the_same_twice(whole):
    statement = _write(whole)
    first = (whole.folder / "manifest.json").read_bytes()
    assert first == canonical(statement)
    _write(whole, environment={"keras": "3.15", "python": "3.11.9"})
    assert (whole.folder / "manifest.json").read_bytes() == first


def test_hostile_names_of_checks_survive(whole):
    hostile = ['<script>"', "a|b\n", "\u202eיי\u200f", "\x1b[31m"]
    statement = _write(whole, checks={"passedTests": hostile})
    assert statement["predicate"]["passedTests"] == hostile


def test_its_own_digest_is_one_that_sha256sum_checks(whole):
    _write(whole)
    content = (whole.folder / "manifest.json").read_bytes()
    line = (whole.folder / "manifest.sha256").read_text(encoding="ascii")
    assert line == f"{hashlib.sha256(content).hexdigest()}  manifest.json\n"
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "manifest.sha256"], cwd=whole.folder, check=True)


def test_a_changed_byte_is_seen(whole):
    before = {one.name: one for one in outputs(whole)}
    whole.write_bytes("report.html", b"<html/>")
    after = {one.name: one for one in outputs(whole)}
    assert {name for name in before if before[name] != after[name]} == {"report.html"}


def test_it_names_the_run_before_and_who_signs(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_AUDIT_SIGNING_KEY", str(new_keys(tmp_path / "keys" / "k.pem").private))
    signer = signing_key(tmp_path / "reports")
    assert isinstance(signer, Signer)
    before = Predecessor("20260101T000000Z-00000001", "a" * 64)
    told = _write(whole, previous=before, signer=signer)["predicate"]["annotations"]
    assert told["predecessor"] == {"run_id": before.run_id, "manifest_sha256": "a" * 64}
    assert told["signer"] == {
        "keyid": signer.public.keyid, "keytype": "ed25519", "public": signer.public.raw.hex(),
    }  # fmt: skip
    assert (whole.folder / "attestation.json").is_file()
