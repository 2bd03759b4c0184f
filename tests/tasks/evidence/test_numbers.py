"""A report whose numbers are not its tables' is found, also where its manifest was written anew to fit it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tasks.evidence import verify_run
from tests.tasks.evidence.evidence_runs import IDS, published, redigested
from tests.tasks.report import report_runs


@pytest.fixture(scope="module")
def other_version(tmp_path_factory) -> Path:
    """A run that another version of a library made: its forms cannot be expected to be the same bytes here."""
    reports = tmp_path_factory.mktemp("other")
    return published(reports, IDS[0], kind=report_runs.tabular_run, environment={"typst": "0.0.1"})


def _summary(folder: Path, change) -> None:
    place = folder / "summary.json"
    summary = json.loads(place.read_bytes())
    change(summary)
    place.write_text(json.dumps(summary, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _verify_redigested(folder: Path) -> tuple[str, ...]:
    redigested(folder)
    return verify_run(folder).problems


# Made again


def test_a_manifest_that_was_written_anew_without_a_change_fits(runs, copied):
    assert _verify_redigested(copied(runs.unsigned)) == ()


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_one_digit_in_a_form_is_found(runs, copied, name):
    folder = copied(runs.unsigned)
    text = (folder / name).read_text(encoding="utf-8")
    place = next(re.finditer(r"0\.\d{3}", text))
    digit = str((int(text[place.end() - 1]) + 1) % 10)
    (folder / name).write_text(text[: place.end() - 1] + digit + text[place.end() :], encoding="utf-8")
    assert _verify_redigested(folder) == (f"{name}: differs from what the record and the tables give",)


@pytest.mark.parametrize("name", ["report.pdf", "summary.json"])
def test_another_content_of_a_form_is_found(runs, copied, name):
    folder = copied(runs.unsigned)
    (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
    assert _verify_redigested(folder) == (f"{name}: differs from what the record and the tables give",)


def test_a_form_that_was_taken_out_or_put_in_is_found(runs, copied):
    folder = copied(runs.unsigned)
    (folder / "report.md").rename(folder / "report.txt")
    assert _verify_redigested(folder) == (
        "report.md: is missing, and the report has it when it is made again",
        "report.txt: is no part of the report when it is made again",
    )


def test_a_changed_table_is_found(runs, copied):
    folder = copied(runs.unsigned)
    place = folder / "artifacts" / "disparities.parquet"
    table = pq.read_table(place)
    values = table["value"].to_pylist()
    values[0] = 0.99
    pq.write_table(table.set_column(table.column_names.index("value"), "value", pa.array(values, pa.float64())), place)
    assert _verify_redigested(folder) == (
        "artifacts/disparities.parquet: is not the table that its stage wrote, by record.json",
    )


def test_a_table_that_no_stage_wrote_is_found(runs, copied):
    folder = copied(runs.unsigned)
    (folder / "artifacts" / "disparities.parquet").unlink()
    assert any(p.startswith("artifacts/disparities.parquet") for p in _verify_redigested(folder))
    folder = copied(runs.first)
    (folder / "artifacts" / "more.png").write_bytes(b"x")
    redigested(folder, lambda s: s["predicate"]["annotations"].update(signer=None))
    (folder / "attestation.json").unlink()
    assert any(p.startswith("summary.json: differs") for p in verify_run(folder).problems)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r.update(run_id="20250101T000000Z-00000000"), "record.json: is of another run"),
        (lambda r: r["inputs"].append(["model", "0" * 64]), "record.json: its inputs are not those of manifest.json"),
        (lambda r: r["results"][0]["facts"].update(version=77), "summary.json: differs"),
        (lambda r: r.update(results=r["results"][:-1]), "summary.json: differs"),
        (lambda r: r.pop("results"), "record.json: not the record of a run"),
        (lambda r: r.update(more=1), "record.json: not the record of a run"),
        (lambda r: r.update(results=[7]), "record.json: not the record of a run"),
        (lambda r: r.update(results=[{**r["results"][0], "stage": [], "facts": 7, "tables": []}]), ""),
    ],
)  # fmt: skip
def test_a_changed_record_is_found(runs, copied, change, told):
    folder = copied(runs.unsigned)
    record = json.loads((folder / "record.json").read_bytes())
    change(record)
    (folder / "record.json").write_text(json.dumps(record))
    problems = _verify_redigested(folder)
    assert problems
    assert problems[0].startswith(told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.update(name="other"), "config.yaml: is of another audit"),
        (lambda c: c.update(title="Another"), "summary.json: differs"),
        (lambda c: c["policy"][0].update(min=0.1), "config.yaml: its policy is not the one whose digest was recorded"),
        (lambda c: c.update(more=1), "config.yaml: is not the config of an audit"),
        (lambda c: c["report"].update(formats=["json"]), "report.html: is no part of the report"),
    ],
)
def test_a_changed_config_is_found(runs, copied, change, told):
    folder = copied(runs.unsigned)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    change(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    problems = _verify_redigested(folder)
    assert any(problem.startswith(told) for problem in problems), problems


@pytest.mark.parametrize(
    "text",
    ["a: &a [1]\nb: *a\n", "!!python/object/apply:os.system ['true']\n", "[" * 5000, "a: " * 50, "\t\x00", "- " * 3000],
    ids=["alias", "object", "deep", "keys", "null", "lists"],
)
def test_a_hostile_config_is_a_line(runs, copied, text):
    folder = copied(runs.unsigned)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    (problem,) = _verify_redigested(folder)
    assert problem.startswith("config.yaml: ")


# Held against the tables


def test_a_run_of_another_version_is_verified_and_it_is_said_how(other_version):
    found = verify_run(other_version)
    assert found.problems == ()
    assert "not made again (made with typst 0.0.1, here is " in found.notes[-1]
    assert found.notes[-1].endswith("the values of summary.json are those of the tables")


def _set(path: str, value):
    def change(summary) -> None:
        *inner, last = path.split(".")
        for key in inner:
            summary = summary[int(key) if key.isdigit() else key]
        summary[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_set("results.performance.metrics.rows.0.value", 0.999), "results.performance.metrics has a row"),
        (_set("results.fairness.metrics.rows.3.n", 12), "results.fairness.metrics has a row"),
        (_set("results.fairness.disparities.rows.1.value", 1.0), "results.fairness.disparities has a row"),
        (_set("results.explanations.importance.rows.0.importance", 5.0), "results.explanations.importance has a row"),
        (lambda s: s["results"]["fairness"]["disparities"]["rows"].pop(), "results.fairness.disparities counts"),
        (lambda s: s["results"]["fairness"]["metrics"].update(omitted=1), "results.fairness.metrics counts"),
        (_set("verdict", "satisfied"), "its verdict is not that of manifest.json"),
        (_set("report_id", IDS[3]), "is of another run"),
        (_set("policy.checks.0.value", 0.9), "the policy's checks are not as they were judged"),
        (_set("policy.checks.0.verdict", "satisfied"), "the policy's checks are not as they were judged"),
        (lambda s: s["policy"]["checks"].clear(), "the policy's checks are not as they were judged"),
        (_set("artifacts.0.sha256", "0" * 64), "its artifacts are not those of the run"),
        (lambda s: s.pop("results"), "cannot be held against the tables"),
        (_set("results", 7), "cannot be held against the tables"),
        (_set("results.fairness.metrics.rows", [{"no": 1}]), ""),
    ],
)
def test_a_value_of_the_summary_that_is_not_the_tables_is_found(other_version, copied, change, told):
    folder = copied(other_version)
    _summary(folder, change)
    problems = _verify_redigested(folder)
    assert problems
    assert all(problem.startswith("summary.json: ") for problem in problems)
    assert told in problems[0]


def test_another_version_does_not_excuse_a_changed_table(other_version, copied):
    folder = copied(other_version)
    place = folder / "artifacts" / "importance.parquet"
    pq.write_table(pq.read_table(place).slice(1), place)
    assert _verify_redigested(folder) == (
        "artifacts/importance.parquet: is not the table that its stage wrote, by record.json",
    )


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"python": "3.99.1"}, "made with Python 3.99.1"),
        ({"machine": "quantum"}, "made on quantum"),
        ({"matplotlib": "\x1b[31m"}, "made with matplotlib \\x1b[31m"),
    ],
)
def test_what_differs_here_is_told(tmp_path, environment, told):
    found = verify_run(published(tmp_path, environment=environment))
    assert found.problems == ()
    assert told in found.notes[-1]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "# nothing to see\n" + text,
        lambda text: text + "title: Another one\n",
        lambda text: text.replace("confidence: 0.95", "confidence: 0.950"),
    ],
    ids=["a comment", "a key given twice", "the same number in other words"],
)
def test_a_config_that_people_read_otherwise_than_the_program_is_found(runs, copied, change):
    folder = copied(runs.unsigned)
    place = folder / "config.yaml"
    text = place.read_text(encoding="utf-8")
    place.write_text(change(text), encoding="utf-8")
    assert place.read_text(encoding="utf-8") != text
    (problem,) = _verify_redigested(folder)
    assert problem.startswith("config.yaml: not written by keras-audit")
