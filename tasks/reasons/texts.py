"""The language file: codes and texts of reasons, and the letter that tells them.

    version: "2026-11"
    language: en-US
    reasons:
      - {code: INC-1, text: Income insufficient for the credit requested, features: [income], when: down}
      - {code: EMP-1, text: Length of employment, features: [years_employed]}
    letter: |
      Reference $id: your application was declined. Principal reasons: $reasons
    words: {change: "If $changes, the decision would be $decision."}

Everything in it is text and stays text: placeholders are names and nothing else (`string.Template`), so that nothing of
the program can be reached through one.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from configs.schema import AuditConfig
from tasks.errors import ConfigError, nearest

#: Words that, in this order and no more than GAP words apart, make a statement of reasons insufficient.
#: 12 CFR 1002.9(b)(2): "Statements that the adverse action was based on the creditor's internal standards or policies
#: or that the applicant, joint applicant, or similar party failed to achieve a qualifying score on the creditor's
#: credit scoring system are insufficient"; the official commentary on 9(b)(2) asks for the specific factors scored.
INSUFFICIENT: tuple[tuple[str, ...], ...] = (
    ("internal", "standard"),
    ("internal", "standards"),
    ("internal", "policy"),
    ("internal", "policies"),
    ("internal", "criteria"),
    ("internal", "guidelines"),
    ("qualifying", "score"),
    ("passing", "score"),
    ("insufficient", "score"),
    ("score", "insufficient"),
    ("inadequate", "score"),
    ("credit", "score", "low"),
    ("low", "credit", "score"),
    ("score", "too", "low"),
    ("score", "below"),
    ("minimum", "score"),
)
#: as a reason these say no more; a letter may speak of "our privacy policy"
VAGUE: tuple[tuple[str, ...], ...] = (
    ("company", "policy"),
    ("our", "policy"),
    ("our", "policies"),
    ("our", "standards"),
    ("our", "criteria"),
    ("credit", "scoring", "system"),
)
#: words that may stand between two of a statement's
GAP = 3
SOURCE = "12 CFR 1002.9(b)(2) and its commentary"
INSTEAD = (
    'name the fact about the applicant that counted, as in "Income insufficient for amount of credit requested" or'
    ' "Length of employment"'
)
#: what a letter may name
PLACEHOLDERS = ("id", "audit", "decision", "reasons", "changes")
#: what the words of a change may name
WORDS = {"each": ("feature", "from", "to"), "change": ("changes", "decision"), "none": ("decision",)}
_LETTER = "the letter"
_MOST_BYTES = 1_000_000
_TEXT = StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)
#: characters that no letter needs: controls but line feeds and tabs, and half characters
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Reason(_Part):
    """One code and its text."""

    code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
    text: Annotated[str, _TEXT]
    features: list[Annotated[str, StringConstraints(min_length=1)]] = Field(min_length=1)
    when: Literal["up", "down"] | None = None


class Words(_Part):
    """How a change that would alter the result is told."""

    each: Annotated[str, _TEXT] = "$feature were $to instead of $from"
    join: Annotated[str, StringConstraints(min_length=1, max_length=40)] = " and "
    change: Annotated[str, _TEXT] = "If $changes, the decision would be $decision."
    none: Annotated[str, _TEXT] = (
        "No change of one or two of these features within these limits was found to alter the result."
    )


class _File(_Part):
    version: Annotated[str, _TEXT]
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
    reasons: list[Reason] = Field(min_length=1, max_length=10_000)
    letter: Annotated[str, StringConstraints(min_length=1, max_length=20_000)] | None = None
    words: Words = Words()
    names: dict[str, Annotated[str, _TEXT]] = {}


@dataclass(frozen=True)
class Language:
    """A language file, read and found to be sufficient.

    Attributes:
        path: as the config has it.
        sha256: of the file's bytes.
        version: of its codes.
        language: as in BCP 47.
        names: feature → what it is called where no reason has a text.
    """

    path: str
    sha256: str
    version: str
    language: str
    reasons: tuple[Reason, ...]
    letter: str | None
    words: Words
    names: dict[str, str]

    @property
    def english(self) -> bool:
        """Whether its texts could be held against the insufficient ones, which are in English."""
        return self.language.lower().partition("-")[0] in ("en", "eng")


def check_reasons(config: AuditConfig) -> None:
    """Whether the language file can be used, before anything is run.

    Raises:
        ConfigError: as `load_language`.
    """
    load_language(config)


def load_language(config: AuditConfig) -> Language | None:
    """The config's language file; None where it names none.

    Raises:
        ConfigError: it cannot be read, a key or value is wrong, a text does not do, or a placeholder is not known.
    """
    path = config.reasons.language
    if path is None:
        return None
    content = _content(path)
    read = _validated(_parsed(content, path), path)
    _refuse_insufficient(read, path)
    _check_codes(read.reasons, path)
    if read.letter is not None:
        _check_placeholders(read.letter, PLACEHOLDERS, path, "letter")
        if "changes" in Template(read.letter).get_identifiers() and not config.reasons.changeable:
            hint = "say in the config which features may change, or leave $changes out"
            raise ConfigError("the letter names $changes, and reasons.changeable is empty", where=path, hint=hint)
    for key, known in WORDS.items():
        _check_placeholders(getattr(read.words, key), known, path, f"words.{key}")
    return Language(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        version=read.version,
        language=read.language,
        reasons=tuple(read.reasons),
        letter=read.letter,
        words=read.words,
        names=read.names,
    )


def insufficient(text: str, statements: Sequence[Sequence[str]] = (*INSUFFICIENT, *VAGUE)) -> str | None:
    """The words by which a text fails to be a specific reason, or None.

    Case, forms of a letter, punctuation and up to GAP words between them make no difference.
    """
    told = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold().replace("’", "").replace("'", ""))
    for wanted in statements:
        for start, word in enumerate(told):
            if word == wanted[0] and _follows(told, start, wanted[1:]):
                return " … ".join(wanted)
    return None


def _follows(told: Sequence[str], at: int, wanted: Sequence[str]) -> bool:
    for word in wanted:
        ahead = told[at + 1 : at + 2 + GAP]
        if word not in ahead:
            return False
        at += 1 + ahead.index(word)
    return True


# ---------------------------------------------------------------- reading


def _content(path: str) -> bytes:
    where = Path(path)
    try:
        with where.open("rb") as stream:  # never to the end: /dev/zero has none
            content = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        known = sorted(str(p) for p in where.parent.glob("*.y*ml")) if where.parent.is_dir() else []
        hint = nearest(path, known) or "reasons.language names a YAML file"
        raise ConfigError("no such file", where="reasons.language", values=[path], hint=hint) from error
    except OSError as error:
        told = f"cannot be read ({error.strerror})"
        raise ConfigError(told, where="reasons.language", values=[path]) from error
    except ValueError as error:  # a null character
        raise ConfigError("not the name of a file", where="reasons.language", values=[path]) from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"over {_MOST_BYTES:,} bytes: not a language file", where=path)
    return content


class _Plain(yaml.SafeLoader):
    """Safe YAML without aliases, by which a small file could stand for an endless one, and without repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not supported", problem_mark=self.peek_mark())
        return super().compose_node(parent, index)

    def peek_mark(self) -> Any:
        event: Any = self.peek_event()
        return event.start_mark

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                told = f"{key.value} is given twice" if isinstance(key, yaml.ScalarNode) else "a key that is not text"
                raise yaml.MarkedYAMLError(problem=told, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parsed(content: bytes, path: str) -> Any:
    try:
        loader = _Plain(content.decode("utf-8"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", where=path) from error
    except yaml.MarkedYAMLError as error:
        place = f"{path}:{error.problem_mark.line + 1}" if error.problem_mark else path
        raise ConfigError(f"not valid YAML: {error.problem}", where=place) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError("not valid YAML", where=path) from error


def _validated(values: Any, path: str) -> _File:
    if not isinstance(values, dict):
        raise ConfigError("not a mapping of keys to values", where=path, hint="version, language, reasons, letter")
    try:
        read = _File.model_validate(values)
    except ValidationError as error:
        # An unknown key explains a missing one, so it is said first.
        first = min(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            blocks: dict[str, type[BaseModel]] = {"": _File, "words": Words}
            known = blocks.get(".".join(map(str, first["loc"][:-1])), Reason).model_fields
            hint = nearest(first["loc"][-1], known)
            raise ConfigError(f"unknown key {place}", where=path, available=known, hint=hint) from error
        hint = "put it in quotes" if first["type"] == "string_type" and first["input"] is not None else None
        raise ConfigError(f"{place}: {first['msg'].removeprefix('Input ')}", where=path, hint=hint) from error
    for place, text in _texts(read):
        if _UNWRITABLE.search(text):
            raise ConfigError(f"{place} holds a character that no letter can", where=path)
    return read


def _texts(read: _File) -> Iterator[tuple[str, str]]:
    """Every text of the file that somebody will read, and where it stands."""
    yield from ((f"the text of {reason.code}", reason.text) for reason in read.reasons)
    yield from ((f"the name of {feature}", text) for feature, text in read.names.items())
    yield from ((f"words.{key}", text) for key, text in read.words.model_dump().items())
    if read.letter is not None:
        yield _LETTER, read.letter


def _refuse_insufficient(read: _File, path: str) -> None:
    for place, text in _texts(read):
        found = insufficient(text, INSUFFICIENT) if place == _LETTER else insufficient(text)
        if found is not None:
            raise ConfigError(
                f"{place} does not state a specific reason (“{found}”: {SOURCE})",
                where=path,
                values=[text],
                hint=INSTEAD,
                code="insufficient_reason",
            )


def _check_codes(reasons: Sequence[Reason], path: str) -> None:
    texts: dict[str, str] = {}
    about: dict[str, frozenset[str]] = {}
    taken: dict[str, tuple[frozenset[str], set[str | None]]] = {}
    for reason in reasons:
        if texts.setdefault(reason.code, reason.text) != reason.text:
            raise ConfigError(f"{reason.code} has two texts", where=path, hint="a code says one thing")
        own = frozenset(reason.features)
        if about.setdefault(reason.code, own) != own:
            told = f"{reason.code} is given to two reasons, so that a letter could state it twice"
            raise ConfigError(told, where=path, hint="list their features in one")
        if len(own) < len(reason.features):
            raise ConfigError(f"{reason.code} names a feature twice", where=path)
        for feature in own:
            features, whens = taken.setdefault(feature, (own, set()))
            if features != own:
                told = f"{feature} is in two reasons that are about different features, and would count twice"
                raise ConfigError(told, where=path, values=[reason.code])
        whens = taken[reason.features[0]][1]
        if reason.when in whens:
            told = f"{', '.join(reason.features)} has two texts for the same case"
            raise ConfigError(told, where=path, values=[reason.code], hint="tell them apart by when: up and when: down")
        for feature in own:
            taken[feature][1].add(reason.when)
        if reason.when is not None and len(own) > 1:
            told = f"{reason.code} is about several features, which have no direction in common"
            raise ConfigError(told, where=path, hint="leave when out")


def _check_placeholders(text: str, known: Sequence[str], path: str, where: str) -> None:
    template = Template(text)
    if not template.is_valid():
        raise ConfigError(f"{where} has a $ that names nothing", where=path, hint="a dollar sign is written $$")
    unknown = [name for name in template.get_identifiers() if name not in known]
    if unknown:
        hint = nearest(unknown[0], known)
        told = f"{where} names placeholders that are not known"
        raise ConfigError(told, where=path, values=[f"${name}" for name in unknown], available=known, hint=hint)
