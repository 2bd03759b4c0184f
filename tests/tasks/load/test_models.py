from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.errors import ConfigError, ModelError
from tasks.load import load_model, locate_model, open_model
from tasks.load.digests import digest_of
from tasks.watch import Watch


@pytest.fixture
def folder(shop, make_network):
    """Versions 1, 2, 10 and things that are none; each version is another model."""
    for seed, version in enumerate(("1", "2", "10")):
        shop.model(make_network(3, seed=seed), f"models/{version}/model.keras")
    (shop.folder / "models/notes").mkdir()
    (shop.folder / "models/99").mkdir()  # empty: no version
    (shop.folder / "models/readme.txt").write_text("hello")
    return shop.folder / "models"


@pytest.mark.parametrize(("asked", "version"), [("latest", 10), (1, 1), (2, 2), (10, 10)])
def test_the_version_asked_for_is_taken_and_told(shop, folder, asked, version):
    config = shop.config(str(folder), "nowhere.csv", model={"version": asked})
    assert locate_model(config) == (folder / str(version) / "model.keras", version)
    model = open_model(config)
    assert model.version == version
    assert model.sha256 == digest_of(folder / str(version) / "model.keras")


def test_a_version_that_is_not_there_is_an_error(shop, folder):
    with pytest.raises(ConfigError, match=r"has no version 3; available: latest, 1, 2, 10") as caught:
        open_model(shop.config(str(folder), "nowhere.csv", model={"version": 3}))
    assert caught.value.where == "model.version"


def test_a_version_folder_a_model_folder_and_a_file_can_be_named(shop, folder):
    assert locate_model(shop.config(str(folder / "2"), "x.csv")).version == 2
    assert locate_model(shop.config(str(folder / "2/model.keras"), "x.csv")).version is None
    shutil.copytree(folder / "2", shop.folder / "plain")
    assert locate_model(shop.config(str(shop.folder / "plain"), "x.csv")).version is None
    with pytest.raises(ConfigError, match="has no version folders, so there is no version 4"):
        locate_model(shop.config(str(shop.folder / "plain"), "x.csv", model={"version": 4}))
    with pytest.raises(ConfigError, match="no version 4"):
        locate_model(shop.config(str(folder / "2"), "x.csv", model={"version": 4}))


def test_a_model_of_another_name_is_found_if_it_is_the_only_one(shop, make_network):
    path = Path(shop.model(make_network(3), "models/1/income.keras"))
    assert locate_model(shop.config(str(path.parent.parent), "x.csv")) == (path, 1)
    shop.model(make_network(3), "models/1/other.keras")
    with pytest.raises(ModelError, match=r"holds several models: income\.keras, other\.keras; name one"):
        locate_model(shop.config(str(path.parent.parent), "x.csv"))


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("gone", ConfigError, "gone does not exist"),
        ("empty", ModelError, "no model is in .*empty; expected model.keras in it, or in version folders"),
        ("models:/credit/1", ModelError, "not fetched from MLflow yet"),
    ],
)
def test_a_path_without_a_model_says_what_was_expected(shop, monkeypatch, path, kind, message):
    monkeypatch.chdir(shop.folder)
    (shop.folder / "empty").mkdir()
    with pytest.raises(kind, match=message) as caught:
        open_model(shop.config(path, "nowhere.csv"))
    assert caught.value.where == "model.path"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "message"), [("m.h5", "legacy HDF5 is not read yet"), ("m.onnx", "not a model format")]
)
def test_another_format_is_refused_with_what_to_do(shop, name, message):
    (shop.folder / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=message) as caught:
        open_model(shop.config(str(shop.folder / name), "nowhere.csv"))
    assert "model.save('model.keras')" in str(caught.value)
    assert caught.value.available == (".keras",)


def test_a_version_of_a_format_not_read_yet_is_not_passed_over(shop, folder):
    (folder / "11").mkdir()
    (folder / "11/model.h5").write_bytes(b"x")
    config = shop.config(str(folder), "x.csv")
    with pytest.raises(ModelError, match="legacy HDF5 is not read yet"):
        open_model(config)
    shutil.copy(folder / "1/model.keras", folder / "11/income.keras")
    assert locate_model(config) == (folder / "11/income.keras", 11)


def test_a_pinned_digest_must_match(shop, folder):
    right = digest_of(folder / "2/model.keras")
    assert open_model(shop.config(str(folder), "x.csv", model={"version": 2, "sha256": right})).sha256 == right
    with pytest.raises(ModelError, match="not the pinned one") as caught:
        open_model(shop.config(str(folder), "x.csv", model={"version": 1, "sha256": right}))
    assert caught.value.exit_code == 2
    assert caught.value.where == "model.sha256"


CARD = """
name: <script>alert(1)</script>
trained: 2024-05-06
classes: ["no", "yes"]
files: {model.keras: {sha256: %s}}
"""


def test_the_card_is_read_as_plain_values(shop, folder):
    (folder / "1/card.yaml").write_text(CARD % digest_of(folder / "1/model.keras"))
    model = open_model(shop.config(str(folder), "x.csv", model={"version": 1}))
    assert model.card["name"] == "<script>alert(1)</script>"
    assert model.card["trained"] == "2024-05-06"
    assert model.classes == ("no", "yes")
    assert model.limitations == ()


def test_a_card_that_states_another_digest_is_refused(shop, folder):
    (folder / "1/card.yaml").write_text(CARD % ("f" * 64))
    with pytest.raises(ModelError, match="but its card states ffff") as caught:
        open_model(shop.config(str(folder), "x.csv", model={"version": 1}))
    assert caught.value.code == "card_digest"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b", "is not a mapping"),
        ("a: [", "cannot be read"),
        ("a: !!python/object/apply:os.system [ls]", "cannot be read"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "references .* are not read here"),
        ("a: " + "[" * 50 + "]" * 50, "nested too deep"),
        ("a: " + "x" * (1 << 20), "is larger than 1 MiB"),
        ("a: \x00", "cannot be read"),
    ],
)
def test_a_hostile_card_is_refused(shop, folder, text, message):
    (folder / "1/card.yaml").write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        open_model(shop.config(str(folder), "x.csv", model={"version": 1}))
    assert "card.yaml" in str(caught.value)


def test_a_model_without_a_card_says_so(shop, folder):
    assert "has no card" in open_model(shop.config(str(folder), "x.csv")).limitations[0]


def test_a_model_is_opened_once_for_one_digest_and_again_for_another(shop, folder):
    config = shop.config(str(folder), "x.csv", model={"version": 1})
    first = open_model(config)
    assert open_model(config) is first
    shutil.copy(folder / "2/model.keras", folder / "1/model.keras")
    second = open_model(config)
    assert second is not first
    assert second.sha256 != first.sha256


def test_a_file_that_keras_cannot_load_is_refused_in_one_line(shop, make_network):
    path = shop.model(make_network(3))
    shop.edited(path, lambda config: config["config"]["layers"][1]["config"].update(units="many\nlines"))
    with pytest.raises(ModelError, match=r"model\.keras: cannot be loaded \(") as caught:
        open_model(shop.config(path, "x.csv"))
    assert "\n" not in str(caught.value)


def test_a_layer_of_another_keras_version_is_refused(shop, make_network):
    path = shop.model(make_network(3))
    shop.edited(path, lambda config: config["config"]["layers"][1].update(class_name="DenseFromTheFuture"))
    with pytest.raises(ModelError, match="with the Keras version in use here"):
        open_model(shop.config(path, "x.csv"))


def test_inputs_that_do_not_fit_are_refused(shop, make_network):
    path = shop.model(make_network(3))
    with pytest.raises(ConfigError, match=r"data\.image: an image model needs the column"):
        open_model(shop.config(path, "x.csv", model={"inputs": "image"}))
    with pytest.raises(ModelError, match="does not take one image"):
        open_model(shop.config(path, "x.csv", data={"image": "picture"}))


def test_the_stage_tells_what_it_took(shop, folder):
    done = load_model(shop.config(str(folder), "x.csv"), Watch())
    facts = done.facts
    assert done.stage == "load_model"
    assert facts["version"] == 10
    assert facts["format"] == "keras"
    assert facts["parameters"] == 3 * 8 + 8 + 8 + 1
    assert [(layer["name"], layer["parameters"]) for layer in facts["layers"]] == [
        ("matrix", 0), ("middle", 32), ("score", 9),
    ]  # fmt: skip
    assert facts["inputs"][0]["shape"] == [None, 3]
    assert facts["preprocessor"] is None
    assert "has no card" in done.limitations[0]


@pytest.mark.parametrize(("name", "version"), [("adult_income", 2), ("digit_scenes", 1)])
def test_the_bundled_models_open(shop, name, version):
    image = {"data": {"image": "image"}} if name == "digit_scenes" else {}
    model = open_model(shop.config(f"data/models/{name}", "x.csv", task="multiclass", **image))
    assert model.version == version
    assert model.modality == ("image" if image else "table")
    assert model.card["name"] == name
    if not image:
        assert "age" in model.feature_names
        assert model.feature_kinds["workclass"] == "category"
