"""What holds for every pack: ids, wording, evidence, and runs of any kind."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest

from tasks.contracts import Verdict
from tasks.report.document import Block, Bullets, Facts, Paragraph, Span, Table
from tasks.report.reading import Reading
from tasks.report.regulations import REGULATIONS
from tasks.report.stage import report_files
from tests.tasks.report.pack_runs import PACKS, RUNS, attested_by_all, changed, judge
from tests.tasks.report.report_pages import parsed
from tests.tasks.report.report_runs import HOSTILE, hostile_run, large_run

#: words that would say that somebody keeps a law
CLAIMS = re.compile(r"\b(complian|complies|comply|conform|certif|lawful|approved|guarantee)", re.IGNORECASE)
KINDS = {**RUNS, "hostile": lambda f: Reading(*hostile_run(f)), "large": lambda f: Reading(*large_run(f, features=5))}


@pytest.fixture(scope="module", params=KINDS)
def reading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return KINDS[request.param](tmp_path_factory.mktemp(request.param))


def _spans(block: Block) -> list[Span]:
    match block:
        case Paragraph(content=content):
            return list(content)
        case Bullets(items=items):
            return [span for item in items for span in item]
        case Facts(pairs=pairs):
            return [span for _, content in pairs for span in content]
        case Table(rows=rows, note=note):
            return [*(span for row in rows for cell in row for span in cell), *note]
        case _:
            return []


def test_ids_are_unique_over_all_packs(reading: Reading) -> None:
    found = [c.id for pack in REGULATIONS.values() for c in pack.judge(reading).controls]
    assert len(found) == len(set(found))
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", id) for id in found)


@pytest.mark.parametrize("pack", PACKS)
def test_nothing_claims_that_a_law_is_kept(reading: Reading, pack: str) -> None:
    found = judge(pack, attested_by_all(pack, reading))
    texts = [f"{c.clause} {c.ask} {c.rationale} {c.legal_status or ''}" for c in found.controls]
    texts += [span.text for block in found.blocks for span in _spans(block) if span.kind not in ("name", "said")]
    texts += [REGULATIONS[pack].title, REGULATIONS[pack].legal_status]
    assert [t for t in texts if CLAIMS.search(t)] == []


@pytest.mark.parametrize("pack", PACKS)
def test_nothing_is_satisfied_without_evidence_or_a_statement(reading: Reading, pack: str) -> None:
    for control in judge(pack, reading).controls:
        assert control.status in get_args(Verdict)
        assert control.status != "satisfied" or control.evidence
        assert control.status != "human_required" or control.attestation or control.id == "eu-11-1"
        for pointer in control.evidence:
            assert reading.artifact(pointer.table).sha256 == pointer.sha256


@pytest.mark.parametrize("pack", PACKS)
def test_a_reader_gets_a_sentence_or_two(reading: Reading, pack: str) -> None:
    longest = max(len(name) for name in HOSTILE)
    for control in judge(pack, reading).controls:
        assert control.ask.endswith(".")
        assert control.rationale.endswith(".")
        assert "  " not in control.rationale
        assert ".." not in control.rationale
        assert len(control.ask) <= 120
        assert len(control.rationale) <= 330
        assert not any(name in control.rationale for name in HOSTILE if len(name) == longest)


@pytest.mark.parametrize("pack", PACKS)
def test_a_run_that_was_refused_satisfies_nothing(pack: str, tmp_path) -> None:
    for kind in ("refused", "unreadable"):
        assert "satisfied" not in {c.status for c in judge(pack, RUNS[kind](tmp_path / kind)).controls}


def test_all_forms_of_the_report_hold_all_packs(reading: Reading) -> None:
    formats = ["html", "markdown", *(["pdf"] if reading.title.startswith(HOSTILE[3]) else [])]
    asking = changed(reading, report={"regulations": list(PACKS), "formats": formats})
    files, _, failed = report_files(asking.config, asking.workspace, asking.record)
    assert [f for f in failed if f.stage.removeprefix("report/") in (*PACKS, "controls", *formats)] == []
    page, markdown = parsed(files["report.html"].decode()).text, files["report.md"].decode()
    summary = json.loads(files["summary.json"])
    for pack in PACKS:
        assert REGULATIONS[pack].title in page
        assert REGULATIONS[pack].title in markdown
        wanted = [(c.id, c.status) for c in judge(pack, asking).controls]
        assert [(c["id"], c["status"]) for c in summary["controls"] if c["regulation"] == pack] == wanted
    told = {c["id"]: c["legal_status"] for c in summary["controls"]}
    assert told["eu-86-1"].startswith("Outside Chapter III")
    for form in (page, markdown):  # where a clause's status or source is not its pack's, its row says so
        assert "Legal status: Outside Chapter III" in form
        assert "Source S: from secondary sources." in form
    assert told["eu-9-6"] == REGULATIONS["eu_ai_act"].legal_status
    assert not any(node.tag == "script" for node in parsed(files["report.html"].decode()).walk())


@pytest.mark.parametrize("pack", PACKS)
def test_the_same_run_is_judged_the_same(reading: Reading, pack: str) -> None:
    again = Reading(reading.config, reading.workspace, reading.record)
    assert judge(pack, reading) == judge(pack, again)
