"""Data from an fsspec address, and which troubles in reading pass by themselves."""

from __future__ import annotations

import errno
import ssl
import sys
from collections.abc import Iterator

from tasks.errors import AuditError, ConfigError, DataUnavailable

#: errors of a file system that another try does not mend: the path or the rights are wrong
_LASTING = frozenset(
    {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP,
     errno.EINVAL}
)  # fmt: skip
#: answers of a server that ask for another try, beside 5xx: request timed out, too early, too many requests
_LATER = frozenset({408, 425, 429})


def fetched(address: str, key: str) -> bytes:
    """What lies at an fsspec address, whole.

    Args:
        key: the config's key, for messages.

    Raises:
        DataUnavailable: no connection, a timeout, or a server that cannot answer now (HTTP 5xx, 408, 425, 429).
        ConfigError: nothing is there (404), it is not allowed, or the address or its file system is not known.
    """
    import fsspec

    try:
        with fsspec.open(address, "rb") as stream:
            return stream.read()
    except Exception as error:
        raise unread(address, key, error) from error


def unread(path: str, key: str, error: Exception) -> AuditError:
    """What to raise for an error met in opening or reading a data file, with the reason that lies under it."""
    reason = _reason(error)
    if passes(error):
        return DataUnavailable(
            f"{path} cannot be reached ({reason})", where=key, hint="try again when the network or the disk is back"
        )
    if any(isinstance(cause, ImportError) for cause in _causes(error)):
        return ConfigError(
            f"{path} needs a package that is not installed ({reason})",
            where=key,
            hint="install fsspec's extra for this kind of address, as in: pip install 'fsspec[http]'; for s3://: "
            "pip install 'keras-audit[s3]'",
        )
    hint = "check the address, and that the file system's package is installed" if "://" in path else None
    if any("Credentials" in type(cause).__name__ for cause in _causes(error)):  # botocore's, and its kin
        hint = "for s3:// set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    return ConfigError(f"{path} cannot be read ({reason})", where=key, hint=hint)


def passes(error: BaseException) -> bool:
    """Whether another try may succeed.

    The causes are asked too: fsspec tells every failure of a web server, a refused connection among them, as
    FileNotFoundError, and keeps what happened as its cause.
    """
    causes = list(_causes(error))
    statuses = [status for cause in causes if isinstance(status := getattr(cause, "status", None), int)]
    if statuses:
        return statuses[0] >= 500 or statuses[0] in _LATER
    if any(isinstance(cause, ssl.CertificateError) for cause in causes):
        return False
    # Beside OSError aiohttp has errors of its own; where nobody has imported it, nobody has raised them.
    aiohttp = sys.modules.get("aiohttp")
    broken = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) if aiohttp else ()
    return any(isinstance(cause, (TimeoutError, *broken)) or _file_system_may_return(cause) for cause in causes)


def _file_system_may_return(error: BaseException) -> bool:
    if not isinstance(error, OSError) or isinstance(
        error, (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
    ):
        return False
    # Without a number it is Arrow's word for a damaged file.
    return error.errno is not None and error.errno not in _LASTING


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies under it, outermost first."""
    seen: set[int] = set()
    under: BaseException | None = error
    while under is not None and id(under) not in seen:
        seen.add(id(under))
        yield under
        under = under.__cause__ or (None if under.__suppress_context__ else under.__context__)


def _reason(error: BaseException) -> str:
    """The first line of the error, or of its cause where it only says that nothing was found."""
    told = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ is not None else error
    text = told.strerror if isinstance(told, OSError) and told.strerror else str(told)
    return (text.splitlines() or [type(told).__name__])[0][:300]
