"""What a run that did not end leaves for the next: whole pieces, one user at a time, gone when of no use."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tasks.persist import unfinished
from tasks.persist.publish import begin, new_run_id
from tasks.persist.unfinished import Unfinished, clear, sweep, take, used_by


def held(root: Path, name: str = "lime-key", run_id: str = "first") -> Unfinished:
    found = take(root, name, run_id=run_id, stage="explain/lime")
    assert found is not None
    return found


def left(root: Path, name: str = "lime-key", run_id: str = "first") -> None:
    """Pieces for rows 0–5 and 5–8."""
    found = held(root, name, run_id)
    assert found.write(0, 5, b"five")
    assert found.write(5, 8, b"\nthree\x00")
    found.close()


def test_pieces_are_read_again(tmp_path):
    left(tmp_path)
    found = held(tmp_path)
    assert (found.rows, found.stop_of(0), found.stop_of(5), found.stop_of(8)) == (8, 5, 8, None)
    assert (found.read(0), found.read(5), found.read(8)) == (b"five", b"\nthree\x00", None)


def test_nothing_is_made_before_there_is_a_piece(tmp_path):
    found = held(tmp_path / "root")
    assert found.rows == 0
    found.close()
    assert not (tmp_path / "root").exists()


def test_folders_are_the_owners_alone(tmp_path):
    left(tmp_path / "root")
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "root", tmp_path / "root" / "lime-key")} == {0o700}


@pytest.mark.parametrize("damage", [b"", b"four", b"0" * 64 + b"\nfive", b"\xff\n"])
def test_a_damaged_piece_counts_as_missing(tmp_path, damage):
    left(tmp_path)
    (path,) = (tmp_path / "lime-key").glob("rows-000000000000-*")
    path.write_bytes(damage)
    found = held(tmp_path)
    assert found.read(0) is None
    assert found.stop_of(0) is None
    assert not path.exists()
    assert found.read(5) is not None


def test_a_piece_that_was_cut_off_is_damaged(tmp_path):
    left(tmp_path)
    (path,) = (tmp_path / "lime-key").glob("rows-000000000005-*")
    path.write_bytes(path.read_bytes()[:-1])
    assert held(tmp_path).read(5) is None


def test_one_run_at_a_time(tmp_path):
    left(tmp_path)
    first = held(tmp_path)
    assert take(tmp_path, "lime-key", run_id="second", stage="explain/lime") is None
    first.close()
    second = held(tmp_path, run_id="second")
    assert second.rows == 8


def test_of_two_that_begin_the_first_to_keep_something_has_the_folder(tmp_path):
    first, second = held(tmp_path, run_id="first"), held(tmp_path, run_id="second")
    assert first.write(0, 5, b"five")
    assert not second.write(0, 5, b"FIVE")
    second.close()
    assert first.read(0) == b"five"
    assert [note["run_id"] for note in used_by(tmp_path, "first")] == ["first"]


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_pieces(tmp_path):
    (tmp_path / "file").write_text("")
    found = held(tmp_path / "file")
    assert not found.write(0, 5, b"five")
    found.close()


def test_a_folder_that_goes_while_it_is_used(tmp_path):
    found = held(tmp_path)
    assert found.write(0, 5, b"five")
    for path in (tmp_path / "lime-key").iterdir():
        path.unlink()
    (tmp_path / "lime-key").rmdir()
    assert not found.write(5, 8, b"three")
    assert found.read(0) is None


def test_a_run_clears_what_it_used_and_nothing_else(tmp_path):
    left(tmp_path, "lime-a", "first")
    left(tmp_path, "shap-b", "second")
    held(tmp_path, "lime-a", "third").close()
    assert [(n["found"], n["stage"]) for n in used_by(tmp_path, "third")] == [(8, "explain/lime")]
    clear(tmp_path, "first")  # the third has taken it over
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lime-a", "shap-b"]
    clear(tmp_path, "third")
    assert [p.name for p in tmp_path.iterdir()] == ["shap-b"]
    clear(tmp_path, "second")
    assert not tmp_path.exists()
    clear(tmp_path, "second")
    clear(None, "second")
    assert used_by(None, "second") == []


def test_what_is_in_use_is_not_cleared(tmp_path):
    left(tmp_path)
    found = held(tmp_path)
    clear(tmp_path, "first")
    assert found.read(0) == b"five"


def _aged(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))


def test_what_is_old_is_swept(tmp_path):
    left(tmp_path, "old")
    left(tmp_path, "young")
    left(tmp_path, "old-in-use")
    user = held(tmp_path, "old-in-use")
    _aged(tmp_path / "old", unfinished.KEEP_SECONDS + 60)
    _aged(tmp_path / "old-in-use", unfinished.KEEP_SECONDS + 60)
    _aged(tmp_path / "young", unfinished.KEEP_SECONDS - 60)
    sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old-in-use", "young"]
    assert user.rows == 8


def test_what_is_too_much_is_swept_from_the_oldest(tmp_path, monkeypatch):
    for age, name in enumerate(("c", "a", "b")):
        left(tmp_path, name)
        _aged(tmp_path / name, 3600.0 * (3 - age))
    size = sum(p.stat().st_size for p in (tmp_path / "a").iterdir()) + (tmp_path / "a").stat().st_size
    monkeypatch.setattr(unfinished, "KEEP_BYTES", 2 * size)
    sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_run_sweeps_when_it_begins(tmp_path):
    root = tmp_path / "credit" / unfinished.FOLDER
    left(root)
    _aged(root / "lime-key", unfinished.KEEP_SECONDS + 60)
    workspace = begin(tmp_path, "credit", new_run_id())
    assert workspace.unfinished == root
    assert not root.exists()


def test_notes_that_are_no_notes_are_nobodys(tmp_path):
    left(tmp_path, "a")
    left(tmp_path, "b")
    (tmp_path / "a" / "used.json").write_text("{")
    (tmp_path / "b" / "used.json").write_text(json.dumps(["first"]))
    assert used_by(tmp_path, "first") == []
    clear(tmp_path, "first")
    assert len(list(tmp_path.iterdir())) == 2


def test_processes_of_one_run_write_beside_the_one_that_holds_the_lock(tmp_path):
    left(tmp_path)
    held_by = held(tmp_path, run_id="second")
    assert held_by.claim()
    assert held_by.found == 8
    beside = [held(tmp_path, run_id="second") for _ in range(2)]
    assert take(tmp_path, "lime-key", run_id="third", stage="explain/lime") is None
    assert [one.found for one in beside] == [8, 8]
    assert beside[0].write(8, 9, b"a")
    assert beside[1].write(9, 12, b"b")
    for one in beside:
        one.close()
    late = held(tmp_path, run_id="second")
    assert (late.rows, late.found, late.read(9)) == (12, 8, b"b")
    assert late.covers(0, 12)
    assert late.covers(5, 9)
    assert not late.covers(0, 13)
    assert not late.covers(1, 5)
    clear(tmp_path, "second")
    assert late.read(8) == b"a"  # held
    held_by.close()
    clear(tmp_path, "second")
    assert not tmp_path.exists()


def test_a_claim_is_a_folder_without_pieces(tmp_path):
    claimed = held(tmp_path / "root")
    assert claimed.claim()
    assert claimed.claim()
    assert take(tmp_path / "root", "lime-key", run_id="second", stage="explain/lime") is None
    beside = held(tmp_path / "root")
    assert beside.write(0, 5, b"five")
    claimed.close()  # it has none itself, and leaves those of the others
    assert held(tmp_path / "root").rows == 5
    again = held(tmp_path / "root", "empty")
    assert again.claim()
    again.close()
    assert [p.name for p in (tmp_path / "root").iterdir()] == ["lime-key"]
