"""What passes by itself and what does not: web servers that fail, refuse or break off, and file systems that do."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterator

import pyarrow as pa
import pytest

from tasks.errors import ConfigError, DataUnavailable
from tasks.load import open_data
from tasks.load.remote import passes, unread
from tests.tasks.load.web import Site, site


@pytest.fixture
def server() -> Iterator[Site]:
    with site() as found:
        yield found


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_a_server_that_cannot_answer_now_is_asked_again_by_whoever_wants_to(shop, server, status):
    config = shop.config("nowhere", server.address)
    server.status = status
    with pytest.raises(DataUnavailable, match=rf"^data\.path: {server.address} cannot be reached \({status}") as caught:
        open_data(config)
    assert (caught.value.exit_code, caught.value.code) == (4, "unreachable")
    server.status = 200
    assert open_data(config).table.to_pydict() == {"a": [1], "y": ["no"]}


@pytest.mark.parametrize("status", [404, 401, 403, 410])
def test_what_is_not_there_or_not_allowed_is_the_configs(shop, server, status):
    server.status = status
    with pytest.raises(ConfigError, match=f"cannot be read .*{status}") as caught:
        open_data(shop.config("nowhere", server.address))
    assert caught.value.exit_code == 2


def test_an_answer_that_breaks_off_passes(shop, server):
    server.announced = 100
    with pytest.raises(DataUnavailable, match="cannot be reached"):
        open_data(shop.config("nowhere", server.address))


def test_a_closed_port_passes_and_names_its_key(shop):
    with site() as gone:
        pass
    data = {"reference": gone.address}
    with pytest.raises(DataUnavailable, match=r"^data\.reference: .*Connect call failed"):
        open_data(shop.config("nowhere", shop.table({"a": [1], "y": ["no"]}), data=data))


def test_a_path_that_is_no_path_is_the_configs(shop):
    table = shop.table({"a": [1], "y": ["no"]})
    for path in ("x" * 300 + ".csv", table + "/x.csv"):
        with pytest.raises(ConfigError, match=r"^data\.path: "):
            open_data(shop.config("nowhere", path))


def _under(error: BaseException) -> OSError:
    """As fsspec tells it: nothing found, and the cause beneath."""
    found = FileNotFoundError("http://x/y.csv")
    found.__cause__ = error
    return found


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (OSError(errno.EMFILE, "Too many open files"), True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (TimeoutError(), True),
        (_under(TimeoutError()), True),
        (_under(ConnectionRefusedError(errno.ECONNREFUSED, "refused")), True),
        (FileNotFoundError(errno.ENOENT, "no such file"), False),
        (_under(FileNotFoundError("gone")), False),
        (IsADirectoryError(errno.EISDIR, "a folder"), False),
        (PermissionError(errno.EACCES, "denied"), False),
        (OSError(errno.ENAMETOOLONG, "too long"), False),
        (OSError("Corrupt snappy compressed data."), False),  # Arrow's word for a damaged file
        (pa.ArrowInvalid("not Parquet"), False),
        (_under(ssl.SSLCertVerificationError(1, "self-signed certificate")), False),
        (ValueError("Protocol not known"), False),
    ],
)
def test_which_errors_pass(error, passing):
    assert passes(error) is passing
    assert isinstance(unread("x.csv", "data.path", error), DataUnavailable if passing else ConfigError)


def test_a_package_that_is_missing_is_named_with_what_to_install():
    said = str(unread("https://x/y.csv", "data.path", ImportError('HTTPFileSystem requires "aiohttp"')))
    assert "aiohttp" in said
    assert "pip install 'fsspec[http]'" in said
