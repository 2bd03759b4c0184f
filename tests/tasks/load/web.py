"""A web server on this machine that answers as a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """What the server answers to every GET and HEAD, and how often it was asked for the content.

    Attributes:
        status: of the answer.
        announced: bytes that are promised beyond those sent.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.status = 200
        self.content = b"a,y\n1,no\n"
        self.announced = 0
        self.asked = 0


@contextmanager
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked += self.command == "GET"
            self.send_response(found.status)
            self.send_header("Content-Length", str(len(found.content) + found.announced))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(found.content)

        do_HEAD = do_GET

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Site(f"http://127.0.0.1:{server.server_port}/data.csv")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
