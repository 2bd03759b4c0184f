"""From a YAML file and `--set` on the command line to a valid AuditConfig, or to one line that says what is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from configs.schema import PATTERNS, AuditConfig
from tasks.errors import ConfigError, nearest

_MAX_BYTES = 1_000_000  # a config is written by a person
_MAX_DEPTH = 40  # brackets in brackets

Key = tuple[str | int, ...]

#: text that no file, name or report can hold
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that is not taken."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses what silently loses or multiplies text.

    Of YAML 1.1, classes and columns keep their text: `no`, `on` and `010` are no flags and no octal number, as in
    YAML 1.2. Refused are a key given twice, a key that is not text, an alias, a number that is not finite, and text
    that no file can hold.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark: Any = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            raise _Refused(problem="aliases (*name) are not supported", problem_mark=mark)
        if self.depth >= _MAX_DEPTH:
            raise _Refused(problem=f"nested deeper than {_MAX_DEPTH} levels", problem_mark=mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise _Refused(problem="merge keys (<<) are not supported", problem_mark=key.start_mark)
            if key.tag != "tag:yaml.org,2002:str":
                named = f"the key {key.value}" if isinstance(key, yaml.ScalarNode) else "a key"
                raise _Refused(problem=f"{named} is not text; put it in quotes", problem_mark=key.start_mark)
            if key.value in seen:
                raise _Refused(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except ValueError as error:  # a date such as 2026-99-99, a number of 5000 digits
            raise _Refused(
                problem=f"not a value: {str(error).partition(';')[0]}", problem_mark=node.start_mark
            ) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise _Refused(problem=f"{node.value} is not a finite number", problem_mark=node.start_mark)
        if isinstance(value, str) and _UNWRITABLE.search(value):
            raise _Refused(problem="text with a null character or half a character", problem_mark=node.start_mark)
        return value


# Binary values and sets cannot be written to a report; SafeLoader would make them.
_Loader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] not in {"binary", "set", "omap", "pairs"}
}
_PLAIN = {
    "tag:yaml.org,2002:bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    "tag:yaml.org,2002:int": (re.compile(r"[-+]?(0|[1-9][0-9]*)"), "-+0123456789"),
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _PLAIN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern.pattern})$"), list(_first))


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> AuditConfig:
    """Reads a config.

    Args:
        path: a YAML file.
        overrides: `a.b=c` each; the value is YAML, and a number in the key is a position in a list.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong.
    """
    root, values = _parsed(_text(path), str(path))
    if not isinstance(values, dict):
        raise ConfigError("not a mapping of keys to values", where=str(path), hint="see configs/adult_income.yaml")
    changed = {_set(values, override): override for override in overrides}
    try:
        return AuditConfig.model_validate(values)
    except ValidationError as error:
        raise _told(error, path, root, values, changed) from error


def _text(path: str | Path) -> str:
    path = Path(path)
    try:
        with path.open("rb") as stream:  # never to the end: /dev/zero has none
            content = stream.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"over {_MAX_BYTES:,} bytes: not a config", where=str(path))
        return content.decode("utf-8")
    except FileNotFoundError as error:
        folder = path.parent
        known = sorted(str(p) for p in folder.glob("*.y*ml")) if folder.is_dir() else []
        raise ConfigError("no such file", where=str(path), available=known, hint=nearest(path, known)) from error
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", where=str(path)) from error
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except ValueError as error:  # a null character
        raise ConfigError("not the name of a file", where=str(path)) from error


def _parsed(text: str, where: str) -> tuple[yaml.Node | None, Any]:
    """One YAML document as nodes, which know their lines, and as values."""
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            return root, None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        told = f"not valid YAML: the character U+{error.character:04X} is not allowed"
        raise ConfigError(told, where=f"{where}:{line}") from error
    except yaml.MarkedYAMLError as error:
        problem = str(error.problem)
        if problem.startswith("but ") and error.context:
            problem = f"{error.context}, {problem}"
        place = f"{where}:{error.problem_mark.line + 1}" if error.problem_mark else where
        told = problem if isinstance(error, _Refused) else f"not valid YAML: {problem}"
        raise ConfigError(told, where=place) from error


def _set(values: dict[str, Any], override: str) -> Key:
    """Puts one `a.b=c` into the values; hands back its key."""
    where = _named(override)
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError("not of the form key.key=value", where=where)
    try:
        _, value = _parsed(text, where)
    except ConfigError as error:
        raise ConfigError(error.what, where=where) from error
    place: Any = values
    for part in parts[:-1]:
        if isinstance(place, list):
            place = place[_position(place, part, where)]
        else:
            if place.get(part) is None:
                place[part] = {}
            place = place[part]
        if not isinstance(place, dict | list):
            raise ConfigError(f"{part} is a single value and has no keys", where=where)
    if isinstance(place, list):
        place[_position(place, parts[-1], where)] = value
    else:
        place[parts[-1]] = value
    return tuple(parts)


def _named(override: str) -> str:
    return f"--set {override if len(override) <= 100 else override[:99] + '…'}"


def _position(items: list[Any], part: str, where: str) -> int:
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    raise ConfigError(f"{part} is not a position in a list of {len(items)} (the first is 0)", where=where)


def _told(
    error: ValidationError, path: str | Path, root: yaml.Node | None, values: Any, changed: Mapping[Key, str]
) -> ConfigError:
    """The first of pydantic's errors as one line: file, line, key, value, what would be right."""
    by_key: dict[Key, list[Any]] = {}
    for problem in error.errors(include_url=False, include_context=True):
        by_key.setdefault(_key_of(problem, values), []).append(problem)
    # An unknown key explains a missing one, so it is said first. A union reports each of its arms under one key.
    key, arms = min(by_key.items(), key=lambda item: item[1][0]["type"] != "extra_forbidden")
    first = arms[0]
    more = f" (and {len(by_key) - 1} more)" if len(by_key) > 1 else ""
    available: Iterable[str] = ()
    hint = None
    place = key
    if first["type"] == "extra_forbidden":
        known = _keys_at(key[:-1])
        what = f"unknown key {key[-1]}"
        hint, available = nearest(key[-1], known), known
    elif first["type"] == "missing":
        what, place = f"{key[-1]} is missing", key[:-1]
    elif first["type"] == "value_error":
        # The schema's own sentences begin with the key they are about.
        named, colon, what = first["msg"].removeprefix("Value error, ").partition(": ")
        inner = tuple(int(part) if part.isdecimal() else part for part in named.split("."))
        if colon and re.fullmatch(r"[a-z_0-9.]+", named):
            place = (*key, *inner)
        else:
            what = named + colon + what
    else:
        wanted = " or ".join(dict.fromkeys(_wanted(arms)))
        what = f"should be {wanted}, not {_shown(first['input'])}"
    where = _where(path, root, place, changed) + (f", {'.'.join(str(part) for part in place)}" if place else "")
    return ConfigError(what + more, where=where, available=available, hint=hint)


def _key_of(problem: Mapping[str, Any], values: Any) -> Key:
    """The place of a problem in the file. Pydantic's location also names the arms of unions, which are no keys."""
    key: list[str | int] = []
    for part in problem["loc"]:
        inside = part in values if isinstance(values, dict) else isinstance(part, int) and isinstance(values, list)
        if inside:
            values = values[part]
            key.append(part)
    return (*key, problem["loc"][-1]) if problem["type"] == "missing" else tuple(key)


_WANTED = {
    "bool_type": "true or false", "bool_parsing": "true or false",
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "number_type": "a number", "string_type": "text", "string_unicode": "text", "list_type": "a list",
    "dict_type": "a mapping", "model_type": "a mapping", "string_too_short": "text that is not empty",
}  # fmt: skip
_ONE_VALUE = {"true or false", "a whole number", "a number", "text"}


def _wanted(arms: Iterable[Mapping[str, Any]]) -> list[str]:
    """What each arm of a union would have taken, in words."""
    words = []
    for arm in arms:
        pattern = PATTERNS.get((arm.get("ctx") or {}).get("pattern", ""))
        plain = arm["msg"].removeprefix("Input should be ")
        if arm["type"] == "too_short":
            plain = f"a list of at least {arm['ctx']['min_length']}"
        words.append(pattern or _WANTED.get(arm["type"]) or plain)
    if set(words) >= _ONE_VALUE:
        words = ["a single value", *(word for word in words if word not in _ONE_VALUE)]
    return words


def _shown(value: Any) -> str:
    """A value as it would stand in the file."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else f"a list of {len(value)}"
    if value is None or isinstance(value, str | bool | int | float):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 80 else f"{text[:79]}…"
    return f"the {type(value).__name__} {value} (put it in quotes)"


def _keys_at(key: Key) -> list[str]:
    """The keys that the schema knows at a place."""
    model: type[BaseModel] = AuditConfig
    for part in key:
        # What is no field is a position in a list or a name in a mapping: its model was taken with the field.
        if part in model.model_fields:
            model = _model_in(model.model_fields[str(part)].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model in an annotation such as `list[PolicyCheck] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in getattr(annotation, "__args__", ()))
    return next((model for model in found if model is not None), None)


def _where(path: str | Path, root: yaml.Node | None, key: Key, changed: Mapping[Key, str]) -> str:
    """The `--set` that gave a key its value, or else the file and the line."""
    texts = tuple(str(part) for part in key)
    for place, override in reversed(list(changed.items())):
        if texts[: len(place)] == place:
            return _named(override)
    line = _line(root, key)
    return f"{path}:{line}" if line else str(path)


def _line(root: yaml.Node | None, key: Key) -> int | None:
    """The line of a key in the file, or of the deepest part of it that is there."""
    node, line = root, None
    for part in key:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
