"""Keys that sign runs and keys that check them: Ed25519, in PEM files. A private key never lies in a reports folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import UsageError
from tasks.evidence.envelope import PublicKey, Signer

#: a PEM file's path, or the PEM itself
SIGNING_KEY = "KERAS_AUDIT_SIGNING_KEY"
#: of an encrypted PEM
PASSPHRASE = "KERAS_AUDIT_SIGNING_PASSPHRASE"  # noqa: S105  # the variable's name
#: paths of public keys, separated as in PATH
TRUSTED_KEYS = "KERAS_AUDIT_TRUSTED_KEYS"
_MAX_BYTES = 64 * 1024  # a PEM of ours has 119
_MAKE = "make a pair with: keras-audit keys new"


@dataclass(frozen=True)
class KeyPair:
    """Where a new pair lies, and the key's id."""

    private: Path
    public: Path
    keyid: str
    encrypted: bool


def default_place() -> Path:
    """Where `keys new` puts a pair: `keras-audit/signing.pem` in the user's folder for configuration."""
    base = os.environ.get("XDG_CONFIG_HOME") or ""
    return (Path(base) if os.path.isabs(base) else Path.home() / ".config") / "keras-audit" / "signing.pem"


def new_keys(path: Path | None = None) -> KeyPair:
    """Makes a pair: the private key at `path`, for its owner alone, and the public one at `path`.pub.

    With KERAS_AUDIT_SIGNING_PASSPHRASE set the private key is encrypted with it.

    Raises:
        UsageError: the path names no file, one of the files is there already, or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = default_place() if path is None else path
    if not private.name:
        raise UsageError("names no file for a key", where=str(private), hint="give a path, as auditor.pem")
    public = private.with_name(f"{private.name}.pub")
    for place in (private, public):
        if os.path.lexists(place):
            raise UsageError("there is a file already, and keys are never overwritten", where=str(place))
    key, secret = Ed25519PrivateKey.generate(), _passphrase()
    how = pem.NoEncryption() if secret is None else pem.BestAvailableEncryption(secret)
    hidden = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, how)
    shown = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    try:
        private.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(private, hidden, 0o600)
        try:
            _create(public, shown, 0o644)
        except OSError:
            private.unlink()
            raise
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise UsageError(f"keys cannot be written ({said})", where=str(private)) from error
    raw = key.public_key().public_bytes(pem.Encoding.Raw, pem.PublicFormat.Raw)
    return KeyPair(private, public, PublicKey.of_raw(raw).keyid, secret is not None)


def _create(path: Path, content: bytes, mode: int) -> None:
    """Writes a new file; one that cannot be written whole is removed."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise


def signing_key(reports: Path) -> Signer | None:
    """The key that the environment names to sign runs with; None where it names none.

    Args:
        reports: the folder that reports are written under; the key's file must not lie there.

    Raises:
        UsageError: the key cannot be read, is no private Ed25519 key, or others can read its file.
    """
    from securesystemslib.signer import CryptoSigner

    given = os.environ.get(SIGNING_KEY, "")
    if not given.strip():
        return None
    if "-----BEGIN" in given:
        content, where = given.encode(errors="surrogateescape"), SIGNING_KEY
    else:
        path = Path(given)
        content, where = _private_content(path, reports), str(path)
    crypto = CryptoSigner(_private_key(content, where))
    return Signer(PublicKey.of_raw(bytes.fromhex(crypto.public_key.keyval["public"])), crypto)


def _private_content(path: Path, reports: Path) -> bytes:
    content, mode = _content(path, _MAKE)
    if path.resolve().is_relative_to(reports.resolve()):
        raise UsageError(
            "a private key must not lie in the reports folder, which is handed on",
            where=str(path),
            hint="move it, and make a new one if a report was handed on with it",
        )
    if os.name == "posix" and mode & 0o077:
        raise UsageError(
            "others can read this private key",
            where=str(path),
            hint=f"chmod 600 {path}, or give the key's text in {SIGNING_KEY}",
        )
    return content


def _private_key(content: bytes, where: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    secret = _passphrase()
    if b"PUBLIC KEY" in content:
        raise UsageError("a public key cannot sign", where=where, hint="give the private one, without .pub")
    try:
        if b"ENCRYPTED" not in content:
            secret = None  # a passphrase that is set for another key is no error
        key = load_pem_private_key(content, secret)
    except TypeError as error:  # encrypted, and no passphrase
        raise UsageError(
            "the private key is encrypted", where=where, hint=f"give its passphrase in {PASSPHRASE}"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if secret is not None:
            raise UsageError(
                f"the private key does not open with the passphrase in {PASSPHRASE}", where=where
            ) from error
        raise UsageError("not a private key in a PEM file", where=where, hint=_MAKE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"not an Ed25519 key but {_kind(key)}", where=where, hint=_MAKE)
    return key


def _passphrase() -> bytes | None:
    return os.environ.get(PASSPHRASE, "").encode(errors="surrogateescape") or None


def trusted_keys(paths: Sequence[Path]) -> list[PublicKey]:
    """The keys that a run must be signed with one of: the files given, else those of KERAS_AUDIT_TRUSTED_KEYS.

    Raises:
        UsageError: a file cannot be read or holds no public Ed25519 key.
    """
    listed = os.environ.get(TRUSTED_KEYS, "").split(os.pathsep)
    return [_public_key(path) for path in (paths or [Path(one) for one in listed if one.strip()])]


def _public_key(path: Path) -> PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    content, _ = _content(path, "give the public key's file, as keras-audit keys new made it (.pub)")
    if b"PRIVATE KEY" in content:
        raise UsageError(
            "a private key; a signature is checked with the public one", where=str(path), hint="give the file .pub"
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError("not a public key in a PEM file", where=str(path)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"not an Ed25519 key but {_kind(key)}", where=str(path))
    return PublicKey.of_raw(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _content(path: Path, hint: str) -> tuple[bytes, int]:
    """A key file's bytes and its mode."""
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise UsageError("not a plain file", where=str(path), hint=hint)
            content = stream.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise UsageError(f"the key cannot be read ({said})", where=str(path), hint=hint) from error
    if len(content) > _MAX_BYTES:
        raise UsageError(f"over {_MAX_BYTES:,} bytes: not a key", where=str(path), hint=hint)
    return content, stat.S_IMODE(mode)


def _kind(key: Any) -> str:
    name = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey").strip("_")
    return f"{name} key"
