"""Keys: made once, never overwritten, read only where they are what they should be and nobody else can."""

from __future__ import annotations

import os
import pickle
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from tasks.errors import UsageError
from tasks.evidence import SIGNING_KEY, TRUSTED_KEYS, new_keys, signing_key, trusted_keys
from tasks.evidence.keys import PASSPHRASE, default_place


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in (SIGNING_KEY, TRUSTED_KEYS, PASSPHRASE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pair(tmp_path):
    return new_keys(tmp_path / "keys" / "signing.pem")


def _private(key) -> bytes:
    return key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())


def _public(key) -> bytes:
    return key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)


def _written(path, content: bytes, mode: int = 0o600):
    path.write_bytes(content)
    path.chmod(mode)
    return path


# Made


def test_a_pair_is_made_for_its_owner_alone(pair, tmp_path):
    before = os.umask(0)
    try:
        other = new_keys(tmp_path / "more" / "other.pem")
    finally:
        os.umask(before)
    for made in (pair, other):
        assert stat.S_IMODE(made.private.stat().st_mode) == 0o600
        assert made.public == made.private.with_name(f"{made.private.name}.pub")
        assert b"PRIVATE" not in made.public.read_bytes()
    assert stat.S_IMODE(other.private.parent.stat().st_mode) == 0o700
    assert pair.keyid != other.keyid
    assert not pair.encrypted


@pytest.mark.parametrize("there", ["signing.pem", "signing.pem.pub"])
@pytest.mark.parametrize("how", ["file", "link", "folder"])
def test_nothing_is_overwritten(tmp_path, there, how):
    place = tmp_path / there
    if how == "file":
        place.write_text("mine")
    elif how == "link":
        place.symlink_to("nowhere")
    else:
        place.mkdir()
    with pytest.raises(UsageError, match=r"never overwritten"):
        new_keys(tmp_path / "signing.pem")
    assert [p.name for p in tmp_path.iterdir()] == [there]


@pytest.mark.parametrize("place", ["/proc/keys/x.pem", "x" * 300, "a\0b"])
def test_a_place_that_cannot_be_written_is_told(tmp_path, place):
    with pytest.raises(UsageError) as raised:
        new_keys(tmp_path / place)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("place", ["", ".", "/"])
def test_a_place_without_a_name_is_told(place):
    with pytest.raises(UsageError, match="names no file"):
        new_keys(Path(place))


def test_the_default_place_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert new_keys().private == tmp_path / "keras-audit" / "signing.pem"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_place() == tmp_path / "home" / ".config" / "keras-audit" / "signing.pem"


# To sign


def test_no_key_named_is_no_key(tmp_path, monkeypatch):
    assert signing_key(tmp_path) is None
    monkeypatch.setenv(SIGNING_KEY, " ")
    assert signing_key(tmp_path) is None


def test_a_key_by_its_file_or_its_text(pair, tmp_path, monkeypatch):
    for given in (str(pair.private), pair.private.read_text()):
        monkeypatch.setenv(SIGNING_KEY, given)
        signer = signing_key(tmp_path / "reports")
        assert signer.public.keyid == pair.keyid
        assert [signer.public] == trusted_keys([pair.public])


def test_an_encrypted_key_needs_its_passphrase(tmp_path, monkeypatch):
    monkeypatch.setenv(PASSPHRASE, "correct horse")
    made = new_keys(tmp_path / "k.pem")
    assert made.encrypted
    assert b"ENCRYPTED" in made.private.read_bytes()
    monkeypatch.setenv(SIGNING_KEY, str(made.private))
    assert signing_key(tmp_path / "reports").public.keyid == made.keyid
    monkeypatch.setenv(PASSPHRASE, "wrong")
    with pytest.raises(UsageError, match="does not open with the passphrase"):
        signing_key(tmp_path / "reports")
    monkeypatch.delenv(PASSPHRASE)
    with pytest.raises(UsageError, match=f"encrypted; give its passphrase in {PASSPHRASE}"):
        signing_key(tmp_path / "reports")


def test_a_passphrase_for_another_key_is_no_error(pair, tmp_path, monkeypatch):
    monkeypatch.setenv(SIGNING_KEY, str(pair.private))
    monkeypatch.setenv(PASSPHRASE, "for another")
    assert signing_key(tmp_path / "reports").public.keyid == pair.keyid


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666, 0o620])
def test_a_key_that_others_can_read_is_refused(pair, tmp_path, monkeypatch, mode):
    pair.private.chmod(mode)
    monkeypatch.setenv(SIGNING_KEY, str(pair.private))
    with pytest.raises(UsageError, match=r"others can read this private key; chmod 600"):
        signing_key(tmp_path / "reports")


@pytest.mark.parametrize("way", ["inside", "linked", "dotted"])
def test_a_key_in_the_reports_folder_is_refused(tmp_path, monkeypatch, way):
    reports = tmp_path / "reports"
    made = new_keys(reports / "credit" / "k.pem")
    place = made.private
    if way == "linked":
        place = tmp_path / "k.pem"
        place.symlink_to(made.private)
    elif way == "dotted":
        place = tmp_path / "x" / ".." / "reports" / "credit" / "k.pem"
        (tmp_path / "x").mkdir()
    monkeypatch.setenv(SIGNING_KEY, str(place))
    with pytest.raises(UsageError, match="must not lie in the reports folder"):
        signing_key(reports)


_WRONG = {
    "rsa": (lambda: _private(rsa.generate_private_key(65537, 2048)), "not an Ed25519 key but RSA key"),
    "ec": (lambda: _private(ec.generate_private_key(ec.SECP256R1())), "not an Ed25519 key but (EC|EllipticCurve) key"),
    "ed448": (lambda: _private(ed448.Ed448PrivateKey.generate()), "not an Ed25519 key but Ed448 key"),
    "public": (lambda: _public(ed25519.Ed25519PrivateKey.generate()), "a public key cannot sign"),
    "garbage": (lambda: b"\x00\xff" * 50, "not a private key in a PEM file"),
    "empty": (lambda: b"", "not a private key in a PEM file"),
    "hollow": (
        lambda: b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "not a private key in a PEM file",
    ),
    "huge": (lambda: b"x" * 100_000, "over 65,536 bytes"),
}


@pytest.mark.parametrize(("content", "told"), _WRONG.values(), ids=_WRONG)
def test_what_cannot_sign_is_told_before_the_audit(tmp_path, monkeypatch, content, told):
    monkeypatch.setenv(SIGNING_KEY, str(_written(tmp_path / "k.pem", content())))
    with pytest.raises(UsageError, match=told) as raised:
        signing_key(tmp_path / "reports")
    assert raised.value.exit_code == 2
    assert "BEGIN" not in str(raised.value)


def test_a_text_that_is_no_key_is_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setenv(SIGNING_KEY, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    with pytest.raises(UsageError, match=f"^{SIGNING_KEY}: not a private key") as raised:
        signing_key(tmp_path / "reports")
    assert "c2VjcmV0" not in str(raised.value)


@pytest.mark.parametrize("what", ["nowhere", "folder", "fifo", "/dev/zero", "a\x01b", "loop"])
def test_what_is_no_file_is_told_at_once(tmp_path, monkeypatch, what):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    place = tmp_path / what
    monkeypatch.setenv(SIGNING_KEY, str(place))
    for ask in (lambda: signing_key(tmp_path / "reports"), lambda: trusted_keys([place])):
        with pytest.raises(UsageError, match=r"cannot be read|not a plain file"):
            ask()


def test_a_private_key_is_not_shown_and_not_pickled(pair, tmp_path, monkeypatch):
    monkeypatch.setenv(SIGNING_KEY, str(pair.private))
    signer = signing_key(tmp_path / "reports")
    assert "crypto" not in repr(signer)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(signer)


# To check


def test_trusted_keys_come_from_the_environment_unless_given(tmp_path, monkeypatch):
    one, two = new_keys(tmp_path / "one.pem"), new_keys(tmp_path / "two.pem")
    assert trusted_keys([]) == []
    monkeypatch.setenv(TRUSTED_KEYS, f"{one.public}{os.pathsep}{os.pathsep}{two.public}")
    assert [key.keyid for key in trusted_keys([])] == [one.keyid, two.keyid]
    assert [key.keyid for key in trusted_keys([two.public])] == [two.keyid]
    monkeypatch.setenv(TRUSTED_KEYS, str(tmp_path / "gone.pub"))
    with pytest.raises(UsageError, match=r"gone\.pub: the key cannot be read"):
        trusted_keys([])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda: _public(rsa.generate_private_key(65537, 2048)), "not an Ed25519 key but RSA key"),
        (lambda: _public(ec.generate_private_key(ec.SECP256R1())), "not an Ed25519 key but (EC|EllipticCurve) key"),
        (
            lambda: _private(ed25519.Ed25519PrivateKey.generate()),
            "a private key; a signature is checked with the public",
        ),
        (lambda: b"garbage", "not a public key in a PEM file"),
    ],
)
def test_what_cannot_check_is_told(tmp_path, content, told):
    with pytest.raises(UsageError, match=told):
        trusted_keys([_written(tmp_path / "k.pub", content())])
