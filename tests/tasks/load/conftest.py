"""A workshop for the loader's tests: small models, preprocessors, tables and the configs that name them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from configs.schema import AuditConfig
from tasks.load.backend import tensorflow

HOSTILE = '<script>alert("x")</script> | \u202e ' + "w" * 200


class Workshop:
    """Makes files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def table(self, columns: dict[str, Any] | pa.Table, name: str = "data.parquet") -> str:
        """Writes a table in the format of its suffix; returns the path."""
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            csv.write_csv(table, path)
        elif path.suffix == ".arrow":
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        elif path.suffix == ".feather":
            feather.write_feather(table, path)
        else:
            pq.write_table(table, path)
        return str(path)

    def model(self, model: Any, name: str = "model/model.keras") -> str:
        """Saves a Keras model; returns the path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
        return str(path)

    def preprocessor(self, transformer: Any, name: str = "model/preprocessor.skops") -> str:
        """Saves a fitted transformer; returns the path."""
        import skops.io

        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        skops.io.dump(transformer, path)
        return str(path)

    def edited(self, path: str, change: Callable[[dict[str, Any]], Any], member: str = "config.json") -> str:
        """Rewrites the JSON in a `.keras` archive."""
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        content = json.loads(entries[member])
        entries[member] = json.dumps(change(content) or content).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in entries.items():
                archive.writestr(name, data)
        return path

    def config(
        self, model_path: str, data_path: str, /, *, task: str = "binary", target: str = "y", **blocks: Any
    ) -> AuditConfig:
        """A config with the least that it needs; `blocks` are merged in: `model={...}`, `data={...}`."""
        return AuditConfig.model_validate(
            {
                "name": "test",
                "model": {"path": model_path, "task": task, **blocks.pop("model", {})},
                "data": {"path": data_path, "target": {"column": target}, **blocks.pop("data", {})},
                **blocks,
            }
        )


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def network(width: int, outputs: int = 1, activation: str | None = "sigmoid", *, hidden: int = 8, seed: int = 0) -> Any:
    """A small functional network with weights that do not depend on luck."""
    tensorflow()
    import keras

    inputs = keras.Input((width,), name="matrix")
    middle = keras.layers.Dense(hidden, activation="tanh", name="middle")(inputs)
    score = keras.layers.Dense(outputs, activation=activation, name="score")(middle)
    return seeded(keras.Model(inputs, score), seed)


def seeded(model: Any, seed: int = 0) -> Any:
    """The model with weights drawn from a seed."""
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(0, 0.5, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


@pytest.fixture(scope="session")
def make_network() -> Callable[..., Any]:
    return network


@pytest.fixture(scope="session")
def with_seed() -> Callable[..., Any]:
    return seeded


#: the columns of the people below: hostile and unicode names among them
NAMES = ("age", "income per year (€)", "city", HOSTILE, "città")


def people(n: int, seed: int = 0) -> pa.Table:
    """A table of people with nulls in two categories, an integer, a float, hostile names and values, and a label."""
    generator = np.random.default_rng(seed)
    cities = np.array(["Rome", "Oslo", "São Paulo", '"quoted"', HOSTILE, None], dtype=object)
    colours = np.array(["red", "green", None], dtype=object)
    age = generator.integers(17, 90, n)
    income = generator.normal(40_000, 12_000, n)
    return pa.table(
        {
            "age": pa.array(age),
            "income per year (€)": pa.array(income),
            "city": pa.array(cities[generator.integers(0, 6, n)].tolist(), pa.string()),
            HOSTILE: pa.array(colours[generator.integers(0, 3, n)].tolist(), pa.string()),
            "città": pa.array(generator.integers(0, 3, n).tolist(), pa.int64()),
            "y": pa.array(np.where(age + generator.normal(0, 10, n) > 50, "yes", "no").tolist()),
        }
    )


@pytest.fixture(scope="session")
def make_people() -> Callable[..., pa.Table]:
    return people


def transformer(table: pa.Table) -> Any:
    """A ColumnTransformer fitted on people: scaled numbers, one-hot categories, an integer that is one of them."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    encode = ColumnTransformer(
        [
            ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city", HOSTILE, "città"]),
            ("numbers", StandardScaler(), ["age", "income per year (€)"]),
        ]
    )
    return encode.fit(table.select(list(NAMES)).to_pandas())


@pytest.fixture(scope="session")
def hostile() -> str:
    return HOSTILE


@pytest.fixture
def census(shop: Workshop) -> AuditConfig:
    """A whole subject: 300 audited people, 200 of the reference, a preprocessor and a network."""
    reference, table = people(200, seed=1), people(300, seed=2)
    encode = transformer(reference)
    width = encode.transform(reference.to_pandas()).shape[1]
    model = shop.model(network(width))
    shop.preprocessor(encode)
    return shop.config(
        str(Path(model).parent),
        shop.table(table),
        model={"classes": ["no", "yes"]},
        data={"reference": shop.table(reference, "reference.parquet"), "target": {"column": "y", "favorable": "yes"}},
    )
