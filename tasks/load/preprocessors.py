"""The step from raw columns to the model's matrix: a skops file, or a function of a trusted module.

Opened, it is a `Preprocessor`: one method, a frame of raw columns in, a matrix out. Everything else about it is
found by asking it (see `encoding.py`), so that any transformer will do.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.errors import ModelError
from tasks.load.backend import WARNINGS
from tasks.load.trust import trusted_object

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = "preprocessor.skops"
KEY = "model.preprocessor"
MAX_BYTES = 1 << 30
#: what every fitted imputer holds, and skops does not count as standard though it carries no code
STANDARD_TYPES = frozenset({"numpy.dtype"})
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """A fitted transformer.

    Attributes:
        transform: raw columns → (n, width) float64.
        columns: the raw columns it asks for, in order; None where it does not say.
        known: column → the categories it was fitted with, in its order; such a column is a category, whatever its
            type. A missing value among them is left out.
        missing: column → what stands for a null in it: None or NaN.
        limitations: sentences for the report.
    """

    transform: Callable[[pd.DataFrame], np.ndarray]
    columns: tuple[str, ...] | None
    known: dict[str, list[Any]] = field(default_factory=dict)
    missing: dict[str, Any] = field(default_factory=dict)
    limitations: tuple[str, ...] = ()


def is_reference(text: str) -> bool:
    """Whether a config's preprocessor is `module:name` rather than a file."""
    return _REFERENCE.fullmatch(text) is not None and not Path(text).exists()


def open_preprocessor(source: str | Path, trusted_types: Sequence[str] = ()) -> Preprocessor:
    """Opens a skops file, or `module:name`: an object with `transform`, or a function of a frame.

    Raises:
        ModelError: code or types that are not trusted, a damaged file, something that is not a transformer.
    """
    if isinstance(source, str) and is_reference(source):
        found = trusted_object(source, where=KEY)
        return _wrapped(found, (), source)
    path = Path(source)
    found, said = _skops_object(path, trusted_types)
    return _wrapped(found, said, str(path))


def _skops_object(path: Path, trusted_types: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    import skops.io

    damaged = "save it with skops.io.dump(preprocessor, 'preprocessor.skops')"
    if not path.is_file():
        raise ModelError(f"{path} does not exist", where=KEY)
    if not zipfile.is_zipfile(path):
        raise ModelError("is not a skops file", where=str(path), hint=damaged)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise ModelError(f"unpacks to more than {MAX_BYTES >> 30} GiB", where=str(path))
        with WARNINGS, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            allowed = STANDARD_TYPES | set(trusted_types)
            foreign = sorted(set(skops.io.get_untrusted_types(file=path)) - allowed)
            if foreign:
                raise ModelError(
                    "holds types that are not trusted",
                    where=str(path),
                    values=foreign,
                    hint="if you trust them, name them in model.trusted_types",
                    code="untrusted_types",
                )
            found = skops.io.load(path, trusted=sorted(allowed))
    except ModelError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:300]
        raise ModelError(
            f"cannot be loaded ({type(error).__name__}: {reason})", where=str(path), hint=damaged
        ) from error
    said = tuple(sorted({f"The preprocessor says: {' '.join(str(w.message).split())[:300]}" for w in caught}))
    return found, said


def _wrapped(found: Any, said: tuple[str, ...], where: str) -> Preprocessor:
    call = getattr(found, "transform", None) or (found if callable(found) else None)
    if call is None:
        raise ModelError("has no transform and is no function", where=where, hint="give a fitted transformer")
    columns = _asked(found)
    # Fitted on an array, it wants one: by position.
    by_position = columns is None and hasattr(found, "n_features_in_")

    def transform(frame: pd.DataFrame) -> np.ndarray:
        with WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matrix = call(frame.to_numpy() if by_position else frame)
        if hasattr(matrix, "toarray"):
            matrix = matrix.toarray()
        matrix = np.asarray(matrix, dtype=np.float64)
        return matrix[:, None] if matrix.ndim == 1 else matrix

    known, missing = _categories(found)
    return Preprocessor(transform, columns, known, missing, said)


def _asked(found: Any) -> tuple[str, ...] | None:
    """The raw columns that it needs: a ColumnTransformer names all that it was fitted on, also those it drops."""
    names = getattr(found, "feature_names_in_", None)
    if names is None:
        return None
    columns = [str(name) for name in names]
    first = found.steps[0][1] if hasattr(found, "steps") else found
    if not hasattr(first, "transformers_"):
        return tuple(columns)
    kept = {name for _, inner, chosen in first.transformers_ if inner != "drop" for name in _chosen(chosen, columns)}
    return tuple(name for name in columns if name in kept)


def _categories(found: Any) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Walks scikit-learn's containers to the encoders that raw columns meet, and reads what they know."""
    known: dict[str, list[Any]] = {}
    missing: dict[str, Any] = {}

    def walk(step: Any, columns: list[str]) -> None:
        if hasattr(step, "transformers_"):  # ColumnTransformer
            for _, inner, chosen in step.transformers_:
                names = _chosen(chosen, columns)
                if names and not isinstance(inner, str):
                    walk(inner, names)
        elif hasattr(step, "transformer_list"):  # FeatureUnion
            for _, inner in step.transformer_list:
                walk(inner, columns)
        elif hasattr(
            step, "steps"
        ):  # Pipeline: an imputer leaves columns in their places, what else does we cannot know
            for _, inner in step.steps:
                if isinstance(inner, str) or inner is None:
                    continue
                walk(inner, columns)
                if not hasattr(inner, "statistics_"):
                    break
        elif hasattr(step, "categories_") and len(step.categories_) == len(columns):
            for name, categories in zip(columns, step.categories_, strict=True):
                values = [getattr(value, "item", lambda value=value: value)() for value in categories]
                gone = [value for value in values if value is None or value != value]
                if gone:
                    missing[name] = gone[0]
                seen = known.setdefault(name, [])
                seen.extend(value for value in values if not (value is None or value != value) and value not in seen)

    names = getattr(found, "feature_names_in_", None)
    if names is not None:
        walk(found, [str(name) for name in names])
    return known, missing


def _chosen(chosen: Any, columns: list[str]) -> list[str]:
    """The names that a ColumnTransformer's choice of columns means."""
    if isinstance(chosen, slice):
        return columns[chosen] if all(v is None or isinstance(v, int) for v in (chosen.start, chosen.stop)) else []
    picked = [chosen] if isinstance(chosen, (str, int)) else list(chosen)
    if picked and all(isinstance(c, (bool, np.bool_)) for c in picked):
        return [name for name, taken in zip(columns, picked, strict=False) if taken]
    names = [columns[c] if isinstance(c, (int, np.integer)) else str(c) for c in picked]
    return [name for name in names if name in columns]
