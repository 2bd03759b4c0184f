"""What all tests of advice share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.advice.advice_cases import Adviser


@pytest.fixture
def advice(tmp_path: Path) -> Adviser:
    """Runs the stage on columns."""
    return Adviser(tmp_path)
