"""Packs of the user's own: what they may say, what is refused, and that nothing runs that is not trusted."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.contracts import Failed
from tasks.errors import ConfigError
from tasks.report import check_regulations, pack_inputs, report_files
from tasks.report.reading import Reading
from tasks.report.regulations import judged
from tests.tasks.report.report_builder import config_of
from tests.tasks.report.report_pages import parsed, tables
from tests.tasks.report.report_runs import HOSTILE, tabular_run

PACK: dict[str, Any] = {
    "id": "acme", "title": "Acme’s rules", "legal_status": "Internal.", "as_of": "2026-11-01", "source": "P",
    "controls": [
        {"id": "owner", "clause": "1", "ask": "Every model has an owner.", "rule": {"attestation": "owner"}},
        {"id": "shown", "clause": "2", "ask": "Decisions are explained.", "rule": {"evidence": ["attributions"]}},
        {"id": "lacking", "clause": "3", "ask": "Letters are there.", "rule": {"evidence": ["importance", "letters"]}},
        {"id": "even", "clause": "4", "ask": "Groups fare alike.",
         "rule": {"metric": {"metric": "impact_ratio", "attribute": "sex", "min": 0.9}}},
        {"id": "good", "clause": "5", "ask": "It is right.", "rule": {"metric": {"metric": "accuracy", "min": 0.5}}},
        {"id": "kept", "clause": "6", "ask": "The policy holds.", "rule": {"check": "all"}},
        {"id": "one", "clause": "7", "ask": "A check holds.", "rule": {"check": "accuracy"}},
        {"id": "by-race", "clause": "8", "ask": "A check holds.", "rule": {"check": "impact_ratio on race"}},
    ],
}  # fmt: skip


def write(folder: Path, values: Any = PACK, name: str = "acme.yaml") -> Path:
    path = folder / name
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    return path


def named(*entries: object, **report: Any):
    return config_of(report={"regulations": [str(entry) for entry in entries], **report})


def reading_of(folder: Path, *entries: object, **report: Any) -> Reading:
    chosen = {"regulations": [str(entry) for entry in entries], "formats": ["html", "json", "markdown"], **report}
    return Reading(*tabular_run(folder / "run", report=chosen))


def changed(**rule: Any) -> dict[str, Any]:
    """The pack with a single control that has this rule."""
    return {**PACK, "controls": [{**PACK["controls"][0], "rule": rule}]}


# ---------------------------------------------------------------- YAML


def test_a_pack_of_ones_own_is_judged_by_its_rules(tmp_path: Path) -> None:
    reading = reading_of(tmp_path, write(tmp_path), "eeoc_four_fifths")
    check_regulations(reading.config)
    own, _ = judged(reading)
    assert (own.id, own.title, own.as_of, own.source) == ("acme", "Acme’s rules", "2026-11-01", "P")
    assert {c.id: c.status for c in own.controls} == {
        "owner": "human_required", "shown": "satisfied", "lacking": "insufficient_data", "even": "not_satisfied",
        "good": "satisfied", "kept": "not_satisfied", "one": "satisfied", "by-race": "not_satisfied",
    }  # fmt: skip
    controls = {c.id: c for c in own.controls}
    assert {p.table for p in controls["shown"].evidence} == {"attributions/shap", "attributions/lime"}
    assert "letters" in controls["lacking"].rationale
    assert "importance" not in controls["lacking"].rationale
    assert all(c.evidence for c in own.controls if c.status == "satisfied")


def test_a_metric_is_judged_as_the_policy_would(tmp_path: Path) -> None:
    reading = reading_of(tmp_path, write(tmp_path))
    from tasks.policy import judge

    policy = judge(reading.config, reading.workspace).facts["checks"]
    limits = {c["metric"]: c for c in policy if c["attribute"] in (None, "sex")}
    values = changed(metric={"metric": "impact_ratio", "attribute": "sex", "min": 0.8})
    control = judged(reading_of(tmp_path / "b", write(tmp_path, values)))[0].controls[0]
    assert (control.status, control.rationale) == (
        limits["impact_ratio"]["verdict"],
        limits["impact_ratio"]["sentence"],
    )


def test_statements_answer_it_and_it_is_in_every_form(tmp_path: Path) -> None:
    reading = reading_of(tmp_path, write(tmp_path), attestations={"owner": {"statement": "Team X", "who": "A. B."}})
    files, _, failed = report_files(reading.config, reading.workspace, reading.record)
    assert not failed
    summary = json.loads(files["summary.json"])
    controls = {c["id"]: c for c in summary["controls"]}
    assert (controls["owner"]["regulation"], controls["owner"]["status"]) == ("acme", "satisfied")
    for form in ("report.html", "report.md"):
        assert "Acme’s rules" in files[form].decode()
    again, _, _ = report_files(reading.config, reading.workspace, reading.record)
    assert files == again


def test_its_digest_is_an_input_and_another_file_in_its_place_is_incomplete(tmp_path: Path) -> None:
    path = write(tmp_path)
    reading = reading_of(tmp_path, path, "eeoc_four_fifths")
    recorded = pack_inputs(reading.config)
    assert recorded == (("pack:acme", hashlib.sha256(path.read_bytes()).hexdigest()),)
    record = replace(reading.record, inputs=recorded)
    assert [p.id for p in judged(Reading(reading.config, reading.workspace, record))] == ["acme", "eeoc_four_fifths"]
    even = judged(Reading(reading.config, reading.workspace, record))[0].controls[3]
    assert ("input", "pack:acme") in {(p.kind, p.table) for p in even.evidence}
    write(tmp_path, changed(check="all"))
    _, told, failed = report_files(reading.config, reading.workspace, record)
    assert [(f.stage, "has changed since" in f.reason) for f in failed] == [(f"report/{path}", True)]
    assert told.verdict == "incomplete"
    path.unlink()
    files, _, failed = report_files(reading.config, reading.workspace, record)
    assert "no such file" in failed[0].reason
    assert "eeoc_four_fifths" in files["summary.json"].decode()


def test_which_names_are_packs_of_ones_own() -> None:
    """What a config calls them decides what is not in a run's folder."""
    assert named("gdpr", "a.yaml", "b.yml", "m.n:P", "c.py", "d").report.packs == ("a.yaml", "b.yml", "m.n:P", "c.py")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("- 1", "acme.yaml: not a mapping of keys to values"),
        ("id: [", "acme.yaml, line 1: not valid YAML"),
        ("a: &x 1\nb: *x", "acme.yaml, line 2: not valid YAML: aliases (*name) are not supported"),
        ("id: a\nid: b", "acme.yaml, line 2: not valid YAML: id is given twice"),
        ("!!python/object/apply:os.system [x]", "not valid YAML"),
        ("id: \udc00".encode("utf-8", "surrogatepass").decode("latin1"), "acme.yaml"),
        ({**PACK, "titel": "x"}, "acme.yaml, titel: unknown key titel; available: id, title"),
        ({**PACK, "titel": "x"}, "did you mean title?"),
        ({k: v for k, v in PACK.items() if k != "as_of"}, "acme.yaml, as_of: is missing"),
        ({**PACK, "as_of": "soon"}, "acme.yaml, as_of"),
        ({**PACK, "as_of": 5}, "acme.yaml, as_of: not a date such as 2026-11-01"),
        ({**PACK, "source": "X"}, "acme.yaml, source: should be 'P', 'S' or 'M'"),
        ({**PACK, "id": "../x"}, "acme.yaml, id"),
        ({**PACK, "id": "report"}, "report cannot be the id of a pack"),
        ({**PACK, "id": "gdpr"}, "gdpr is the id of another pack"),
        ({**PACK, "controls": []}, "acme.yaml, controls"),
        ({**PACK, "controls": [PACK["controls"][0], {**PACK["controls"][1], "id": "owner"}]}, "owner is the id of two"),
        (changed(), "controls.0.rule: give one of attestation, evidence, metric, check, not none"),
        (changed(check="all", attestation="x"), "give one of attestation, evidence, metric, check"),
        (changed(evidense=["groups"]), "controls.0.rule.evidense: unknown key evidense"),
        (changed(evidense=["groups"]), "did you mean evidence?"),
        (changed(evidence=["grups"]), "controls.0.rule.evidence: grups is no table of a run"),
        (changed(evidence=["../../etc"]), "../../etc is no table of a run"),
        (changed(metric={"metric": "impact_ratio"}), "controls.0.rule.metric: a check needs min or max"),
        (changed(metric={"metric": "impct", "min": 1}), "controls.0.rule.metric.metric: impct is not a metric"),
        (changed(metric={"metric": "impact_ratio", "attribute": "sexx", "min": 1}), "did you mean sex?"),
        (changed(metric={"metric": "impact_ratio", "min": 1}), "compares groups and needs an attribute"),
        (changed(metric={"metric": "f1_difference", "attribute": "sex", "max": 1}), "only where the policy names it"),
        (changed(metric={"kind": "reasons", "max_protected": 0}), "kind reasons is a check of the policy"),
        (changed(check="accurcy"), "controls.0.rule.check: accurcy is no check of the policy"),
    ],
)
def test_what_is_no_pack_is_refused_with_file_and_key(tmp_path: Path, values: Any, message: str) -> None:
    path = write(tmp_path, values)
    with pytest.raises(ConfigError) as caught:
        check_regulations(named("eeoc_four_fifths", path))
    assert message in str(caught.value)
    assert "report.regulations.1" in str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [("gone.yaml", "no such file"), (".", "is no regulation that is known"), ("\x00.yaml", "not the name of a file"),
     ("/dev/zero/x.yaml", "cannot be read"), (":", "is no pack")],
)  # fmt: skip
def test_files_that_cannot_be_read_are_refused(entry: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_regulations(named(entry))


def test_a_file_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    endless = tmp_path / "endless.yaml"
    endless.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="over 1,000,000 bytes"):
        check_regulations(named(endless))


def test_two_packs_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="acme is the id of another pack"):
        check_regulations(named(write(tmp_path), write(tmp_path, name="other.yml")))


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    controls = [
        {"id": f"c{n}", "clause": text[:200], "ask": text, "legal_status": text, "rule": {"attestation": text[:200]}}
        for n, text in enumerate(HOSTILE[:9])
    ]
    values = {**PACK, "title": HOSTILE[0], "legal_status": HOSTILE[7], "controls": controls}
    reading = reading_of(tmp_path, write(tmp_path, values), formats=["html", "markdown", "pdf", "json"])
    check_regulations(reading.config)
    files, _, failed = report_files(reading.config, reading.workspace, reading.record)
    assert not failed
    html = files["report.html"].decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert files["report.pdf"].startswith(b"%PDF")


# ---------------------------------------------------------------- Python

CODE = """
from __future__ import annotations
from dataclasses import dataclass
from tasks.report.regulations.base import Control, Findings, Pack, pointers

@dataclass(frozen=True)
class Own:
    x: int = 1

def judge(reading):
    return Findings((Control("c", "1", "ask", "satisfied", "why", pointers(reading, "predictions")),))

PACK = Pack("mine", "Mine", "Internal.", "P", judge, as_of="2026-01-01")
"""


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch):
    def trust(*names: object) -> None:
        monkeypatch.setenv("KERAS_AUDIT_TRUST", ",".join(str(name) for name in names))

    return trust


def test_python_runs_only_where_it_is_trusted(tmp_path: Path, trusting) -> None:
    mark = tmp_path / "ran"
    path = write(tmp_path, f"{CODE}\nopen({str(mark)!r}, 'w').close()\n", "mine.py")
    for others in ((), (tmp_path,), ("mine", "mine.py")):
        trusting(*others)
        with pytest.raises(ConfigError, match="not trusted"):
            check_regulations(named(path))
    assert not mark.exists()
    trusting("some.module", path)
    reading = reading_of(tmp_path, os.path.relpath(path))
    check_regulations(reading.config)
    assert mark.exists()
    (own,) = judged(reading)
    assert (own.id, own.controls[0].status) == ("mine", "satisfied")
    assert pack_inputs(reading.config) == (("pack:mine", hashlib.sha256(path.read_bytes()).hexdigest()),)


def test_a_module_of_ones_own(tmp_path: Path, trusting, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, CODE.replace('"mine"', '"theirs"'), "acme_pack_module.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="not trusted"):
        check_regulations(named("acme_pack_module:PACK"))
    trusting("acme_pack_module")
    config = named("acme_pack_module:PACK")
    check_regulations(config)
    assert pack_inputs(config) == (("pack:theirs", hashlib.sha256(path.read_bytes()).hexdigest()),)
    with pytest.raises(ConfigError, match="has no OTHER"):
        check_regulations(named("acme_pack_module:OTHER"))
    with pytest.raises(ConfigError, match="is a type and no Pack"):
        check_regulations(named("acme_pack_module:Own"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1", "names no PACK"),
        ("PACK = 3", "is a int and no Pack"),
        ("1/0", "cannot be loaded (ZeroDivisionError: division by zero)"),
        ("def", "cannot be loaded (SyntaxError"),
        (CODE.replace('"mine"', '"../mine"'), "cannot be the id of a pack"),
        (CODE.replace('"P"', '"Q"'), "source is none that is known"),
    ],
)
def test_python_that_is_no_pack_is_refused(tmp_path: Path, trusting, code: str, message: str) -> None:
    path = write(tmp_path, code, "mine.py")
    trusting(path)
    with pytest.raises(ConfigError) as caught:
        check_regulations(named(path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('x')", "KeyError"),
        ("return 3", "mine gives a int and no Findings"),
        ("return Findings((Control('c', '1', 'a', 'satisfied', 'w'),))", "satisfied without evidence"),
        ("return Findings((), (), (('report.html', None),))", "cannot write report.html"),
        ("return Findings((), (), (('mine/../x.html', None),))", "cannot write mine/../x.html"),
    ],
)
def test_a_pack_that_raises_makes_the_audit_incomplete(tmp_path: Path, trusting, body: str, reason: str) -> None:
    start, end = CODE.index("    return Findings"), CODE.index("\nPACK")
    code = f"{CODE[:start]}    {body}\n{CODE[end:]}"
    path = write(tmp_path, code, "mine.py")
    trusting(path)
    reading = reading_of(tmp_path, path, "eeoc_four_fifths")
    files, record, failed = report_files(reading.config, reading.workspace, reading.record)
    assert [type(f) for f in failed] == [Failed]
    assert failed[0].stage == f"report/{path}"
    assert reason in failed[0].reason
    assert record.verdict == "incomplete"
    assert "report.html" in files
    assert [p.id for p in judged(Reading(reading.config, reading.workspace, record))] == ["eeoc_four_fifths"]


# ---------------------------------------------------------------- in the report


def test_only_a_limit_can_be_satisfied_else_evidence_is_present(tmp_path: Path) -> None:
    files = reading_of(tmp_path, write(tmp_path), attestations={"owner": "Team X"})
    page = parsed(report_files(files.config, files.workspace, files.record)[0]["report.html"].decode())
    states = {row[0]: row[1].lstrip("✓– ") for rows in tables(page) for row in rows if len(row) == 5}
    assert (states["1"], states["2"], states["5"]) == ("evidence present", "evidence present", "satisfied")


@pytest.mark.parametrize(("formats", "written"), [(["html"], True), (["markdown"], False)])
def test_pages_are_written_and_named_with_the_html(tmp_path: Path, formats: list[str], written: bool) -> None:
    reading = reading_of(tmp_path, "nyc_ll144", formats=formats)
    files, _, _ = report_files(reading.config, reading.workspace, reading.record)
    assert ("nyc_ll144.html" in files) is written
    assert (b"nyc_ll144.html" in b"".join(files.values())) is written
