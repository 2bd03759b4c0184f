"""The way of a person in a real browser: Prefect's form, the run, its summary, and the verdict in the report."""

from __future__ import annotations

import re
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")

_PATIENCE = 240_000  # milliseconds; a bound on a hang


@pytest.fixture(scope="module")
def page():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(_PATIENCE)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def served(subject, serving, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browsed")
    path = subject.write(folder, {"report.formats": ["html", "pdf", "json", "markdown"]})
    return serving(folder, str(path))


def _choose(page, field, *names):
    """Chooses from the select of a field, with the keyboard to open it and the mouse to choose."""
    label = page.get_by_text(re.compile(rf"^{field}( \(Optional\))?$"))
    box = page.locator(".schema-form-property", has=label).last
    box.locator(".p-select-button, [class*=select]").first.click()
    page.keyboard.press("ArrowDown")
    for name in names:
        page.get_by_role("option", name=name, exact=True).click()
    page.keyboard.press("Escape")


def test_a_person_starts_an_audit_from_the_form_and_reads_the_verdict(page, served):
    ui = served.api.removesuffix("/api")
    served.deployment("credit")

    page.goto(f"{ui}/deployments")
    page.get_by_role("link", name="credit", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()

    # The form knows the config, and says of every field what empty means.
    page.get_by_text("Rows to explain (Optional)").wait_for()
    assert page.get_by_text("as in the config").count() == 5
    assert page.get_by_text(re.compile("audit.yaml$")).count() >= 1
    page.locator("input[type=number]").first.fill("6")
    _choose(page, "Techniques", "lime", "permutation")
    page.get_by_role("button", name="Submit").click()

    # The run's page: its name and, in the end, its state.
    page.get_by_text("scheduled to start").or_(page.get_by_role("link", name=re.compile("credit"))).first.wait_for()
    run = served.until(
        "the run", lambda: served.post("flow_runs/filter", flow_runs={"deployment_id": {"is_null_": False}})
    )[0]
    assert run["parameters"]["rows"] == 6
    assert sorted(run["parameters"]["techniques"]) == ["lime", "permutation"]
    page.goto(f"{ui}/runs/flow-run/{run['id']}")
    page.get_by_text("Completed: policy not satisfied").first.wait_for()
    page.get_by_text("credit v1").first.wait_for()

    # The summary: the verdict first, then the way to the report.
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_role("link", name=re.compile("credit-summary")).first.click()
    page.get_by_role("heading", name="Not satisfied").wait_for()
    link = page.get_by_role("link", name="Open the report")
    with page.context.expect_page() if link.get_attribute("target") == "_blank" else page.expect_navigation() as opened:
        link.click()
    report = opened.value if hasattr(opened.value, "wait_for_load_state") else page
    report.wait_for_load_state()
    assert report.url.startswith(f"{served.site}/credit/")
    assert report.get_by_text("Impact ratio by sex").count() > 0
    assert re.search("not satisfied", report.locator("body").inner_text(), re.IGNORECASE)


_SHOWN = """address => new Promise(done => {
    const picture = new Image();
    picture.onload = () => done(picture.naturalWidth);
    picture.onerror = () => done(0);
    picture.src = address;
})"""
_READ = "address => fetch(address).then(() => 'read', () => 'kept')"


def test_prefects_page_can_show_a_picture_of_the_site_and_read_nothing(page, served):
    from PIL import Image

    served.deployment("credit")
    (served.reports / "pictures").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (7, 5)).save(served.reports / "pictures" / "overlay.png")
    page.goto(f"{served.api.removesuffix('/api')}/deployments")
    assert page.evaluate(_SHOWN, f"{served.site}/pictures/overlay.png") == 7
    assert page.evaluate(_READ, f"{served.site}/pictures/overlay.png") == "kept"
    assert page.evaluate(_READ, f"{served.site}/") == "kept"


def test_the_site_leads_from_its_index_to_a_report(page, served):
    problems = []
    page.on("console", lambda said: problems.append((said.location["url"], said.text)) if said.type == "error" else 0)
    page.goto(f"{served.site}/")
    page.locator('a[href$="/report.html"]').first.click()
    page.wait_for_url("**/report.html")
    assert page.locator("h1").first.inner_text()
    assert not [problem for problem in problems if not problem[0].endswith("/favicon.ico")]
