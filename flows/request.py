"""From a YAML file and `--set` on the command line to a valid AuditConfig, or to one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from configs.schema import AuditConfig
from tasks.errors import ConfigError, nearest

_MAX_BYTES = 1_000_000  # a config is written by a person

Key = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses what silently loses or multiplies text: a key given twice, an alias."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not supported", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value} is given twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> AuditConfig:
    """Reads a config.

    Args:
        path: a YAML file.
        overrides: `a.b=c` each; the value is YAML, and a number in the key is a position in a list.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong.
    """
    text = _text(path)
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            values = loader.construct_document(root) if root is not None else None
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(
            f"not valid YAML: {getattr(error, 'problem', None) or error}", where=f"{path}{line}"
        ) from error
    except (ValueError, RecursionError) as error:  # a date such as 2026-99-99, or a thousand brackets
        raise ConfigError(f"not valid YAML: {error}", where=str(path)) from error
    if not isinstance(values, dict):
        raise ConfigError("not a mapping of keys to values", where=str(path), hint="see configs/adult_income.yaml")
    for override in overrides:
        _set(values, override)
    try:
        return AuditConfig.model_validate(values)
    except ValidationError as error:
        raise _told(error, path, root) from error


def _text(path: str | Path) -> str:
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"over {_MAX_BYTES:,} bytes: not a config", where=str(path))
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        folder = path.parent
        known = sorted(str(p) for p in folder.glob("*.y*ml")) if folder.is_dir() else []
        raise ConfigError("no such file", where=str(path), available=known, hint=nearest(path, known)) from error
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8 text", where=str(path)) from error
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path)) from error


def _set(values: dict[str, Any], override: str) -> None:
    """Puts one `a.b=c` into the values."""
    where = f"--set {override}"
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError("not of the form key.key=value", where=where)
    try:
        value = yaml.load(text, _Loader)  # noqa: S506  # _Loader is a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError("the value is not valid YAML", where=where) from error
    place: Any = values
    for part in parts[:-1]:
        if isinstance(place, list):
            place = place[_position(place, part, where)]
        elif isinstance(place, dict):
            if place.get(part) is None:
                place[part] = {}
            place = place[part]
        if not isinstance(place, dict | list):
            raise ConfigError(f"{part} is a single value and has no keys", where=where)
    if isinstance(place, list):
        place[_position(place, parts[-1], where)] = value
    else:
        place[parts[-1]] = value


def _position(items: list[Any], part: str, where: str) -> int:
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    raise ConfigError(f"{part} is not a position in a list of {len(items)} (the first is 0)", where=where)


def _told(error: ValidationError, path: str | Path, root: yaml.Node) -> ConfigError:
    """The first of pydantic's errors as one line: file, line, key, value, what would be right."""
    problems = error.errors(include_url=False, include_context=True)
    by_key: dict[Key, list[Any]] = {}
    for problem in problems:
        by_key.setdefault(tuple(p for p in problem["loc"] if _is_key(p)), []).append(problem)
    # An unknown key explains a missing one, so it is said first. A union reports each of its arms under one key.
    key, arms = min(by_key.items(), key=lambda item: item[1][0]["type"] != "extra_forbidden")
    first = arms[0]
    more = f" (and {len(by_key) - 1} more)" if len(by_key) > 1 else ""
    available: Iterable[str] = ()
    hint = None
    if first["type"] == "extra_forbidden":
        known = _keys_at(key[:-1])
        what = f"unknown key {key[-1]}"
        hint, available = nearest(key[-1], known), known
    elif first["type"] == "missing":
        what = f"{_dotted(key)} is missing"
    else:
        texts = [arm["msg"].removeprefix("Value error, ").removeprefix("Input ") for arm in arms]
        what = " or ".join(dict.fromkeys(texts))
        if isinstance(first.get("input"), str | int | float | bool):
            what += f", not {str(first['input'])[:80]!r}"
    line = _line(root, key)
    where = f"{path}{f':{line}' if line else ''}{f', {_dotted(key)}' if key else ''}"
    return ConfigError(what + more, where=where, available=available, hint=hint)


def _is_key(part: str | int) -> bool:
    """Whether a part of pydantic's location is a key of the file: it also names the arms of a union."""
    return isinstance(part, int) or not (
        part in {"int", "float", "str", "bool"} or part.startswith(("constrained-", "literal[", "list[", "function-"))
    )


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)


def _keys_at(key: Key) -> list[str]:
    """The keys that the schema knows at a place."""
    model: type[BaseModel] = AuditConfig
    for part in key:
        # What is no field is a position in a list or a name in a mapping: its model was taken with the field.
        if part in model.model_fields:
            inner = _model_in(model.model_fields[str(part)].annotation)
            if inner is None:
                return []
            model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model in an annotation such as `list[PolicyCheck] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in getattr(annotation, "__args__", ()))
    return next((model for model in found if model is not None), None)


def _line(root: yaml.Node, key: Key) -> int | None:
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
