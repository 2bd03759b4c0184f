"""Content keys: an unchanged step is taken over, a changed one is not, and no step reads what its key does not tell."""

from __future__ import annotations

import json
import threading
import time
from contextvars import ContextVar
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from configs import schema
from configs.schema import AuditConfig
from flows.keys import STEPS, Keys, keys_of
from tasks.persist import file_digest

CHANGES = {"data.intersections": [], "bias.strata": {"column": "job"}}


def states(outcome) -> dict[str, str]:
    """Task run's name → its state's name, as Prefect's server tells them; it hears of them a moment later."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    summary = json.loads((Path(outcome.folder) / "summary.json").read_text())
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[summary["run"]["flow_run"]["id"]]))
    stages, until = len(summary["run"]["stages"]), time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while True:
            runs = client.read_task_runs(flow_run_filter=of_run)
            if len(runs) >= stages and all(run.state and run.state.is_final() for run in runs):
                return {run.name: run.state.name for run in runs}
            assert time.monotonic() < until, [(run.name, run.state) for run in runs]
            time.sleep(0.1)


#: the names of these task runs go on with a path, or with a number
_LONG = ("load model", "load data", "write the report")


def worked(outcome) -> set[str]:
    """The steps that did work, beside the policy and the report, which always do."""
    found = {name for name, state in states(outcome).items() if state != "Cached"}
    found = {next((s for s in _LONG if name.startswith(s)), name) for name in found}
    return found - {"judge the policy", "write the report"}


def tables(outcome) -> dict[str, str]:
    root = Path(outcome.folder) / "artifacts"
    return {p.relative_to(root).as_posix(): file_digest(p) for p in sorted(root.rglob("*.parquet"))}


def test_an_unchanged_audit_works_nothing_out_again(audit):
    first = audit(CHANGES)
    assert {"load model", "load data", "predict every row", "explain with lime", "compare groups"} <= worked(first)
    again = audit(CHANGES)
    assert worked(again) == set()
    assert tables(again) == tables(first)
    told = [json.loads((Path(o.folder) / "summary.json").read_text()) for o in (first, again)]
    for key in ("results", "limitations", "verdict", "subject", "data", "policy", "artifacts"):
        assert told[0][key] == told[1][key], key
    assert {s["of_run"] for s in told[0]["run"]["stages"]} == {None}
    assert {s["of_run"] for s in told[1]["run"]["stages"]} == {first.run_id, None}
    manifest = json.loads((Path(again.folder) / "manifest.json").read_text())
    tasks = {task["stage"]: task.get("of_run") for task in manifest["predicate"]["annotations"]["tasks"]}
    assert tasks["explain/lime"] == first.run_id
    assert tasks["policy"] is None
    for outcome, says in ((first, False), (again, True)):
        assert (f"(in {first.run_id})" in (Path(outcome.folder) / "report.md").read_text()) == says
    assert not (Path(again.folder) / ".parts").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"policy": [{"metric": "impact_ratio", "attribute": "sex", "min": 0.5}]}, {"try other thresholds"}),
        ({"report.formats": ["markdown"], "report.rows": {"show": 1, "redact": []}}, {"validate data"}),
        ({"title": "Another"}, {"state reasons"}),  # its letters name the audit
        ({"explain.techniques": {"permutation": {"repeats": 2}, "shap": {}, "lime": {"samples": 300}}},
         {"explain with lime", "compare techniques", "compare groups"}),
        ({"run.workers": 2, "run.deadline": 100.0, "schedule": {"cron": "0 6 * * 1"}}, set()),
        ({"bias.min_group_size": 20},
         {"compare groups", "compare techniques", "measure drift", "trace disparities", "try other thresholds"}),
    ],
    ids=["policy", "report", "title", "lime", "run", "smallest group"],
)  # fmt: skip
def test_a_change_costs_what_depends_on_it(audit, change, expected):
    audit(CHANGES)
    assert worked(audit({**CHANGES, **change})) == expected


def test_other_data_and_another_model_share_nothing(audit, subject, tmp_path):
    audit(CHANGES)
    every = set(worked(audit(CHANGES, data=subject.data.slice(1))))
    assert {"load model", "load data", "validate data", "predict every row", "explain with shap"} <= every
    subject.save_model(tmp_path / "other" / "1", (1.0, -0.7, 0.1, 0.0, -0.1, -0.4, 0.4))
    assert "explain with shap" in worked(audit({**CHANGES, "model.path": str(tmp_path / "other")}))


def test_a_damaged_table_is_worked_out_again(audit, tmp_path):
    first = audit(CHANGES)
    (entry,) = (tmp_path / "reports" / "credit" / ".finished").glob("explain-lime-*")
    table = entry / "files" / "artifacts" / "attributions" / "lime.parquet"
    content = bytearray(table.read_bytes())
    content[100] ^= 1
    table.unlink()
    table.write_bytes(bytes(content))
    again = audit(CHANGES)
    # The new file tells of another run, so what was made from it is made again too.
    assert worked(again) == {"explain with lime", "compare techniques", "compare groups"}
    assert tables(again).keys() == tables(first).keys()
    lime = "artifacts/attributions/lime.parquet"
    assert pq.read_table(Path(again.folder) / lime).equals(pq.read_table(Path(first.folder) / lime))


def test_changed_code_is_not_taken_over(audit, monkeypatch):
    audit(CHANGES)
    original = __import__("flows.keys", fromlist=["code_digest"]).code_digest
    changed = lambda *modules: "other" if modules == ("sources",) else original(*modules)  # noqa: E731
    monkeypatch.setattr("flows.keys.code_digest", changed)
    assert worked(audit(CHANGES)) == {"trace disparities"}


def test_code_from_outside_is_never_taken_over(audit, subject, tmp_path, monkeypatch):
    config = AuditConfig.model_validate(subject.changed(CHANGES))
    assert keys_of(config) is not None
    monkeypatch.setenv("KERAS_AUDIT_TRUST", "some.module")
    assert keys_of(config) is None


def test_a_file_that_cannot_be_read_has_no_keys(subject, tmp_path):
    assert keys_of(AuditConfig.model_validate(subject.changed({"data.path": str(tmp_path / "none.parquet")}))) is None


def test_images_in_files_have_no_keys(subject, tmp_path):
    pq.write_table(subject.data.rename_columns(["image", *subject.data.column_names[1:]]), tmp_path / "x.parquet")
    changes = {"data.image": "image", "data.path": str(tmp_path / "x.parquet"), "data.id": None}
    assert keys_of(AuditConfig.model_validate(subject.changed(changes))) is None


def test_a_key_tells_of_every_table_before_it():
    keys = Keys({}, {})
    assert keys.of("drift", {}) == keys.of("drift", {})
    assert keys.of("policy", {}) is None
    assert keys.of("drift", {}) != keys.of("sources", {})


# What a step reads, as it reads it: a key that does not tell of it would take over what is out of date.

_READING: ContextVar[str | None] = ContextVar("reading", default=None)


@pytest.fixture
def reads(monkeypatch):
    """step → dotted keys of the config that it looks at, told by the config itself."""
    found: dict[str, set[str]] = {}
    lock = threading.Lock()
    paths = dict(_paths(AuditConfig))

    def looked(self, name):
        step = _READING.get()
        if step is not None and not name.startswith("_") and name in type(self).model_fields:
            with lock:
                found.setdefault(step, set()).update(f"{path}{name}" for path in paths.get(type(self), ()))
        return object.__getattribute__(self, name)

    for kind in paths:
        monkeypatch.setattr(kind, "__getattribute__", looked, raising=False)
    from flows import steps

    original = steps._done

    def done(run, key, step, name, work):
        def told(watch):
            token = _READING.set(step)
            try:
                return work(watch)
            finally:
                _READING.reset(token)

        return original(run, None, step, name, told)

    monkeypatch.setattr(steps, "_done", done)
    return found


def _paths(kind: type, path: str = "") -> list[tuple[type, set[str]]]:
    """Blocks of the config and the dotted keys that they lie under; items of lists and maps by the name of these."""
    found: dict[type, set[str]] = {}
    for name, field in kind.model_fields.items():
        for inner in _blocks(field.annotation):
            found.setdefault(inner, set()).add(f"{path}{name}.")
            for deeper, places in _paths(inner, f"{path}{name}."):
                found.setdefault(deeper, set()).update(places)
    if not path:
        found[kind] = {""}
    return list(found.items())


def _blocks(annotation) -> list[type]:
    if isinstance(annotation, type) and issubclass(annotation, schema.BaseModel):
        return [annotation]
    return [block for part in getattr(annotation, "__args__", ()) for block in _blocks(part)]


def test_no_step_reads_what_its_key_does_not_tell(audit, reads):
    changes = {
        **CHANGES,
        "reasons.changeable": {"income": None},
        "policy": [{"metric": "impact_ratio", "attribute": "sex", "min": 0.8}, {"metric": "accuracy", "min": 0.1}],
    }
    audit(changes)
    assert {"load_model", "load_data", "validate", "predict", "reasons_fit", "explain/shap", "bias", "advice"} <= set(
        reads
    )
    wrong = {}
    for step, looked in reads.items():
        depends = STEPS.get(step) or STEPS.get(f"{step.partition('/')[0]}/")
        if depends is None:
            continue
        told = [key.replace(".{technique}", "") for key in depends.config]
        blocks = {key for key in looked if any(t.startswith(f"{key}.") for t in told)}  # on the way to a key
        wrong[step] = {key for key in looked - blocks if not any(key == t or key.startswith(f"{t}.") for t in told)}
    assert {step: keys for step, keys in wrong.items() if keys} == {}
