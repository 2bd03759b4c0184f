"""The manifest covers every other file with its digest, in canonical JSON, and has a digest itself."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.persist.manifest import RESULTS, canonical, outputs, values_digest, write_manifest
from tasks.persist.publish import begin

RUN = "20260102T030405Z-0123abcd"


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


def _write(workspace, verdict="satisfied", **changes):
    given = {
        "inputs": [("data", "d" * 64), ("model", "e" * 64)],
        "checks": {"passedTests": ["accuracy"], "warnedTests": [], "failedTests": ["impact_ratio on sex"]},
        "environment": {"python": "3.11.9", "keras": "3.15"},
    }
    write_manifest(workspace, verdict=verdict, **{**given, **changes})
    return json.loads((workspace.folder / "manifest.json").read_bytes())


# Canonical JSON


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"b": 1, "a": [True, False, None, -5]}, '{"a":[true,false,null,-5],"b":1}'),
        ({"Z": 0, "a": 0, "é": 0, "": 0}, '{"":0,"Z":0,"a":0,"é":0}'),
        # escapes as RFC 8785, 3.2.2.2 has them
        ('€$\x0f\nA\'B"\\\\"/\x7f', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f"'),
        ("\b\t\f\r\x00", '"\\b\\t\\f\\r\\u0000"'),
        ("\u2028😀", '"\u2028😀"'),
        ({"a": {"c": [], "b": {}}}, '{"a":{"b":{},"c":[]}}'),
    ],
)
def test_canonical_json(value, text):
    assert canonical(value) == text.encode()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_has_not_are_refused(number):
    with pytest.raises(ValueError, match="JSON"):
        canonical({"a": number})


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(_json)
def test_canonical_json_loses_nothing_and_has_one_form(value):
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.integers(0, 9), min_size=2, max_size=6))
def test_the_order_of_keys_does_not_matter(value):
    assert canonical(value) == canonical(dict(reversed(value.items())))


# Digests of values


def test_the_digest_of_values_does_not_depend_on_how_they_were_written():
    first = {"a": [1, 0.1, None], "b": {"c": True}}
    assert values_digest(first) == values_digest({"b": {"c": True}, "a": [1, 1e-1, None]})
    assert values_digest([1, 2]) == values_digest((1, 2))
    assert values_digest(json.loads(json.dumps(first))) == values_digest(first)
    # the shortest text stands for a float, and is told from the same text
    assert values_digest({"a": [0.5, 1]}) == hashlib.sha256(b'{"a":[{"float":"0.5"},1]}').hexdigest()
    assert values_digest("0.5") != values_digest(0.5)


@pytest.mark.parametrize(
    "other", [{"a": 2}, {"a": [1]}, {"a": None}, {"b": 1}, {}, {"a": 1, "b": None}, {"a": "1"}, {"a": True}]
)
def test_other_values_have_another_digest(other):
    assert values_digest(other) != values_digest({"a": 1})


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


def test_a_hidden_file_is_covered_and_a_manifest_elsewhere_too(whole):
    for name in (".hidden", "artifacts/manifest.json", "artifacts/.x/attestation.json"):
        whole.write_bytes(name, b"x")
    covered = {name for name, _ in outputs(whole)}
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
            {"name": "model", "digest": {"sha256": "e" * 64}},
        ],
        "passedTests": ["accuracy"],
        "warnedTests": [],
        "failedTests": ["impact_ratio on sex"],
        "annotations": {"verdict": "satisfied", "run_id": RUN, "python": "3.11.9", "keras": "3.15"},
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
    before = dict(outputs(whole))
    whole.write_bytes("report.html", b"<html/>")
    after = dict(outputs(whole))
    assert {name for name in before if before[name] != after[name]} == {"report.html"}
