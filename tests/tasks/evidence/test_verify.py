"""A run is verified anywhere, under any name; whatever was changed in it since it was published is a line."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasks.evidence import verify_run
from tasks.evidence.verify import MOST_PROBLEMS
from tasks.persist import canonical
from tests.tasks.evidence.evidence_runs import OWN, redigested


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _named(found, name: str) -> bool:
    return any(problem.startswith((f"{name}:", name)) for problem in found.problems)


# Untouched


def test_a_run_is_verified_where_it_was_published(runs):
    found = verify_run(runs.second, keys=[runs.key])
    assert found.problems == ()
    assert found.signature == "trusted"
    assert found.keyid == runs.key.keyid
    assert found.files == len(_files(runs.second)) - len(OWN)
    assert "chain: 1 run before this one fit, back to the first" in found.notes
    assert "made again from the tables, equal byte for byte: summary.json" in found.notes[-1]
    assert all(name in found.notes[-1] for name in ("report.html", "report.pdf", "report.md"))


def test_a_copy_elsewhere_under_another_name_is_verified(runs, copied):
    copy = copied(runs.first)
    shutil.move(copy, copy.with_name("umbenannt – 報告"))
    found = verify_run(copy.with_name("umbenannt – 報告"), keys=[runs.stranger, runs.key])
    assert (found.problems, found.signature, found.run_id) == ((), "trusted", runs.first.name)


def test_who_signed_is_told_and_not_taken_for_known(runs):
    found = verify_run(runs.first)
    assert (found.problems, found.signature) == ((), "signer_unknown")
    assert any(note.startswith("signer unknown") and runs.key.keyid in note for note in found.notes)


def test_an_unsigned_run_says_so(runs):
    found = verify_run(runs.unsigned)
    assert (found.problems, found.signature, found.keyid) == ((), "unsigned", None)
    assert any(note.startswith("unsigned") for note in found.notes)
    assert verify_run(runs.unsigned, keys=[runs.key]).problems == (
        "attestation.json: the run is unsigned, and one of the keys given has to have signed it",
    )


def test_another_key_is_a_problem(runs):
    found = verify_run(runs.first, keys=[runs.stranger])
    assert found.signature == "untrusted"
    assert len(found.problems) == 1
    assert runs.key.keyid in found.problems[0]


# Changed


@pytest.mark.parametrize("trusting", [True, False])
def test_one_changed_byte_in_any_file_is_found(runs, copied, trusting):
    """Also where no key is given: the manifest names the key that signed it."""
    draw, folder = random.Random(5), copied(runs.second)
    keys = [runs.key] if trusting else []
    names = _files(folder)
    assert len(names) > 10
    for name in names:
        path, content = folder / name, (folder / name).read_bytes()
        for place in sorted({0, len(content) - 1, *(draw.randrange(len(content)) for _ in range(6))}):
            changed = bytearray(content)
            changed[place] ^= 1 << draw.randrange(8)
            path.write_bytes(changed)
            found = verify_run(folder, keys=keys)
            assert found.problems, (name, place)
            assert _named(found, name) or name in OWN, (name, place, found.problems)
        path.write_bytes(content)
    assert verify_run(folder, keys=keys).problems == ()


@pytest.mark.parametrize("change", ["shorter", "longer", "empty"])
def test_a_file_of_another_length_is_found(runs, copied, change):
    folder = copied(runs.first)
    for name in _files(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes({"shorter": content[:-1], "longer": content + b"\n", "empty": b""}[change])
        found = verify_run(folder)
        assert _named(found, name) or name in OWN, (name, found.problems)
        assert found.problems
        (folder / name).write_bytes(content)


def test_a_removed_file_is_found(runs, copied):
    folder = copied(runs.first)
    for name in _files(folder):
        (folder / name).rename(folder.parent / "kept")
        found = verify_run(folder, keys=[runs.key])
        assert [p for p in found.problems if p.startswith(f"{name}: is missing")], (name, found.problems)
        (folder.parent / "kept").rename(folder / name)


@pytest.mark.parametrize(
    "name",
    ["more.txt", ".hidden", "artifacts/more.parquet", "artifacts/.hidden", "artifacts/images/.x/y", "manifest.json~",
     "artifacts/manifest.json", "a\nb", "‮x", "\x1b[2J", os.fsdecode(b"\xff\xfe"), "MANIFEST.JSON"],
    ids=repr,
)  # fmt: skip
def test_an_added_file_is_found(runs, copied, name):
    folder = copied(runs.first)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"")
    found = verify_run(folder, keys=[runs.key])
    assert any("is not in the manifest" in problem for problem in found.problems)
    for problem in found.problems:
        problem.encode()
        assert problem.isprintable()


@pytest.mark.parametrize("name", ["empty", ".empty", "artifacts/empty", "artifacts/a/b"])
def test_an_added_folder_is_found(runs, copied, name):
    folder = copied(runs.first)
    (folder / name).mkdir(parents=True)
    assert any("is a folder that the manifest does not know" in p for p in verify_run(folder).problems)


def test_a_signature_beside_an_unsigned_run_is_found(runs, copied):
    folder = copied(runs.unsigned)
    shutil.copy(runs.first / "attestation.json", folder)
    assert verify_run(folder).problems == ("attestation.json: is not in the manifest",)


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo", "linked folder"])
def test_what_is_no_file_any_more_is_found(runs, copied, kind):
    folder = copied(runs.first)
    for name in (
        "manifest.json",
        "manifest.sha256",
        "attestation.json",
        "report.html",
        "artifacts/predictions.parquet",
    ):
        place, kept = folder / name, folder.parent / "kept"
        place.rename(kept)
        if kind == "link":
            place.symlink_to(kept)  # the same bytes, but they lie elsewhere
        elif kind == "dangling":
            place.symlink_to("nowhere")
        elif kind == "folder":
            place.mkdir()
        elif kind == "fifo":
            os.mkfifo(place)
        else:
            place.symlink_to("/")
        found = verify_run(folder)
        assert _named(found, name), (name, found.problems)
        place.rmdir() if kind == "folder" else place.unlink()
        kept.rename(place)
    assert verify_run(folder).problems == ()


def test_a_folder_that_became_a_link_is_found(runs, copied):
    folder = copied(runs.first)
    (folder / "artifacts").rename(folder.parent / "artifacts")
    (folder / "artifacts").symlink_to(folder.parent / "artifacts")
    found = verify_run(folder)
    assert "artifacts: is not in the manifest" in found.problems
    assert any("predictions.parquet: is missing" in problem for problem in found.problems)


def test_swapped_files_of_two_runs_are_found(runs, copied):
    folder = copied(runs.first)
    swapped = 0
    for name in _files(folder):
        content, other = (folder / name).read_bytes(), (runs.second / name).read_bytes()
        if content != other:
            (folder / name).write_bytes(other)
            assert verify_run(folder, keys=[runs.key]).problems, name
            (folder / name).write_bytes(content)
            swapped += 1
    assert swapped >= len(OWN) + 3
    for name in OWN:  # the seal of another run, whole and rightly signed
        shutil.copy(runs.second / name, folder)
    assert verify_run(folder, keys=[runs.key]).problems


def test_two_files_of_a_run_that_changed_places_are_found(runs, copied):
    folder = copied(runs.first)
    one, two = "report.md", "artifacts/predictions.parquet"
    (folder / one).rename(folder / "kept")
    (folder / two).rename(folder / one)
    (folder / "kept").rename(folder / two)
    found = verify_run(folder)
    assert _named(found, one)
    assert _named(found, two)


def test_signed_anew_with_another_key_is_found(runs, copied, tmp_path, monkeypatch):
    """Whoever changes a run can sign it, but not with our key."""
    from tests.tasks.evidence.evidence_runs import signer_at

    signer, _ = signer_at(tmp_path / "k.pem", tmp_path / "reports", monkeypatch)
    folder = copied(runs.first)
    manifest = (folder / "manifest.json").read_bytes()
    (folder / "attestation.json").write_bytes(signer.envelope(manifest))
    found = verify_run(folder)  # without any key: the manifest names ours
    assert found.problems == ("attestation.json: has a signature that is not of the key that manifest.json names",)
    redigested(folder, lambda s: s["predicate"]["annotations"].update(signer=signer.public.as_json()))
    (folder / "attestation.json").write_bytes(signer.envelope((folder / "manifest.json").read_bytes()))
    assert verify_run(folder).signature == "signer_unknown"
    found = verify_run(folder, keys=[runs.key])
    assert found.signature == "untrusted"
    assert len(found.problems) == 1


def test_a_signature_that_was_taken_off_is_found(runs, copied):
    folder = copied(runs.first)
    (folder / "attestation.json").unlink()
    assert verify_run(folder).problems == ("attestation.json: is missing",)
    redigested(folder, lambda s: s["predicate"]["annotations"].update(signer=None))
    assert verify_run(folder).signature == "unsigned"  # nothing tells any more, but for who knows the key
    assert verify_run(folder, keys=[runs.key]).problems


# Not in its one form


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + b"\n",
        lambda text: b" " + text,
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b'","', b'", "', 1),
        lambda text: json.dumps(json.loads(text), indent=1).encode(),
        lambda text: text.replace(b"satisfied", b"\\u0073atisfied", 1),
        lambda text: text.replace(b'{"_type"', b'{"_type":"x","_type"', 1),
        lambda text: text.decode().encode("utf-16"),
    ],
)
@pytest.mark.parametrize("name", ["manifest.json", "attestation.json"])
def test_other_bytes_for_the_same_values_are_found(runs, copied, change, name):
    folder = copied(runs.first)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(change(content))
    if (folder / name).read_bytes() == content:
        pytest.skip("nothing to change in this file")
    if name == "manifest.json":
        import hashlib

        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        (folder / "manifest.sha256").write_text(f"{digest}  manifest.json\n")
    found = verify_run(folder)
    assert _named(found, name), found.problems


@pytest.mark.parametrize(
    "line", ["{d}  manifest.json", "{d} manifest.json\n", "{d} *manifest.json\n", "{d}\n", "{D}  manifest.json\n"]
)
def test_the_digest_has_one_form_too(runs, copied, line):
    folder = copied(runs.first)
    digest = (folder / "manifest.sha256").read_text().split()[0]
    (folder / "manifest.sha256").write_text(line.format(d=digest, D=digest.upper()))
    assert verify_run(folder).problems == ("manifest.sha256: is not the digest of manifest.json",)


# Made to harm


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "artifacts/../../x", "./report.md", "a//b", "", "manifest.json", "a/\x00", "..",
     7, None],
)  # fmt: skip
def test_a_manifest_that_names_what_is_outside_is_refused_unopened(runs, copied, name, monkeypatch):
    folder, opened = copied(runs.unsigned), []
    redigested(folder, lambda s: s["subject"].insert(0, {**s["subject"][0], "name": name}))
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *more, **other: opened.append(str(path)) or real(path, *more, **other))
    found = verify_run(folder)
    assert found.problems
    assert _named(found, "manifest.json")
    assert not [path for path in opened if "passwd" in path]


_HOSTILE = {
    "nothing": b"",
    "no JSON": b"\x00\x01\x02",
    "a number": b"7",
    "a text": b'"x"',
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "deep": b"[" * 200_000,
    "deep and closed": b"[" * 90_000 + b"]" * 90_000,
    "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "NaN": b'{"a":NaN}',
    "half a character": b'{"a":"\\ud800"}',
    "a number without end": b"9" * 100_000,
    "a float": b'{"a":1e400}',
    "types": canonical({"_type": [], "predicateType": {}, "subject": 5, "predicate": None}),
}


@pytest.mark.parametrize("content", _HOSTILE.values(), ids=_HOSTILE)
@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "attestation.json"])
def test_hostile_content_is_a_line(runs, copied, content, name):
    folder = copied(runs.first)
    (folder / name).write_bytes(content)
    found = verify_run(folder, keys=[runs.key])
    assert _named(found, name)


@pytest.mark.parametrize("name", ["record.json", "summary.json", "config.yaml"])
@pytest.mark.parametrize("content", _HOSTILE.values(), ids=_HOSTILE)
def test_hostile_content_with_a_manifest_to_it_is_a_line(runs, copied, content, name):
    folder = copied(runs.unsigned)
    (folder / name).write_bytes(content)
    redigested(folder)
    found = verify_run(folder)
    assert found.problems
    assert all(problem.isprintable() for problem in found.problems)


@pytest.mark.parametrize("policy", ["[2026-01-01]", '[!!binary "aa=="]', '["\\ud800"]', "{1: 2}", "!!set {a}"])
def test_a_policy_of_values_that_json_has_not_is_a_line(runs, copied, policy):
    """YAML knows dates, bytes and sets; no digest is made of them."""
    folder = copied(runs.unsigned)
    values = yaml.safe_load((folder / "config.yaml").read_bytes())
    del values["policy"]
    (folder / "config.yaml").write_text(f"{yaml.safe_dump(values)}policy: {policy}\n", encoding="utf-8")
    redigested(folder)
    assert _named(verify_run(folder), "config.yaml")


def test_every_part_of_a_manifest_may_be_of_another_type(runs, copied):
    """Each value of a manifest in turn becomes something else: a line, never a traceback."""
    folder = copied(runs.unsigned)
    statement = json.loads((folder / "manifest.json").read_bytes())
    statement["subject"] = statement["subject"][:2]
    places = list(_places(statement))
    assert len(places) > 30
    for place in places:
        for other in (None, 7, "x", [], {}, [[]], {"a": {}}, True, -(10**30)):
            changed = json.loads(json.dumps(statement))
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = other
            (folder / "manifest.json").write_bytes(canonical(changed))
            assert verify_run(folder).problems


def _places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))


def test_a_huge_manifest_is_not_read(runs, copied):
    folder = copied(runs.first)
    for name in ("manifest.json", "manifest.sha256", "attestation.json"):
        content = (folder / name).read_bytes()
        with (folder / name).open("wb") as stream:
            stream.truncate(1 << 40)
        assert any(p.startswith(f"{name}: has over") for p in verify_run(folder).problems)
        (folder / name).write_bytes(content)


def test_a_huge_file_is_told_by_its_size(runs, copied):
    folder = copied(runs.first)
    with (folder / "report.html").open("r+b") as stream:
        stream.truncate(1 << 42)
    assert any(
        p.startswith("report.html: differs: it has 4,398,046,511,104 bytes") for p in verify_run(folder).problems
    )


def test_folders_without_end_are_left(runs, copied):
    folder = copied(runs.first)
    deep = folder / "artifacts"
    for _ in range(40):
        deep = deep / "d"
        deep.mkdir()
    found = verify_run(folder)
    assert any("folders in folders" in problem for problem in found.problems)


def test_problems_without_end_are_counted(runs, copied):
    folder = copied(runs.first)
    for number in range(700):
        (folder / f"{number}.txt").touch()
    problems = verify_run(folder).problems
    assert len(problems) == MOST_PROBLEMS + 1
    assert problems[-1].endswith("more")


def test_problems_without_end_hide_no_signature(runs, copied):
    folder = copied(runs.first)
    for number in range(60):
        (folder / f"{number}.txt").touch()
    found = verify_run(folder, keys=[runs.stranger])
    assert _named(found, "attestation.json")
    assert found.problems[-1] == "and 11 more"  # of 60 files and a signature


def test_an_empty_folder_is_no_run(tmp_path):
    assert verify_run(tmp_path).problems == ("manifest.json: is missing",)
    assert verify_run(tmp_path / "nowhere").problems


# How it looks


def test_no_model_is_opened_and_nothing_heavy_loaded(runs):
    code = (
        "import sys; from pathlib import Path; from tasks.evidence import verify_run\n"
        "found = verify_run(Path(sys.argv[1]))\n"
        "assert not found.problems and 'byte for byte' in found.notes[-1], found\n"
        "print(sorted({'tensorflow', 'keras', 'prefect', 'shap', 'lime', 'great_expectations'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(runs.second)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_what_differs_is_not_made_again(runs, copied):
    folder = copied(runs.first)
    (folder / "report.md").write_bytes(b"")
    found = verify_run(folder)
    assert found.notes[-1].startswith("the report's numbers were not compared")
