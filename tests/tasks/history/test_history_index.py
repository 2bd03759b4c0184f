"""Making reports/index.html: whole or not at all, by many at once, and never at the cost of a run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.errors import StorageError
from tasks.history import INDEX, entries, index_runs, write_index
from tasks.history.known import FILE, Known
from tests.tasks.history.history_builder import publish, run_id, summary

ROOT = Path(__file__).resolve().parents[3]


def listed(reports: Path) -> list[str]:
    """The runs on the page, by their ids."""
    return re.findall(r'class="aside[^"]*">(\d{8}T\d{6}Z-[0-9a-f]{8})<', (reports / INDEX).read_text())


def hidden(reports: Path) -> set[str]:
    return {path.name for path in reports.iterdir() if path.name.startswith(".")}


def test_it_follows_what_lies_in_the_folders(tmp_path: Path) -> None:
    publish(tmp_path, "credit", 0)
    second = publish(tmp_path, "income", 1)
    assert write_index(tmp_path) == tmp_path / INDEX
    assert set(listed(tmp_path)) == {run_id(0), run_id(1)}
    shutil.rmtree(second)
    publish(tmp_path, "credit", 2)
    write_index(tmp_path)
    assert listed(tmp_path) == [run_id(2), run_id(0)]
    assert hidden(tmp_path) == {FILE, ".index.lock"}
    assert set(json.loads((tmp_path / FILE).read_text())["runs"]) == {f"credit/{run_id(0)}", f"credit/{run_id(2)}"}


def test_no_file_of_a_run_is_touched(tmp_path: Path) -> None:
    folder = publish(tmp_path)
    (publish(tmp_path, place=1) / "summary.json").write_text("nope")

    def state() -> dict[str, tuple[int, int, bytes]]:
        return {
            p.name: (p.stat().st_mtime_ns, p.stat().st_mode, p.read_bytes() if p.is_file() else b"")
            for p in (folder, *folder.iterdir())
        }

    before = state()
    write_index(tmp_path)
    write_index(tmp_path)
    assert state() == before


def test_what_was_read_before_is_not_read_again_unless_it_changed(tmp_path: Path) -> None:
    path = publish(tmp_path, "credit", 0) / "summary.json"
    write_index(tmp_path)
    known = Known.of(tmp_path)
    key, brief = known.briefs[f"credit/{run_id(0)}"]
    known.briefs[f"credit/{run_id(0)}"] = (key, {**brief, "title": "as remembered"})
    assert entries(tmp_path, known=known)[0].title == "as remembered"
    # The same size and the same time: what was set back is found by the time of the change.
    before = path.stat()
    path.write_text(path.read_text().replace("The audit", "AN AUDIT !"[:9]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert entries(tmp_path, known=known)[0].title == "AN AUDIT credit"
    (path.parent / "manifest.sha256").write_text("0" * 64)
    assert Known.of(tmp_path).get(f"credit/{run_id(0)}", known.key(path.parent)) is None


REMEMBERED = [
    b"", b"nope", b"[]", b"{}", b'{"version": 1}', b'{"version": 1, "runs": 5}', b'{"version": 1, "runs": {"a": 1}}',
    b'{"version": 1, "runs": {"a": ["k"]}}', b'{"version": 2, "runs": {}}', b"[" * 200_000, b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("content", REMEMBERED, ids=range(len(REMEMBERED)))
def test_a_spoilt_memory_is_forgotten(tmp_path: Path, content: bytes) -> None:
    publish(tmp_path)
    (tmp_path / FILE).write_bytes(content)
    write_index(tmp_path)
    assert listed(tmp_path) == [run_id(0)]
    assert json.loads((tmp_path / FILE).read_text())["version"] == 1


def test_what_is_remembered_is_looked_at_as_a_summary_is(tmp_path: Path) -> None:
    folder = publish(tmp_path)
    run = f"credit/{run_id(0)}"
    for brief in ({}, {"verdict": "satisfied"}, {"verdict": 5, "report_id": run_id(0)}):
        found = entries(tmp_path, known=Known({run: (Known().key(folder), brief)}))
        assert found[0].verdict is None
    odd = {"verdict": "satisfied", "report_id": run_id(0), "title": 5, "checks": [5], "rows": "x", "missing": []}
    (found,) = entries(tmp_path, known=Known({run: (Known().key(folder), odd)}))
    assert (found.verdict, found.title, found.checks, found.rows, found.missing) == ("satisfied", "", (), None, 0)


def test_a_memory_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    publish(reports)
    kept = tmp_path / "kept.json"
    kept.write_text("mine")
    (reports / FILE).symlink_to(kept)
    (reports / INDEX).symlink_to(kept)
    write_index(reports)
    assert kept.read_text() == "mine"
    assert not (reports / INDEX).is_symlink()
    assert listed(reports) == [run_id(0)]


def test_where_it_cannot_be_made_one_line_says_so(tmp_path: Path) -> None:
    publish(tmp_path)
    (tmp_path / INDEX).mkdir()
    with pytest.raises(StorageError, match=r"index\.html: cannot be written"):
        write_index(tmp_path)
    told = index_runs(tmp_path)
    assert told is not None
    assert told.startswith("the index of runs was not made: ")
    assert "\n" not in told
    assert hidden(tmp_path) == {".index.lock"}
    assert index_runs(tmp_path / "nowhere") is not None
    (tmp_path / INDEX).rmdir()
    assert index_runs(tmp_path) is None


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    publish(tmp_path)
    (tmp_path / ".index-partial-abc").write_text("half")
    write_index(tmp_path)
    assert hidden(tmp_path) == {FILE, ".index.lock"}


_PROCESS = """
import json, sys, time
from pathlib import Path
from tasks.history import write_index

reports, name = Path(sys.argv[1]), sys.argv[2]
for place, content in enumerate(json.loads(sys.stdin.read())):
    folder = reports / name / content["report_id"]
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(content))
    write_index(reports)
"""


def test_several_at_once_leave_a_whole_page_with_every_run(tmp_path: Path) -> None:
    """Each publishes and makes the page, several times; whoever was last has seen them all."""
    names, rounds = ("a", "b", "c"), 8
    processes = []
    for number, name in enumerate(names):
        process = subprocess.Popen(
            [sys.executable, "-c", _PROCESS, str(tmp_path), name], cwd=ROOT, stdin=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps([summary(name, number * 100 + place) for place in range(rounds)]))
        process.stdin.close()
        processes.append(process)
    assert [process.wait(timeout=60) for process in processes] == [0] * len(names)
    expected = {run_id(number * 100 + place) for number in range(len(names)) for place in range(rounds)}
    assert set(listed(tmp_path)) == expected
    assert (tmp_path / INDEX).read_text().endswith("</html>")
    assert len(json.loads((tmp_path / FILE).read_text())["runs"]) == len(expected)
    assert hidden(tmp_path) == {FILE, ".index.lock"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_finds_nothing_that_keeps_anybody_out(tmp_path: Path, scheme: str) -> None:
    """axe-core in headless Chromium, wide and on a phone, where nothing may be wider than the screen."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no Chromium here")
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    for place in range(3):
        publish(tmp_path, "credit", place, "not_satisfied" if place else "satisfied")
    publish(tmp_path, "income", 5, subject={"title": "<b>" + "W" * 200, "model": {"version": 1}})
    (publish(tmp_path, "scenes", 6) / "summary.json").write_text("nope")
    write_index(tmp_path)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        try:
            for width in (1280, 390):
                context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
                page = context.new_page()
                page.goto((tmp_path / INDEX).as_uri())
                assert [v["id"] for v in Axe().run(page).response["violations"]] == []
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                page.get_by_role("link", name="summary").first.click()
                assert page.url.endswith("/summary.json")
                context.close()
        finally:
            chromium.close()
