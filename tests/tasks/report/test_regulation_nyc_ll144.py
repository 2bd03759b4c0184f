from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tasks.contracts import Done
from tasks.errors import ConfigError
from tasks.persist import Workspace
from tasks.report import check_regulations
from tasks.report.html import render_html
from tasks.report.reading import Reading
from tasks.report.regulations import REGULATIONS
from tasks.report.regulations.ll144_page import _year_later
from tasks.report.regulations.ll144_tables import exact
from tests.tasks.report.report_builder import config_of, predicted, rate, record_of, table, workspace_of
from tests.tasks.report.report_pages import parsed
from tests.tasks.report.report_runs import HOSTILE

#: group → (assessed, selected)
COUNTS = {
    "sex": {"Female": (400, 100), "Male": (600, 240), "(missing)": (10, 9)},
    "race": {"A": (500, 200), "B": (480, 120), "C": (15, 12), "(missing)": (15, 6)},
}


def reading_of(folder: Path, counts: dict[str, Any] = COUNTS, **changes: Any) -> Reading:
    """A run whose selection rates are these; (attribute, class) as a key gives those of one class."""
    config = config_of(**{"data": {"intersections": []}, "policy": [], **changes})
    workspace = workspace_of(folder)
    rows = []
    for key, groups in counts.items():
        attribute, output = key if isinstance(key, tuple) else (key, None)
        rows += [
            rate("selection_rate", yes, n, attribute=attribute, group=group, output=output)
            for group, (n, yes) in groups.items()
        ]
    ref = workspace.write_table("group_metrics", table("group_metrics", rows))
    return Reading(config, workspace, record_of([Done("bias", (ref,))], "satisfied"))


def judge(reading: Reading):
    return REGULATIONS["nyc_ll144"].judge(reading)


def controls(reading: Reading) -> dict[str, Any]:
    return {c.id: c for c in judge(reading).controls}


def ratios(reading: Reading, id: str) -> dict[str, str]:
    block = next(b for b in judge(reading).blocks if getattr(b, "id", None) == id)
    return {row[0][0].text: " ".join(span.text for span in row[4]) for row in block.rows}


def settings(**values: Any) -> dict[str, Any]:
    return {"report": {"regulations": ["nyc_ll144"], "settings": {"nyc_ll144": values}}}


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (Fraction(1), 3, "1.000"), (Fraction(0), 2, "0.00"), (Fraction(1, 8), 2, "0.13"), (None, 3, "undefined"),
        (Fraction(2, 3), 4, "0.6667"), (Fraction(999_999, 1_000_000), 3, "1.000"), (Fraction(1, 200), 2, "0.01"),
    ],
)  # fmt: skip
def test_fractions_are_rounded_as_the_rule_does(value: Fraction | None, decimals: int, text: str) -> None:
    assert exact(value, decimals) == text


def test_nothing_is_left_out_unless_asked(tmp_path: Path) -> None:
    reading = reading_of(tmp_path)
    assert ratios(reading, "ll144-race") == {"A": "0.500", "B": "0.313", "C": "1.000"}
    small = controls(reading)["ll144-small"]
    assert small.status == "satisfied"
    assert "None was left out." in small.rationale
    assert "C (1.5" in small.rationale


def test_a_small_category_leaves_before_the_highest_rate_is_taken(tmp_path: Path) -> None:
    reading = reading_of(tmp_path, **settings(small_share=0.02))
    found = ratios(reading, "ll144-race")
    assert (found["A"], found["B"]) == ("1.000", "0.625")
    assert found["C"] == "– left out: under 2 % of the known categories"
    told = controls(reading)["ll144-small"].rationale
    assert "Left out before the highest rate was taken: C (12 of 15, rate 0.800; under 2 %" in told
    page = parsed(render_html(judge(reading).pages[0][1]).decode())
    assert "Categories of less than 2 % of people whose category is known are left out" in " ".join(page.text.split())
    assert "left out: under 2 %" in page.text


@pytest.mark.parametrize(("of", "left_out"), [("known", False), ("all", True)])
def test_the_denominator_of_the_share_is_a_setting(tmp_path: Path, of: str, left_out: bool) -> None:
    counts = {"race": {"A": (980, 490), "C": (20, 18), "(missing)": (100, 50)}}  # C: 2 % of 1,000, less of 1,100
    reading = reading_of(tmp_path, counts, **settings(small_share=0.02, small_of=of))
    assert ("left out" in ratios(reading, "ll144-race")["C"]) is left_out


@pytest.mark.parametrize(("of", "above"), [("known", {"A": "4", "B": "0"}), ("all", {"A": "2", "B": "0"})])
def test_whose_median_it_is_is_a_setting(tmp_path: Path, of: str, above: dict[str, str]) -> None:
    # Of the known, 1 to 8, the median is 4.5; with the four unknown above them it is 6.5.
    scores = [5, 6, 7, 8, 1, 2, 3, 4, 9, 10, 11, 12]
    groups = ["A"] * 4 + ["B"] * 4 + ["(missing)"] * 4
    workspace = workspace_of(tmp_path)
    lines = [
        {"row_id": i, "output": ">50K", "score": s / 20, "y_true": ">50K", "decision": ">50K"}
        for i, s in enumerate(scores)
    ]
    held = [{"row_id": i, "attribute": "race", "group": g, "weight": 1.0} for i, g in enumerate(groups)]
    rows = [
        rate("scoring_rate", hits, 4, attribute="race", group=group)
        for group, hits in (("A", 2), ("B", 0), ("(missing)", 4))
    ]
    refs = [
        workspace.write_table(name, table(name, own))
        for name, own in (("predictions", lines), ("groups", held), ("group_metrics", rows))
    ]
    config = config_of(data={"intersections": []}, **settings(median_of=of))
    reading = Reading(config, workspace, record_of([Done("bias", tuple(refs))], "satisfied"))
    block = next(b for b in judge(reading).blocks if getattr(b, "id", None) == "ll144-scores-race")
    assert {row[0][0].text: row[2][0].text for row in block.rows} == above
    assert "of unknown category" in block.note[0].text


def test_a_tool_that_sorts_into_classes_repeats_the_tables(tmp_path: Path) -> None:
    counts: dict[Any, Any] = {**COUNTS}
    for position, outcome in enumerate(("low", "mid", "<b>high</b>")):
        for attribute, groups in COUNTS.items():
            counts[attribute, outcome] = {g: (n, yes // (position + 1)) for g, (n, yes) in groups.items()}
    reading = reading_of(
        tmp_path, counts, model={"task": "multiclass", "classes": ["low", "mid", "<b>high</b>"]},
        data={"intersections": [], "target": {"favorable": "low", "column": "y"}}, bias={"decision": {}},
    )  # fmt: skip
    found = judge(reading)
    ids = [b.id for b in found.blocks if hasattr(b, "id")]
    assert [id for id in ids if "class" in id] == [f"ll144-class-{n}-{k}" for n in (1, 2, 3) for k in ("sex", "race")]
    states = {c.id: c.status for c in found.controls}
    assert states["ll144-classes"] == "insufficient_data"  # no crossing is declared
    assert states["ll144-scores"] == "not_applicable"
    html = render_html(found.pages[0][1]).decode()
    assert "<b>high</b>" not in html
    assert html.count("&lt;b&gt;high&lt;/b&gt;") == 2


@pytest.mark.parametrize(
    ("changes", "states"),
    [
        ({}, {"sex": "satisfied", "race": "satisfied", "crossing": "insufficient_data", "unknown": "satisfied"}),
        (
            {"data": {"sensitive": {"sex": {"column": "sex"}}, "intersections": []}},
            {"sex": "satisfied", "race": "insufficient_data"},
        ),
        (
            {"data": {"sensitive": {"sex": {"column": "s"}, "o": {"column": "Race/Ethnicity"}}, "intersections": []}},
            {"sex": "satisfied", "race": "insufficient_data", "crossing": "insufficient_data"},
        ),
        ({"data": {"weight": "w", "intersections": []}}, {"sex": "insufficient_data", "small": "insufficient_data"}),
    ],
)
def test_controls_by_what_there_is(tmp_path: Path, changes: dict, states: dict[str, str]) -> None:
    found = controls(reading_of(tmp_path, **changes))
    assert {key: found[f"ll144-{key}"].status for key in states} == states


def test_nobody_selected_and_no_page(tmp_path: Path) -> None:
    nobody = {"sex": {"F": (40, 0), "M": (50, 0)}, "race": {"A": (90, 0)}}
    found = judge(reading_of(tmp_path, nobody))
    why = {c.id: c for c in found.controls}["ll144-sex"]
    assert (why.status, "Nobody was selected" in why.rationale) == ("insufficient_data", True)
    assert [file for file, _ in found.pages] == ["nyc_ll144.html"]
    assert judge(reading_of(tmp_path / "none", {})).pages == ()


def test_the_page_takes_what_people_state(tmp_path: Path) -> None:
    stated = {
        "independence": {"statement": "Independent", "who": HOSTILE[0], "role": HOSTILE[4], "date": "2026-11-01"},
        "data_source": HOSTILE[2], "distribution_date": "2026-01-15",
    }  # fmt: skip
    reading = reading_of(tmp_path, report={"regulations": ["nyc_ll144"], "attestations": stated})
    html = render_html(judge(reading).pages[0][1]).decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html.replace("<wbr>", "")
    assert "2026-01-15" in html
    assert html.count("to be stated") == 1  # whether test data were used
    assert html == render_html(judge(reading).pages[0][1]).decode()


@pytest.mark.parametrize(
    ("iso", "until"),
    [
        ("2026-11-22T10:00:00+00:00", "22 November 2027"),
        ("2028-02-29T10:00:00", "28 February 2029"),
        ("x", "a year after the audit"),
    ],
)
def test_an_audit_serves_for_a_year(iso: str, until: str) -> None:
    assert _year_later(iso) == until


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"smal_share": 0.01}, "report.settings.nyc_ll144: unknown key smal_share"),
        ({"smal_share": 0.01}, "did you mean small_share?"),
        ({"small_share": 0.03}, "report.settings.nyc_ll144.small_share: should be less than or equal to 0.02"),
        ({"small_of": "some"}, "report.settings.nyc_ll144.small_of: should be 'known' or 'all'"),
        ({"decimals": 1}, "report.settings.nyc_ll144.decimals: should be greater than or equal to 2"),
    ],
)
def test_wrong_settings_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_regulations(config_of(**settings(**values)))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"nyc_ll14": {}}, "report.settings.nyc_ll14: nyc_ll14 is not among report.regulations; available: nyc_ll144"),
        ({"eeoc_four_fifths": {}}, "eeoc_four_fifths is not among report.regulations"),
    ],
)
def test_settings_of_a_pack_that_is_not_chosen_are_refused(own: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_regulations(config_of(report={"regulations": ["nyc_ll144"], "settings": own}))
    assert message in str(caught.value)


def test_a_pack_without_settings_takes_none() -> None:
    config = config_of(report={"regulations": ["eeoc_four_fifths"], "settings": {"eeoc_four_fifths": {"x": 1}}})
    with pytest.raises(ConfigError, match="has nothing to set"):
        check_regulations(config)


def test_scores_alone_are_enough_for_a_tool_that_gives_scores(tmp_path: Path) -> None:
    workspace: Workspace = workspace_of(tmp_path)
    rows = [
        rate("scoring_rate", hits, n, attribute="sex", group=group)
        for group, n, hits in (("Female", 76, 34), ("Male", 92, 50))
    ]
    refs = (workspace.write_table("group_metrics", table("group_metrics", rows)),)
    config = config_of(
        model={"task": "regression", "classes": None}, bias={"decision": {}}, policy=[],
        data={"sensitive": {"sex": {"column": "sex"}}, "intersections": [], "target": {"column": "y"}},
    )  # fmt: skip
    record = record_of([Done("bias", refs), predicted(workspace, rows=10, output="value")], "satisfied")
    found = controls(Reading(config, workspace, record))
    assert found["ll144-sex"].status == "not_applicable"
    assert found["ll144-scores"].status == "insufficient_data"
    assert "Lacking, since no attribute is declared: race or ethnicity" in found["ll144-scores"].rationale
