"""Each run holds the digest of the one before it, whoever publishes at once and whatever is left of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tasks.evidence import predecessor_of, verify_run
from tasks.evidence.chain import Predecessor, follow
from tasks.persist.publish import runs as published_runs
from tests.tasks.evidence.evidence_runs import redigested


def _before(folder):
    return json.loads((folder / "manifest.json").read_bytes())["predicate"]["annotations"]["predecessor"]


def test_the_first_has_none_before_it(runs):
    assert _before(runs.first) is None
    assert "chain: the first run of its name" in verify_run(runs.first).notes


def test_a_run_holds_the_digest_of_the_one_before(runs):
    digest = (runs.first / "manifest.sha256").read_text().split()[0]
    assert _before(runs.second) == {"run_id": runs.first.name, "manifest_sha256": digest}
    assert predecessor_of(runs.first) == Predecessor(runs.first.name, digest)


def test_one_that_was_removed_is_named_without_a_digest(tmp_path):
    assert predecessor_of(tmp_path / "20260101T000000Z-00000001").sha256 is None
    assert predecessor_of(None) is None
    found = follow(Predecessor("20260101T000000Z-00000001", None), "20260102T000000Z-00000002", [tmp_path])
    assert found.problems == ()
    assert found.note == "the run before it, 20260101T000000Z-00000001, had no manifest when this one was published"


def test_one_that_is_absent_is_reported(runs, copied):
    found = verify_run(copied(runs.second))
    assert found.problems == ()
    assert f"chain: the run before it, {runs.first.name}, is not here, so it was not compared" in found.notes


def test_one_under_the_reports_folder_is_found(runs, copied):
    found = verify_run(copied(runs.second), reports=runs.reports)
    assert "chain: 1 run before this one fit, back to the first" in found.notes


@pytest.mark.parametrize("change", ["manifest", "digest", "both", "gone", "file"])
def test_one_that_differs_is_a_problem(runs, copied, change):
    second = copied(runs.second)
    first = shutil.copytree(runs.first, second.parent / runs.first.name)
    if change == "manifest":
        (first / "manifest.json").write_bytes((first / "manifest.json").read_bytes() + b" ")
    elif change == "digest":
        (first / "manifest.sha256").write_bytes(b"")
    elif change == "both":
        redigested(first, lambda s: s["predicate"]["annotations"].update(started="2020-01-01"))
    elif change == "gone":
        (first / "manifest.json").unlink()
    else:
        shutil.rmtree(first)
        first.mkdir()
    found = verify_run(second)
    assert [p for p in found.problems if p.startswith("chain: ")] == [
        f"chain: the run before it, {runs.first.name}, is not what this one was published after: its manifest differs"
    ]


def test_a_run_that_was_made_anew_does_not_fit_what_came_after(runs, copied):
    """Rewriting history needs the runs after it, and those are signed."""
    second = copied(runs.second)
    first = shutil.copytree(runs.first, second.parent / runs.first.name)
    (first / "attestation.json").unlink()
    redigested(first, lambda s: s["predicate"]["annotations"].update(signer=None))
    assert verify_run(first).problems == ()
    assert verify_run(second).problems


def test_a_circle_ends(runs, copied):
    folder = copied(runs.unsigned)
    told = {"run_id": runs.unsigned.name, "manifest_sha256": "0" * 64}
    redigested(folder, lambda s: s["predicate"]["annotations"].update(predecessor=told))
    assert verify_run(folder).problems == (f"chain: {runs.unsigned.name} comes before itself",)


def test_a_chain_is_followed_to_where_it_ends(runs, copied):
    """Of three runs the first is gone: the second fits, and where it stops is told."""
    second = copied(runs.second)
    shutil.move(second, second.with_name(runs.second.name))
    third = copied(runs.unsigned)
    before = predecessor_of(second.with_name(runs.second.name))
    redigested(third, lambda s: s["predicate"]["annotations"].update(predecessor=before.as_json()))
    notes = verify_run(third).notes
    told = f"chain: 1 run before this one fit; {runs.first.name}, further back, is not here, so it was not compared"
    assert told in notes


@pytest.mark.parametrize(
    "told",
    [7, [], {}, {"run_id": "../../etc", "manifest_sha256": "0" * 64}, {"run_id": "20260101T000000Z-00000001"},
     {"run_id": "20260101T000000Z-00000001", "manifest_sha256": "x"}, {"run_id": None, "manifest_sha256": None}],
)  # fmt: skip
def test_a_predecessor_that_is_none_is_told(runs, copied, told):
    folder = copied(runs.unsigned)
    redigested(folder, lambda s: s["predicate"]["annotations"].update(predecessor=told))
    assert verify_run(folder).problems[0].startswith("manifest.json: ")


_PUBLISHES = """
import sys
from pathlib import Path
from tasks.evidence import Account, outputs, predecessor_of, seal
from tasks.persist.publish import begin, new_run_id, publish
for verdict in ("satisfied", "refused", "incomplete", "inconclusive"):
    run = begin(Path(sys.argv[1]), "credit", new_run_id())
    run.write_bytes("summary.json", b"{}")
    files, account = outputs(run), Account(name="credit", verdict=verdict)
    publish(run, lambda before: seal(run, account, files, previous=predecessor_of(before)))
"""


def test_processes_that_publish_at_once_make_one_chain(tmp_path):
    """Refused and incomplete runs are links of it like all others."""
    command = [sys.executable, "-c", _PUBLISHES, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    folders = list(published_runs(tmp_path))
    assert len(folders) == 12
    last = tmp_path / "credit" / os.readlink(tmp_path / "credit" / "latest")
    found = follow(predecessor_of(last), "20990101T000000Z-00000000", [last.parent])
    assert (found.fitting, found.problems, found.note) == (12, (), "")
    before = [(_before(folder) or {}).get("run_id") for folder in folders]
    assert len(set(before)) == 12  # no two runs after the same one
