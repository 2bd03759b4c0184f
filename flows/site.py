"""The reports as a read-only site on loopback: index, reports, tables and pictures, and nothing else.

Whatever has a name that begins with a dot (work in progress, kept results, locks) and whatever a link leads out to is
not there. A page of another site cannot read it: the Host header must be a name of this machine, which a rebound name
is not, and answers carry no permission for other origins.
"""

from __future__ import annotations

import base64
import html
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from tasks.errors import Incomplete, UsageError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

#: where the site is, for links from Prefect's UI, and the folder that it shows
SITE_URL = "KERAS_AUDIT_SITE_URL"
SITE_ROOT = "KERAS_AUDIT_SITE_ROOT"

PORT = 4280
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_START_SECONDS = 30
_TEXT = "text/plain; charset=utf-8"  # shown, and never taken for anything that runs
_TYPES = {
    ".html": "text/html; charset=utf-8", ".pdf": "application/pdf", ".png": "image/png", ".svg": "image/svg+xml",
    ".json": "application/json", ".md": _TEXT, ".yaml": _TEXT, ".sha256": _TEXT, ".txt": _TEXT,
    ".csv": "text/csv; charset=utf-8", ".parquet": "application/vnd.apache.parquet",
}  # fmt: skip
_HEADERS = {
    # Pages of ours have no script and fetch nothing; a report's own policy is as strict.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # `latest` moves
}
_STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .25rem}p.sub{margin:0 0 1.5rem;opacity:.75}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.5rem .75rem;border-bottom:1px solid #8884}
td{overflow-wrap:anywhere}
th{font-weight:600;font-size:.85rem;opacity:.75}.n{text-align:right;font-variant-numeric:tabular-nums}
a{color:#0b57d0}@media(prefers-color-scheme:dark){a{color:#8ab4f8}}
.satisfied{color:#1a7f37}.not_satisfied,.incomplete,.refused{color:#c0281f}.inconclusive{color:#9a6700}
@media(prefers-color-scheme:dark){.satisfied{color:#5fd07f}.not_satisfied,.incomplete,.refused{color:#ff8a80}
.inconclusive{color:#e3b341}}
"""


def site_address(path: Path | str) -> str | None:
    """Where the site shows a file of the reports folder; None where there is no site, or the file is elsewhere.

    Args:
        path: of the file; an address, which is text, is elsewhere.
    """
    url, root = os.environ.get(SITE_URL), os.environ.get(SITE_ROOT)
    if not url or not root or isinstance(path, str):
        return None
    try:
        inside = path.resolve().relative_to(Path(root).resolve())
    except (OSError, ValueError):
        return None
    return f"{url.rstrip('/')}/{quote(inside.as_posix())}"


def report_site(reports: Path, hosts: frozenset[str] = frozenset(), login: str | None = None) -> Starlette:
    """The site of a reports folder, as an ASGI application.

    Args:
        hosts: names beside those of loopback that it may be asked for, of a proxy in front of it.
        login: `user:password` that is asked for; None asks for none.
    """
    from starlette.applications import Starlette
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    allowed = _LOOPBACK | {host.lower() for host in hosts}

    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response: Response
        if _host_of(request) not in allowed:
            response = PlainTextResponse("this site is not known by that name", status_code=421)
        elif login is not None and not _is_login(request, login):
            ask = {"WWW-Authenticate": 'Basic realm="keras-audit", charset="UTF-8"'}
            response = PlainTextResponse("log in", status_code=401, headers=ask)
        else:
            response = await answer(request)
        response.headers.update(_HEADERS)
        if response.headers.get("content-type") == "image/png":
            # Prefect's UI, of another port, shows them; a page can show a picture, and read nothing of it.
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return response

    def page(request: Request) -> Response:
        return _answer(reports, request.path_params["path"])

    app = Starlette(routes=[Route("/{path:path}", page, methods=["GET", "HEAD"])])
    app.add_middleware(BaseHTTPMiddleware, dispatch=guard)
    return app


def _host_of(request: Request) -> str | None:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return None


def _is_login(request: Request, login: str) -> bool:
    wanted = f"Basic {base64.b64encode(login.encode()).decode()}"
    return secrets.compare_digest(request.headers.get("authorization", "").encode(), wanted.encode())


def _answer(reports: Path, asked: str) -> Response:
    from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse

    place = _place(reports, asked)
    if place is None:
        if not asked:  # nothing was ever reported
            return HTMLResponse(_index(reports))
        return PlainTextResponse("no such page", status_code=404)
    if place.is_dir():
        if asked and not asked.endswith("/"):
            # Every link leads on from the page that it is on: a proxy may have the site below a folder of its own.
            return RedirectResponse(f"./{quote(asked.rpartition('/')[2])}/", status_code=308)
        if place == reports.resolve():
            own = _place(reports, "index.html")
            return HTMLResponse(_index(reports)) if own is None else _file(own)
        if (place / "summary.json").is_file():
            return HTMLResponse(_run_page(reports, place, "../" * len(asked.strip("/").split("/"))))
        return HTMLResponse(_index(reports, place))
    response: FileResponse = _file(place)
    return response


def _file(place: Path) -> Any:
    from starlette.responses import FileResponse

    kind = _TYPES.get(place.suffix.lower())
    return FileResponse(
        place,
        media_type=kind or "application/octet-stream",
        filename=place.name,
        content_disposition_type="inline" if kind and place.suffix.lower() != ".parquet" else "attachment",
    )


def _place(reports: Path, asked: str) -> Path | None:
    """The file or folder that is asked for, or None: what is hidden, leads out or is no plain file is not there."""
    if "\\" in asked or "\0" in asked or any(part.startswith(".") for part in asked.split("/")):
        return None
    try:
        root = reports.resolve()
        place = (root / asked.strip("/")).resolve(strict=True)
        inside = place.relative_to(root)
    except (OSError, ValueError, RuntimeError):  # not there, outside, or a loop of links
        return None
    if any(part.startswith(".") for part in inside.parts):  # a link to what is hidden
        return None
    return place if place.is_dir() or (place.is_file() and not asked.endswith("/")) else None


def _index(reports: Path, folder: Path | None = None) -> str:
    """The runs below a folder, newest first; for a folder that has no page of its own."""
    root = reports.resolve()
    rows = []
    for run, summary in _summaries(root, folder or root):
        title = html.escape(str(summary["subject"].get("title") or summary["subject"]["name"]))
        verdict = html.escape(str(summary["verdict"]))
        at = quote(f"./{run.relative_to(folder or root).as_posix()}/")
        rows.append(
            f'<tr><td><a href="{at}">{html.escape(run.name)}</a></td><td>{title}</td>'
            f'<td class="{verdict}">{verdict.replace("_", " ")}</td>'
            f"<td>{_links(run, at)}</td></tr>"
        )
    where = "" if folder is None or folder == root else f" of {folder.relative_to(root).as_posix()}"
    head = "<tr><th>Run</th><th>Audit</th><th>Verdict</th><th>Report</th></tr>"
    table = f"<table>{head}{''.join(rows)}</table>" if rows else "<p>No runs yet.</p>"
    count = f"{len(rows)} run{'' if len(rows) == 1 else 's'}, newest first"
    return _page(f"Audit reports{where}", count, table)


def _summaries(root: Path, folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Runs with their summaries; one that cannot be read, or is not a summary, is left out."""
    found = []
    pattern = "*/summary.json"
    for path in (p for depth in (pattern, f"*/{pattern}") for p in folder.glob(depth)):
        run = path.parent
        if run.is_symlink() or _place(root, path.relative_to(root).as_posix()) is None:
            continue
        try:
            summary = json.loads(path.read_bytes())
            if isinstance(summary["verdict"], str) and isinstance(summary["subject"]["name"], str):
                found.append((run, summary))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return sorted(found, key=lambda entry: entry[0].name, reverse=True)


def _links(run: Path, at: str) -> str:
    forms = {"report.html": "report", "report.pdf": "PDF", "summary.json": "JSON"}
    return " · ".join(f'<a href="{at}{name}">{word}</a>' for name, word in forms.items() if (run / name).is_file())


def _run_page(reports: Path, run: Path, up: str) -> str:
    """One run: what its files are.

    Args:
        up: the way to the index.
    """
    files = [p for p in run.rglob("*") if p.is_file() and not p.is_symlink() and not p.name.startswith(".")]
    files.sort(key=lambda p: (not p.name.startswith("report."), p.parent != run, p))
    rows = "".join(
        f'<tr><td><a href="./{quote(name)}">{html.escape(name)}</a></td><td class="n">{_rows(path)}</td>'
        f'<td class="n">{path.stat().st_size:,}</td></tr>'
        for path in files
        if (name := path.relative_to(run).as_posix())
    )
    back = f"{html.escape(run.parent.relative_to(reports.resolve()).as_posix())} · <a href='{up}'>all runs</a>"
    head = '<tr><th>File</th><th class="n">Rows</th><th class="n">Bytes</th></tr>'
    return _page(run.name, back, f"<table>{head}{rows}</table>")


def _rows(path: Path) -> str:
    if path.suffix != ".parquet":
        return ""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return f"{pq.read_metadata(path).num_rows:,}"
    except (OSError, pa.ArrowInvalid):
        return ""


def _page(title: str, sub: str, body: str) -> str:
    """A page; title is text, sub and body are HTML."""
    named = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{named}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{_STYLE}</style></head>'
        f'<body><main><h1>{named}</h1><p class="sub">{sub}</p>{body}</main></body></html>'
    )


@contextmanager
def site_on_loopback(reports: Path, port: int, public: str | None = None, login: str | None = None) -> Iterator[str]:
    """Serves the site for the length of a block; hands back its address, which runs find in the environment.

    Args:
        port: 0 takes a free one.
        public: the address by which a proxy makes it known; links use it.

    Raises:
        UsageError: the port is taken.
        Incomplete: it did not start.
    """
    import uvicorn

    hosts = frozenset({urlsplit(public).hostname or ""} - {""}) if public else frozenset()
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"port {port} cannot be had for the site of the reports ({error})", hint="choose another with --site-port"
        ) from error
    address = public or f"http://127.0.0.1:{listening.getsockname()[1]}"
    settings = uvicorn.Config(
        report_site(reports, hosts, login), log_config=None, access_log=False, server_header=False, lifespan="off"
    )
    server = uvicorn.Server(settings)
    # Not in the main thread: signals are serve's.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="report-site", daemon=True)
    thread.start()
    try:
        _until_it_serves(server, thread)
        os.environ |= {SITE_URL: address, SITE_ROOT: str(reports.absolute())}
        yield address
    finally:
        server.should_exit = True
        thread.join(timeout=5)
        listening.close()


def _until_it_serves(server: Any, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise Incomplete("the site of the reports did not start", code="report_site")
        time.sleep(0.02)
