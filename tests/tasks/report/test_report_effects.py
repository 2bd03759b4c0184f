"""Global shape in the report: panels, sentences and tables from the run's tables of effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.contracts import Done
from tasks.report import write_report
from tasks.report.document import Figure, Section, Table
from tasks.report.figures import Bars, Curves, Levels
from tasks.report.sections.effects import effects
from tasks.report.sections.movement import Shape, described
from tests.tasks.report.conftest import Written
from tests.tasks.report.report_builder import table
from tests.tasks.report.report_pages import Node, numbers, tables
from tests.tasks.report.report_runs import HOSTILE, tabular_run

AGES, HOURS = (20.0, 30.0, 50.0, 70.0), (10.0, 40.0, 80.0)
SEXES = ("Female", "Male")
OUTPUT = ">50K"


def curve(
    feature: str, positions: Sequence[float], values: Sequence[float], texts: Sequence[str] | None = None, **more: Any
) -> list[dict[str, Any]]:
    """Rows of a curve."""
    texts = texts or [f"{p:g}" for p in positions]
    return [
        {"output": OUTPUT, "feature": feature, "point": i, "position": p, "value": text, "effect": v, "n_rows": 100,
         **({"std_error": 0.01, "ci_low": v - 0.02, "ci_high": v + 0.02} if "row_id" not in more else {}), **more}
        for i, (p, v, text) in enumerate(zip(positions, values, texts, strict=True))
    ]  # fmt: skip


DEPENDENCE = [
    *curve("age", AGES, (0.1, 0.2, 0.4, 0.3)),
    *curve("hours_per_week", HOURS, (0.2, 0.25, 0.3)),
    *curve("sex", (0.0, 1.0), (0.15, 0.32), SEXES),
    *(r for i in range(4) for r in curve("age", AGES, (0.1 * i, 0.2, 0.4 + 0.1 * i, 0.3), row_id=i)),
    *(r for i in range(4) for r in curve("hours_per_week", HOURS, (0.2, 0.25, 0.3 + 0.1 * i), row_id=i)),
]
LOCAL = [
    *curve("age", (17.0, 30.0, 50.0, 90.0), (-0.1, 0.0, 0.12, 0.05), n_rows=50),
    *curve("hours_per_week", (1.0, 40.0, 99.0), (0.06, 0.0, -0.05), n_rows=75),
    *curve("sex", (1.0, 0.0), (0.05, -0.09), SEXES[::-1], n_rows=30),
]
PAIRED = [
    {"output": OUTPUT, "feature": a, "with_feature": b, "measure": measure, "effect": v, "std_error": 0.004,
     "ci_low": None if v is None else 0.9 * v, "ci_high": None if v is None else 1.1 * v, "n_rows": 200}
    for a, b, strength, ratio in (("age", "sex", 0.05, 0.2), ("age", "hours_per_week", 0.01, None))
    for measure, v in (("strength", strength), ("h_squared", ratio))
]  # fmt: skip


def joint(a: tuple[str, Sequence[float], Sequence[str]], b: tuple[str, Sequence[float], Sequence[str]]) -> list[dict]:
    """A pair's joint curve."""
    at = [(i, j) for i in range(len(a[1])) for j in range(len(b[1]))]
    return [
        {"output": OUTPUT, "feature": a[0], "with_feature": b[0], "measure": "effect", "point": p,
         "position": a[1][i], "value": a[2][i], "with_position": b[1][j], "with_value": b[2][j],
         "effect": 0.1 * i + 0.2 * j * i, "n_rows": 200}
        for p, (i, j) in enumerate(at)
    ]  # fmt: skip


PAIRED += joint(("age", AGES[:3], ("20", "30", "50")), ("sex", (0.0, 1.0), SEXES))
TABLES = {"partial_dependence": DEPENDENCE, "ale": LOCAL, "interactions": PAIRED}
FACTS = {"output": "probability", "rows": 100, "mean_output": {OUTPUT: 0.25}}
MORE = {"interactions": {"pairs_screened": 28}}


def shaped_run(folder: Path, of: dict[str, list[dict[str, Any]]] = TABLES, **changes: Any) -> Written:
    """The tabular run with tables of effects, reported on."""
    config, workspace, record = tabular_run(folder, **changes)
    results = list(record.results)
    for technique, rows in of.items():
        ref = workspace.write_table(f"effects/{technique}", table("effects", rows))
        facts = {**FACTS, "title": technique.replace("_", " ").capitalize(), **MORE.get(technique, {})}
        results.insert(-3, Done(f"explain/{technique}", (ref,), facts=facts))
    written = Written(config, workspace, replace(record, results=tuple(results)))
    write_report(written.config, written.workspace, written.record)
    return written


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return shaped_run(tmp_path_factory.mktemp("shaped"))


def section_of(written: Written) -> Section:
    found = effects(written.reading)
    assert found is not None
    return found


def panels_of(section: Section, id: str) -> tuple[Any, ...]:
    return next(b.panels for b in section.blocks if isinstance(b, Figure) and b.id == id)


def part(page: Node) -> Node:
    return next(n for n in page.all("section") if n.attributes.get("id") == "effects")


# ---------------------------------------------------------------- panels


def test_a_panel_a_feature_the_most_important_first(shaped: Written) -> None:
    panels = panels_of(section_of(shaped), "effects-1-figure")
    ranks: dict[str, list[int]] = {}
    for row in shaped.rows("importance"):
        if row["feature"] in ("age", "hours_per_week", "sex"):
            ranks.setdefault(row["feature"], []).append(row["rank"])
    assert [p.title for p in panels] == sorted(ranks, key=lambda f: (min(ranks[f]), sum(ranks[f]), f))
    kinds = {p.title: type(p) for p in panels}
    assert kinds == {"age": Curves, "hours_per_week": Curves, "sex": Levels}
    assert len({(p.low, p.high) for p in panels}) == 1


def test_curves_are_those_of_the_tables(shaped: Written) -> None:
    age = next(p for p in panels_of(section_of(shaped), "effects-1-figure") if p.title == "age")
    first, second = age.lines
    assert first.points == ((20.0, 0.1), (30.0, 0.2), (50.0, 0.4), (70.0, 0.3))
    assert first.band[0] == pytest.approx((0.08, 0.12))
    # around the mean output 0.25, between the ends of partial dependence
    assert [x for x, _ in second.points] == [20.0, 30.0, 50.0, 70.0]
    assert [y for _, y in second.points] == pytest.approx([0.15 + 0.1 * 3 / 13, 0.25, 0.37, 0.37 - 0.07 / 2])
    assert age.rows == ((17.0, 30.0, 50.0), (30.0, 50.0, 50.0), (50.0, 90.0, 50.0))
    assert len(age.thin) == 4
    level = sum(y for _, y in first.points) / 4
    for run in age.thin:
        assert sum(y for _, y in run) / len(run) == pytest.approx(level)


def test_categories_have_their_share_of_rows(shaped: Written) -> None:
    sex = next(p for p in panels_of(section_of(shaped), "effects-1-figure") if p.title == "sex")
    assert [(level.label, level.text) for level in sex.levels] == [("Male", "50.0\xa0%"), ("Female", "50.0\xa0%")]
    assert [dot.value for dot in sex.levels[0].dots] == [0.32, pytest.approx(0.3)]


def test_single_rows_are_drawn_only_where_the_config_lets_the_report_show_rows(tmp_path: Path) -> None:
    hidden = shaped_run(tmp_path, report={"rows": {"show": 0}})
    assert all(not p.thin for p in panels_of(section_of(hidden), "effects-1-figure") if isinstance(p, Curves))
    assert 'class="thin"' not in hidden.html
    assert "single rows" not in part(hidden.page).text


def test_a_redacted_column_has_no_panel_and_none_of_its_values(tmp_path: Path) -> None:
    hidden = shaped_run(tmp_path, report={"rows": {"show": 3, "redact": ["sex"]}})
    found = section_of(hidden)
    assert {p.title for p in panels_of(found, "effects-1-figure")} == {"age", "hours_per_week"}
    assert "Values of these columns are not printed: sex." in part(hidden.page).text
    assert "Female" not in part(hidden.page).text
    assert len(panels_of(found, "interactions-1-figure")) == 1  # strengths, and no joint curve


def test_the_first_features_and_how_many_more(tmp_path: Path) -> None:
    rows = [r for i in range(12) for r in curve(f"f{i:02}", HOURS, (0.1, 0.2, 0.3))]
    found = shaped_run(tmp_path, {"partial_dependence": rows})
    assert len(panels_of(section_of(found), "effects-1-figure")) == 8
    assert "4 more are in the tables named as source" in part(found.page).text


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.1, 0.2, 0.3, 0.4), "The output rises from 0.100 at 1 to 0.400 at 4."),
        ((0.4, 0.3, 0.31, 0.1), "The output falls from 0.400 at 1 to 0.100 at 4"
                                "; the largest step, −0.210, is between 3 and 4."),
        ((0.1, 0.3, 0.25, 0.1), "The output rises from 0.100 at 1 to 0.300 at 2, then falls to 0.100 at 4"
                                "; the largest step, +0.200, is between 1 and 2."),
        ((0.3, 0.2, 0.1, 0.2), "The output falls from 0.300 at 1 to 0.100 at 3, then rises to 0.200 at 4."),
        ((0.1, 0.3, 0.1, 0.3), "The output moves up and down between 0.100 at 1 and 0.300 at 2"
                               "; the largest step, +0.200, is between 1 and 2."),
        ((0.2, 0.2, 0.2, 0.2), "The output hardly moves: from 0.200 to 0.200."),
        ((0.2,), "The output has one value only: 0.200 at 1."),
    ],
)  # fmt: skip
def test_a_curve_in_words(shaped: Written, values: Sequence[float], words: str) -> None:
    shape = Shape("x", True, curve("x", [float(i + 1) for i in range(len(values))], values))
    assert described(shaped.reading, shape) == words


def test_categories_in_words(shaped: Written) -> None:
    shape = Shape("c", False, curve("c", (0.0, 1.0, 2.0), (0.2, 0.5, 0.1), ("a", "b", "c")))
    assert described(shaped.reading, shape) == "The output is lowest for c (0.100) and highest for b (0.500)."


def test_local_effects_that_lead_the_other_way_are_said(shaped: Written) -> None:
    rows = {row[0]: row for row in next(t for t in tables(part(shaped.page)) if t[0][0] == "Feature")}
    assert "local effects lead the other way" in rows["hours_per_week"][1]
    assert "other way" not in rows["age"][1]
    assert "other way" not in rows["sex"][1]
    assert rows["age"][1] == (
        "rises from 0.100 at 20 to 0.400 at 50, then falls to 0.300 at 70; the largest step, +0.200, is between 30"
        " and 50"
    )
    assert rows["age"][2:] == ["0.300", "0.220"]


def test_the_output_is_named(shaped: Written) -> None:
    assert "the model’s output, the probability of >50K, goes up and down" in part(shaped.page).text


# ---------------------------------------------------------------- interactions


def test_pairs_and_their_numbers(shaped: Written) -> None:
    own = part(shaped.page)
    found = next(t for t in tables(own) if t[0][0] == "Features")
    assert [row[0] for row in found[1:]] == ["age × sex", "age × hours_per_week"]
    assert numbers(found[1][1]) == ["0.050", "0.045", "0.055"]
    assert numbers(found[1][2])[:1] == ["0.200"]
    assert found[2][2] == "undefined"
    assert "The strongest pair is age with sex: 0.050 beyond what each does alone, 20.0 % of what the pair does." in (
        own.text.replace("\xa0", " ")
    )
    assert "Of 28 pairs, the 2 that a screen found strongest were measured." in own.text


def test_the_joint_curve_of_a_pair(shaped: Written) -> None:
    bars, pair = panels_of(section_of(shaped), "interactions-1-figure")
    assert isinstance(bars, Bars)
    assert isinstance(pair, Curves)
    assert [line.label for line in pair.lines] == ["sex = Female", "sex = Male"]
    assert pair.lines[1].points == ((20.0, 0.0), (30.0, pytest.approx(0.3)), (50.0, pytest.approx(0.6)))


def test_a_pair_of_categories_and_one_whose_number_comes_second(tmp_path: Path) -> None:
    rows = PAIRED[:4] + joint(("age", (0.0, 1.0), ("young", "old")), ("sex", (0.0, 1.0), SEXES))
    rows += joint(("age", (0.0, 1.0), ("young", "old")), ("hours_per_week", (10.0, 40.0), ("10", "40")))
    _, categories, number = panels_of(section_of(shaped_run(tmp_path, {"interactions": rows})), "interactions-1-figure")
    assert isinstance(categories, Levels)
    assert categories.legend == ("sex = Female", "sex = Male")
    assert isinstance(number, Curves)
    assert [x for x, _ in number.lines[0].points] == [10.0, 40.0]
    assert [line.label for line in number.lines] == ["age = young", "age = old"]


# ---------------------------------------------------------------- whole reports


@pytest.mark.parametrize("kept", [("partial_dependence",), ("ale",), ("interactions",), ("ale", "interactions")])
def test_any_of_the_techniques_alone(tmp_path: Path, kept: Sequence[str]) -> None:
    found = shaped_run(tmp_path, {name: TABLES[name] for name in kept})
    own = part(found.page)
    assert tables(own)
    assert ("Partial dependence" in own.text or "partial dependence" in own.text) == ("partial_dependence" in kept)
    assert ("act together" in own.text) == ("interactions" in kept)


def test_empty_tables_and_runs_without_say_nothing(tmp_path: Path, image: Written) -> None:
    assert effects(image.reading) is None
    empty = shaped_run(tmp_path, {name: [] for name in TABLES})
    assert effects(empty.reading) is None or section_of(empty).blocks


def test_every_form_says_the_same(shaped: Written) -> None:
    own = part(shaped.page)
    for node in own.all("td", "th"):
        assert set(numbers(node.text)) <= set(numbers(shaped.markdown_page.text))
    assert "rises from 0.100 at 20 to 0.400 at 50, then falls to 0.300 at 70" in shaped.markdown
    assert (shaped.folder / "report.pdf").read_bytes().startswith(b"%PDF")
    listed = [a["path"] for a in shaped.summary["artifacts"]]
    assert {f"artifacts/effects/{name}.parquet" for name in TABLES} <= set(listed)
    for block in section_of(shaped).blocks:
        if isinstance(block, Figure | Table):
            assert all(f"artifacts/{source}.parquet" in shaped.html for source in block.sources)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    rows = [r for i, name in enumerate(HOSTILE) for r in curve(name, HOURS, (0.1 * i, 0.2, 0.3))]
    rows += curve("kind", [float(i) for i in range(len(HOSTILE))], [0.1] * (len(HOSTILE) - 1) + [0.4], HOSTILE)
    pairs = [
        {
            "output": OUTPUT,
            "feature": HOSTILE[0],
            "with_feature": name,
            "measure": "strength",
            "effect": 0.1,
            "n_rows": 5,
        }
        for name in HOSTILE[1:]
    ]
    found = shaped_run(tmp_path, {"partial_dependence": rows, "ale": rows, "interactions": pairs})
    assert not found.page.all("script")
    assert "<script" not in found.html.lower()
    assert not found.markdown_page.all("script", "img")


def test_null_effects_are_left_out(tmp_path: Path) -> None:
    rows = curve("age", AGES, (0.1, 0.2, 0.4, 0.3))
    rows[1] |= {"effect": None, "ci_low": None, "ci_high": None}
    rows[2] |= {"ci_low": None, "ci_high": None}
    (age,) = panels_of(section_of(shaped_run(tmp_path, {"partial_dependence": rows})), "effects-1-figure")
    assert [x for x, _ in age.lines[0].points] == [20.0, 50.0, 70.0]
    assert age.lines[0].band == ()
    assert age.ticks == (20.0, 50.0, 70.0)
