"""The signature: manifest.json in a DSSE envelope, signed with Ed25519 by securesystemslib.

Source: Dead Simple Signing Envelope 1.0 (secure-systems-lab/dsse), with in-toto's payload type.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.persist import canonical

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key.

    Attributes:
        raw: 32 bytes.
        keyid: 64 hex digits: the SHA-256 of the key's canonical form, as securesystemslib computes it.
    """

    raw: bytes
    keyid: str

    @classmethod
    def of_raw(cls, raw: bytes) -> PublicKey:
        """The key of 32 bytes.

        Raises:
            ValueError: not 32 bytes.
        """
        return cls(raw, _key_of(raw).keyid)

    def as_json(self) -> dict[str, str]:
        return {"keyid": self.keyid, "keytype": "ed25519", "public": self.raw.hex()}

    @classmethod
    def from_json(cls, value: Any) -> PublicKey:
        """The key that a manifest names.

        Raises:
            ValueError: not what `as_json` gives.
        """
        if not isinstance(value, Mapping) or not isinstance(value.get("public"), str):
            raise ValueError("not a public key")
        found = cls.of_raw(bytes.fromhex(value["public"]))
        if found.as_json() != value:
            raise ValueError("not the key that its id names")
        return found


def _key_of(raw: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.signer import SSlibKey

    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(raw))


@dataclass(frozen=True)
class Signer:
    """What signs a run. Its text never shows the private key, and it is never written anywhere."""

    public: PublicKey
    crypto: CryptoSigner = field(repr=False)

    def envelope(self, content: bytes) -> bytes:
        """attestation.json of a manifest; Ed25519 is deterministic: the same content and key, the same bytes."""
        from securesystemslib.dsse import Envelope

        envelope = Envelope(content, PAYLOAD_TYPE, {})
        envelope.sign(self.crypto)
        return canonical(envelope.to_dict())

    def __reduce__(self) -> Any:
        raise TypeError("a private key is not pickled")


def check_envelope(value: Any, manifest: bytes, signer: PublicKey) -> str | None:
    """What is wrong with an envelope, or None.

    Args:
        value: attestation.json as JSON values; its canonical form is the caller's to check.
        manifest: manifest.json's bytes, which it has to hold.
        signer: the key that the manifest names.
    """
    if not isinstance(value, dict) or value.keys() != {"payload", "payloadType", "signatures"}:
        return "is no DSSE envelope"
    if value["payloadType"] != PAYLOAD_TYPE:
        return f"is not of the type {PAYLOAD_TYPE}"
    if _decoded(value["payload"]) != manifest:
        return "holds another manifest than manifest.json"
    signatures = value["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        return "has not one signature"
    one = signatures[0]
    if one.keys() != {"keyid", "sig"} or not isinstance(one["keyid"], str) or _decoded(one["sig"]) is None:
        return "has no signature that can be read"
    if one["keyid"] != signer.keyid or not _is_signed(value, [signer]):
        return "has a signature that is not of the key that manifest.json names"
    return None


def _is_signed(value: Mapping[str, Any], keys: Sequence[PublicKey]) -> bool:
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError

    envelope = Envelope.from_dict({**value, "signatures": [dict(one) for one in value["signatures"]]})
    try:
        envelope.verify([_key_of(key.raw) for key in keys], 1)
    except VerificationError:
        return False
    return True


def _decoded(text: Any) -> bytes | None:
    """The bytes of base64 text; None unless it is the one text for them."""
    if not isinstance(text, str):
        return None
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return content if base64.b64encode(content).decode() == text else None
