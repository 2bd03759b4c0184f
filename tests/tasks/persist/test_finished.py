"""Results of steps kept for later runs: found by key, whole or not at all, and never in the way of an audit."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.contracts import Done, Finding, NotApplicable
from tasks.persist.finished import FOLDER, KEEP_SECONDS, has, keep, sweep_finished, take
from tasks.persist.publish import begin, new_run_id
from tasks.persist.store import Workspace, file_digest

KEY = "a" * 64
FILES = ("artifacts/drift.parquet", "artifacts/images/one.png", ".parts/importance-shap.arrow")
DRIFT = {"kind": ["data"], "feature": ["age"], "measure": ["psi"], "value": [0.1], "status": ["ok"]}


def workspace(reports: Path) -> Workspace:
    return begin(reports, "credit", new_run_id())


def made(own: Workspace) -> Done:
    """A result with a table, an image and a part, as a step leaves it."""
    table = own.write_table("drift", pa.table(DRIFT))
    own.write_bytes("artifacts/images/one.png", b"png")
    own.write_bytes(".parts/importance-shap.arrow", b"arrow")
    finding = Finding("warning", "drifted", "age has drifted", evidence="drift")
    return Done(
        "drift", (table,), ("images/one.png",), (finding,), ("Said.",), {"rows": 3, "names": ["a"]},
        seconds=1.5, parts=(".parts/importance-shap.arrow",),
    )  # fmt: skip


@pytest.fixture
def kept(tmp_path) -> tuple[Path, Workspace, Done]:
    own = workspace(tmp_path)
    result = made(own)
    folder = tmp_path / "credit" / FOLDER
    keep(folder, "explain/shap", KEY, own, result)
    return folder, own, result


def test_a_later_run_is_given_result_and_files(tmp_path, kept):
    folder, first, result = kept
    later = workspace(tmp_path)
    found = take(folder, "explain/shap", KEY, later)
    assert isinstance(found, Done)
    assert found.of_run == first.run_id
    assert found.tables[0].path == str(later.table_path("drift"))
    for name in FILES:
        assert (later.folder / name).read_bytes() == (first.folder / name).read_bytes()
    assert file_digest(later.table_path("drift")) == found.tables[0].sha256 == result.tables[0].sha256
    assert (found.findings, found.limitations, found.facts, found.seconds) == (
        result.findings, result.limitations, result.facts, 1.5,
    )  # fmt: skip


def test_a_third_run_is_told_who_worked_it_out(tmp_path, kept):
    folder, first, _ = kept
    second = workspace(tmp_path)
    found = take(folder, "explain/shap", KEY, second)
    keep(folder, "explain/shap", "b" * 64, second, found)
    assert take(folder, "explain/shap", "b" * 64, workspace(tmp_path)).of_run == first.run_id


def test_what_does_not_apply_is_kept_too(tmp_path):
    own, folder = workspace(tmp_path), tmp_path / "credit" / FOLDER
    told = NotApplicable("drift", "no_reference", "there is no reference data")
    keep(folder, "drift", KEY, own, told)
    assert take(folder, "drift", KEY, own) == told


@pytest.mark.parametrize(("step", "key"), [("explain/shap", "b" * 64), ("explain/lime", KEY)])
def test_another_step_or_key_finds_nothing(tmp_path, kept, step, key):
    folder, own, _ = kept
    assert take(folder, step, key, own) is None
    assert not has(folder, step, key)
    assert has(folder, "explain/shap", KEY)


@pytest.mark.parametrize(
    "name", ["artifacts/drift.parquet", "artifacts/images/one.png", ".parts/importance-shap.arrow"]
)
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_file_makes_a_miss_and_the_entry_goes(tmp_path, kept, name, damage):
    folder, _, _ = kept
    (entry,) = folder.iterdir()
    file = entry / "files" / name
    content = bytearray(file.read_bytes())
    file.unlink()
    if damage == "changed":
        content[len(content) // 2] ^= 1
        file.write_bytes(bytes(content))
    assert take(folder, "explain/shap", KEY, workspace(tmp_path)) is None
    assert not entry.exists()


HOSTILE = {
    "no JSON": b"{",
    "no result": b"{}",
    "another kind": json.dumps({"result": {"kind": "failed", "stage": "x", "code": "y", "reason": "z"}}).encode(),
    "an unknown kind": json.dumps({"result": {"kind": "eval"}, "files": {}}).encode(),
    "a list": b"[]",
    "no UTF-8": b"\xff",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_result_that_cannot_be_read_is_a_miss(tmp_path, kept, content):
    folder, _, _ = kept
    (entry,) = folder.iterdir()
    (entry / "result.json").write_bytes(content)
    assert take(folder, "explain/shap", KEY, workspace(tmp_path)) is None
    assert not entry.exists()


def test_no_file_is_put_outside_the_run(tmp_path, kept):
    folder, _, _ = kept
    (entry,) = folder.iterdir()
    told = json.loads((entry / "result.json").read_text())
    told["result"]["parts"] = ["../outside"]
    told["files"]["../outside"] = told["files"].pop(".parts/importance-shap.arrow")
    (entry / "result.json").write_text(json.dumps(told))
    later = workspace(tmp_path)
    assert take(folder, "explain/shap", KEY, later) is None
    assert not (later.folder.parent / "outside").exists()


def test_a_published_table_that_is_changed_in_place_is_not_taken_over(tmp_path, kept):
    """The files are hard links: whoever writes into one writes into both."""
    folder, first, _ = kept
    with first.table_path("drift").open("r+b") as stream:
        stream.seek(8)
        stream.write(b"\0\0\0\0")
    assert take(folder, "explain/shap", KEY, workspace(tmp_path)) is None


def test_facts_that_are_no_json_are_not_kept(tmp_path):
    own, folder = workspace(tmp_path), tmp_path / "credit" / FOLDER
    keep(folder, "drift", KEY, own, Done("drift", facts={"value": float("nan")}))
    keep(folder, "drift", KEY, own, Done("drift", facts={"value": object()}))
    assert not has(folder, "drift", KEY)
    assert list(folder.iterdir()) == []


def test_a_table_that_is_gone_is_not_kept_and_nothing_is_raised(tmp_path):
    own, folder = workspace(tmp_path), tmp_path / "credit" / FOLDER
    result = made(own)
    own.table_path("drift").unlink()
    keep(folder, "drift", KEY, own, result)
    assert not has(folder, "drift", KEY)


def test_who_comes_second_changes_nothing(tmp_path, kept):
    folder, first, _ = kept
    keep(folder, "explain/shap", KEY, workspace(tmp_path), Done("drift"))
    assert take(folder, "explain/shap", KEY, workspace(tmp_path)).of_run == first.run_id


def test_the_folder_is_the_owners_alone(kept):
    folder, _, _ = kept
    (entry,) = folder.iterdir()
    assert {p.stat().st_mode & 0o777 for p in (folder, entry)} == {0o700}


def test_what_nobody_uses_goes(tmp_path, kept):
    folder, _, _ = kept
    (entry,) = folder.iterdir()
    half = folder / ".explain-half"
    half.mkdir()
    old = time.time() - KEEP_SECONDS - 60
    os.utime(half, (old, old))
    sweep_finished(folder)
    assert entry.exists()
    assert not half.exists()
    later = workspace(tmp_path)  # which sweeps
    os.utime(entry, (old, old))
    assert take(folder, "explain/shap", KEY, later) is not None  # used: young again
    sweep_finished(folder)
    assert entry.exists()
    os.utime(entry, (old, old))
    sweep_finished(folder)
    assert not entry.exists()
    sweep_finished(tmp_path / "nothing")
