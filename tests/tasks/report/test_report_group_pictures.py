"""Pictures of groups: crossings as heat maps, curves, what chance comes to, what could have been seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.contracts import Done
from tasks.report.document import Figure, Section
from tasks.report.figures import Bars, Calibration, Forest, Heat, Plane
from tasks.report.figures.charts import TRACES
from tasks.report.reading import Reading
from tasks.report.sections.groups import groups
from tests.tasks.report.report_builder import CELLS, check, rate
from tests.tasks.report.report_evidence import curve_rows
from tests.tasks.report.test_report_sections import cells, figures_of, reading_of, tables_of, text_of

TWO = {"sensitive": {"sex": {"column": "sex"}, "race": {"column": "race"}}, "intersections": [["sex", "race"]]}


def figures(section: Section) -> dict[str, Figure]:
    return figures_of(section)


def rates(counts: dict[tuple[str, ...], tuple[int, int]], metric: str = "selection_rate") -> list[dict[str, Any]]:
    """group_metrics of attributes and crossings from (sex, race) → (hits, rows)."""
    rows = []
    for place, attribute in ((0, "sex"), (1, "race")):
        for group in dict.fromkeys(key[place] for key in counts):
            own = [c for key, c in counts.items() if key[place] == group]
            hits, n = (sum(c[i] for c in own) for i in (0, 1))
            rows.append(rate(metric, hits, n, attribute=attribute, group=group))
    return rows + [rate(metric, *c, attribute="sex × race", group=" × ".join(key)) for key, c in counts.items()]


# ---------------------------------------------------------------- heat maps


def test_a_crossing_of_two_is_a_heat_map_with_its_counts(tabular) -> None:
    heat = figures(groups(tabular.reading))["groups-3-heat"].panels[0]
    assert isinstance(heat, Heat)
    assert (heat.title, heat.columns) == ("selection rate", ("Female", "Male"))
    assert heat.rows == ("Black", "White", "Other", "(missing)")
    found = {(r, c): heat.cells[i][j] for i, r in enumerate(heat.rows) for j, c in enumerate(heat.columns)}
    for (sex, race), (n, selected, *_) in CELLS.items():
        cell = found[race, sex]
        assert (cell.value, cell.below) == (pytest.approx(selected / n), f"{n:,}")
        assert cell.tone == ("unsure" if n < 30 else "plain")
    empty = {place for place, cell in found.items() if cell.tone == "empty"}
    assert empty == {(race, sex) for race in heat.rows for sex in heat.columns if (sex, race) not in CELLS}
    assert "Black × Female: 0.053 (769 rows)" in heat.description
    assert "groups-3-figure" not in figures(groups(tabular.reading))  # bars are for single attributes


def test_cells_beyond_the_policy_are_marked(tmp_path: Path) -> None:
    counts = {("F", "x"): (10, 100), ("M", "x"): (50, 100), ("F", "y"): (45, 100), ("M", "y"): (1, 10)}
    ratios = [
        {"attribute": "sex × race", "metric": "impact_ratio", "comparison": "ratio", "group": " × ".join(key),
         "reference": "M × x", "value": (h / n) / 0.5, "status": "ok" if n >= 30 else "insufficient_data"}
        for key, (h, n) in counts.items()
    ]  # fmt: skip
    checks = [check("impact_ratio", "not_satisfied", 0.2, "s", attribute="sex × race")]
    reading = reading_of(
        tmp_path, {"group_metrics": rates(counts), "disparities": ratios}, Done("policy", facts={"checks": checks}),
        data=TWO,
    )  # fmt: skip
    (heat,) = figures(groups(reading))["groups-3-heat"].panels
    assert isinstance(heat, Heat)
    tones = {(r, c): heat.cells[i][j].tone for i, r in enumerate(heat.rows) for j, c in enumerate(heat.columns)}
    assert (heat.rows, heat.columns) == (("F", "M"), ("x", "y"))
    assert tones == {("F", "x"): "bad", ("M", "x"): "plain", ("F", "y"): "plain", ("M", "y"): "unsure"}


def test_names_that_hold_the_sign_of_a_crossing_are_told_apart(tmp_path: Path) -> None:
    counts = {("a × b", "c"): (10, 50), ("a", "b × c"): (20, 50), ("a", "c"): (30, 60), ("a × b", "d"): (5, 40)}
    reading = reading_of(tmp_path, {"group_metrics": rates(counts)}, data=TWO, policy=[])
    (heat,) = figures(groups(reading))["groups-3-heat"].panels
    assert isinstance(heat, Heat)
    found = {(r, c): heat.cells[i][j].text for i, r in enumerate(heat.rows) for j, c in enumerate(heat.columns)}
    # Two crossings have the same text, "a × b × c": both may be meant, and each shows a value that is in the table.
    assert found["c", "a"] == "0.500"
    assert found["d", "a × b"] == "0.125"
    assert {found["c", "a × b"], found["b × c", "a"]} <= {"0.200", "0.400", "no rows"}


def test_large_crossings_show_the_largest_groups_and_say_so(run_of) -> None:
    run = run_of("large")
    (heat, *_) = figures(groups(run.reading))["groups-3-heat"].panels
    assert isinstance(heat, Heat)
    assert (len(heat.rows), len(heat.columns)) == (12, 2)
    note = text_of(figures(groups(run.reading))["groups-3-heat"].note)
    assert "48 more crossings are in the table named as source." in note
    sizes = {r["group"]: r["n"] for r in run.rows("group_metrics")
             if r["attribute"] == "region" and r["metric"] == "selection_rate" and r["feature"] is None}  # fmt: skip
    assert min(sizes[g] for g in heat.rows) >= max(n for g, n in sizes.items() if g not in heat.rows)


# ---------------------------------------------------------------- curves


def test_curves_of_single_attributes_are_drawn_with_the_audits_decisions(tabular) -> None:
    found = figures(groups(tabular.reading))
    roc, selection = found["groups-1-curves"].panels
    assert isinstance(roc, Plane)
    assert isinstance(selection, Plane)
    metrics = {(r["group"], r["metric"]): r["value"] for r in tabular.rows("group_metrics") if r["attribute"] == "sex"}
    for trace in roc.traces:
        assert trace.at == (metrics[trace.label, "false_positive_rate"], metrics[trace.label, "true_positive_rate"])
    assert [t.label for t in roc.traces] == ["Male", "Female"]  # the reference first
    assert selection.limit == 0.5
    assert [t.at for t in selection.traces] == [(0.5, metrics[g, "selection_rate"]) for g in ("Male", "Female")]
    rows = [r for r in tabular.rows("curves") if (r["attribute"], r["group"], r["curve"]) == ("sex", "Male", "roc")]
    assert roc.traces[0].points == tuple((r["x"], r["y"]) for r in rows)
    assert len(selection.traces[0].band) == len(selection.traces[0].points)
    assert not [id for id in found if id.startswith(("groups-3-curves", "groups-3-calibration"))]  # a crossing


def test_calibration_is_a_panel_a_group_with_the_reference_behind(tabular) -> None:
    first, second = figures(groups(tabular.reading))["groups-1-calibration"].panels
    assert isinstance(first, Calibration)
    assert isinstance(second, Calibration)
    assert (first.title, first.behind) == ("Male", ())
    assert (second.title, second.subtitle) == ("Female", "line: Male")
    assert second.behind == tuple((x, y) for x, y, _, _ in first.points)
    assert all(low <= y <= high for _, y, low, high in first.points)


def _curves(folder: Path, count: int, *results, **config) -> Reading:
    names = [f"g{n}" for n in range(count)]
    metrics = [rate("selection_rate", 10 + n, 40 + n, attribute="sex", group=g) for n, g in enumerate(names)]
    data = {"sensitive": {"sex": {"column": "sex"}}, "intersections": []}
    written = {"group_metrics": metrics, "curves": curve_rows("sex", names)}
    return reading_of(folder, written, *results, data=data, **config)


def test_no_more_curves_than_tell_apart_and_the_rest_is_named(tmp_path: Path) -> None:
    facts = {"attributes": [{"attribute": "sex", "reference": "g3"}]}
    found = figures(groups(_curves(tmp_path, 20, Done("bias", facts=facts), policy=[])))["groups-1-curves"]
    (roc, _) = found.panels
    assert isinstance(roc, Plane)
    assert [t.label for t in roc.traces] == ["g3", "g19", "g18", "g17", "g16", "g15"]
    assert len(roc.traces) == TRACES
    assert "14 more groups are in the table named as source." in text_of(found.note)


def test_groups_that_breach_are_drawn_before_larger_ones(tmp_path: Path) -> None:
    disparities = [
        {"attribute": "sex", "metric": "impact_ratio", "comparison": "ratio", "group": f"g{n}", "reference": "g3",
         "value": 0.5 if n == 1 else 0.9, "status": "ok"} for n in range(20)
    ]  # fmt: skip
    names = [f"g{n}" for n in range(20)]
    metrics = [rate("selection_rate", 10 + n, 40 + n, attribute="sex", group=g) for n, g in enumerate(names)]
    checks = [check("impact_ratio", "not_satisfied", 0.5, "s", attribute="sex")]
    written = {"group_metrics": metrics, "curves": curve_rows("sex", names), "disparities": disparities}
    data = {"sensitive": {"sex": {"column": "sex"}}, "intersections": []}
    reading = reading_of(tmp_path, written, Done("policy", facts={"checks": checks}), data=data, policy=[])
    roc = figures(groups(reading))["groups-1-curves"].panels[0]
    assert isinstance(roc, Plane)
    assert [t.label for t in roc.traces][:3] == ["g3", "g1", "g19"]


@pytest.mark.parametrize("decision", [{"threshold": None, "top_k": 5}, {"threshold": None, "column": "decided"}])
def test_without_a_threshold_no_line_is_drawn(tmp_path: Path, decision: dict[str, Any]) -> None:
    reading = _curves(tmp_path, 2, policy=[], bias={"decision": decision})
    _, selection = figures(groups(reading))["groups-1-curves"].panels
    assert isinstance(selection, Plane)
    assert (selection.limit, [t.at for t in selection.traces]) == (None, [None, None])


def test_without_curves_there_are_no_pictures_of_them(image) -> None:
    assert not [id for id in figures(groups(image.reading)) if id.endswith(("-curves", "-calibration"))]


# ---------------------------------------------------------------- chance and power


def test_gaps_stand_beside_what_chance_comes_to(tabular) -> None:
    section = groups(tabular.reading)
    (panel,) = figures(section)["groups-1-widest"].panels
    assert isinstance(panel, Forest)
    (mark,) = panel.marks
    assert (panel.title, panel.null, mark.label, mark.chance) == ("Smallest ratios", 1.0, "impact ratio", (0.97, 0.92))
    table = tables_of(section)["groups-1-aggregates"]
    column = [c.label for c in table.columns].index("Without disparity")
    assert [row[column] for row in cells(table)] == ["0.9705 % below 0.920p 0.0005", "–"]


def test_where_nothing_is_known_of_chance_there_is_no_column_for_it(image) -> None:
    section = groups(image.reading)
    assert "groups-1-widest" not in figures(section)
    assert "Without disparity" not in [c.label for c in tables_of(section)["groups-1-aggregates"].columns]


def test_the_smallest_disparity_that_could_have_been_seen(tabular) -> None:
    seen = {"difference": 0.021, "ratio": 0.92, "reason": None}
    none = {"difference": None, "ratio": None, "reason": "even a rate of 0 would be found with less than 80%"}
    told = [{"attribute": "sex", "reference": "Male", "groups": [
        {"group": "Female", "detectable": {"selection_rate": seen, "true_positive_rate": none}},
        {"group": "Male", "detectable": {"selection_rate": {**none, "reason": "the reference group"}}},
    ]}]  # fmt: skip
    results = tuple(replace(r, facts={"attributes": told}) if r.stage == "bias" else r for r in tabular.record.results)
    reading = Reading(tabular.config, tabular.workspace, replace(tabular.record, results=results))
    table = tables_of(groups(reading))["groups-1-power"]
    assert [c.label for c in table.columns] == ["Group", "selection rate", "true positive rate"]
    assert cells(table) == [["Female", "0.021ratio 0.920", none["reason"]]]
    assert "at 0.05 would find with 80 % probability" in text_of(table.note)
    assert "groups-2-power" not in tables_of(groups(reading))


# ---------------------------------------------------------------- what is not of the declared outcomes


def test_rows_of_features_techniques_and_single_classes_are_in_no_table_of_groups(tabular) -> None:
    shown = {row[0] for id, table in tables_of(groups(tabular.reading)).items() for row in cells(table)}
    assert not {"attribution gap", "explanation fidelity gap"} & shown
    kept = tabular.reading.disparities
    assert {r["technique"] for r in kept} == {None}
    assert len(kept) < len(tabular.rows("disparities"))
    told = tabular.summary["results"]["fairness"]["disparities"]["rows"]
    assert {r["metric"] for r in told} == {r["metric"] for r in kept}


def test_a_class_is_shown_where_nothing_is_declared_and_never_beside_what_is(tmp_path: Path) -> None:
    shared = {"attribute": "sex", "metric": "recall_difference", "comparison": "difference", "status": "ok"}
    rows = [{**shared, "output": output, "group": group, "reference": "b", "value": value}
            for output, value in ((None, 0.1), ("x", 0.7)) for group in ("a", None)]  # fmt: skip
    metrics = [rate("true_positive_rate", 5, 50, attribute="sex", group=g, output=o)
               for g in ("a", "b") for o in (None, "x")]  # fmt: skip
    data = {"sensitive": {"sex": {"column": "sex"}}, "intersections": []}
    reading = reading_of(tmp_path, {"disparities": rows, "group_metrics": metrics}, data=data, policy=[])
    text = " ".join(" ".join(row) for table in tables_of(groups(reading)).values() for row in cells(table))
    assert "0.100" in text
    assert "0.700" not in text


def test_bars_are_drawn_for_single_attributes(tabular) -> None:
    assert all(isinstance(p, Bars) for p in figures(groups(tabular.reading))["groups-1-figure"].panels)
