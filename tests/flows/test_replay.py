"""An audit run again from what a run recorded: what is found, what is left alone, and what is left behind."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flows.replay import Replayed, replay
from flows.run import Outcome
from tasks.load import input_digest
from tests.flows.conftest import Subject

Run = Callable[..., Path]


def silent(task: str, done: int, total: int | None) -> None:
    """Progress that no test looks at."""


@pytest.fixture(scope="module")
def made(prefect_server: None, subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Audits the small subject, or copies of its files, with changes to its config or data; returns the run."""

    def run(changes: dict[str, Any] | None = None, data: pa.Table | None = None) -> Path:
        from flows.audit import audit

        folder = tmp_path_factory.mktemp("made")
        path = subject.write(folder, changes or {}, data)
        state = audit(config=str(path), reports=str(folder / "reports"), return_state=True)
        value = state.result(raise_on_failure=False)
        assert isinstance(value, Outcome), value
        return Path(value.folder)

    return run


@pytest.fixture(scope="module")
def whole(made: Run) -> Path:
    """A run with nothing changed. Tests copy it."""
    return made()


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """The run, copied elsewhere under another name."""
    return Path(shutil.copytree(whole, tmp_path / "elsewhere"))


@pytest.fixture
def passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TMPDIR of the test's own."""
    folder = tmp_path / "passing"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def state_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, when it was written last, and what it holds."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def edit_json(path: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def edit_table(path: Path, column: str, change: Callable[[list[Any]], None]) -> None:
    table = pq.read_table(path)
    values = table.column(column).to_pylist()
    change(values)
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array(values, table.field(place).type)), path)


def moved(by: float) -> Callable[[list[Any]], None]:
    """Moves the first value by a share of its size."""

    def change(values: list[Any]) -> None:
        values[0] = values[0] * (1 + by)

    return change


# ---------------------------------------------------------------- the same, and not the same


def test_an_untouched_copy_is_the_same_bit_for_bit_and_nothing_is_left(whole, copied, passing, monkeypatch):
    from prefect.artifacts import Artifact

    monkeypatch.setenv("KERAS_AUDIT_SIGNING_KEY", "/nowhere/key")  # what is thrown away is not signed
    before, beside = state_of(copied), state_of(whole.parent.parent)
    shown = Artifact.get("credit-summary")
    found = replay(copied, silent)
    assert found == Replayed((), ("floats were compared bit for bit: the environment is the recorded one",))
    assert state_of(copied) == before
    assert state_of(whole.parent.parent) == beside
    assert not list(passing.iterdir())
    assert Artifact.get("credit-summary") == shown  # the UI goes on showing a run that there is
    assert str(whole) in str(shown.data)
    assert os.environ["KERAS_AUDIT_SIGNING_KEY"] == "/nowhere/key"


def test_changed_values_are_named_with_their_rows(copied):
    artifacts = copied / "artifacts"
    edit_table(artifacts / "predictions.parquet", "score", lambda v: v.__setitem__(3, np.nextafter(v[3], 1)))
    edit_table(artifacts / "attributions" / "shap.parquet", "attribution", moved(1e-9))
    edit_table(artifacts / "importance.parquet", "rank", lambda v: v.__setitem__(0, v[0] + 1))
    verdict = json.loads((copied / "summary.json").read_text())["verdict"]
    edit_json(copied / "summary.json", lambda s: s.update(verdict="satisfied"))
    lines = replay(copied, silent).problems
    told = [line.split(": recorded")[0] for line in lines]
    assert [place.split(" (")[0] for place in told] == [
        "summary.json, verdict",
        "attributions/shap, row 0",
        "importance, row 0",
        "predictions, row 3",
    ]
    assert "predictions, row 3 (p0003, good), score" in told
    assert lines[0] == f"summary.json, verdict: recorded satisfied, found {verdict}"


def test_another_environment_has_a_tolerance_for_floats_alone(copied):
    artifacts = copied / "artifacts"
    edit_json(copied / "summary.json", lambda s: s["run"]["environment"]["libraries"].update(numpy="1.0.0"))
    edit_table(artifacts / "predictions.parquet", "score", moved(1e-9))
    edit_table(artifacts / "attributions" / "lime.parquet", "attribution", moved(1e-3))
    edit_table(artifacts / "importance.parquet", "rank", lambda v: v.__setitem__(0, v[0] + 1))
    found = replay(copied, silent)
    assert [line.split(", row")[0] for line in found.problems] == ["attributions/lime", "importance"]
    assert found.notes[0].startswith(
        "floats were compared to 1e-6 of their size: another environment (numpy 1.0.0, here "
    )


def test_another_seed_in_the_config_gives_other_values(copied):
    config = yaml.safe_load((copied / "config.yaml").read_text())
    config["explain"]["seed"] = 1
    (copied / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    lines = replay(copied, silent).problems
    assert any(line.startswith("attributions/lime, row 0 (") for line in lines)
    assert lines[-1].startswith("and ")


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"data.expectations": [{"type": "expect_column_values_to_be_between", "column": "income", "max_value": 1}]},
         "refused"),
        ({"run.deadline": 1e-9}, "incomplete"),
    ],
    ids=["refused", "incomplete"],
)  # fmt: skip
def test_a_run_that_did_not_finish_comes_to_the_same_end(made, changes, verdict):
    run = made(changes)
    assert json.loads((run / "summary.json").read_text())["verdict"] == verdict
    assert replay(run, silent).problems == ()


# ---------------------------------------------------------------- inputs that are not the recorded ones


@pytest.fixture
def own(subject: Subject, tmp_path: Path, copied: Path) -> Path:
    """The run with inputs of its own, which a test may change; returns their folder."""
    folder = Path(shutil.copytree(subject.folder, tmp_path / "inputs"))
    config = (copied / "config.yaml").read_text(encoding="utf-8").replace(str(subject.folder), str(folder))
    (copied / "config.yaml").write_text(config, encoding="utf-8")
    return folder


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("data", "data.parquet"),
        ("reference", "reference.parquet"),
        ("model", "model/1/model.keras"),
        ("preprocessor", "model/1/preprocessor.skops"),
    ],
)
def test_a_changed_input_is_named_and_nothing_is_run(own, copied, name, file, monkeypatch):
    monkeypatch.setattr("flows.local.run_audit", None)  # it would be called
    recorded = hashlib.sha256((own / file).read_bytes()).hexdigest()
    _flip(own / file)
    found = hashlib.sha256((own / file).read_bytes()).hexdigest()
    assert replay(copied, silent) == Replayed((f"{name}: recorded {recorded[:12]}…, found {found[:12]}…",))


@pytest.mark.parametrize(
    ("name", "file", "key"),
    [("data", "data.parquet", "data.path"), ("reference", "reference.parquet", "data.reference"),
     ("model", "model", "model.path")],
)  # fmt: skip
def test_a_missing_input_is_named_and_where_paths_start(own, copied, name, file, key):
    path = own / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (line, *more) = replay(copied, silent).problems
    assert line.startswith(f"{name}: recorded ")
    assert f"not found: {key}: {path} does not exist; relative paths start at the current folder" in line
    assert all(other.startswith("preprocessor: recorded") for other in more)  # it lies beside the model


def test_an_input_that_was_not_recorded_is_named(copied):
    def without_data(manifest):
        kept = [one for one in manifest["predicate"]["configuration"] if one["name"] != "data"]
        manifest["predicate"]["configuration"] = kept

    edit_json(copied / "manifest.json", without_data)
    (line,) = replay(copied, silent).problems
    assert line.startswith("data: recorded none, found ")


def test_a_missing_preprocessor_is_none(own, copied):
    (own / "model" / "1" / "preprocessor.skops").unlink()
    (line,) = replay(copied, silent).problems
    assert line.startswith("preprocessor: recorded ")
    assert line.endswith("found none")


def test_digests_are_told_without_opening_anything(subject: Subject, tmp_path):
    from flows.request import load_config

    config = load_config(subject.write(tmp_path, {"data.reference": None}))
    assert input_digest(config, "data") == hashlib.sha256((subject.folder / "data.parquet").read_bytes()).hexdigest()
    assert input_digest(config, "reference") is None


@pytest.mark.parametrize("path", ["tests/flows/whole_config.yaml", "configs/adult_income.yaml"])
def test_a_resolved_config_reads_back_as_itself(path, tmp_path):
    from flows.request import load_config

    config = load_config(path)
    again = tmp_path / "config.yaml"
    again.write_text(yaml.safe_dump(config.model_dump()), encoding="utf-8")
    assert load_config(again) == config


# ---------------------------------------------------------------- what cannot be run again


@pytest.mark.parametrize("file", ["config.yaml", "manifest.json", "summary.json"])
def test_a_run_without_its_record_is_told(copied, file):
    (copied / file).unlink()
    (line,) = replay(copied, silent).problems
    assert line.startswith("the run does not say what it was made from (FileNotFoundError: ")


def test_nonsense_in_its_record_is_told(copied):
    for content in ("[]", "{", "[" * 100_000, '{"predicate": null}'):
        (copied / "manifest.json").write_text(content, encoding="utf-8")
        (line,) = replay(copied, silent).problems
        assert line.startswith("the run does not say what it was made from (")


def test_a_config_that_is_none_is_told_without_our_own_paths(copied, passing):
    (copied / "config.yaml").write_text("name: [\n", encoding="utf-8")
    (line,) = replay(copied, silent).problems
    assert line.startswith("cannot be run again: config.yaml")
    assert str(passing) not in line


# ---------------------------------------------------------------- stopped


@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_stopped_it_leaves_nothing_behind(prefect_server, copied, tmp_path, sent):
    """The signal comes while the audit runs; a Prefect home of its own, as in a process of its own."""
    passing = tmp_path / "passing"
    passing.mkdir()
    environment = {**os.environ, "TMPDIR": str(passing), "PREFECT_HOME": str(tmp_path / "prefect")}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "flows.cli", "verify", str(copied), "--replay"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "load model: done" in line:
                break
        process.send_signal(sent)
        said = process.stderr.read()
        process.wait(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not list(passing.glob("keras-audit-replay-*"))
