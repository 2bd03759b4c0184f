"""An S3 server on this machine: it speaks the protocol over HTTP, and goes away when a test tells it to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "audits"


class Server:
    """What the server was asked, and when it stops to answer.

    Attributes:
        written: the keys of all objects that were put, in order.
        gone_after: puts that are still answered; then every connection is cut.
        before_put: called with an object's key before it is put.
    """

    def __init__(self) -> None:
        self.written: list[str] = []
        self.gone_after: int | None = None
        self.before_put: Callable[[str], None] = lambda key: None
        self._answer = DomainDispatcherApplication(create_backend_app)
        self._lock, self._puts = threading.Lock(), threading.Lock()
        self.address = ""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        key = environ["PATH_INFO"].lstrip("/")
        put = environ["REQUEST_METHOD"] == "PUT"
        with self._lock:
            if self.gone_after is not None and (self.gone_after <= 0 or put):
                self.gone_after -= put
                if self.gone_after < 0:
                    self.gone_after = -1
                    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                    raise ConnectionResetError
            if put:
                self.written.append(key)
        if put:
            self.before_put(key)
            with self._puts:  # a condition and what it is a condition of are one step, as in S3
                return self._answer(environ, start_response)
        return self._answer(environ, start_response)

    def environment(self) -> dict[str, str]:
        """What a program needs to be sent here."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "auditor",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def make_bucket(self, name: str) -> None:
        httpx.put(f"{self.address}/{name}").raise_for_status()

    @property
    def _objects(self) -> Any:
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]

    def put(self, key: str, content: bytes) -> None:
        """Puts an object under any key, those too that clients mend on their way."""
        self._objects.put_object(BUCKET, key, content)

    def under(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self._objects.buckets[BUCKET].keys if key.startswith(prefix))

    def remove(self, key: str) -> None:
        self._objects.buckets[BUCKET].keys.pop(key)

    def empty(self) -> None:
        """Removes every object, and forgets what was asked."""
        self._objects.buckets[BUCKET].keys.clear()
        self.written.clear()

    def get(self, key: str) -> bytes:
        found: bytes = self._objects.buckets[BUCKET].keys[key].value
        return found


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def s3_server() -> Iterator[Server]:
    """A server with one empty bucket."""
    found = Server()
    server = make_server("127.0.0.1", 0, found, threaded=True, request_handler=_Quiet)
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        httpx.post(f"{found.address}/moto-api/reset").raise_for_status()
        found.make_bucket(BUCKET)
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
