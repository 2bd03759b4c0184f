"""The page as readers meet it, in a real browser: judged by axe-core, in light and dark, on a phone, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.tasks.report.conftest import KINDS
from tests.tasks.report.report_judges import browser

WIDTHS = {"desk": 1280, "phone": 390}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as opened:
        yield opened


@pytest.fixture
def shown(chromium) -> Iterator[Any]:
    """A report's page, as a reader with a screen of that width and those colours opens it.

    axe is a script, which the page's own policy would keep out: `bypass_csp` lets it in.
    """
    contexts = []

    def show(run, width: int = 1280, scheme: str = "light", **options: Any) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.goto((run.folder / "report.html").as_uri())
        return page

    yield show
    for context in contexts:
        context.close()


def serious(page: Any) -> list[tuple[str, str, list[str]]]:
    """What axe-core objects to: (rule, impact, where)."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response
    assert found["testEngine"]["name"] == "axe-core"
    return [
        (v["id"], v["impact"], [str(node["target"]) for node in v["nodes"][:3]])
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
    ]


def judged(page: Any, width: int) -> None:
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("kind", "device", "scheme"),
    [
        ("tabular", "desk", "light"),
        ("tabular", "phone", "dark"),
        ("image", "phone", "light"),
        ("hostile", "desk", "dark"),
    ],
)
def test_axe_finds_nothing_serious_and_the_page_fits(run_of, shown, kind: str, device: str, scheme: str) -> None:
    judged(shown(run_of(kind), WIDTHS[device], scheme, bypass_csp=True), WIDTHS[device])


@pytest.mark.soak
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_serious_in_any_report(run_of, shown, kind: str, device: str, scheme: str) -> None:
    judged(shown(run_of(kind), WIDTHS[device], scheme, bypass_csp=True), WIDTHS[device])


def test_axe_sees_what_is_wrong(run_of, shown) -> None:
    page = shown(run_of("refused"), bypass_csp=True)
    page.evaluate("document.querySelector('main p').style.color = '#eee'")
    page.evaluate("document.documentElement.removeAttribute('lang')")
    assert {rule for rule, _, _ in serious(page)} == {"color-contrast", "html-has-lang"}


def test_it_is_read_without_scripts_and_asks_the_network_for_nothing(run_of, chromium) -> None:
    asked: list[str] = []
    context = chromium.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        path = run_of("image").folder / "report.html"
        page.goto(path.as_uri())
        assert "satisfied" in page.inner_text("header").lower()
        assert [url for url in asked if not url.startswith("data:image/png")] == [path.as_uri()]
        assert complaints == []  # nothing that its policy had to refuse
    finally:
        context.close()


def test_contents_and_tables_are_reached_with_the_keyboard(run_of, shown) -> None:
    page = shown(run_of("refused"), WIDTHS["phone"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#summary")
    focusable = page.evaluate("[...document.querySelectorAll('.scroll')].every(e => e.tabIndex === 0)")
    assert focusable


def test_on_paper_it_has_page_numbers_and_the_reports_id(run_of, shown, tmp_path) -> None:
    import pikepdf

    from tests.tasks.report.test_report_pdf import pdf_text

    path = tmp_path / "print.pdf"
    run = run_of("tabular")
    shown(run).pdf(path=path, prefer_css_page_size=True)
    with pikepdf.open(path) as printed:
        pages = len(printed.pages)
        assert [float(x) for x in printed.pages[0].mediabox[2:]] == pytest.approx([595, 842], abs=1.5)
    text = pdf_text(path)
    assert f"{pages} / {pages}" in text
    assert text.count(f"Report {run.record.run_id}") >= pages
