from __future__ import annotations

import hashlib
import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tasks.errors import DataRefused, ModelError
from tasks.load import image_size, open_subject
from tasks.load.backend import tensorflow
from tasks.load.images import images


def encoded(pixels: np.ndarray, kind: str = "PNG", **settings) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **settings)
    return stream.getvalue()


def noise(height: int, width: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, *channels)).astype(np.uint8)


def decode(values, shape, path="here/data.parquet"):
    return images(pa.chunked_array([pa.array(values)]), shape, path, "data.path")


def test_pixels_come_as_they_are():
    grey, colour = noise(8, 6), noise(8, 6, 3)
    found, said = decode([encoded(grey), encoded(grey)], (8, 6, 1))
    assert found.dtype == np.float32
    assert found.shape == (2, 8, 6, 1)
    assert np.array_equal(found[1, :, :, 0], grey)
    assert said == ()
    assert np.array_equal(decode([encoded(colour)], (8, 6, 3))[0][0], colour)


def test_channels_are_the_models_own():
    grey, colour = noise(4, 4), noise(4, 4, 3)
    assert np.array_equal(decode([encoded(grey)], (4, 4, 3))[0][0], np.repeat(grey[..., None], 3, axis=2))
    luma = colour @ np.array([299, 587, 114]) / 1000
    assert np.abs(decode([encoded(colour)], (4, 4, 1))[0][0, :, :, 0] - luma).max() <= 1
    assert np.array_equal(decode([encoded(colour)], (4, 4, 4))[0][0, :, :, 3], np.full((4, 4), 255))


def test_sixteen_bits_a_pixel_are_scaled_and_jpeg_is_read():
    deep = (np.arange(16).reshape(4, 4) * 4369).astype(np.uint16)
    assert np.array_equal(decode([encoded(deep)], (4, 4, 1))[0][0, :, :, 0], np.arange(16).reshape(4, 4) * 17)
    flat = np.full((16, 16, 3), 90, np.uint8)
    assert np.abs(decode([encoded(flat, "JPEG", quality=95)], (16, 16, 3))[0] - 90).max() <= 2


def test_another_size_is_resized_bilinearly_and_said():
    grey = noise(32, 48)
    found, said = decode([encoded(grey)], (16, 16, 1))
    expected = np.asarray(Image.fromarray(grey).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(found[0, :, :, 0], expected)
    assert said == ("Images are resized to the model's 16×16 pixels.",)


def test_images_of_hugging_face_tables_are_read():
    value = {"bytes": encoded(noise(4, 4)), "path": None}
    assert decode([value], (4, 4, 1))[0].shape == (1, 4, 4, 1)


def test_paths_are_relative_to_the_table_and_their_digest_is_said(tmp_path):
    grey = noise(4, 4)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(encoded(grey))
    found, said = decode(["pictures/a.png", "pictures/a.png"], (4, 4, 1), str(tmp_path / "data.csv"))
    assert np.array_equal(found[0, :, :, 0], grey)
    line = f"{hashlib.sha256(encoded(grey)).hexdigest()}  pictures/a.png\n"
    assert hashlib.sha256(line.encode()).hexdigest() in said[0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "row 1 has no image"),
        (b"", "row 1 has an image that cannot be read as PNG or JPEG"),
        (b"junk", "row 1 has an image that cannot be read as PNG or JPEG"),
        (encoded(noise(64, 64))[:200], "row 1 has an image that cannot be read"),
        (encoded(noise(4, 4), "BMP"), "row 1 has an image that cannot be read as PNG or JPEG"),
        (encoded(np.zeros((8001, 8001), np.uint8)), "row 1 has an image of more than 64,000,000 pixels"),
    ],
)
def test_an_image_that_cannot_be_read_names_its_row(value, message):
    with pytest.raises(DataRefused, match=message) as caught:
        images(pa.chunked_array([pa.array([encoded(noise(4, 4)), value], pa.binary())]), (4, 4, 1), "x", "data.path")
    assert caught.value.exit_code == 3
    assert caught.value.where == "data.path"


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "gone.png", "a\0b.png", "."])
def test_a_path_that_leaves_the_tables_folder_or_leads_nowhere_is_refused(tmp_path, path):
    (tmp_path / "secret.png").write_bytes(encoded(noise(4, 4)))
    (tmp_path / "data").mkdir()
    with pytest.raises(DataRefused, match="row 0 names an image"):
        decode([path], (4, 4, 1), str(tmp_path / "data/data.csv"))


def test_a_link_that_leaves_the_folder_is_refused(tmp_path):
    (tmp_path / "secret.png").write_bytes(encoded(noise(4, 4)))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataRefused, match="outside the table's folder"):
        decode(["link.png"], (4, 4, 1), str(tmp_path / "data/data.csv"))


def picture_model(with_seed, shape, channels_out=3):
    tensorflow()
    import keras

    inputs = keras.Input(shape)
    hidden = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    return with_seed(keras.Model(inputs, keras.layers.Dense(channels_out, "softmax")(hidden)))


def picture_config(shop, model, pixels):
    table = pa.table({"id": ["a", "b"], "picture": [encoded(p) for p in pixels], "y": ["x", "z"]})
    return shop.config(
        shop.model(model),
        shop.table(table),
        task="multiclass",
        model={"classes": ["x", "y", "z"], "image": {"scale": 0.5}},
        data={"image": "picture", "id": "id"},
    )


def test_an_image_subject_opens(shop, with_seed):
    pixels = [noise(8, 8, 3), noise(8, 8, 3)[::-1]]
    subject = open_subject(picture_config(shop, picture_model(with_seed, (8, 8, 3)), pixels))
    assert subject.modality == "image"
    assert subject.features == ()
    assert subject.encoder is None
    assert subject.reference is None
    assert np.array_equal(subject.rows, np.stack(pixels).astype(np.float32))
    assert subject.target.tolist() == [0, 2]
    truth = np.asarray(subject.model.keras_model(np.stack(pixels).astype(np.float32) * 0.5))
    assert np.allclose(subject.predictor(subject.rows), truth, atol=1e-5)


def test_a_model_of_open_size_takes_that_of_the_first_image(shop, with_seed):
    pixels = [noise(9, 12, 3), noise(20, 20, 3)]
    subject = open_subject(picture_config(shop, picture_model(with_seed, (None, None, 3)), pixels))
    assert subject.rows.shape == (2, 9, 12, 3)
    assert any("resized to the model's 9×12" in sentence for sentence in subject.limitations)


def test_channels_that_no_image_has_are_refused(shop, with_seed):
    config = picture_config(shop, picture_model(with_seed, (8, 8, 5)), [noise(8, 8, 3)] * 2)
    with pytest.raises(ModelError, match="takes images of 5 channels; available: 1, 3, 4"):
        open_subject(config)


def test_a_scale_that_the_card_contradicts_is_said(shop, with_seed):
    config = picture_config(shop, picture_model(with_seed, (8, 8, 3)), [noise(8, 8, 3)] * 2)
    (shop.folder / "model/card.yaml").write_text("name: pictures\nscale: 0.00392156862745098\n")
    said = open_subject(config).model.limitations
    assert said == ("The model's card says that pixels are multiplied by 0.00392156862745098, the config says 0.5.",)


def test_sizes_are_of_the_image_as_it_is(tmp_path):
    content = encoded(np.zeros((3, 7), np.uint8))
    (tmp_path / "a.png").write_bytes(content)
    for value in (content, "a.png", {"bytes": content, "path": None}):
        assert image_size(value, 0, str(tmp_path / "table.parquet"), "data.path") == (7, 3)


@pytest.mark.parametrize("value", ["../outside.png", "/etc/hostname", b"GIF89a", None, {"path": "../outside.png"}])
def test_sizes_of_what_may_not_be_read_are_refused(tmp_path, value):
    (tmp_path / "outside.png").write_bytes(encoded(np.zeros((3, 7), np.uint8)))
    (tmp_path / "in").mkdir()
    with pytest.raises(DataRefused, match="row 4 "):
        image_size(value, 4, str(tmp_path / "in" / "table.parquet"), "data.path")
