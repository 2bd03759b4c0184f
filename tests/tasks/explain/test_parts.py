"""A stopped, killed or damaged run goes on where it ended, and its tables are those of a run that never stopped."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.schema import AuditConfig
from tasks.contracts import Done
from tasks.errors import DeadlinePassed, Stopped
from tasks.explain import TECHNIQUES, explain, parts, technique_of
from tasks.explain.base import Attribution, Saliency
from tasks.explain.parts import joined, key_of, packed, unpacked
from tasks.explain.stage import PARTS, settings_of
from tasks.load import open_subject
from tasks.persist import Workspace
from tasks.watch import Watch

#: rows of the batches and parts below: 60 rows are 12 batches and 6 parts
BATCH, PART = 5, 10


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.explain.TECHNIQUES", tuple(replace(t, batch=BATCH) for t in TECHNIQUES))
    monkeypatch.setattr("tasks.explain.attributions.ROW_GROUP", PART * 3)
    monkeypatch.setattr("tasks.explain.attributions.PREDICTED", 16)


def config_of(files: dict[str, Any], **changes: Any) -> AuditConfig:
    explained = {**files["explain"], "rows": "all", **changes.pop("explain", {})}
    return AuditConfig.model_validate({**files, "explain": explained, **changes})


class Run:
    """A run's folder beside others of the same audit."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.root = folder / ".unfinished"
        self.workspace = Workspace(folder / run_id, run_id, unfinished=self.root)
        self.told: list[str] = []

    def explain(self, config: AuditConfig, name: str = "lime", *, stop_at: int | None = None) -> Done:
        watch = Watch(say=lambda task, sentence: self.told.append(sentence))

        def report(task: str, done: int, total: int | None) -> None:
            if stop_at is not None and total == 60 and done >= stop_at:
                watch.stop.set()

        watch.report = report
        result = explain(name, config, self.workspace, watch)
        assert isinstance(result, Done)
        return result

    def tables(self, name: str = "lime") -> tuple[Any, bytes]:
        part = self.workspace.folder / PARTS / f"importance-{name}.arrow"
        return self.workspace.read_table(f"attributions/{name}"), part.read_bytes()

    def pieces(self) -> list[Path]:
        return sorted(self.root.glob("*/rows-*"))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Rows that the technique was asked to explain, a number a batch."""
    asked: list[int] = []
    original = parts.Local._batch

    def batch(self: parts.Local, rows: slice) -> Any:
        asked.append(rows.stop - rows.start)
        return original(self, rows)

    monkeypatch.setattr(parts.Local, "_batch", batch)
    return asked


def equal(one: Run, other: Run, done: Done, again: Done, name: str = "lime") -> None:
    """Table, importance and facts, value by value."""
    (table, importance), (same, also) = one.tables(name), other.tables(name)
    assert same.equals(table)
    assert also == importance
    assert again.facts == done.facts
    assert again.limitations == done.limitations


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("name", ["lime", "shap"])
def test_a_stopped_run_goes_on(audit_files: dict[str, Any], tmp_path: Path, counted: list[int], name: str) -> None:
    config = config_of(audit_files)
    whole = Run(tmp_path / "apart", "whole")
    stopped, resumed = (Run(tmp_path / "same", name) for name in ("stopped", "resumed"))
    done = whole.explain(config, name)
    assert counted == [BATCH] * 12
    assert len(whole.pieces()) == 6  # until the run is published
    counted.clear()
    with pytest.raises(Stopped, match=r"30 of 60 rows are kept.*goes on with them"):
        stopped.explain(config, name, stop_at=34)
    assert len(stopped.pieces()) == 3
    assert stopped.told == ["30 of 60 rows are kept: the same audit, run again, goes on with them"]
    assert not stopped.workspace.has_table(f"attributions/{name}")
    counted.clear()
    again = resumed.explain(config, name)
    assert counted == [BATCH] * 6
    assert resumed.told == ["30 of 60 rows were there from a run that did not end"]
    equal(whole, resumed, done, again, name)


@pytest.mark.usefixtures("small_parts")
def test_a_killed_run_goes_on(audit_files: dict[str, Any], tmp_path: Path, counted: list[int]) -> None:
    """SIGKILL in the middle of the fourth part: three are there, and nobody holds the lock any more."""
    config = config_of(audit_files)
    code = f"""
        import os, signal
        from dataclasses import replace
        from pathlib import Path
        import tasks.explain as stage
        import tasks.explain.attributions as attributions
        from configs.schema import AuditConfig
        from tasks.persist import Workspace
        from tasks.watch import Watch
        stage.TECHNIQUES = tuple(replace(t, batch={BATCH}) for t in stage.TECHNIQUES)
        attributions.ROW_GROUP, attributions.PREDICTED = {PART * 3}, 16
        def report(task, done, total):
            if total == 60 and done >= 35:
                os.kill(os.getpid(), signal.SIGKILL)
        config = AuditConfig.model_validate_json({config.model_dump_json()!r})
        folder = Path({str(tmp_path)!r})
        stage.explain("lime", config, Workspace(folder / "killed", "killed", unfinished=folder / ".unfinished"),
            Watch(report=report))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert ended.returncode == -signal.SIGKILL
    whole, resumed = Run(tmp_path / "apart", "whole"), Run(tmp_path, "resumed")
    assert len(resumed.pieces()) == 3
    done = whole.explain(config)
    counted.clear()
    again = resumed.explain(config)
    assert counted == [BATCH] * 6
    equal(whole, resumed, done, again)


@pytest.mark.usefixtures("small_parts")
def test_a_damaged_piece_is_computed_again(audit_files: dict[str, Any], tmp_path: Path, counted: list[int]) -> None:
    config = config_of(audit_files)
    first, second = Run(tmp_path, "first"), Run(tmp_path, "second")
    done = first.explain(config)
    pieces = first.pieces()
    content = bytearray(pieces[1].read_bytes())
    content[-40] ^= 1
    pieces[1].write_bytes(bytes(content))
    other = unpacked(pieces[0].read_bytes().partition(b"\n")[2], PART)
    assert other is not None
    short = packed(replace(other, values=other.values[:3]))  # type: ignore[call-arg]
    pieces[4].write_bytes(f"{sha256(short).hexdigest()}\n".encode() + short)
    counted.clear()
    again = second.explain(config)
    assert counted == [BATCH] * 4
    equal(first, second, done, again)
    assert len(second.pieces()) == 6


@pytest.mark.usefixtures("small_parts")
def test_nothing_of_another_audit_is_taken(
    audit_files: dict[str, Any], tmp_path: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    Run(tmp_path, "first").explain(config_of(audit_files))
    for number, changes in enumerate(
        (
            {"explain": {"seed": 1}},
            {"explain": {"output": "margin"}},
            {"explain": {"background": 19}},
            {"explain": {"techniques": {"lime": {"samples": 301}}}},
            {"explain": {"feature_groups": {"both": ["age", "colour"]}}},
            {"bias": {"decision": {"threshold": 0.4}}},
        )
    ):
        counted.clear()
        run = Run(tmp_path, f"changed-{number}")
        run.explain(config_of(audit_files, **changes))
        assert sum(counted) == 60, changes
        assert run.told == []
    for name in ("code_digest", "environment"):
        counted.clear()
        with monkeypatch.context() as changed:
            changed.setattr(parts, name, lambda *modules: ("another",))
            Run(tmp_path, name).explain(config_of(audit_files))
        assert sum(counted) == 60
    counted.clear()
    # What no explanation depends on changes nothing.
    Run(tmp_path, "same").explain(config_of(audit_files, policy=[{"metric": "accuracy", "min": 0.9}], title="Other"))
    assert counted == []


def test_the_key_tells_content_and_not_places(audit_files: dict[str, Any]) -> None:
    config = config_of(audit_files)
    subject = open_subject(config)
    technique = technique_of("lime", "table")
    assert technique is not None
    settings = settings_of(config, technique)
    key = key_of(technique, settings, subject, 60, 10)
    assert key == key_of(technique, settings, subject, 60, 10)
    other = replace(subject, data=replace(subject.data, sha256="0" * 64))
    assert key_of(technique, settings, other, 60, 10) != key
    other = replace(subject, model=replace(subject.model, sha256="0" * 64))
    assert key_of(technique, settings, other, 60, 10) != key
    assert key_of(technique, settings, subject, 60, 20) != key


@pytest.mark.usefixtures("small_parts")
def test_code_that_no_digest_covers_is_never_taken_for_the_same(
    audit_files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_AUDIT_TRUST", "somewhere")
    run = Run(tmp_path, "trusting")
    run.explain(config_of(audit_files))
    assert not run.root.exists()


@pytest.mark.usefixtures("small_parts")
def test_two_at_once(audit_files: dict[str, Any], tmp_path: Path, counted: list[int]) -> None:
    """The second goes on without what the first keeps; both come to the same tables."""
    config = config_of(audit_files)
    first, second, third = (Run(tmp_path, name) for name in ("first", "second", "third"))
    done: list[Done] = []
    watch = Watch()

    def report(task: str, at: int, total: int | None) -> None:
        if total == 60 and at == 20 and not done:
            done.append(second.explain(config))

    watch.report = report
    whole = explain("lime", config, first.workspace, watch)
    assert isinstance(whole, Done)
    assert sum(counted) == 120
    equal(first, second, whole, done[0])
    counted.clear()
    equal(first, third, whole, third.explain(config))
    assert counted == []


def test_a_short_audit_keeps_nothing(audit_files: dict[str, Any], tmp_path: Path) -> None:
    run = Run(tmp_path, "short")
    run.explain(config_of(audit_files))
    assert not run.root.exists()


@pytest.mark.usefixtures("small_parts")
def test_a_slow_part_is_kept_batch_by_batch(
    audit_files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[int]
) -> None:
    monkeypatch.setattr(parts, "KEEP_EVERY", 0.0)
    monkeypatch.setattr("tasks.explain.attributions.ROW_GROUP", 10_000)  # a single part
    config = config_of(audit_files)
    whole, stopped, resumed = Run(tmp_path / "apart", "whole"), Run(tmp_path, "stopped"), Run(tmp_path, "resumed")
    done = whole.explain(config)
    with pytest.raises(Stopped, match="20 of 60 rows are kept"):
        stopped.explain(config, stop_at=20)
    assert [path.name for path in stopped.pieces()] == [f"rows-{at:012d}-{at + 5:012d}" for at in range(0, 20, 5)]
    counted.clear()
    again = resumed.explain(config)
    assert sum(counted) == 40
    equal(whole, resumed, done, again)


@pytest.mark.usefixtures("small_parts")
def test_a_deadline_says_that_the_next_run_goes_on(
    audit_files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = config_of(audit_files), Run(tmp_path, "late")
    watch = Watch()

    def report(task: str, done: int, total: int | None) -> None:
        if total == 60 and done >= 20:
            watch.deadline = 0.0

    watch.report = report
    with pytest.raises(DeadlinePassed, match=r"20 of 60 rows are kept.*goes on with them") as error:
        explain("lime", config, run.workspace, watch)
    assert error.value.code == "deadline"


# ---------------------------------------------------------------- explanations as bytes


def attribution(rows: int, *, quality: bool = True, seed: int = 0) -> Attribution:
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(rows, 2, 3))
    values[0, 0, 0] = -0.0
    found = {"r² <b>": draw.normal(size=(rows, 2))} if quality else {}
    return Attribution(values, values[..., 0], np.abs(values), found, 7, {"said": np.arange(rows) % 2 == 0})


def test_bytes_keep_every_bit() -> None:
    maps = np.random.default_rng(0).normal(size=(4, 1, 2, 3)).astype(np.float32)
    for found in (attribution(4), replace(attribution(4), std_error=None), Saliency(maps, "layer/é", True)):
        back = unpacked(packed(found), 4)
        assert type(back) is type(found)
        for name in found.__dataclass_fields__:
            one, other = getattr(found, name), getattr(back, name)
            if isinstance(one, np.ndarray):
                assert (one.dtype, one.tobytes()) == (other.dtype, other.tobytes())
            elif isinstance(one, dict):
                assert list(one) == list(other)
                assert all(np.array_equal(one[key], other[key]) for key in one)
            else:
                assert one == other
        assert unpacked(packed(found), 5) is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", packed(attribution(2))[:-30]])
def test_bytes_that_are_nothing_are_nothing(content: bytes) -> None:
    assert unpacked(content, 2) is None


def test_a_pickle_is_never_loaded() -> None:
    sink = io.BytesIO()
    np.savez(sink, about=np.array([{"kind": "Attribution"}], dtype=object), values=np.zeros(2))
    assert unpacked(sink.getvalue(), 2) is None


def test_joining_fills_what_a_batch_says_nothing_of() -> None:
    together = joined([attribution(2, quality=False), attribution(3, seed=1)])
    assert together.values.shape == (5, 2, 3)
    assert np.isnan(together.quality["r² <b>"][:2]).all()
    assert np.isfinite(together.quality["r² <b>"][2:]).all()
    assert together.evaluations == 14
    assert together.notes["said"].tolist() == [True, False, True, False, True]
    maps = np.zeros((2, 1, 2, 2), np.float32)
    images = joined([Saliency(maps, notes={"odd": np.array([True, True])}), Saliency(maps)])
    assert images.notes["odd"].tolist() == [True, True, False, False]


def test_joining_keeps_the_superpixels() -> None:
    maps, cut = np.zeros((2, 1, 4, 4), np.float32), np.arange(32).reshape(2, 4, 4)
    together = joined([Saliency(maps, segments=cut), Saliency(maps[:1], segments=cut[:1] + 100)])
    assert isinstance(together, Saliency)
    np.testing.assert_array_equal(together.segments, np.concatenate([cut, cut[:1] + 100]))
    assert joined([Saliency(maps, segments=cut), Saliency(maps)]).segments is None
