from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.contracts import Done, Failed
from tasks.errors import StorageError
from tasks.persist import Workspace
from tasks.report import write_report
from tasks.report.document import Section
from tasks.report.reading import Reading
from tasks.report.regulations import REGULATIONS
from tasks.report.sections import SECTIONS
from tasks.report.stage import FORMATS
from tests.tasks.report import report_runs
from tests.tasks.report.report_builder import config_of
from tests.tasks.report.report_pages import numbers, tables, value

FILES = ("summary.json", "report.html", "report.md", "report.pdf", "bom.cdx.json", "model_card.json")


# ---------------------------------------------------------------- one document, several forms


_BRACKETS = str.maketrans("();\u2068\u2069", "     ")


def _cells(page) -> list[list[list[str]]]:
    """Tables without what only one form draws: brackets around what qualifies a value, marks of direction."""
    return [[[" ".join(cell.translate(_BRACKETS).split()) for cell in row] for row in table] for table in tables(page)]


def test_html_and_markdown_say_the_same_cell_by_cell(run) -> None:
    assert _cells(run.page) == _cells(run.markdown_page)


def test_html_and_markdown_hold_the_same_numbers(tabular) -> None:
    for node in tabular.page.all("main")[0].all("p", "li"):
        if "note" in node.classes or "picture-title" in node.classes:
            continue
        assert set(numbers(node.text)) <= set(numbers(tabular.markdown_page.text))


def _table(run, caption: str) -> list[list[str]]:
    for table in run.page.all("table"):
        if table.first("caption").text == caption:
            return [[cell.text for cell in row.all("th", "td")] for row in table.all("tr")]
    raise AssertionError(f"no table {caption}")


def test_overall_metrics_are_the_tables(tabular) -> None:
    wanted = [r for r in tabular.rows("group_metrics") if r["attribute"] is None]
    rows = _table(tabular, "Over all rows")[1:]
    assert len(rows) == len(wanted)
    for cells, row in zip(rows, wanted, strict=True):
        assert value(cells[1]) == pytest.approx(row["value"], abs=0.0005)
        low, high = (value(n) for n in numbers(cells[2]))
        assert (low, high) == pytest.approx((row["ci_low"], row["ci_high"]), abs=0.0005)
        assert [value(n) for n in numbers(cells[3])] == [row["numerator"], row["denominator"]]


def test_group_metrics_are_the_tables_and_small_groups_have_words(tabular) -> None:
    wanted = {(r["group"], r["metric"]): r for r in tabular.rows("group_metrics") if r["attribute"] == "race"}
    found = [t for t in tables(tabular.page) if t[0][:2] == ["Group", "Rows"]][1]
    metrics = [name.replace(" ", "_") for name in found[0][2:]]
    assert metrics == ["selection_rate", "true_positive_rate", "false_positive_rate", "precision", "accuracy"]
    seen = set()
    for row in found[1:]:
        for metric, cell in zip(metrics, row[2:], strict=True):
            truth = wanted[row[0], metric]
            shown = numbers(cell)
            if truth["status"] == "ok":
                assert value(shown[0]) == pytest.approx(truth["value"], abs=0.0005)
                assert [value(n) for n in shown[1:3]] == [truth["numerator"], truth["denominator"]]
            else:
                assert ("insufficient data" in cell, cell.startswith(", ")) == (True, False)
                assert value(shown[0]) == pytest.approx(truth["value"], abs=0.0005)  # beside the words, not judged
                assert [value(n) for n in shown[1:3]] == [truth["numerator"], truth["denominator"]]
            seen.add(truth["status"])
    assert seen == {"ok", "insufficient_data"}


def test_importance_is_the_tables(tabular) -> None:
    wanted = {(r["technique"], r["feature"]): r for r in tabular.rows("importance")}
    rows = _table(tabular, "Importance of features")
    titles = {"Permutation importance": "permutation", "SHAP": "shap", "LIME": "lime"}
    assert [titles[t] for t in rows[0][1:]] == ["permutation", "shap", "lime"]
    for row in rows[1:]:
        for title, cell in zip(rows[0][1:], row[1:], strict=True):
            truth = wanted[titles[title], row[0]]
            first, rank = numbers(cell)[:2]
            assert value(first) == pytest.approx(truth["importance"], abs=0.0005)
            assert int(rank) == truth["rank"]
    assert len(rows) - 1 == 8


def test_undefined_is_a_word(tabular) -> None:
    found = [t for t in tables(tabular.page) if t[0][0] == "Over all groups"]
    assert len(found) == 3
    for table in found:
        assert [r[1] for r in table if r[0] == "equalized odds difference"] == ["undefined"]


# ---------------------------------------------------------------- what was not to be


def test_a_refused_audit_says_why_at_the_top(run_of: Callable) -> None:
    for kind, reason in (("refused", "There is no column age (the feature)."), ("unreadable", "more than one column")):
        run = run_of(kind)
        header = run.page.first("header").text
        assert "refused" in header
        assert reason in header
        assert "not evaluated" in run.page.text
        assert reason[:20] in run.markdown.split("## 1")[0]
        assert run.page.first("nav").first("a").text == "1 Summary"


def test_an_incomplete_audit_lists_what_is_missing_and_keeps_the_rest(run_of: Callable) -> None:
    run = run_of("incomplete")
    header = run.page.first("header").text
    assert "Explaining with LIME: the model returned NaN in rows 3, 17" in header
    assert _table(run, "Planned, and not done")[1] == [
        "explaining with LIME",
        "failed",
        "the model returned NaN in rows 3, 17",
    ]
    assert len(_table(run, "Policy checks")) == 4
    assert "LIME" in run.markdown.split("**Contents**")[0]


def test_no_section_is_empty(run) -> None:
    for section in run.page.all("section"):
        rest = [c for c in section.children if not isinstance(c, str) and not c.tag.startswith("h")]
        assert "".join(c.text for c in rest).strip()
    assert len(run.page.first("nav").all("li")) == len(SECTIONS)


def test_a_technique_that_did_not_fit_is_told(image) -> None:
    text = image.page.text
    assert "LIME: Not applicable: the pictures are too small for superpixels." in text
    assert "Not applicable: there is no reference data." in text


def test_overlays_are_embedded_within_the_limit(image) -> None:
    figures = [f for f in image.page.all("figure") if f.attributes["id"].startswith("overlay-")]
    assert len(figures) == 2  # report.rows.show
    assert all(len(f.all("img")) == 2 for f in figures)
    caption = figures[0].first("figcaption").text
    decided = caption.split("decided as ")[1].split()[0]
    titles = [p.text for p in figures[0].all("p") if "picture-title" in p.classes]
    assert titles == [f"Grad-CAM for {decided}", f"SHAP for {decided}"]
    described = rf"!\[Grad-CAM overlay of picture [0-9a-f]{{12}}, for the output {decided}, layer conv\]"
    assert re.search(rf"{described}\(artifacts/images/gradcam-0", image.markdown)


# ---------------------------------------------------------------- scale, bytes, files


def test_many_features_and_groups_stay_readable(run_of: Callable) -> None:
    run = run_of("large")
    importance = _table(run, "Importance of features")
    assert len(importance) - 1 == 20
    assert "180 more are in the table named as source." in run.page.text
    groups = next(t for t in tables(run.page) if t[0][:2] == ["Group", "Rows"])
    assert len(groups) - 1 == 10
    assert "region 41" in [row[0] for row in groups]  # the policy's group is shown, whatever its size
    assert "50 more" in run.page.text
    for comparisons in (t for t in tables(run.page) if t[0][:2] == ["Comparison", "Group"]):
        assert len(comparisons) - 1 <= 10
        named = [row[0] for row in comparisons[1:] if row[0] != "″"]
        assert len(named) == len(set(named))  # a metric is named once
    assert max(len(t) for t in tables(run.page)) <= 62
    assert (run.folder / "report.html").stat().st_size < 1_500_000


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        config, workspace, record = report_runs.tabular_run(tmp_path / name)
        write_report(config, workspace, record)
        contents.append([(workspace.folder / file).read_bytes() for file in (*FILES, "nyc_ll144.html")])
    assert contents[0] == contents[1]


def test_done_says_what_was_written(tabular) -> None:
    (done,) = write_report(tabular.config, tabular.workspace, tabular.record)
    assert isinstance(done, Done)
    assert done.stage == "report"
    pages = ["nyc_ll144.html"]
    assert [file for file in done.facts["files"] if file not in pages] == list(FILES)
    assert [file for file in done.facts["files"] if file not in FILES] == pages
    assert done.facts["verdict"] == "not_satisfied"


@pytest.mark.parametrize(
    ("formats", "files"),
    [
        (["html"], ["report.html"]),
        (["markdown"], ["report.md"]),
        (["json"], []),
        ([], []),
        (["pdf"], ["report.pdf"]),
        (["cyclonedx"], ["bom.cdx.json"]),
        (["model_card"], ["model_card.json"]),
    ],
)
def test_formats_decide_which_files_are_written(image, tmp_path: Path, formats: list[str], files: list[str]) -> None:
    copy = Workspace(tmp_path / "run", image.workspace.run_id)
    shutil.copytree(image.folder / "artifacts", copy.artifacts)
    report = image.config.report.model_copy(update={"formats": formats})
    (done,) = write_report(image.config.model_copy(update={"report": report}), copy, image.record)
    assert isinstance(done, Done)
    assert done.facts["files"] == ["summary.json", *files]
    assert sorted(p.name for p in copy.folder.iterdir() if p.is_file()) == sorted(["summary.json", *files])


def test_a_table_that_changed_after_it_was_written_is_not_reported_on(tmp_path: Path) -> None:
    config, workspace, record = report_runs.image_run(tmp_path)
    with open(workspace.table_path("predictions"), "ab") as stream:
        stream.write(b"x")
    with pytest.raises(StorageError, match=r"predictions\.parquet: has changed since it was written"):
        write_report(config, workspace, record)
    workspace.table_path("predictions").unlink()
    with pytest.raises(StorageError, match=r"predictions\.parquet: is gone"):
        write_report(config, workspace, record)
    assert not (workspace.folder / "report.html").exists()


def test_a_folder_that_cannot_be_written_is_told(image, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        write_report(image.config, Workspace(blocked, "r"), report_runs.record_of([], "incomplete"))


def test_a_run_with_nothing_at_all_still_has_its_report(tmp_path: Path) -> None:
    workspace = report_runs.workspace_of(tmp_path)
    record = report_runs.record_of([], "incomplete")
    write_report(config_of(policy=[], report={"regulations": []}), workspace, record)
    assert all((workspace.folder / file).stat().st_size for file in FILES)


def test_unfinished_files_of_other_writers_are_no_artifacts(image, tmp_path: Path) -> None:
    copy = Workspace(tmp_path / "run", image.workspace.run_id)
    shutil.copytree(image.folder / "artifacts", copy.artifacts)
    (copy.artifacts / ".drift.parquet.partial").write_bytes(b"half")
    (copy.artifacts / ".parts").mkdir()
    (copy.artifacts / ".parts" / "x.arrow").write_bytes(b"half")
    assert Reading(image.config, copy, image.record).artifacts == image.reading.artifacts


def _unable(reading: object) -> Section:
    raise ZeroDivisionError("an odd value")


def test_a_section_that_cannot_be_made_costs_that_section_alone(tmp_path: Path, monkeypatch) -> None:
    config, workspace, record = report_runs.tabular_run(tmp_path)
    monkeypatch.setattr("tasks.report.compose.SECTIONS", (*SECTIONS, _unable))
    done, failed = write_report(config, workspace, record)
    assert isinstance(failed, Failed)
    assert failed.stage == "report/_unable"
    assert isinstance(done, Done)
    assert done.facts["verdict"] == "incomplete"
    assert json.loads((workspace.folder / "summary.json").read_text())["verdict"] == "incomplete"
    for file in ("report.html", "report.md"):
        said = (workspace.folder / file).read_text().replace("\\", "")
        assert "ZeroDivisionError: an odd value" in said
        assert "Policy checks" in said
    assert (workspace.folder / "report.pdf").stat().st_size


def test_a_format_that_cannot_be_made_is_said_in_the_others(tmp_path: Path, monkeypatch) -> None:
    def broken(document: object) -> bytes:
        raise RuntimeError("no fonts")

    config, workspace, record = report_runs.tabular_run(tmp_path)
    monkeypatch.setitem(FORMATS, "pdf", ("report.pdf", broken))
    done, failed = write_report(config, workspace, record)
    assert isinstance(failed, Failed)
    assert (failed.stage, failed.reason) == ("report/pdf", "RuntimeError: no fonts")
    assert isinstance(done, Done)
    assert "report.pdf" not in done.facts["files"]
    assert "no fonts" in (workspace.folder / "report.html").read_text()


def test_a_pack_that_cannot_be_judged_makes_the_audit_incomplete(tmp_path: Path, monkeypatch) -> None:
    def broken(reading: object) -> object:
        raise KeyError("no such group")

    config, workspace, record = report_runs.tabular_run(tmp_path)
    named = config.report.regulations[0]
    monkeypatch.setitem(REGULATIONS, named, replace(REGULATIONS[named], judge=broken))
    _, failed = write_report(config, workspace, record)
    assert isinstance(failed, Failed)
    assert failed.stage == f"report/{named}"
    summary = json.loads((workspace.folder / "summary.json").read_text())
    assert summary["verdict"] == "incomplete"
    assert [m["stage"] for m in summary["run"]["missing"]] == [f"report/{named}"]
