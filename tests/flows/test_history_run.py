"""An audit of people with an id: what its report calls them, and the page of all runs that it leaves."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq

from tasks.history import INDEX, entries
from tasks.watch import Watch

PERSON = re.compile(rb"\bp\d{4}\b")
#: what holds personal data by its nature; the report says so
HOLDS_PERSONS = {".parquet", ".png"}


def test_a_run_is_on_the_page_and_names_nobody(audit) -> None:
    outcome = audit({"report.formats": ["html", "json", "markdown", "pdf"], "report.rows": {"show": 4}})
    folder = Path(outcome.folder)
    reports = folder.parent.parent
    assert [(one.run_id, one.verdict) for one in entries(reports)] == [(outcome.run_id, outcome.verdict)]
    page = (reports / INDEX).read_text(encoding="utf-8")
    assert f'href="./credit/{outcome.run_id}/report.html"' in page
    ids = set(pq.read_table(folder / "artifacts" / "predictions.parquet")["row_id"].to_pylist())
    assert {"p0000", "p0199"} <= ids
    for path in (reports / INDEX, *folder.rglob("*")):
        if path.is_file() and path.suffix not in HOLDS_PERSONS:
            assert not PERSON.findall(path.read_bytes()), path.name
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert len(set(re.findall(r"<figcaption>Row ([0-9a-f]{12}):", report))) == 4
    for table in ("predictions", "attributions/shap", "attributions/lime", "groups"):
        assert f"./artifacts/{table}.parquet" in report[report.index('id="personal-tables"') :]


def test_a_page_that_cannot_be_made_costs_no_audit(audit, tmp_path) -> None:
    (tmp_path / "reports" / INDEX).mkdir(parents=True)
    told: list[tuple[str, str]] = []
    outcome = audit(watch=Watch(say=lambda task, sentence: told.append((task, sentence))))
    assert (Path(outcome.folder) / "manifest.json").is_file()
    assert [task for task, sentence in told if sentence.startswith("the index of runs was not made: ")] == [
        "write the report"
    ]
