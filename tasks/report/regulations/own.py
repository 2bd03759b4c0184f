"""Packs of the user's own: a YAML file, or Python that the user trusts, named in `report.regulations`.

    id: acme_fairness
    title: Acme's rules for models
    legal_status: Internal, since 2026.
    as_of: 2026-11-01
    source: P
    controls:
      - {id: owner, clause: "2.1", ask: Every model has an owner., rule: {attestation: owner}}
      - {id: shown, clause: "2.2", ask: Decisions are explained., rule: {evidence: [attributions, reason_codes]}}
      - {id: even, clause: "3.1", ask: …, rule: {metric: {metric: impact_ratio, attribute: sex, min: 0.9}}}
      - {id: kept, clause: "3.2", ask: The policy holds., rule: {check: all}}

A YAML pack says nothing that runs. Python runs only if its file, or its module, is named in KERAS_AUDIT_TRUST; it hands
over a `Pack` under the name PACK, or the one that `module:NAME` gives.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError, model_validator

from configs.blocks import Block
from configs.schema import AuditConfig, PolicyCheck
from tasks.errors import ConfigError, UsageError, nearest, one_line
from tasks.report.regulations.base import Pack, SourceClass
from tasks.report.regulations.own_rules import check_rule, findings

_MOST_BYTES = 1_000_000
_ID = re.compile(r"[a-z][a-z0-9_]{0,39}")
#: ids that files of a run are named after
_TAKEN = frozenset({"report", "index"})
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
_Named = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
_Id = Annotated[str, StringConstraints(pattern=f"^{_ID.pattern}$")]


def _day(value: Any) -> Any:
    if not isinstance(value, str | date):
        raise ValueError("not a date such as 2026-11-01")
    return value


class OwnRule(Block):
    """How a control's status comes about: one of the four."""

    attestation: _Named | None = Field(default=None, description="A topic that a person states.")
    evidence: list[_Named] | None = Field(default=None, min_length=1, description="Tables that the run must hold.")
    metric: PolicyCheck | None = Field(default=None, description="A number held against a limit, as a policy's is.")
    check: _Named | None = Field(default=None, description="all, or a check of the policy by its name.")

    @model_validator(mode="after")
    def _one(self) -> OwnRule:
        given = [key for key in ("attestation", "evidence", "metric", "check") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of attestation, evidence, metric, check, not {' and '.join(given) or 'none'}")
        if self.metric is not None and self.metric.kind != "metric":
            raise ValueError("metric: kind reasons is a check of the policy; name it under check")
        return self


class OwnControl(Block):
    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,59}$")]
    clause: _Named
    ask: _Text
    rule: OwnRule
    legal_status: _Text | None = None
    source: SourceClass | None = None


class OwnFile(Block):
    """A pack as a YAML file has it."""

    id: _Id
    title: _Named
    legal_status: _Text
    as_of: Annotated[date, BeforeValidator(_day)]
    source: SourceClass
    controls: list[OwnControl] = Field(min_length=1, max_length=500)

    @model_validator(mode="after")
    def _ids_differ(self) -> OwnFile:
        ids = [control.id for control in self.controls]
        twice = next((id for id in ids if ids.count(id) > 1), None)
        if twice is not None:
            raise ValueError(f"controls: {twice} is the id of two")
        return self


@dataclass(frozen=True)
class Own:
    """A pack of the user's own.

    Attributes:
        entry: as the config names it.
        sha256: of the bytes of its file, or of its module's.
        controls: of a YAML pack, to be held against a config.
    """

    entry: str
    pack: Pack
    sha256: str
    controls: tuple[OwnControl, ...] = ()

    @property
    def input(self) -> str:
        """What the manifest calls it."""
        return f"pack:{self.pack.id}"


def own_packs(config: AuditConfig) -> tuple[Own, ...]:
    """The packs of the user's own that a config names.

    Raises:
        ConfigError: one cannot be read, is no pack, or is code that is not trusted.
    """
    return tuple(
        own_pack(entry, f"report.regulations.{config.report.regulations.index(entry)}") for entry in config.report.packs
    )


def pack_inputs(config: AuditConfig) -> tuple[tuple[str, str], ...]:
    """(name in the manifest, SHA-256) of every pack of the user's own.

    Raises:
        ConfigError: as `own_packs`.
    """
    return tuple((own.input, own.sha256) for own in own_packs(config))


def check_own(config: AuditConfig, known: Sequence[str]) -> None:
    """Whether the user's own packs can be judged on what this config audits.

    Args:
        known: ids that are taken.

    Raises:
        ConfigError: a pack is no pack, its id is taken, or a rule names what the audit does not have.
    """
    seen = list(known)
    for own in own_packs(config):
        where = f"report.regulations.{config.report.regulations.index(own.entry)}, {one_line(own.entry, 200)}"
        if own.pack.id in seen:
            raise ConfigError(f"{own.pack.id} is the id of another pack", where=f"{where}, id")
        seen.append(own.pack.id)
        for number, control in enumerate(own.controls):
            check_rule(config, control.rule, f"{where}, controls.{number}.rule")


def own_pack(entry: str, where: str) -> Own:
    """Reads one pack. A Python file whose bytes were run once in this process is not run again.

    Raises:
        ConfigError: as `own_packs`.
    """
    where = f"{where}, {one_line(entry, 200)}"
    if entry.endswith((".yaml", ".yml")):
        content = _content(entry, where)
        read = _read(content, where)
        pack = Pack(
            read.id, read.title, read.legal_status, read.source, lambda reading: findings(reading, read),
            as_of=read.as_of.isoformat(),
        )  # fmt: skip
        return Own(entry, _fit(pack, where), hashlib.sha256(content).hexdigest(), tuple(read.controls))
    if not entry.endswith(".py") and not all(entry.partition(":")):
        raise ConfigError("is no pack: neither a .yaml or .py file nor module:NAME", where=where)
    load: Callable[[str, str], tuple[Any, bytes]] = _of_file if entry.endswith(".py") else _of_module
    found, content = load(entry, where)
    if not isinstance(found, Pack):
        raise ConfigError(f"is a {type(found).__name__} and no Pack", where=where, hint="PACK = Pack(…)")
    return Own(entry, _fit(found, where), hashlib.sha256(content).hexdigest())


def _fit(pack: Pack, where: str) -> Pack:
    """The pack, if its name and texts can stand in files and links."""
    if not isinstance(pack.id, str) or not _ID.fullmatch(pack.id) or pack.id in _TAKEN:
        told = f"{one_line(pack.id, 80)} cannot be the id of a pack"
        raise ConfigError(told, where=where, hint="a letter, then letters, digits and underscores, in lower case")
    if not all(isinstance(text, str) for text in (pack.title, pack.legal_status, pack.as_of)):
        raise ConfigError("title, legal_status and as_of are texts", where=where)
    if pack.source not in ("P", "S", "M"):
        raise ConfigError("source is none that is known", where=where, available=("P", "S", "M"))
    return pack


# ---------------------------------------------------------------- Python


def _of_file(entry: str, where: str) -> tuple[Any, bytes]:
    from tasks.load import trusted_modules

    path = Path(entry)
    trusted = [Path(one).resolve() for one in trusted_modules() if one.endswith(".py")]
    if path.resolve() not in trusted:
        told = "code of a file that is not trusted"
        hint = f"if you trust it, name it: KERAS_AUDIT_TRUST={entry}"
        raise ConfigError(told, where=where, hint=hint, code="untrusted_code")
    content = _content(entry, where)
    name = f"keras_audit_pack_{hashlib.sha256(content).hexdigest()[:16]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None:
            raise ConfigError("is no Python file", where=where)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            # Compiled from the bytes whose digest is recorded, and under its own future imports, not this file's.
            exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
        except BaseException as error:
            del sys.modules[name]
            if not isinstance(error, Exception):
                raise
            told = one_line(f"the trusted pack cannot be loaded ({type(error).__name__}: {error})")
            raise ConfigError(told, where=where) from error
    found = getattr(sys.modules[name], "PACK", None)
    if found is None:
        raise ConfigError("names no PACK", where=where, hint="PACK = Pack(…)")
    return found, content


def _of_module(entry: str, where: str) -> tuple[Any, bytes]:
    from tasks.load import trusted_object

    try:
        found = trusted_object(entry, where=where)
    except UsageError as error:
        raise ConfigError(error.what, where=where, values=error.values, hint=error.hint, code=error.code) from error
    source = getattr(sys.modules[entry.partition(":")[0]], "__file__", None)
    if source is None:
        raise ConfigError("the module has no file whose digest could be recorded", where=where)
    return found, _content(source, where)


# ---------------------------------------------------------------- YAML


def _content(path: str, where: str) -> bytes:
    try:
        with Path(path).open("rb") as stream:  # never to the end: /dev/zero has none
            content = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError("no such file", where=where, hint="relative paths start at the current folder") from error
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=where) from error
    except ValueError as error:  # a null character
        raise ConfigError("not the name of a file", where=where) from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"over {_MOST_BYTES:,} bytes: not a pack", where=where)
    return content


def _read(content: bytes, where: str) -> OwnFile:
    values = _values(content, where)
    if not isinstance(values, dict):
        raise ConfigError("not a mapping of keys to values", where=where, available=OwnFile.model_fields)
    try:
        return OwnFile.model_validate(values)
    except ValidationError as error:
        # An unknown key explains a missing one, so it is said first.
        first = min(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"])
    at = f"{where}, {place}" if place else where
    if first["type"] == "extra_forbidden":
        known = _fields_at(first["loc"][:-1])
        hint = nearest(first["loc"][-1], known)
        raise ConfigError(f"unknown key {first['loc'][-1]}", where=at, available=known, hint=hint)
    if first["type"] == "missing":
        raise ConfigError("is missing", where=at)
    told = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    raise ConfigError(told, where=at)


def _fields_at(place: Sequence[Any]) -> list[str]:
    """The keys that are known at a place of the file."""
    model: type[BaseModel] = OwnFile
    inside: dict[str, type[BaseModel]] = {"controls": OwnControl, "rule": OwnRule, "metric": PolicyCheck}
    for part in place:
        model = inside.get(part, model)
    return list(model.model_fields)


def _values(content: bytes, where: str) -> Any:
    """Safe YAML, without aliases, by which a small file could stand for an endless one, and without repeated keys."""
    import yaml

    class Plain(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                event: Any = self.peek_event()
                raise yaml.MarkedYAMLError(problem="aliases (*name) are not supported", problem_mark=event.start_mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
            seen: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                    told = f"{key.value} is given twice" if isinstance(key, yaml.ScalarNode) else "a key is not text"
                    raise yaml.MarkedYAMLError(problem=told, problem_mark=key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        loader = Plain(content.decode("utf-8"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", where=where) from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"not valid YAML: {error.problem}", where=f"{where}{line}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError("not valid YAML", where=where) from error
