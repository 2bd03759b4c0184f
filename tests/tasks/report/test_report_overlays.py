"""Overlays in the report: what is said of how to read them is said once, whatever the number of techniques."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tasks.contracts import Done
from tasks.report.document import Bullets, Figure, Paragraph, Table
from tasks.report.reading import Reading
from tasks.report.sections.overlays import _captions, overlays

TECHNIQUES = ("gradcam", "shap", "lime", "occlusion")
BRIGHT = "Left: the image. Right: bright is much, 0.5 is half. The frame is the box."
SIGNED = "Left: the image. Right: orange is for. The frame is the box."


def captioned(image, captions: Sequence[str]) -> Reading:
    """The run with these captions, one a technique."""
    pattern = next(r for r in image.record.results if isinstance(r, Done) and r.stage.startswith("explain/"))
    others = tuple(r for r in image.record.results if not r.stage.startswith("explain/"))
    explained = tuple(
        replace(pattern, stage=f"explain/{name}", facts={"title": name, "caption": caption})
        for name, caption in zip(TECHNIQUES, captions, strict=False)
    )
    return Reading(image.config, image.workspace, replace(image.record, results=(*others, *explained)))


def texts(reading: Reading, count: int) -> tuple[list[str], list[str]]:
    """Paragraphs and bullets."""
    blocks = _captions(reading, [f"saliency/{name}" for name in TECHNIQUES[:count]])
    spans = [item for block in blocks if isinstance(block, Bullets) for item in block.items]
    paragraphs = ["".join(s.text for s in block.content) for block in blocks if isinstance(block, Paragraph)]
    return paragraphs, ["".join(s.text for s in item) for item in spans]


def test_captions_do_not_repeat(image) -> None:
    paragraphs, bullets = texts(captioned(image, [BRIGHT, SIGNED, SIGNED, BRIGHT]), 4)
    assert paragraphs == ["Left: the image. The frame is the box."]
    assert [b.partition(": ")[2] for b in bullets] == [
        "Right: bright is much, 0.5 is half.",
        "Right: orange is for.",
    ]
    assert [b.partition(": ")[0].count(",") for b in bullets] == [1, 1]


def test_one_caption_for_all_has_no_bullets(image) -> None:
    assert texts(captioned(image, [SIGNED, SIGNED]), 2) == ([SIGNED], [])
    assert texts(captioned(image, []), 4) == ([], [])


def test_sources_stand_once_and_hits_have_a_row_a_technique(image) -> None:
    made = overlays(image.reading)
    assert made is not None
    figures = [block for block in made.blocks if isinstance(block, Figure)]
    assert [bool(figure.sources) for figure in figures] == [False] * (len(figures) - 1) + [True]
    for table in (block for block in made.blocks if isinstance(block, Table)):
        names = ["".join(span.text for span in row[0]) for row in table.rows]
        assert len(set(names)) == len(names)
        assert all(len(row) == len(table.columns) for row in table.rows)
