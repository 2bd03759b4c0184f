"""Where disparities come from: gaps, proxies, faithfulness, slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.contracts import Done, Failed, NotApplicable
from tasks.report.document import Bullets, Paragraph
from tasks.report.figures import Forest
from tasks.report.sections.overview import overview
from tasks.report.sections.proxies import leading_technique
from tasks.report.sections.sources import sources
from tests.tasks.report.report_builder import FEATURES
from tests.tasks.report.report_evidence import gap_rows, proxy_rows, slice_rows
from tests.tasks.report.test_report_sections import cells, figures_of, reading_of, tables_of, text_of

ONE = {"sensitive": {"sex": {"column": "sex"}}, "intersections": []}


def told(section) -> str:
    paragraphs = [b for s in (section, *section.sections) for b in s.blocks if isinstance(b, Paragraph)]
    return " ".join(text_of(b.content) for b in paragraphs)


# ---------------------------------------------------------------- attribution gaps


def test_features_are_drawn_and_listed_by_their_gap(tabular) -> None:
    section = sources(tabular.reading)
    (panel,) = figures_of(section)["carriers-1-figure"].panels
    assert isinstance(panel, Forest)
    assert (panel.title, panel.subtitle, panel.null) == ("Female", "against Male", 0.0)
    own = ("shap", "attribution_gap", "sex", "Female")
    rows_of = tabular.rows("disparities")
    wanted = {r["feature"]: r for r in rows_of if (r["technique"], r["metric"], r["attribute"], r["group"]) == own}
    assert [m.label for m in panel.marks] == sorted(wanted, key=lambda f: -abs(wanted[f]["value"]))
    for mark in panel.marks:
        row = wanted[mark.label]
        assert (mark.value, mark.low, mark.high) == (row["value"], row["ci_low"], row["ci_high"])
    rows = cells(tables_of(section)["carriers-1-table"])
    assert rows[0] == ["age", "0.200", "0.190 to 0.210", "0.0100"]
    assert "Shown is SHAP; 1 more technique is in the table" in told(section)


def test_several_groups_are_panels_and_columns_the_widest_gaps_first(tabular) -> None:
    section = sources(tabular.reading)
    assert [p.title for p in figures_of(section)["carriers-2-figure"].panels] == ["Black", "White", "Other"]
    assert [c.label for c in tables_of(section)["carriers-2-table"].columns] == ["Feature", "Black", "White", "Other"]
    assert "carriers-3-table" not in tables_of(section)  # crossings are left to the table


def test_many_features_and_groups_are_bounded_and_counted(tmp_path: Path) -> None:
    names, features = [f"g{n}" for n in range(60)], [f"f{n:03}" for n in range(200)]
    rows = gap_rows("sex", names, features)
    section = sources(reading_of(tmp_path, {"disparities": rows}, data=ONE, policy=[]))
    figure, table = figures_of(section)["carriers-1-figure"], tables_of(section)["carriers-1-table"]
    assert len(figure.panels) == 4
    assert all(len(p.marks) == 10 for p in figure.panels if isinstance(p, Forest))
    assert len(table.rows) == 10
    assert f"{59 * 200 - 40:,} more gaps are in the table named as source." in text_of(table.note)
    assert len(tables_of(section)["fidelity"].rows) == 10


def test_the_leading_technique_does_not_fail(tmp_path: Path) -> None:
    rows = gap_rows("sex", ["a", "b"], ["x"])
    shap, lime = Done("explain/shap"), Done("explain/lime")
    reading = reading_of(tmp_path / "1", {"disparities": rows}, lime, shap, data=ONE, policy=[])
    assert leading_technique(reading, rows) == "shap"
    failing = Done("agreement", facts={"verdicts": {"shap": "fails", "lime": "passes"}})
    reading = reading_of(tmp_path / "2", {"disparities": rows}, lime, shap, failing, data=ONE, policy=[])
    assert leading_technique(reading, rows) == "lime"
    assert leading_technique(reading, []) is None


def test_a_gap_that_cannot_be_judged_is_hollow_and_last(tmp_path: Path) -> None:
    rows = [r for r in gap_rows("sex", ["a", "b"], ["x", "y"]) if r["technique"] == "shap"]
    rows[0] |= {"status": "insufficient_data", "reason": "rests on 3 rows"}
    section = sources(reading_of(tmp_path, {"disparities": rows}, data=ONE, policy=[]))
    (panel,) = figures_of(section)["carriers-1-figure"].panels
    assert isinstance(panel, Forest)
    assert [(m.label, m.tone) for m in panel.marks] == [("y", "plain"), ("x", "unsure")]
    assert cells(tables_of(section)["carriers-1-table"])[1][1:3] == ["0.200, insufficient data", "rests on 3 rows"]


def test_groups_with_too_few_explained_rows_are_told_once(tmp_path: Path) -> None:
    rows = [r for r in gap_rows("sex", ["a", "b", "c"], ["x", "y"]) if r["technique"] == "shap"]
    last = [r for r in rows if r["group"] == "b"]
    for row in last:
        row |= {"status": "insufficient_data", "reason": "b: rests on 3 rows; 30 are needed"}
    section = sources(reading_of(tmp_path, {"disparities": rows}, data=ONE, policy=[]))
    assert last
    assert len(figures_of(section)["carriers-1-figure"].panels) == 1
    assert (
        "By sex, too few rows were explained to say which features set apart b (such as b: rests on 3 rows; 30 are"
        " needed); explain.rows sets how many are." in told(section)
    )


# ---------------------------------------------------------------- proxies


def test_proxies_stand_beside_the_importance(tabular) -> None:
    table = tables_of(sources(tabular.reading))["proxies-1"]
    assert [c.label for c in table.columns] == ["Feature", "AUC", "p adjusted", "Rank of importance (SHAP)"]
    rows = cells(table)
    assert rows[0] == ["all features together", "0.9300.920 to 0.940", "–", "–"]
    ranks = {r["feature"]: str(r["rank"]) for r in tabular.rows("importance") if r["technique"] == "shap"}
    assert {row[0]: row[3] for row in rows[1:]} == {f: ranks[f] for f in FEATURES[:7]}
    assert [row[0] for row in rows[1:]] == list(FEATURES[:7])  # the strongest first
    assert "1 more feature is in the table named as source." in text_of(table.note)
    assert table.sources == ("proxies", "importance")


def test_the_attributes_own_column_comes_last_and_says_so(tmp_path: Path) -> None:
    rows = proxy_rows("sex", ["sex", "age", "hours"])
    rows[1] |= {"value": 1.0, "reason": "the attribute's own column", "p_adjusted": None}
    shown = cells(tables_of(sources(reading_of(tmp_path, {"proxies": rows}, data=ONE, policy=[])))["proxies-1"])
    assert shown[0][0] == "all features together"
    assert shown[-1][0] == "sexthe attribute's own column"


def test_single_groups_and_more_measures(tmp_path: Path) -> None:
    rows = proxy_rows("sex", ["age"])
    rows += [{**rows[0], "group": "a", "value": 0.1}, {**rows[1], "measure": "cramers_v", "value": 0.123}]
    table = tables_of(sources(reading_of(tmp_path, {"proxies": rows}, data=ONE, policy=[])))["proxies-1"]
    assert [c.label for c in table.columns] == ["Feature", "AUC", "Cramér’s V", "p adjusted"]
    assert "0.123" in cells(table)[1][2]
    assert "0.100" not in " ".join(" ".join(row) for row in cells(table))  # of one group alone: in the table


# ---------------------------------------------------------------- faithfulness, slices


def test_gaps_in_faithfulness_name_technique_and_group(tabular) -> None:
    table = tables_of(sources(tabular.reading))["fidelity"]
    assert cells(table)[0] == ["LIME", "sex", "Female", "Male", "0.030", "0.010 to 0.050", "0.4000"]


def test_slices_say_rows_value_and_the_rest(tabular) -> None:
    section = sources(tabular.reading)
    first, *_ = cells(tables_of(section)["slices-table"])
    assert first[:3] == ["sex = Female and age ≥ 60", "accuracy", "0.71071 of 100"]
    assert first[3:] == ["0.860", "−0.150−0.200 to −0.100", "< 0.0001"]
    counted = "3 slices are listed; 3 of them differ beyond chance (q < 0.05)."
    assert f"{counted} The first: sex = Female and age ≥ 60, accuracy 0.710 in 100 rows" in told(section)


def test_bins_are_told_without_a_second_sign(tmp_path: Path) -> None:
    rows = slice_rows(["age = < 25", "hours = ≥ 40", "x = [1, 2)"], 1)
    shown = cells(tables_of(sources(reading_of(tmp_path, {"slices": rows}, data=ONE, policy=[])))["slices-table"])
    assert shown[0][0] == "age < 25 and hours ≥ 40 and x = [1, 2)"


def test_slices_that_are_not_confirmed_are_said_to_be_so(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{**r, "q_value": 0.4} for r in slice_rows(["x = 1"], 30)]
    facts = Done("sources", facts={"slices": {"level": 0.01}})
    section = sources(reading_of(tmp_path, {"slices": rows}, facts, data=ONE, policy=[]))
    assert "30 slices are listed; none of them differ beyond chance (q < 0.01)." in told(section)
    table = tables_of(section)["slices-table"]
    assert len(table.rows) == 12
    assert "18 more slices" in text_of(table.note)


# ---------------------------------------------------------------- absence, summary


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (NotApplicable("sources", "no_attributes", "No sensitive attribute is declared."), "Not applicable: no sensit"),
        (Failed("sources", "memory", "memory ran out."), "The search for where disparities come from failed: memory"),
    ],
)
def test_absence_has_a_sentence(tmp_path: Path, result, words: str) -> None:
    section = sources(reading_of(tmp_path, {}, result, policy=[]))
    assert words in told(section)
    assert not section.sections


def test_the_summary_says_what_sets_the_groups_apart(tabular) -> None:
    bullets = [text_of(i) for b in overview(tabular.reading).blocks if isinstance(b, Bullets) for i in b.items]
    assert (
        "What sets Female apart from Male is above all age, capital_gain, education_num (where disparities come from)."
        in bullets
    )
