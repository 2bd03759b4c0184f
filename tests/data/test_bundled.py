"""The bundled samples and models are what their cards say, and give the numbers that are published."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
SAMPLES = ["adult", "german_credit", "digit_scenes"]
MODELS = ["adult_income/1", "adult_income/2", "digit_scenes/1"]
FOLDERS = SAMPLES + [f"models/{model}" for model in MODELS]


def card(folder: str) -> dict[str, Any]:
    return yaml.safe_load((DATA / folder / "card.yaml").read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def adult() -> pd.DataFrame:
    return pd.concat([pd.read_parquet(DATA / "adult" / f"{split}.parquet") for split in ("train", "test")])


@pytest.fixture(scope="module")
def german() -> pd.DataFrame:
    return pd.read_parquet(DATA / "german_credit/german_credit.parquet")


@pytest.fixture(scope="module")
def scenes() -> dict[str, pd.DataFrame]:
    splits = ("test", "reference")
    return {split: pd.read_parquet(DATA / "digit_scenes" / f"{split}.parquet") for split in splits}


# Cards


@pytest.mark.parametrize("folder", FOLDERS)
def test_digests_are_the_cards(folder: str) -> None:
    for name, facts in card(folder)["files"].items():
        assert sha256(DATA / folder / name) == facts["sha256"], name


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_on_its_card(folder: str) -> None:
    made = {".parquet", ".keras", ".skops"}
    found = {path.name for path in (DATA / folder).iterdir() if path.suffix in made}
    assert found == set(card(folder)["files"])


@pytest.mark.parametrize("folder", SAMPLES)
def test_rows_and_columns_are_the_cards(folder: str) -> None:
    for name, facts in card(folder)["files"].items():
        table = pq.read_table(DATA / folder / name)
        assert table.num_rows == facts["rows"], name
        assert table.column_names == list(card(folder)["columns"])
        assert {str(kind) for kind in table.schema.types} <= {"int64", "string", "binary"}


@pytest.mark.parametrize("model", MODELS)
def test_model_card_names_its_data(model: str) -> None:
    facts = card(f"models/{model}")
    assert sha256(ROOT / facts["test"]["file"]) == facts["test"]["sha256"]
    if "file" in facts["trained_on"]:
        assert sha256(ROOT / facts["trained_on"]["file"]) == facts["trained_on"]["sha256"]
    else:
        assert facts["trained_on"]["source_files"] == card("digit_scenes")["source"]["files"]


def test_bundled_data_stay_small() -> None:
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < 6_000_000


# Adult


@pytest.mark.parametrize("split", ["train", "test"])
def test_adult_nulls_are_in_three_columns(split: str) -> None:
    nulls = pd.read_parquet(DATA / "adult" / f"{split}.parquet").isna().sum()
    assert nulls[nulls > 0].to_dict() == card("adult")["nulls"][f"{split}.parquet"]


def test_adult_texts_are_clean(adult: pd.DataFrame) -> None:
    texts = adult.select_dtypes("string")
    assert len(texts.columns) == 9
    for name, values in texts.items():
        assert not values.dropna().isin(["?", ""]).any(), name
        assert (values.dropna() == values.dropna().str.strip()).all(), name
    assert set(adult["income"]) == {"<=50K", ">50K"}


def test_adult_labels_by_sex(adult: pd.DataFrame) -> None:
    rich = (adult["income"] == ">50K").groupby(adult["sex"]).agg(["sum", "size"])
    assert rich.loc["Male"].tolist() == [9918, 32650]
    assert rich.loc["Female"].tolist() == [1769, 16192]
    women, men = 1769 / 16192, 9918 / 32650
    assert women - men == pytest.approx(-0.194516, abs=5e-7)
    assert women / men == pytest.approx(0.359655, abs=5e-7)


# German credit

GROUPS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "age >= 25": lambda loans: loans["age"] >= 25,
    "age > 25": lambda loans: loans["age"] > 25,
    "male": lambda loans: loans["sex"] == "male",
    "not foreign worker": lambda loans: loans["foreign_worker"] == "no",
    "not in (40, 75]": lambda loans: ~loans["age"].between(40, 75, inclusive="right"),
}


@pytest.mark.parametrize(
    ("advantaged", "difference", "ratio"),
    [
        ("age >= 25", -0.128550, 0.821248),
        ("age > 25", -0.149448, 0.794826),
        ("male", -0.074801, 0.896567),
    ],
)
def test_german_credit_labels(german: pd.DataFrame, advantaged: str, difference: float, ratio: float) -> None:
    good = german["credit"] == "good"
    inside = GROUPS[advantaged](german)
    assert good[~inside].mean() - good[inside].mean() == pytest.approx(difference, abs=5e-7)
    assert good[~inside].mean() / good[inside].mean() == pytest.approx(ratio, abs=5e-7)


@pytest.mark.parametrize(
    ("advantaged", "imbalance", "difference"),
    [("not foreign worker", -0.926, 0.1992646852), ("not in (40, 75]", 0.452, -0.0512758641)],
)
def test_german_credit_labels_as_clarify_has_them(
    german: pd.DataFrame, advantaged: str, imbalance: float, difference: float
) -> None:
    good = german["credit"] == "good"
    inside = GROUPS[advantaged](german)
    assert (inside.sum() - (~inside).sum()) / len(german) == pytest.approx(imbalance, abs=1e-12)
    gap = good[inside].mean() - good[~inside].mean()
    assert gap == pytest.approx(difference, abs=5e-11)
    if advantaged == "not foreign worker":
        # With two labels, the L2 distance of the label distributions is √2 of the difference.
        assert np.hypot(gap, gap) == pytest.approx(0.2818028204, abs=5e-11)


def test_german_credit_is_decoded(german: pd.DataFrame) -> None:
    assert not german.isna().any(axis=None)
    assert german["sex"].value_counts().to_dict() == {"male": 690, "female": 310}
    assert german["credit"].value_counts().to_dict() == {"good": 700, "bad": 300}
    assert (german["sex"] == german["personal_status"].str.partition(":")[0]).all()


# Digit scenes


@pytest.mark.parametrize("split", ["test", "reference"])
def test_scene_pictures_and_boxes(scenes: dict[str, pd.DataFrame], split: str) -> None:
    for row in scenes[split].itertuples():
        with Image.open(io.BytesIO(row.image)) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (64, 64)), row.scene_id
            pixels = np.asarray(picture).astype(int)
        left, top, right, bottom = row.box_left, row.box_top, row.box_right, row.box_bottom
        assert 0 < left < right < 64, row.scene_id
        assert 0 < top < bottom < 64, row.scene_id
        light = pixels - np.bincount(pixels.ravel()).argmax()
        box = light[top:bottom, left:right]
        # Tight: ink on every side of the box, and only ground around it.
        assert all(side.any() for side in (box[0], box[-1], box[:, 0], box[:, -1])), row.scene_id
        assert light[top - 1 : bottom + 1, left - 1 : right + 1].sum() == box.sum(), row.scene_id
        middle = ("top" if top + bottom < 64 else "bottom", "left" if left + right < 64 else "right")
        assert row.place == "-".join(middle), row.scene_id


def test_scene_groups_are_large_enough_to_compare(scenes: dict[str, pd.DataFrame]) -> None:
    groups = {
        "contrast": ["low", "medium", "high"],
        "clutter": ["few", "some", "many"],
        "place": ["top-left", "top-right", "bottom-left", "bottom-right"],
        "digit": [str(digit) for digit in range(10)],
    }
    for split in scenes.values():
        assert split["scene_id"].is_unique
        for name, values in groups.items():
            counts = split[name].value_counts()
            assert set(counts.index) == set(values)
            assert counts.min() >= 60, name


def test_scenes_share_no_source_digit(scenes: dict[str, pd.DataFrame]) -> None:
    test, reference = (set(scenes[split]["source_row"]) for split in ("test", "reference"))
    assert len(test) == len(reference) == 1000
    assert not test & reference


# Models


@pytest.mark.parametrize(
    ("version", "features", "columns"), [("1", 13, 107), ("2", 11, 100)], ids=["with sex and race", "without"]
)
def test_adult_model(version: str, features: int, columns: int) -> None:
    import keras
    import skops.io

    folder, facts = DATA / "models/adult_income" / version, card(f"models/adult_income/{version}")
    assert skops.io.get_untrusted_types(file=folder / "preprocessor.skops") == []
    preprocessor = skops.io.load(folder / "preprocessor.skops")
    assert list(preprocessor.feature_names_in_) == facts["features"]
    assert len(facts["features"]) == features
    assert ({"sex", "race"} <= set(facts["features"])) == (version == "1")

    test = pd.read_parquet(DATA / "adult/test.parquet")
    matrix = preprocessor.transform(test)
    assert matrix.shape == (16281, columns)
    # A null is a category of its own: every row has exactly one column set for each categorical feature.
    assert (matrix[:, 5:].sum(axis=1) == features - 5).all()
    unknown_job = list(preprocessor.get_feature_names_out()).index("occupation_nan")
    assert matrix[:, unknown_job].sum() == 966
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    decided = model(matrix.astype(np.float32)).numpy()[:, 0] >= 0.5
    accuracy = np.mean(decided == (test["income"] == facts["classes"][1]))
    assert accuracy >= 0.84
    assert accuracy == pytest.approx(facts["test"]["accuracy"], abs=5e-4)


def test_digit_scenes_model(scenes: dict[str, pd.DataFrame]) -> None:
    import keras

    facts = card("models/digit_scenes/1")
    model = keras.saving.load_model(DATA / "models/digit_scenes/1/model.keras", compile=False)
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)][-1]
    assert min(last.output.shape[1:3]) >= 8
    images = [np.asarray(Image.open(io.BytesIO(image))) for image in scenes["test"]["image"]]
    pixels = np.stack(images)[..., None].astype(np.float32) * np.float32(facts["scale"])
    digits = np.concatenate([model(part).numpy().argmax(axis=1) for part in np.split(pixels, 4)])
    accuracy = np.mean(np.array(facts["classes"])[digits] == scenes["test"]["digit"].to_numpy(str))
    assert accuracy >= 0.95
    assert accuracy == pytest.approx(facts["test"]["accuracy"], abs=2e-3)


@pytest.mark.parametrize("model", MODELS)
def test_models_are_plain_keras(model: str) -> None:
    import keras

    loaded = keras.saving.load_model(DATA / "models" / model / "model.keras", safe_mode=True)
    assert not loaded.compiled  # so no optimizer state is in the file
    assert (DATA / "models" / model / "model.keras").stat().st_size < 1_500_000
    for layer in loaded.layers:
        assert type(layer).__module__.startswith("keras.src.layers."), layer.name
        assert not isinstance(layer, keras.layers.Lambda)


# Made again


@pytest.mark.parametrize("folder", SAMPLES)
def test_made_again_the_files_are_the_same(folder: str) -> None:
    wheels = Path(os.environ.get("KERAS_AUDIT_ARCHIVES", "nowhere"))
    archive = next(wheels.glob(f"{card(folder)['source']['package']}-*.whl"), None)
    if archive is None:
        pytest.skip("set KERAS_AUDIT_ARCHIVES to a folder with the source packages' wheels (see the card)")
    command = [sys.executable, "-m", f"data.{folder}.make", "--check", "--archive", str(archive)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
