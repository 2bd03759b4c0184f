"""The DSSE envelope: what securesystemslib and any other reader takes, in one form only."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tasks.evidence import PublicKey
from tasks.evidence.envelope import PAYLOAD_TYPE, check_envelope
from tasks.persist import canonical
from tests.tasks.evidence.evidence_runs import signer_at

MANIFEST = canonical({"a": 1, "b": "ü"})


@pytest.fixture
def signer(tmp_path, monkeypatch):
    return signer_at(tmp_path / "k.pem", tmp_path / "reports", monkeypatch)[0]


def test_it_is_signed_as_dsse_says(signer):
    """Checked with cryptography alone, by the specification's own formula (PAE)."""
    value = json.loads(signer.envelope(MANIFEST))
    payload = base64.b64decode(value["payload"])
    assert payload == MANIFEST
    assert value["payloadType"] == PAYLOAD_TYPE == "application/vnd.in-toto+json"
    encoded = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    (signature,) = value["signatures"]
    key = Ed25519PublicKey.from_public_bytes(signer.public.raw)
    key.verify(base64.b64decode(signature["sig"]), encoded)
    assert signature["keyid"] == signer.public.keyid


def test_it_is_canonical_and_the_same_twice(signer):
    content = signer.envelope(MANIFEST)
    assert content == signer.envelope(MANIFEST)
    assert content == canonical(json.loads(content))
    assert check_envelope(json.loads(content), MANIFEST, signer.public) is None


def _changed(**changes):
    return lambda value: {**value, **changes}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda value: None, "is no DSSE envelope"),
        (lambda value: [value], "is no DSSE envelope"),
        (lambda value: {k: v for k, v in value.items() if k != "signatures"}, "is no DSSE envelope"),
        (_changed(more=1), "is no DSSE envelope"),
        (_changed(payloadType="text/plain"), "is not of the type"),
        (_changed(payloadType=None), "is not of the type"),
        (_changed(payload=base64.b64encode(b"{}").decode()), "holds another manifest"),
        (_changed(payload="*"), "holds another manifest"),
        (_changed(payload=7), "holds another manifest"),
        (lambda value: {**value, "payload": value["payload"] + "\n"}, "holds another manifest"),
        (_changed(signatures=[]), "has not one signature"),
        (_changed(signatures={}), "has not one signature"),
        (_changed(signatures=["x"]), "has not one signature"),
        (lambda value: {**value, "signatures": value["signatures"] * 2}, "has not one signature"),
        (_changed(signatures=[{}]), "has no signature that can be read"),
        (_changed(signatures=[{"keyid": 7, "sig": ""}]), "has no signature that can be read"),
        (_changed(signatures=[{"keyid": "x", "sig": "ü"}]), "has no signature that can be read"),
        (_changed(signatures=[{"keyid": "x", "sig": ""}]), "not of the key that manifest.json names"),
    ],
)
def test_another_envelope_is_told(signer, change, told):
    value = change(json.loads(signer.envelope(MANIFEST)))
    assert told in check_envelope(value, MANIFEST, signer.public)


def test_a_signature_of_another_kind_of_base64_is_told(signer):
    """The last digit of base64 for 64 bytes has four bits that say nothing."""
    value = json.loads(signer.envelope(MANIFEST))
    sig = value["signatures"][0]["sig"]
    assert sig.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = sig[:-3] + alphabet[alphabet.index(sig[-3]) + 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(sig)
    value["signatures"][0]["sig"] = other
    assert check_envelope(value, MANIFEST, signer.public) == "has no signature that can be read"


@pytest.mark.parametrize("other", ["signature", "key", "both"])
def test_another_signer_is_told(signer, tmp_path, monkeypatch, other):
    stranger = signer_at(tmp_path / "other.pem", tmp_path / "reports", monkeypatch)[0]
    value, theirs = (json.loads(one.envelope(MANIFEST)) for one in (signer, stranger))
    if other != "key":
        value["signatures"][0]["sig"] = theirs["signatures"][0]["sig"]
    if other != "signature":
        value["signatures"][0]["keyid"] = stranger.public.keyid
    assert "not of the key" in check_envelope(value, MANIFEST, signer.public)


def test_a_key_of_a_manifest_is_read_back(signer):
    told = signer.public.as_json()
    assert PublicKey.from_json(told) == signer.public
    for wrong in (
        None, 7, {}, {**told, "keyid": "0" * 64}, {**told, "more": 1}, {**told, "public": "zz"},
        {**told, "public": told["public"].upper()}, {**told, "public": "00"}, {**told, "keytype": "rsa"}, {"public": 7},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r".+"):
            PublicKey.from_json(wrong)
