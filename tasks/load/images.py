"""Images from a table's column: encoded bytes or paths, decoded to the size and channels that the model takes."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tasks.errors import DataRefused, ModelError
from tasks.load.models import LoadedModel
from tasks.load.spill import forget, room
from tasks.load.tables import Dataset

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 64_000_000
MAX_BYTES = 256 << 20
FORMATS = ("PNG", "JPEG")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_WORKERS = 4


def image_shape(model: LoadedModel, data: Dataset, column: str) -> tuple[int, int, int]:
    """(height, width, channels) that the model takes; a size that it leaves open is that of the first image.

    Raises:
        ModelError: channels that are not grey, RGB or RGBA.
    """
    _, height, width, channels = model.keras_model.inputs[0].shape
    if channels not in _MODES:
        raise ModelError(
            f"takes images of {channels} channels",
            where=model.path,
            available=sorted(_MODES),
            hint="channels come last",
        )
    if height is None or width is None:
        first = _read(data.table.column(column)[0].as_py(), 0, data.path, "data.path")[0] if data.table else None
        height = height or (first.height if first else 1)
        width = width or (first.width if first else 1)
    return int(height), int(width), int(channels)


def images(
    column: pa.ChunkedArray, shape: tuple[int, int, int], table_path: str, where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decodes a column of PNG or JPEG bytes, or of paths relative to the table's folder.

    An image of another size is resized with Pillow's bilinear filter (which averages where it shrinks).

    Args:
        shape: (height, width, channels).
        where: the config's key, for messages.

    Returns:
        (n, height, width, channels) float32 of 0–255, in a file where that is large, and sentences for the report.

    Raises:
        DataRefused: a row's image is missing, damaged, too large, of another format, or outside the folder.
        StorageError: the temporary folder's disk has no room for them.
    """
    pixels = room((len(column), *shape), np.float32)
    digests: list[str | None] = [None] * len(column)

    def fill(start: int) -> bool:
        resized = False
        values = column.slice(start, 64).to_pylist()
        for row, value in enumerate(values, start):
            image, digests[row] = _read(value, row, table_path, where)
            pixels[row], changed = _pixels(image, shape)
            resized = resized or changed
        forget(pixels[start : start + 64])
        return resized

    with ThreadPoolExecutor(_WORKERS, "images") as pool:
        resized = any(list(pool.map(fill, range(0, len(column), 64))))
    said = []
    if resized:
        said.append(f"Images are resized to the model's {shape[0]}×{shape[1]} pixels.")
    lines = sorted({f"{digest}\n" for digest in digests if digest})
    if lines:
        sha256 = hashlib.sha256("".join(lines).encode()).hexdigest()
        said.append(
            f"The images of {where} are files beside the table, which its digest does not cover: the SHA-256 of their"
            f" sorted digests is {sha256}."
        )
    return pixels, tuple(said)


def image_size(value: object, row: int, table_path: str, where: str) -> tuple[int, int]:
    """(width, height) of a row's image, as it is before it is resized; its pixels stay unread.

    Args:
        value: PNG or JPEG bytes, a path relative to the table's folder, or a mapping with bytes.
        row: its position, for messages.

    Raises:
        DataRefused: as of `images`.
    """
    content, _ = _content(value, row, table_path, where)
    return _opened(content, row, where).size


def _read(value: object, row: int, table_path: str, where: str) -> tuple[Image.Image, str | None]:
    """A decoded image, and `sha256  path` where it came from a file."""
    content, name = _content(value, row, table_path, where)
    image = _opened(content, row, where)
    try:
        image.load()
    except Exception as error:
        raise _unreadable(error, row, where) from error
    return image, f"{hashlib.sha256(content).hexdigest()}  {name}" if name else None


def _content(value: object, row: int, table_path: str, where: str) -> tuple[bytes, str | None]:
    """An image's bytes, and its path where it came from a file."""
    name = None
    if isinstance(value, str):
        content, name = _file(value, row, table_path, where)
    elif isinstance(value, bytes):
        content = value
    elif isinstance(value, dict) and isinstance(value.get("bytes"), bytes):  # as Hugging Face's data sets write images
        content = value["bytes"]
    else:
        raise _refused("has no image", row, where)
    if len(content) > MAX_BYTES:
        raise _refused(f"has an image file larger than {MAX_BYTES >> 20} MiB", row, where)
    return content, name


def _opened(content: bytes, row: int, where: str) -> Image.Image:
    """An image of a format and size that are taken; its pixels are not yet decoded."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception as error:
        raise _unreadable(error, row, where) from error
    if image.width * image.height > MAX_PIXELS:
        raise _refused(f"has an image of more than {MAX_PIXELS:,} pixels", row, where)
    return image


def _unreadable(error: Exception, row: int, where: str) -> DataRefused:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return _refused(f"has an image that cannot be read as {' or '.join(FORMATS)} ({reason})", row, where)


def _file(value: str, row: int, table_path: str, where: str) -> tuple[bytes, str]:
    """An image file's bytes, and its path within the table's folder, which it must not leave."""
    folder = Path(table_path).parent.resolve()
    try:
        path = (folder / value).resolve()
        if not path.is_relative_to(folder):
            raise _refused(f"names an image outside the table's folder: {value}", row, where)
        if path.stat().st_size > MAX_BYTES:
            raise _refused(f"has an image file larger than {MAX_BYTES >> 20} MiB", row, where)
        return path.read_bytes(), path.relative_to(folder).as_posix()
    except (OSError, ValueError) as error:
        raise _refused(f"names an image that cannot be read: {value}", row, where) from error


def _pixels(image: Any, shape: tuple[int, int, int]) -> tuple[np.ndarray, bool]:
    from PIL import Image

    height, width, channels = shape
    if image.mode.startswith("I"):  # 16 bits a pixel
        wide = np.asarray(image, np.float32) / 257.0
        image = Image.fromarray(np.clip(np.rint(wide), 0, 255).astype(np.uint8))
    image = image.convert(_MODES[channels])
    resized = image.size != (width, height)
    if resized:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32).reshape(shape), resized


def _refused(what: str, row: int, where: str) -> DataRefused:
    return DataRefused(
        f"row {row} {what}", where=where, hint="remove the row or mend its image", code="image_unreadable"
    )
