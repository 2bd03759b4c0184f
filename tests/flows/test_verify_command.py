"""`keras-audit verify` and `keys` on real audits: what is said, and the exit code."""

from __future__ import annotations

import getpass
import json
import os
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from flows import cli
from tasks.evidence import SIGNING_KEY, TRUSTED_KEYS, new_keys


class Said(NamedTuple):
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Audits:
    """Three real audits of one name, in the order they were published: signed, refused and signed, unsigned."""

    reports: Path
    signed: Path
    refused: Path
    unsigned: Path
    public: Path
    stranger: Path


@pytest.fixture(scope="module")
def audits(prefect_server, subject, tmp_path_factory) -> Audits:
    from flows.audit import audit as flow

    root = tmp_path_factory.mktemp("audits")
    pair, other = new_keys(root / "keys" / "ours.pem"), new_keys(root / "keys" / "theirs.pem")
    changes = {
        "report.formats": ["html", "pdf", "json", "markdown"],
        "explain.rows": 5,
        "explain.techniques": {"shap": {}},
    }
    configs = [
        subject.write(root / name, changes, data)
        for name, data in (("a", None), ("b", subject.data.drop_columns(["debt"])), ("c", None))
        if (root / name).mkdir() is None
    ]
    folders = []
    for config, key in zip(configs, (pair.private, pair.private, ""), strict=True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SIGNING_KEY, str(key))
            state = flow(config=str(config), reports=str(root / "reports"), return_state=True)
        folders.append(Path(state.result(raise_on_failure=False).folder))
    return Audits(root / "reports", *folders, pair.public, other.public)


@pytest.fixture
def say(capfd, monkeypatch) -> Callable[..., Said]:
    """Runs a command line in this process."""
    monkeypatch.setenv("KERAS_AUDIT_DEBUG", "0")
    monkeypatch.setenv(SIGNING_KEY, "")
    monkeypatch.setenv(TRUSTED_KEYS, "")

    def run(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in arguments])
        said = capfd.readouterr()
        return Said(ended.value.code, said.out, said.err)

    return run


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# What an audit records


def test_the_manifest_tells_of_every_input_and_of_no_place_or_person(audits):
    text = (audits.signed / "manifest.json").read_text(encoding="utf-8")
    predicate = json.loads(text)["predicate"]
    names = {one["name"] for one in predicate["configuration"]}
    assert {"data", "reference", "model", "preprocessor", "config", "policy", "lock", "code"} <= names
    told = predicate["annotations"]
    assert told["seeds"] == {"explain": 0}
    assert {"load_model", "explain/shap", "bias", "report"} <= {task["stage"] for task in told["tasks"]}
    assert {"tensorflow", "python", "typst"} <= set(told["environment"])
    assert told["hardware"]["cores"] >= 1
    assert str(audits.reports.parent) not in text
    assert f'"{getpass.getuser()}"' not in text
    assert platform.node() not in text
    record = (audits.signed / "record.json").read_text(encoding="utf-8")
    assert str(audits.reports) not in record


def test_audits_of_a_name_are_a_chain_refused_ones_too(audits):
    def before(folder: Path) -> str | None:
        told = json.loads((folder / "manifest.json").read_bytes())["predicate"]["annotations"]["predecessor"]
        return told and told["run_id"]

    assert [before(f) for f in (audits.signed, audits.refused, audits.unsigned)] == [
        None, audits.signed.name, audits.refused.name,
    ]  # fmt: skip


# What verify says


def test_a_signed_run_and_its_key(audits, say):
    said = say("verify", audits.signed, "--key", audits.stranger, "--key", audits.public)
    assert said.code == 0, said.out
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[-1] == "verified"
    told = next(line for line in lines if "equal byte for byte: " in line)
    assert all(name in told for name in ("summary.json", "report.html", "report.md", "report.pdf"))


def test_a_run_is_named_as_in_other_commands(audits, say):
    for name in ("credit", f"credit/{audits.signed.name}", audits.reports / "credit" / "latest"):
        assert say("verify", name, "--reports", audits.reports).code == 0
    said = say("verify", "credti", "--reports", audits.reports)
    assert said.code == 2
    assert "did you mean credit?" in said.err


def test_json_says_the_same(audits, say):
    said = say("verify", audits.refused, "--json")
    assert said.code == 0
    told = json.loads(said.out)
    assert told["verified"] is True
    assert told["signature"] == "signer_unknown"
    assert told["run_id"] == audits.refused.name
    assert told["problems"] == []
    assert told["exit_code"] == 0


@pytest.mark.parametrize(
    ("run", "keys", "code", "signature"),
    [
        ("unsigned", [], 0, "unsigned"),
        ("unsigned", ["public"], 5, "untrusted"),
        ("signed", [], 0, "signer_unknown"),
        ("signed", ["stranger"], 5, "untrusted"),
        ("signed", ["public"], 0, "trusted"),
        ("refused", ["stranger", "public"], 0, "trusted"),
    ],
)
@pytest.mark.parametrize("given", ["options", "environment"])
def test_keys_and_exit_codes(audits, say, monkeypatch, run, keys, code, signature, given):
    paths = [str(getattr(audits, key)) for key in keys]
    words = [word for path in paths for word in ("--key", path)] if given == "options" else []
    if given == "environment":
        monkeypatch.setenv(TRUSTED_KEYS, ":".join(paths))
    said = say("verify", getattr(audits, run), "--json", *words)
    assert said.code == code
    assert json.loads(said.out)["signature"] == signature


def test_a_key_that_is_none_is_bad_usage(audits, say, tmp_path):
    (tmp_path / "x.pub").write_text("x")
    assert say("verify", audits.signed, "--key", tmp_path / "x.pub").code == 2
    assert say("verify", audits.signed, "--key", tmp_path / "gone").code == 2


def test_a_copy_elsewhere_under_another_name(audits, say, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no reports here
    copy = shutil.copytree(audits.unsigned, tmp_path / "Beweis 1")
    said = say("verify", "Beweis 1")
    assert said.code == 0
    assert f"its id is {audits.unsigned.name}" in said.out
    assert f"the run before it, {audits.refused.name}, is not here" in said.out
    assert say("verify", copy, "--reports", audits.reports).code == 0
    (copy.parent / audits.refused.name).mkdir()
    said = say("verify", copy)
    assert said.code == 5
    assert "its manifest differs" in said.out


def test_one_changed_byte_in_any_file_ends_with_5(audits, tmp_path):
    from flows.verify import exit_code, verify

    draw, folder = random.Random(11), shutil.copytree(audits.signed, tmp_path / "copy")
    names = _files(folder)
    assert {"report.pdf", "report.html", "record.json", "attestation.json", "artifacts/groups.parquet"} <= set(names)
    for name in names:
        content = (folder / name).read_bytes()
        for place in sorted({0, len(content) - 1, *(draw.randrange(len(content)) for _ in range(4))}):
            changed = bytearray(content)
            changed[place] ^= 1 << draw.randrange(8)
            (folder / name).write_bytes(changed)
            _, found = verify(str(folder), [], audits.reports, replay=False)
            assert exit_code(found) == 5, (name, place)
        (folder / name).unlink()
        assert exit_code(verify(str(folder), [], audits.reports, replay=False)[1]) == 5, name
        (folder / name).write_bytes(content)


def test_failures_are_lines_that_name_the_file(audits, say, tmp_path):
    folder = shutil.copytree(audits.signed, tmp_path / "copy")
    (folder / "report.html").write_bytes(b"")
    (folder / "more\x1b[2J\n.txt").write_bytes(b"")
    said = say("verify", folder, "--replay")
    assert said.code == 5
    lines = said.out.splitlines()
    assert lines[-1] == "NOT VERIFIED: 2 problems"
    assert any(line.startswith("differs   report.html: differs: it has 0 bytes") for line in lines)
    assert "differs   more\\x1b[2J .txt: is not in the manifest" in lines
    assert any("not run again" in line for line in lines)  # what was changed is not run
    told = json.loads(say("verify", folder, "--json").out)
    assert told["verified"] is False
    assert len(told["problems"]) == 2


@pytest.mark.parametrize("left", ["manifest.sha256", "config.yaml", "artifacts/x", "../20260101T000000Z-00000001/x"])
def test_a_run_of_which_little_is_left_is_not_taken_for_none(tmp_path, say, left):
    place = tmp_path / "run" / left
    (tmp_path / "run").mkdir()
    place.parent.mkdir(exist_ok=True)
    place.write_text("x")
    said = say("verify", place.parent.resolve() if left.startswith("..") else tmp_path / "run")
    assert said.code == 5
    assert "manifest.json: is missing" in said.out


def test_a_manifest_that_became_a_pipe_does_not_block(tmp_path, say):
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "manifest.json")
    said = say("verify", tmp_path / "run")
    assert said.code == 5
    assert "manifest.json: is not a plain file" in said.out


@pytest.mark.parametrize(
    "run", ["", "reports", "reports/credit", ".", "/", "\0", "x" * 300, "../../etc/passwd", "-x", "a\nb", "nowhere"]
)
def test_what_is_no_run_is_bad_usage(tmp_path, say, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports" / "credit" / "notes").mkdir(parents=True)
    said = say("verify", "--", run)
    assert said.code == 2
    assert said.err.count("\n") == 1


def test_verify_opens_no_model_and_imports_nothing_for_it(audits):
    code = """
import sys
from flows.cli import main
try:
    main(["verify", sys.argv[1]])
except SystemExit as end:
    assert end.code == 0, end.code
print(sorted({"tensorflow", "keras", "prefect", "shap", "lime", "great_expectations"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(audits.signed)], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


# Keys


def test_keys_are_made_once(say, tmp_path):
    said = say("keys", "new", tmp_path / "k.pem")
    assert said.code == 0
    assert (tmp_path / "k.pem").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in said.out
    assert "key id" in said.out
    assert f"--sign {tmp_path / 'k.pem'}" in said.out
    assert f"--key {tmp_path / 'k.pem.pub'}" in said.out
    content = (tmp_path / "k.pem").read_bytes()
    said = say("keys", "new", tmp_path / "k.pem")
    assert said.code == 2
    assert "never overwritten" in said.err
    assert (tmp_path / "k.pem").read_bytes() == content


@pytest.mark.parametrize("key", ["gone.pem", "public.pem", "open.pem", "reports/k.pem"])
@pytest.mark.parametrize("given", ["option", "environment"])
def test_a_key_that_cannot_sign_is_told_before_the_audit_starts(subject, say, tmp_path, monkeypatch, key, given):
    config = subject.write(tmp_path, {})
    (tmp_path / "reports").mkdir()
    public = new_keys(tmp_path / "own.pem").public
    shutil.copy(public, tmp_path / "public.pem")
    new_keys(tmp_path / "open.pem").private.chmod(0o644)
    new_keys(tmp_path / "reports" / "k.pem")
    if given == "environment":
        monkeypatch.setenv(SIGNING_KEY, str(tmp_path / key))
    words = ["--sign", tmp_path / key] if given == "option" else []
    said = say("run", config, "--reports", tmp_path / "reports", *words)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert str(tmp_path / key) in said.err
    assert not (tmp_path / "reports" / "credit").exists()


def test_the_flow_refuses_such_a_key_too(prefect_server, subject, tmp_path, monkeypatch):
    from flows.audit import audit as flow
    from tasks.errors import UsageError

    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "gone.pem"))
    state = flow(config=str(subject.write(tmp_path, {})), reports=str(tmp_path / "reports"), return_state=True)
    assert isinstance(state.result(raise_on_failure=False), UsageError)
    assert not (tmp_path / "reports").exists()
