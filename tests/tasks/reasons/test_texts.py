"""The language file: what is taken, and the one line that anything else gets."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from configs.schema import AuditConfig
from flows.preflight import checked_config
from tasks.errors import ConfigError
from tasks.reasons import check_reasons, insufficient
from tasks.reasons.texts import load_language

HEAD = 'version: "1"\nlanguage: en-US\n'
LEAST = HEAD + "reasons:\n  - {code: INC, text: Income insufficient for the amount requested, features: [income]}\n"


def config_with(path: str | None, **reasons: object) -> AuditConfig:
    return AuditConfig.model_validate(
        {
            "name": "x",
            "model": {"path": "m", "task": "binary"},
            "data": {"path": "d", "target": {"column": "y"}},
            "reasons": {"language": path, **reasons},
        }
    )


def refused(path: str, **reasons: object) -> str:
    with pytest.raises(ConfigError) as raised:
        check_reasons(config_with(path, **reasons))
    assert raised.value.exit_code == 2
    line = str(raised.value)
    assert line.isprintable()
    return line


def test_a_whole_file(language):
    content = LEAST + 'names: {debt: debts}\nletter: |\n  $id: $decision\n  $reasons\nwords: {each: "$feature → $to"}\n'
    found = load_language(config_with(language(content)))
    assert found is not None
    assert (found.version, found.language, found.english) == ("1", "en-US", True)
    assert found.reasons[0].features == ["income"]
    assert found.letter == "$id: $decision\n$reasons\n"
    assert found.words.each == "$feature → $to"
    assert found.sha256 == hashlib.sha256(content.encode()).hexdigest()


def test_without_a_file_there_is_nothing_to_check():
    assert load_language(config_with(None)) is None


def test_the_bundled_file_does():
    found = load_language(config_with("configs/languages/adult_income.en.yaml", changeable={"hours_per_week": {}}))
    assert found is not None
    assert {"RACE", "SEX", "AGE"} <= {reason.code for reason in found.reasons}  # none is filtered out


# Texts that do not do


@pytest.mark.parametrize(
    "text",
    [
        "Internal standards",
        "Declined under our INTERNAL lending policies",
        "internal-policy",
        "Does not meet our internal credit standards",
        "Applicant failed to achieve a qualifying score",
        "Credit score too low",
        "Your score was too low",
        "Insufficient score",
        "Insufficient credit score",
        "Low credit score",
        "Score below the cut-off",
        "Our policy",
        "Company policy",
        "ｉnternal ｓtandards",  # full width letters are the same words
        "Internal\u00a0standards!",
        "our credit scoring system",
    ],
)
def test_an_insufficient_text_is_refused_with_file_code_and_what_to_write_instead(language, text):
    path = language(HEAD + f"reasons:\n  - {{code: C1, text: {json.dumps(text)}, features: [income]}}\n")
    line = refused(path)
    assert line.startswith(f"{path}: the text of C1 does not state a specific reason")
    assert "12 CFR 1002.9(b)(2)" in line
    assert "Income insufficient for amount of credit requested" in line


@pytest.mark.parametrize(
    "text",
    [
        "Income insufficient for amount of credit requested",
        "Length of employment",
        "Too many recent inquiries on credit bureau report",
        "Insufficient number of credit references provided",
        "Poor credit performance with us",
        "Credit application incomplete",
        "International transfers",
        "Test score in mathematics",
    ],
)
def test_specific_texts_do(text):
    assert insufficient(text) is None


def test_letter_and_words_are_read_too(language):
    for part in ('letter: "You failed to achieve a qualifying score: $reasons"', 'words: {none: "internal policy"}'):
        assert "does not state a specific reason" in refused(language(LEAST + part + "\n"))
    assert load_language(config_with(language(LEAST + 'letter: "See our privacy policy. $reasons"\n'))) is not None


def test_a_text_of_another_language_is_known_to_be_unchecked(language):
    found = load_language(config_with(language(LEAST.replace("en-US", "de-DE"))))
    assert found is not None
    assert not found.english


# Placeholders


@pytest.mark.parametrize(
    ("letter", "says"),
    [
        ("Dear $name", "letter names placeholders that are not known: $name; available: id, audit, decision"),
        ("${reasons.__class__}", "letter has a $ that names nothing"),
        ("$reasons[0]", None),  # the bracket is text
        ("{reasons.__class__.__mro__}", None),  # so are braces: no attribute is ever reached
        ("%(id)s", None),
        ("costs 5 $", "letter has a $ that names nothing; a dollar sign is written $$"),
        ("costs 5 $$", None),
        ("$changes", "the letter names $changes, and reasons.changeable is empty"),
    ],
)
def test_placeholders(language, letter, says):
    path = language(LEAST + f"letter: {letter!r}\n")
    if says is None:
        check_reasons(config_with(path))
    else:
        assert says in refused(path)


def test_words_have_placeholders_of_their_own(language):
    assert "words.change names placeholders that are not known: $feature" in refused(
        language(LEAST + 'words: {change: "$feature"}\n')
    )


# Files that are none


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not a mapping"),
        ("- a", "not a mapping"),
        (b"\xff\xfe", "not UTF-8"),
        ("a: [", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        (LEAST + "version: '2'\n", "version is given twice"),
        (LEAST.replace("[income]", "&a [income]") + "names: {x: *a}\n", "aliases"),
        (LEAST + "letters: x\n", "unknown key letters; available: version, language"),
        (LEAST.replace("text:", "txt:"), "reasons.0.txt; available: code, text, features, when; did you mean text?"),
        (LEAST.replace('"1"', "1"), "version: should be a valid string; put it in quotes"),
        (LEAST.replace("en-US", "no_NO"), "language"),
        (LEAST.replace("INC", "'a b'"), "reasons.0.code"),
        (LEAST.replace("[income]", "[]"), "reasons.0.features"),
        (HEAD + "reasons: []\n", "reasons"),
        (LEAST.replace("requested", "requested\\e").replace("text: Income", 'text: "Income').replace(
            "requested\\e", 'requested\\e"'), "a character that no letter can"),
        (LEAST + "  - {code: INC, text: Other, features: [debt]}\n", "INC has two texts"),
        (LEAST + "  - {code: INC, text: Income insufficient for the amount requested, features: [debt]}\n",
         "INC is given to two reasons"),
        (LEAST + "  - {code: B, text: Both, features: [income, debt]}\n", "income is in two reasons"),
        (LEAST + "  - {code: B, text: Again, features: [income]}\n", "income has two texts for the same case"),
        (LEAST + "  - {code: B, text: Twice, features: [debt, debt]}\n", "B names a feature twice"),
        (LEAST + "  - {code: B, text: Both, features: [a, b], when: up}\n", "no direction in common"),
        (LEAST + "  - {code: B, text: Side, features: [a], when: sideways}\n", "reasons.1.when"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_do(language, content, says):
    assert says in refused(language(content))


def test_a_file_that_is_not_there(tmp_path, language):
    language(LEAST, "words.en.yaml")
    assert "reasons.language: no such file" in refused(str(tmp_path / "words.eng.yaml"))
    assert "did you mean" in refused(str(tmp_path / "words.eng.yaml"))
    assert "cannot be read" in refused(str(tmp_path))
    assert "over 1,000,000 bytes" in refused("/dev/zero")


def test_the_config_is_refused_before_anything_runs(tmp_path, language):
    path = language(LEAST.replace("Income insufficient for the amount requested", "Internal standards"))
    audit = tmp_path / "audit.yaml"
    audit.write_text(
        f"name: x\nmodel: {{path: m, task: binary}}\ndata: {{path: d, target: {{column: y}}}}\n"
        f"reasons: {{language: '{path}'}}\n"
    )
    with pytest.raises(ConfigError, match="INC does not state a specific reason"):
        checked_config(str(audit))
    assert sorted(p.name for p in Path(tmp_path).iterdir()) == ["audit.yaml", "reasons.yaml"]
