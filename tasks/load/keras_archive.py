"""What is in a `.keras` file, judged before Keras opens it.

The file is a zip with the architecture as JSON. Everything that Keras would turn into code stands there by module and
name, so it can be read without running anything: only Keras's own layers, and classes of modules that the user
trusts, pass. Keras checks again when it loads (safe_mode).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.errors import ModelError
from tasks.load.trust import VARIABLE, trusted_module, trusted_modules

CONFIG = "config.json"
WEIGHTS = ("model.weights.h5", "model.weights.npz")
MAX_CONFIG_BYTES = 32 << 20
MAX_MEMBERS = 10_000
#: a member may unpack to this much whatever it was packed from; beyond it, only to MAX_EXPANSION times its size
FREE_BYTES = 256 << 20
MAX_EXPANSION = 100

#: layers of Keras that run code, or open files, from outside the archive
_FOREIGN = {
    "Lambda": "replace it by a layer of Keras or a registered class",
    "TFSMLayer": "export the whole model with model.save('model.keras')",
    "TorchModuleWrapper": "export it as layers of Keras",
    "JaxLayer": "export it as layers of Keras",
    "FlaxLayer": "export it as layers of Keras",
}
#: plain values that Keras writes in the same form as classes
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__"}


def check_archive(path: Path) -> None:
    """Refuses an archive that is damaged or would run code that nobody vouched for; imports trusted modules.

    Raises:
        ModelError: not a Keras file, a Lambda layer, a class that is not Keras's own, a zip bomb.
    """
    config = _read_config(path)
    _refuse_foreign(config, path)
    for module, name in _custom(config):
        if module not in trusted_modules():
            raise ModelError(
                "the model needs a custom class or function",
                where=str(path),
                values=[f"{module or '(no module)'}.{name}"],
                hint=f"export it without, or, if you trust the code, name its module in {VARIABLE}",
                code="custom_object",
            )
        # Its @register_keras_serializable has to run before Keras looks the name up.
        trusted_module(module, where=str(path))


def _read_config(path: Path) -> Any:
    not_keras = "save the model with model.save('model.keras')"
    if not zipfile.is_zipfile(path):
        raise ModelError("is not a Keras file (not a zip archive)", where=str(path), hint=not_keras)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members, path)
            names = {member.filename for member in members}
            if CONFIG not in names or not names & set(WEIGHTS):
                raise ModelError(
                    f"is not a Keras file (needs {CONFIG} and {WEIGHTS[0]})", where=str(path), hint=not_keras
                )
            if archive.getinfo(CONFIG).file_size > MAX_CONFIG_BYTES:
                raise ModelError(f"its {CONFIG} is larger than {MAX_CONFIG_BYTES >> 20} MiB", where=str(path))
            with archive.open(CONFIG) as stream:
                text = stream.read(MAX_CONFIG_BYTES + 1)
        return json.loads(text)
    except (zipfile.BadZipFile, ValueError, RecursionError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"is a damaged Keras file ({error})", where=str(path), hint=not_keras) from error


def _check_members(members: list[zipfile.ZipInfo], path: Path) -> None:
    if len(members) > MAX_MEMBERS:
        raise ModelError(f"holds more than {MAX_MEMBERS} files", where=str(path))
    if len({member.filename for member in members}) < len(members):
        raise ModelError("holds two files of one name", where=str(path), hint="save the model again")
    for member in members:
        parts = PurePosixPath(member.filename)
        if parts.is_absolute() or ".." in parts.parts or "\\" in member.filename:
            raise ModelError("holds a file that would leave its folder", where=str(path), values=[member.filename])
        if member.file_size > max(FREE_BYTES, MAX_EXPANSION * member.compress_size):
            raise ModelError(
                "unpacks to far more than it holds",
                where=str(path),
                values=[member.filename],
                hint="save the model again; if it is genuine, without compression",
            )


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in the config that names a class or a function, whatever its depth."""
    stack = [config]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if isinstance(node.get("class_name"), str):
                yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _refuse_foreign(config: Any, path: Path) -> None:
    for node in _objects(config):
        kind, inner = node["class_name"], node.get("config")
        layer = inner.get("name") if isinstance(inner, dict) else None
        if kind in ("__lambda__", "Lambda"):
            what, hint = "a Lambda layer or function carries Python code", _FOREIGN["Lambda"]
        elif kind in _FOREIGN:
            what, hint = f"a {kind} layer runs code from outside the file", _FOREIGN[kind]
        elif kind == "__typespec__":
            what, hint = "a type specification is not loaded", "use plain tensors as inputs"
        elif isinstance(inner, dict) and isinstance(inner.get("vocabulary"), str):
            what, hint = f"a {kind} layer reads its vocabulary from a file", "save the vocabulary in the model"
        else:
            continue
        raise ModelError(
            what,
            where=str(path),
            values=[layer] if layer else (),
            hint=f"export the model without it: {hint}",
            code="unsafe_layer",
        )


def _custom(config: Any) -> Iterator[tuple[str, str]]:
    """(module, name) of each class and function that is not Keras's own."""
    for node in _objects(config):
        kind, module = node["class_name"], node.get("module")
        module = module if isinstance(module, str) else ""
        registered = node.get("registered_name")
        if kind in _VALUES:
            continue
        if kind == "function":
            name = str(node.get("config"))
            # Keras names its own functions without a package; a registered one is `package>name`.
            known = module == "builtins" and not (isinstance(registered, str) and ">" in registered)
        else:
            name = kind
            known = not (isinstance(registered, str) and ">" in registered)
        if not ((module == "keras" or module.startswith("keras.") or kind == "function") and known):
            yield module, name
