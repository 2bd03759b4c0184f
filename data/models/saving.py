"""What the training scripts share: a steady TensorFlow, and files with the same bytes after each training."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from data.sources import sha256

if TYPE_CHECKING:
    import keras
    from sklearn.compose import ColumnTransformer

TRAINING_THREADS = 2
SAVED_ON = re.compile(r'(?<="date_saved": ")[^"]*')
ADDRESS = re.compile(r'(?<="shared_object_id": )\d+|(?<="__id__": )\d+|\d+(?=\.npy")')


def steady_tensorflow(seed: int) -> None:
    """Seed everything and fix what else decides the weights; call before any other use of TensorFlow."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(TRAINING_THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)


def save_model(model: keras.Model, path: Path) -> str:
    """Save the model without its optimizer, and return the file's SHA-256."""
    import keras

    # A model of the same graph that was never compiled carries no optimizer state.
    keras.Model(model.input, model.output, name=model.name).save(path)
    return make_repeatable(path)


def save_preprocessor(preprocessor: ColumnTransformer, path: Path) -> str:
    """Save the fitted preprocessor with skops, and return the file's SHA-256."""
    import skops.io

    skops.io.dump(preprocessor, path)
    return make_repeatable(path)


def make_repeatable(path: Path) -> str:
    """Take out of a ``.keras`` or ``.skops`` file what changes from run to run; return its SHA-256.

    That is the date, and the addresses in memory by which both formats name shared objects: these become
    numbers in the order of their first appearance.
    """
    with zipfile.ZipFile(path) as members:
        entries = {name: members.read(name) for name in members.namelist()}
    numbers: dict[str, str] = {}
    for name in [name for name in entries if name.endswith(".json")]:
        text = SAVED_ON.sub("1980-01-01@00:00:00", entries[name].decode())
        text = ADDRESS.sub(lambda found: numbers.setdefault(found[0], str(len(numbers) + 1)), text)
        entries[name] = text.encode()
    named = {numbers.get(Path(name).stem, Path(name).stem) + Path(name).suffix: entries[name] for name in entries}
    with zipfile.ZipFile(path, "w") as members:
        for name, data in sorted(named.items()):
            members.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return sha256(path)


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write ``card.yaml`` in the order given."""
    text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=100)
    (folder / "card.yaml").write_text(text, encoding="utf-8")
