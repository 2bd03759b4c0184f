"""What is read of runs, and that nothing in a summary can do more than be shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import UsageError
from tasks.history import as_json, entries, listed
from tasks.history.entries import MAX_BYTES, MOST_CHECKS
from tests.tasks.history.history_builder import check, publish, run_id, summary


def test_an_entry_holds_what_the_summary_says(tmp_path: Path) -> None:
    checks = [
        check(0.7, "not_satisfied"),
        check(None, "insufficient_data", metric="accuracy", attribute=None),
        check(0.9, "satisfied", max=1.2),
    ]
    missing = [{"stage": "explain/lime", "code": "memory", "reason": "memory ran out"}]
    publish(
        tmp_path, "credit", 3, "incomplete", files=("report.html", "attestation.json"), checks=checks,
        run={"missing": missing},
    )  # fmt: skip
    (found,) = entries(tmp_path)
    assert (found.run, found.verdict, found.problem) == (f"credit/{run_id(3)}", "incomplete", "")
    assert (found.title, found.model_version, found.rows, found.missing) == ("The audit credit", "2", 200, 1)
    assert found.generated_at == "2026-01-26T06:03:00+00:00"
    assert [one.value for one in found.checks] == [0.7, None, 0.9]
    assert [one.metric for one in found.failed] == ["impact_ratio", "accuracy"]
    assert found.checks[2].key == ("impact_ratio", "sex", None, None, None)
    assert found.signed
    assert found.files == ("report.html", "summary.json", "attestation.json")
    told = json.loads(json.dumps(as_json(found)))
    assert told["model"] == {"version": "2", "sha256": "ab" * 32}
    assert told["signed"] is True


def test_runs_of_all_names_are_in_the_order_of_time(tmp_path: Path) -> None:
    for name, place in (("b", 2), ("a", 3), ("a", 0), ("c", 1)):
        publish(tmp_path, name, place)
    assert [one.name for one in entries(tmp_path)] == ["a", "c", "b", "a"]
    assert [one.run_id for one in entries(tmp_path, "a")] == [run_id(0), run_id(3)]


def test_a_group_that_the_policy_names_is_part_of_the_check(tmp_path: Path) -> None:
    one = publish(tmp_path)
    values = summary("credit", 0, checks=[check(0.9, "satisfied"), check(0.8, "satisfied", group="Male")])
    values["policy"]["declared"] = [{"group": None}, {"group": "Male", "technique": "shap", "feature": "age"}]
    (one / "summary.json").write_text(json.dumps(values))
    keys = [one.key[2:] for one in entries(tmp_path)[0].checks]
    assert keys == [(None, None, None), ("Male", "shap", "age")]


BROKEN = {
    "empty": b"",
    "no json": b"nope",
    "bytes": b"\xff\xfe",
    "a list": b"[]",
    "a number": b"5",
    "no verdict": b"{}",
    "deep": b"[" * 200_000,
    "deep object": b'{"a":' * 200_000,
    "unknown verdict": json.dumps({**summary("credit", 0), "verdict": "fine"}).encode(),
    "verdict as list": json.dumps({**summary("credit", 0), "verdict": ["satisfied"]}).encode(),
    "another run": json.dumps(summary("credit", 7)).encode(),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_says_so_and_hides_nothing(tmp_path: Path, content: bytes) -> None:
    folder = publish(tmp_path, "credit", 0)
    (folder / "summary.json").write_bytes(content)
    publish(tmp_path, "credit", 1)
    broken, whole = entries(tmp_path)
    assert broken.verdict is None
    assert broken.problem
    assert len(broken.problem) <= 200
    assert (whole.verdict, whole.problem) == ("satisfied", "")


def test_no_summary_a_link_a_folder_and_a_pipe_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere.json"
    secret.write_text(json.dumps(summary("credit", 1)))
    places = [publish(tmp_path / "reports", "credit", place) / "summary.json" for place in range(4)]
    for place in places:
        place.unlink()
    places[1].symlink_to(secret)
    places[2].mkdir()
    os.mkfifo(places[3])  # opened for reading, it would wait for a writer
    found = entries(tmp_path / "reports")
    assert [one.verdict for one in found] == [None] * 4
    assert all(one.problem and "summary.json" not in one.files for one in found)


def test_a_summary_without_an_end_is_not_read(tmp_path: Path) -> None:
    path = publish(tmp_path) / "summary.json"
    with path.open("wb") as stream:
        stream.truncate(100 * 1000 * 1000)
    (found,) = entries(tmp_path)
    assert found.problem == f"summary.json has 100,000,000 bytes; up to {MAX_BYTES:,} are read"


ODD: list[dict[str, Any]] = [
    {"subject": 5, "data": [1], "generated_at": 7, "policy": "x", "run": None},
    {"subject": {"title": ["x"], "model": []}, "data": {"0": {"rows": 5}}, "run": {"missing": 3}},
    {"subject": {"title": 3, "model": {"version": {"a": 1}, "sha256": 9}}, "data": [{"rows": -1}]},
    {"data": [{"rows": True}], "policy": {"checks": {"a": 1}, "declared": 4}},
    {"data": [{"rows": 1e300}], "policy": {"checks": [None, 5, [], "x", {}], "declared": []}},
    {"policy": {"checks": [check(None, "satisfied", metric=m) for m in (None, 5, "", " ", ["x"])], "declared": None}},
    {"policy": {"checks": [check("0.9", v) for v in ("fine", None, ["satisfied"], {})], "declared": [None] * 4}},
    {"data": [], "run": {"missing": {"a": 1}}, "subject": None},
]


@pytest.mark.parametrize("changes", ODD, ids=lambda changes: "-".join(changes))
def test_values_of_a_wrong_type_are_left_out(tmp_path: Path, changes: dict[str, Any]) -> None:
    publish(tmp_path, **changes)
    (found,) = entries(tmp_path)
    assert found.verdict == "satisfied"
    assert (found.rows, found.missing) in {(200, 0), (None, 0)}
    assert not [one for one in found.checks if not isinstance(one.metric, str)]
    assert all(one.value is None or isinstance(one.value, float) for one in found.checks)
    assert isinstance(found.title, str)
    json.dumps(as_json(found), allow_nan=False)


def test_numbers_that_are_none_are_undefined_and_texts_have_an_end(tmp_path: Path) -> None:
    folder = publish(tmp_path)
    values = summary("credit", 0, checks=[check(0.5, "satisfied")] * (MOST_CHECKS + 50))
    values["policy"]["declared"] = []
    values["subject"]["title"] = "W" * 100_000
    values["subject"]["model"]["version"] = "9" * 1000
    text = json.dumps(values).replace("0.5", "1e999", 1).replace("0.5", "NaN", 1).replace("0.5", "-Infinity", 1)
    (folder / "summary.json").write_text(text)
    (found,) = entries(tmp_path)
    assert [one.value for one in found.checks[:4]] == [None, None, None, 0.5]
    assert len(found.checks) == MOST_CHECKS
    assert len(found.title) <= 300
    assert len(found.model_version or "") <= 40


def test_text_cannot_command_a_terminal(tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e"
    publish(tmp_path, subject={"title": hostile, "model": {"version": hostile}}, generated_at=hostile,
            checks=[check(0.5, "not_satisfied", metric=hostile, attribute=hostile)])  # fmt: skip
    (found,) = entries(tmp_path)
    texts = [found.title, found.model_version, found.generated_at, found.checks[0].metric, found.checks[0].attribute]
    assert not set("".join(text or "" for text in texts)) & set(hostile[:1] + "\x07\x9b\r\u202e")


def test_a_name_without_runs_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    assert listed(tmp_path, "credit") == []
    assert listed(tmp_path / "nowhere") == []
    publish(tmp_path)
    assert len(listed(tmp_path, "credit")) == 1
    with pytest.raises(UsageError, match="no run of credits; available: credit; did you mean credit"):
        listed(tmp_path, "credits")
