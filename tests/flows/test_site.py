"""The site of the reports: what it shows, and all that it does not."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from starlette.testclient import TestClient

from flows.site import SITE_ROOT, SITE_URL, report_site, site_address, site_on_loopback
from tasks.errors import UsageError

RUN = "20260102T030405Z-0123abcd"
OLDER = "20250102T030405Z-0123abcd"


def _run(folder: Path, run: str, verdict: str = "satisfied", title: str | None = None) -> Path:
    place = folder / run
    (place / "artifacts" / "images").mkdir(parents=True)
    subject = {"name": folder.name, "title": title}
    (place / "summary.json").write_text(json.dumps({"verdict": verdict, "subject": subject}))
    for name in ("report.html", "report.pdf", "report.md", "config.yaml", "manifest.sha256"):
        (place / name).write_text(f"{name} of {run}")
    (place / "artifacts" / "images" / "lime-0001.png").write_bytes(b"\x89PNG")
    (place / "artifacts" / "predictions.parquet").write_bytes(b"PAR1")
    return place


@pytest.fixture
def reports(tmp_path):
    folder = tmp_path / "reports"
    _run(folder / "credit", RUN, "not_satisfied", "Credit <script>alert(1)</script>")
    _run(folder / "credit", OLDER)
    (folder / "credit" / "latest").symlink_to(RUN)
    (tmp_path / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def ask(reports):
    """Asks the site for a path; the path is sent as it is."""
    with TestClient(report_site(reports), base_url="http://127.0.0.1:4280", follow_redirects=False) as client:
        yield client.request


def test_the_index_lists_the_runs_newest_first_and_escapes_what_is_theirs(ask):
    answer = ask("GET", "/")
    assert answer.status_code == 200
    assert answer.text.index(RUN) < answer.text.index(OLDER)
    assert "not satisfied" in answer.text
    assert "2 runs" in answer.text
    assert "<script" not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert f'href="./credit/{RUN}/report.html"' in answer.text


def test_an_index_that_is_there_is_shown(ask, reports):
    (reports / "index.html").write_text("<h1>the index of all runs</h1>")
    assert "the index of all runs" in ask("GET", "/").text


def test_a_summary_that_cannot_be_read_hides_no_other_run(ask, reports):
    (reports / "credit" / OLDER / "summary.json").write_text("{")
    text = ask("GET", "/").text
    assert RUN in text
    assert OLDER not in text


def test_runs_that_a_link_leads_out_to_are_not_listed(ask, reports, tmp_path):
    outside = _run(tmp_path / "elsewhere" / "secret", "20270102T030405Z-0123abcd")
    (reports / "linked").symlink_to(outside.parent)
    (reports / "credit" / outside.name).symlink_to(outside)
    assert outside.name not in ask("GET", "/").text + ask("GET", "/credit/").text
    assert ask("GET", f"/linked/{outside.name}/report.html").status_code == 404


def test_reports_that_are_not_there_yet_are_an_empty_index(tmp_path):
    with TestClient(report_site(tmp_path / "none"), base_url="http://localhost") as client:
        assert "No runs yet" in client.get("/").text
        assert client.get("/credit/").status_code == 404


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("report.html", "text/html; charset=utf-8"),
        ("report.pdf", "application/pdf"),
        ("report.md", "text/plain; charset=utf-8"),
        ("summary.json", "application/json"),
        ("config.yaml", "text/plain; charset=utf-8"),
        ("artifacts/images/lime-0001.png", "image/png"),
        ("artifacts/predictions.parquet", "application/vnd.apache.parquet"),
    ],
)
def test_files_have_their_types_and_nobody_may_guess_others(ask, reports, name, kind):
    answer = ask("GET", f"/credit/{RUN}/{name}")
    assert answer.status_code == 200
    assert answer.content == (reports / "credit" / RUN / name).read_bytes()
    assert answer.headers["content-type"] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-disposition"].startswith("attachment" if name.endswith("parquet") else "inline")


def test_what_has_no_known_type_is_a_download(ask, reports):
    (reports / "credit" / RUN / "page.xhtml").write_text("<script/>")
    answer = ask("GET", f"/credit/{RUN}/page.xhtml")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_latest_is_a_link_that_stays_inside(ask):
    assert ask("GET", "/credit/latest/report.html").text == f"report.html of {RUN}"
    page = ask("GET", "/credit/latest/").text
    assert 'href="./artifacts/predictions.parquet"' in page
    assert page.index("report.html") < page.index("config.yaml")
    assert ask("GET", "/credit/latest").headers["location"] == "./latest/"


def test_links_lead_on_below_a_folder_of_a_proxy(ask):
    """Whatever is linked from a page is there, taken from the page's own address."""
    for page in ("/", "/credit/", f"/credit/{RUN}/", "/credit/latest/"):
        links = re.findall(r"""<a href=["']([^"'#]+)["']""", ask("GET", page).text)
        assert links
        for link in links:
            assert not link.startswith(("/", "http")), link
            assert ask("GET", urljoin(page, link)).status_code == 200, (page, link)


def test_a_head_has_no_body(ask):
    answer = ask("HEAD", f"/credit/{RUN}/report.html")
    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) == len(f"report.html of {RUN}")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(ask, method):
    assert ask(method, f"/credit/{RUN}/report.html").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/credit/.finished/x.json", "/.keys/private.pem", "/credit/.lock", "/credit/.partial-x/report.html",
        "/credit/%2efinished/x.json", "/credit/out/secret.txt", "/credit/out", "/credit/hidden/x.json",
        "/credit/link.txt", "/credit/loop", "/credit/pipe", "/nothing", f"/credit/{RUN}/report.html/",
        "/%2e%2e/secret.txt", "/credit/..%2f..%2fsecret.txt", "/..%5csecret.txt", "/credit/%00", "//etc/passwd",
        "/credit/" + "x" * 5000,
    ],
)  # fmt: skip
def test_what_is_hidden_or_outside_is_not_there(ask, reports, tmp_path, path):
    audit = reports / "credit"
    (reports / ".keys").mkdir()
    (reports / ".keys" / "private.pem").write_text("secret")
    for folder in (".finished", ".partial-x"):
        (audit / folder).mkdir()
        (audit / folder / "x.json").write_text("secret")
        (audit / folder / "report.html").write_text("secret")
    (audit / ".lock").write_text("secret")
    (audit / "out").symlink_to(tmp_path)
    (audit / "link.txt").symlink_to(tmp_path / "secret.txt")
    (audit / "hidden").symlink_to(".finished")
    (audit / "loop").symlink_to("loop")
    os.mkfifo(audit / "pipe")
    answer = ask("GET", path)
    assert answer.status_code == 404
    assert "secret" not in answer.text
    index = ask("GET", "/").text + ask("GET", "/credit/").text
    assert not [word for word in ("finished", "partial", "secret") if word in index]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:4280", "", "[", "127.0.0.2", "0.0.0.0"])
def test_a_rebound_name_is_refused(ask, host):
    answer = ask("GET", "/", headers={"Host": host})
    assert answer.status_code == 421
    assert RUN not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:4280", "localhost", "LOCALHOST:1", "[::1]:4280"])
def test_names_of_this_machine_are_known(ask, host):
    assert ask("GET", "/", headers={"Host": host}).status_code == 200


def test_a_login_is_asked_for_where_there_is_one(reports):
    with TestClient(report_site(reports, login="me:pässword"), base_url="http://localhost") as client:
        assert client.get("/").status_code == 401
        assert client.get("/", headers={"Authorization": "Basic x"}).status_code == 401
        assert "www-authenticate" in client.get("/").headers
        told = base64.b64encode("me:pässword".encode()).decode()
        assert client.get("/", headers={"Authorization": f"Basic {told}"}).status_code == 200


def test_it_listens_on_loopback_alone_and_ends_with_its_block(reports, monkeypatch):
    monkeypatch.setenv(SITE_URL, "")
    monkeypatch.setenv(SITE_ROOT, "")
    with site_on_loopback(reports, 0) as address:
        port = urlsplit(address).port
        assert httpx.get(f"{address}/credit/latest/report.html").text == f"report.html of {RUN}"
        link = site_address(reports / "credit" / "latest" / "report.html")
        assert link == f"{address}/credit/{RUN}/report.html"
        assert httpx.get(link).status_code == 200
        with socket.create_connection(("127.0.0.1", port)) as raw:  # a client that tidies no path
            raw.sendall(b"GET /../secret.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 404")
        listening = {
            line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
        }
        assert f"0100007F:{port:04X}" in listening
        assert f"00000000:{port:04X}" not in listening
        with pytest.raises(UsageError, match="--site-port"), site_on_loopback(reports, port):
            pass
    with pytest.raises(httpx.HTTPError):
        httpx.get(address, timeout=2)


def test_a_proxy_gives_its_name_to_links(reports, monkeypatch):
    monkeypatch.setenv(SITE_URL, "")
    monkeypatch.setenv(SITE_ROOT, "")
    with site_on_loopback(reports, 0, public="https://audits.example/reports/") as address:
        assert address == "https://audits.example/reports/"
        linked = site_address(reports / "credit" / RUN / "report.html")
        assert linked == f"https://audits.example/reports/credit/{RUN}/report.html"


def test_what_lies_elsewhere_has_no_address(reports, tmp_path, monkeypatch):
    monkeypatch.delenv(SITE_URL, raising=False)
    monkeypatch.setenv(SITE_ROOT, str(reports))
    assert site_address(reports / "credit" / RUN) is None
    monkeypatch.setenv(SITE_URL, "http://127.0.0.1:4280")
    assert site_address(tmp_path / "secret.txt") is None
    assert site_address(reports / "a b" / "ü.html") == "http://127.0.0.1:4280/a%20b/%C3%BC.html"
