from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.report.document import Figure, Section, Table
from tasks.report.figures import Waterfall
from tasks.report.reading import Reading
from tasks.report.sections.overlays import overlays
from tasks.report.sections.single import single_rows
from tests.tasks.report.report_builder import config_of


def section(run, **rows) -> Section:
    config = config_of(report={"rows": rows}) if rows else run.config
    made = single_rows(Reading(config, run.workspace, run.record))
    assert made is not None
    return made


def waterfalls(made: Section) -> list[Waterfall]:
    return [p for b in made.blocks if isinstance(b, Figure) for p in b.panels if isinstance(p, Waterfall)]


def text_of(made: Section) -> str:
    return repr(made)


def test_rows_are_spread_from_the_lowest_to_the_highest_prediction(tabular) -> None:
    lines = pq.read_table(tabular.workspace.table_path("attributions/shap")).to_pylist()
    predictions = sorted({r["prediction"] for r in lines})
    shown = [w.total.value for w in waterfalls(section(tabular)) if w.title == "SHAP"]
    assert shown == [predictions[0], predictions[14], predictions[29]]


@pytest.mark.parametrize(("show", "figures"), [(0, 0), (1, 1), (2, 2), (50, 30)])
def test_the_config_rules_how_many(tabular, show: int, figures: int) -> None:
    made = section(tabular, show=show)
    assert len([b for b in made.blocks if isinstance(b, Figure)]) == figures


def test_a_waterfall_adds_up_and_shows_what_is_left_unexplained(tabular) -> None:
    for chart in waterfalls(section(tabular)):
        reached = chart.base.value + sum(s.value for s in chart.steps)
        assert reached == pytest.approx(chart.total.value)
        unexplained = [s for s in chart.steps if s.label == "not explained"]
        assert [round(s.value, 6) for s in unexplained] == ([] if chart.title == "SHAP" else [0.04])


def test_what_does_not_fit_is_one_step(run_of) -> None:
    run = run_of("large")
    for chart in waterfalls(section(run, show=3)):
        assert chart.steps[8].label == "192 other features"
        assert chart.base.value + sum(s.value for s in chart.steps) == pytest.approx(chart.total.value)


def test_redacted_columns_are_nowhere(tabular) -> None:
    open_text = text_of(section(tabular, show=3))
    assert "age = v" in open_text
    hidden = section(tabular, show=3, redact=["age", "income"])
    text = text_of(hidden)
    assert "age = v" not in text
    assert "age = redacted" in text
    assert "labelled" not in text
    for table in (b for b in hidden.blocks if isinstance(b, Table)):
        assert [row[1][0].text for row in table.rows if row[0][0].text == "age"] == ["redacted"]


def test_redacted_ids_and_pictures(image) -> None:
    config = image.config
    rows = config.report.rows.model_copy(update={"redact": ["scene_id"]})
    hidden = config.model_copy(update={"report": config.report.model_copy(update={"rows": rows})})
    text = text_of(overlays(Reading(hidden, image.workspace, image.record)))
    assert "Picture 1, its id not shown" in text
    assert "scene-0" not in text
    rows = rows.model_copy(update={"redact": ["image"]})
    none = config.model_copy(update={"report": config.report.model_copy(update={"rows": rows})})
    made = overlays(Reading(none, image.workspace, image.record))
    assert not [b for b in made.blocks if isinstance(b, Figure)]


def test_null_is_said(tabular) -> None:
    assert "hours_per_week = null" in text_of(section(tabular))


@pytest.mark.parametrize("path", ["../../../etc/passwd.png", "/etc/passwd", "images/none.png", "tables.txt"])
def test_a_picture_outside_the_run_is_never_read(image, tmp_path: Path, path: str) -> None:
    from tasks.report.sections.overlays import _picture

    row = {"row_id": "r", "output": "0", "layer": None, "image": path}
    (tmp_path / "passwd.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert _picture(image.reading, "saliency/gradcam", row, 1) is None


def test_rows_without_a_prediction_table_are_still_explained(tabular) -> None:
    results = tuple(r for r in tabular.record.results if r.stage != "predict")
    reading = Reading(tabular.config, tabular.workspace, replace(tabular.record, results=results))
    reading.__dict__["artifacts"] = tuple(a for a in reading.artifacts if a.name != "predictions")
    made = single_rows(reading)
    assert len(waterfalls(made)) == 6
    assert "decided as" not in text_of(made)
