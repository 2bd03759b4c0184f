"""Finding a model, its version and digest, and loading it safely.

A format is a function and one line in FORMATS.
"""

from __future__ import annotations

import json
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from configs.schema import AuditConfig
from tasks.contracts import Done
from tasks.errors import ConfigError, ModelError
from tasks.load.backend import WARNINGS, tensorflow
from tasks.load.cache import Cache
from tasks.load.cards import CARD, check_card, read_card
from tasks.load.digests import digest_of
from tasks.load.keras_archive import check_archive
from tasks.load.pins import Pins, require, under_pins
from tasks.load.preprocessors import DEFAULT, KEY, Preprocessor, is_reference, open_preprocessor
from tasks.load.trust import trusted_modules
from tasks.watch import Watch

Inputs = Literal["matrix", "named", "image"]
#: a model's file → the Keras model, and sentences for the report
Loader = Callable[[Path], tuple[Any, tuple[str, ...]]]
_VERSION = re.compile(r"[0-9]{1,18}")
_LAYERS_SHOWN = 200
#: what Keras warns of when a layer keeps the weights that it was born with
_WEIGHTS_LOST = re.compile(r"freshly-initialized|could not be loaded|Skipping .*weights", re.IGNORECASE)
# Keras keeps names and scopes in one place for the process.
_loading = threading.RLock()


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model, opened.

    Attributes:
        path: the file, relative or absolute as the config has it.
        version: of its version folder, or None where there are none.
        sha256: of the file.
        format: as in FORMATS.
        keras_model: the model; shared, never to be trained or changed.
        inputs: how it takes a row: a matrix, one input a feature, or an image.
        preprocessor: from raw columns to its matrix, or None.
        preprocessor_path: a skops file or `module:name`, or None.
        preprocessor_sha256: None for `module:name`.
        feature_names: raw columns that preprocessor or named inputs ask for; None where neither says.
        feature_kinds: what is known of them before the data is seen.
        card: what its maker says, JSON values; empty without a card.
        classes: as the card names them, or None.
        limitations: sentences for the report.
    """

    path: str
    version: int | None
    sha256: str
    format: str
    keras_model: Any
    inputs: Inputs
    preprocessor: Preprocessor | None
    preprocessor_path: str | None
    preprocessor_sha256: str | None
    feature_names: tuple[str, ...] | None
    feature_kinds: Mapping[str, Literal["number", "category"]]
    card: Mapping[str, Any]
    classes: tuple[str, ...] | None
    limitations: tuple[str, ...]

    @property
    def modality(self) -> Literal["table", "image"]:
        return "image" if self.inputs == "image" else "table"


def open_model(config: AuditConfig) -> LoadedModel:
    """Finds the model that the config means, checks its digests and loads it with its preprocessor.

    Raises:
        ConfigError: the file or the version is not there.
        ModelError: another digest than pinned or stated by the card; not a Keras file; code that is not trusted.
        Incomplete: model or preprocessor are not those pinned for the run (`pinned`).
    """
    with under_pins() as pins:
        return _open(config, pins)


def _open(config: AuditConfig, pins: Pins | None) -> LoadedModel:
    path, version = locate_model(config)
    sha256 = digest_of(path)
    if pins is not None:
        require(pins.model, sha256, str(path))
    if config.model.sha256 is not None and sha256 != config.model.sha256:
        raise ModelError(
            f"{path} has the SHA-256 {sha256}, not the pinned one",
            where="model.sha256",
            values=[config.model.sha256],
            hint="restore the file, or pin the new digest after reviewing the model",
            code="pinned_digest",
        )
    source = preprocessor_source(config, path)
    preprocessor_sha256 = digest_of(source) if isinstance(source, Path) else None
    if pins is not None:
        require(pins.preprocessor, preprocessor_sha256, str(source or path.parent / DEFAULT))
    card_file = path.parent / CARD
    key = (
        str(path), version, sha256, str(source), preprocessor_sha256,
        digest_of(card_file) if card_file.is_file() else None,
        config.model.model_dump_json(), config.data.image, trusted_modules(),
    )  # fmt: skip
    return _models.get(key, lambda: _opened(config, path, version, sha256, source, preprocessor_sha256))


_models: Cache[LoadedModel] = Cache(4)


def load_model(config: AuditConfig, watch: Watch) -> Done:
    """The stage: opens the model and says what it is, in JSON values.

    Raises:
        ConfigError, ModelError: as `open_model`.
    """
    watch.expect(1)
    model = open_model(config)
    watch.advance()
    keras_model = model.keras_model
    layers = [
        {"name": layer.name, "type": type(layer).__name__, "parameters": int(layer.count_params())}
        for layer in keras_model.layers[:_LAYERS_SHOWN]
    ]
    facts = {
        "path": model.path,
        "version": model.version,
        "sha256": model.sha256,
        "format": model.format,
        "preprocessor": model.preprocessor_path,
        "preprocessor_sha256": model.preprocessor_sha256,
        "parameters": int(keras_model.count_params()),
        "layers": layers,
        "layer_count": len(keras_model.layers),
        "inputs": [_tensor_facts(tensor) for tensor in keras_model.inputs],
        "outputs": [_tensor_facts(tensor) for tensor in keras_model.outputs],
        "takes": model.inputs,
        "features": None if model.feature_names is None else list(model.feature_names),
        "card": dict(model.card),
    }
    return Done("load_model", facts=facts, limitations=model.limitations)


def _tensor_facts(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": str(tensor.dtype)}


# ---------------------------------------------------------------- where it is


class Located(NamedTuple):
    """A model file, and its version where it has one."""

    path: Path
    version: int | None


def locate_model(config: AuditConfig) -> Located:
    """The model file that the config means; nothing is opened. Under pins `latest` is what it was at their making.

    Raises:
        ConfigError: there is no such file or version.
        ModelError: the folder holds no model, or several.
        Incomplete: the file is not the one pinned for the run (`pinned`).
    """
    asked = config.model.version
    with under_pins() as pins:
        if pins is None:
            return _located(config, asked)
        if asked == "latest" and pins.version is not None:
            asked = pins.version
        found = _located(config, asked)
        require(pins.version, found.version, str(found.path), "version")
        require(pins.model, digest_of(found.path), str(found.path))
        return found


def _located(config: AuditConfig, asked: int | Literal["latest"]) -> Located:
    path = Path(config.model.path)
    if re.match(r"^(models|runs|mlflow-artifacts):/", config.model.path):
        raise ModelError(
            f"{path}: models are not fetched from MLflow yet", where="model.path", hint="give the model's file"
        )
    if not path.exists():
        raise ConfigError(
            f"{path} does not exist", where="model.path", hint="relative paths start at the current folder"
        )
    version = int(path.name) if path.is_dir() and _VERSION.fullmatch(path.name) else None
    if path.is_dir() and not _model_files(path):
        versions = {int(p.name): p for p in path.iterdir() if p.is_dir() and _VERSION.fullmatch(p.name)}
        versions = {number: p for number, p in versions.items() if _model_files(p)}
        if not versions:
            raise ModelError(
                f"no model is in {path}",
                where="model.path",
                hint="expected model.keras in it, or in version folders 1/, 2/, …",
            )
        version = max(versions) if asked == "latest" else int(asked)
        if version not in versions:
            raise ConfigError(
                f"{path} has no version {version}", where="model.version", available=["latest", *sorted(versions)]
            )
        path = versions[version]
    elif asked != "latest" and asked != version:
        raise ConfigError(
            f"{path} has no version folders, so there is no version {asked}",
            where="model.version",
            hint="write latest, or give the folder above",
        )
    if path.is_dir():
        files = _model_files(path)
        if len(files) > 1:
            raise ModelError(
                f"{path} holds several models", where="model.path", values=[f.name for f in files], hint="name one"
            )
        path = files[0]
    return Located(path, version)


def _model_files(folder: Path) -> list[Path]:
    """The model files right in a folder: model.keras where there is one, else those read here, else those not yet."""
    default = folder / "model.keras"
    if default.is_file():
        return [default]
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in {*FORMATS, *_UNREAD} and file.is_file())
    return [file for file in files if file.suffix.lower() in FORMATS] or files


def preprocessor_source(config: AuditConfig, path: Path) -> str | Path | None:
    """`module:name` as text, a file as a path, or None where there is no preprocessor."""
    named = config.model.preprocessor
    if named is None:
        default = path.parent / DEFAULT
        return default if default.is_file() else None
    if is_reference(named):
        return named
    if not Path(named).is_file():
        raise ConfigError(
            f"{named} is no file and not module:function", where=KEY, hint="give a skops file or module:function"
        )
    return Path(named)


# ---------------------------------------------------------------- opening it


def _opened(
    config: AuditConfig,
    path: Path,
    version: int | None,
    sha256: str,
    source: str | Path | None,
    preprocessor_sha256: str | None,
) -> LoadedModel:
    card = read_card(path.parent)
    digests = {path.name: sha256}
    if isinstance(source, Path) and source.parent == path.parent and preprocessor_sha256:
        digests[source.name] = preprocessor_sha256
    check_card(card, digests, path.parent)

    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise ModelError(
            f"{_UNREAD[kind]} is not read yet" if kind in _UNREAD else "is not a model format that is read here",
            where=str(path),
            available=FORMATS,
            hint="load it in Keras and save it with model.save('model.keras')",
        )
    with _loading:
        keras_model, said = FORMATS[kind](path)
    if digest_of(path) != sha256:
        raise ModelError("changed while it was read", where=str(path), hint="run again")
    preprocessor = None if source is None else open_preprocessor(source, config.model.trusted_types)
    inputs = _inputs(config, keras_model, preprocessor, path)
    names, kinds = _features(inputs, keras_model, preprocessor)
    classes = card.get("classes")
    return LoadedModel(
        path=str(path),
        version=version,
        sha256=sha256,
        format=kind.lstrip("."),
        keras_model=keras_model,
        inputs=inputs,
        preprocessor=preprocessor,
        preprocessor_path=None if source is None else str(source),
        preprocessor_sha256=preprocessor_sha256,
        feature_names=names,
        feature_kinds=kinds,
        card=card,
        classes=tuple(map(str, classes)) if isinstance(classes, list) and len(classes) > 1 else None,
        limitations=said + _limitations(config, card, preprocessor, inputs, isinstance(source, str)),
    )


def _keras(path: Path) -> tuple[Any, tuple[str, ...]]:
    """A `.keras` archive, checked before Keras opens it."""
    check_archive(path)
    tensorflow()
    import keras

    try:
        with WARNINGS, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:300]
        raise ModelError(
            f"cannot be loaded ({type(error).__name__}: {reason})",
            where=str(path),
            hint="save the model again with model.save('model.keras'), with the Keras version in use here",
        ) from error
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ModelError(
            "is not a model with known inputs",
            where=str(path),
            hint="build it (functional or Sequential with an Input) before saving",
        )
    said = [" ".join(str(w.message).split())[:300] for w in caught if not issubclass(w.category, DeprecationWarning)]
    lost = [sentence for sentence in said if _WEIGHTS_LOST.search(sentence)]
    if lost:
        raise ModelError(
            f"was loaded without all of its weights ({lost[0]})", where=str(path), hint="save the model again"
        )
    return model, tuple(f"Keras says on loading: {sentence}" for sentence in dict.fromkeys(said))


#: file suffix → what loads it
FORMATS: dict[str, Loader] = {".keras": _keras}
#: suffixes of models that are known and not read, and what they are called
_UNREAD = {".h5": "legacy HDF5", ".hdf5": "legacy HDF5"}


def _inputs(config: AuditConfig, keras_model: Any, preprocessor: Preprocessor | None, path: Path) -> Inputs:
    asked, several = config.model.inputs, len(keras_model.inputs) > 1
    if asked == "auto":
        asked = "image" if config.data.image is not None else "named" if several and preprocessor is None else "matrix"
    if asked == "image" and config.data.image is None:
        raise ConfigError("an image model needs the column of images", where="data.image")
    if asked == "image" and (several or len(keras_model.inputs[0].shape) != 4):
        raise ModelError("does not take one image (n, height, width, channels)", where=str(path))
    if asked == "named" and preprocessor is not None:
        raise ModelError(
            "takes its features by name, so a preprocessor's matrix has no place to go",
            where=str(path),
            hint="remove the preprocessor, or set model.inputs: matrix",
        )
    if asked == "matrix" and several:
        raise ModelError(
            f"has {len(keras_model.inputs)} inputs and cannot take one matrix",
            where=str(path),
            hint="set model.inputs: named, or export it with one input",
        )
    if asked == "image":
        return "image"
    return "named" if asked == "named" else "matrix"


def _features(
    inputs: Inputs, keras_model: Any, preprocessor: Preprocessor | None
) -> tuple[tuple[str, ...] | None, dict[str, Literal["number", "category"]]]:
    kinds: dict[str, Literal["number", "category"]] = {}
    if inputs == "named":
        for tensor in keras_model.inputs:
            kinds[tensor.name] = "category" if tensor.dtype == "string" else "number"
        return tuple(kinds), kinds
    if inputs == "matrix" and preprocessor is not None:
        kinds.update(dict.fromkeys(preprocessor.known, "category"))
        return preprocessor.columns, kinds
    return None, kinds


def _limitations(
    config: AuditConfig, card: Mapping[str, Any], preprocessor: Preprocessor | None, inputs: Inputs, code: bool
) -> tuple[str, ...]:
    said = list(preprocessor.limitations if preprocessor else ())
    if not card:
        said.append("The model has no card: nobody states what it is for, or what it was trained on.")
    if code:
        said.append("The preprocessor is code, not a file: no digest stands for it.")
    scale = card.get("scale")
    if inputs == "image" and isinstance(scale, (int, float)) and abs(scale - config.model.image.scale) > 1e-6 * scale:
        said.append(
            f"The model's card says that pixels are multiplied by {json.dumps(scale)},"
            f" the config says {json.dumps(config.model.image.scale)}."
        )
    return tuple(said)
