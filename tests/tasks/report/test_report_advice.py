"""What would change it: thresholds, what they cost, whom they concern, and the warning above them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.contracts import Done, Failed, NotApplicable
from tasks.report.document import Bullets, Callout, Paragraph
from tasks.report.figures import Plane
from tasks.report.sections.advice import advice, aim_label
from tasks.report.sections.overview import overview
from tests.tasks.report.report_builder import check
from tests.tasks.report.report_evidence import AIM, threshold_rows, tradeoff_rows
from tests.tasks.report.test_report_sections import cells, figures_of, reading_of, tables_of, text_of

ONE = {"sensitive": {"sex": {"column": "sex"}}, "intersections": []}


def reading(folder: Path, rows: list[dict[str, Any]], *results, **tables: list[dict[str, Any]]):
    return reading_of(folder, {"thresholds": rows, **tables}, *results, data=ONE, policy=[])


def told(section) -> list[str]:
    return [text_of(b.content) for s in (section, *section.sections) for b in s.blocks if isinstance(b, Paragraph)]


def test_the_legal_warning_stands_above_everything(tabular) -> None:
    section = advice(tabular.reading)
    first = next(b for b in section.blocks if not isinstance(b, Paragraph))
    assert isinstance(first, Callout)
    assert (first.title, first.tone) == ("Advice only: thresholds by group may be unlawful", "bad")
    assert "lawyer" in text_of(first.items[0])
    assert tabular.html.index("thresholds by group may be unlawful") < tabular.html.index('id="advice-1"')
    assert "thresholds by group may be unlawful" in tabular.markdown


def test_the_stages_own_warning_is_said(tmp_path: Path) -> None:
    section = advice(
        reading(tmp_path, threshold_rows("sex", ["a"]), Done("advice", facts={"warning": "Mind the law."}))
    )
    assert [text_of(i) for b in section.blocks if isinstance(b, Callout) for i in b.items] == ["Mind the law."]


def test_options_with_what_they_cost_here_and_on_other_rows(tabular) -> None:
    table = tables_of(advice(tabular.reading))["advice-1-1-options"]
    assert [c.label for c in table.columns] == [
        "Option", "Impact ratio", "Aim", "On held-out rows", "Accuracy", "Selection rate", "Would gain", "Would lose",
    ]  # fmt: skip
    assert cells(table) == [
        ["as it is", "0.340", "not met", "0.3100.240 to 0.390not met", "0.856", "0.200", "0", "0"],
        ["one other threshold for all", "0.500", "not met", "0.4700.400 to 0.550not met", "0.810", "0.200", "40", "0"],
        ["a threshold for each group", "0.800", "met", "0.7700.700 to 0.850not met", "0.842", "0.200", "40", "0"],
    ]
    assert table.caption == "Other thresholds: impact ratio ≥ 0.8 by sex"
    assert "Aim: impact ratio ≥ 0.8. Met by a threshold for each group (−0.014 in accuracy)." in told(
        advice(tabular.reading)
    )


def test_whom_it_concerns(tabular) -> None:
    rows = cells(tables_of(advice(tabular.reading))["advice-1-1-groups"])
    now, moved = "0.500selected 0.200", "selected 0.20020 gain, 0 lose"
    assert rows == [
        ["Female", "100", now, f"0.500{moved}", f"0.500{moved}"],
        ["Male", "100", now, f"0.490{moved}", f"0.490{moved}"],
    ]


def test_many_groups_are_bounded_to_those_that_change_most(tmp_path: Path) -> None:
    rows = threshold_rows("sex", [f"g{n:02}" for n in range(60)])
    for row in rows:
        if row.get("group") in ("g41", "g59"):
            row["lost"] = 1000.0
    table = tables_of(advice(reading(tmp_path, rows)))["advice-1-1-groups"]
    assert len(table.rows) == 10
    assert [row[0] for row in cells(table)][-2:] == ["g41", "g59"]
    assert "50 more groups are in the table named as source." in text_of(table.note)


# ---------------------------------------------------------------- trade-off


def test_the_trade_off_is_drawn_with_the_policys_line(tmp_path: Path) -> None:
    checks = [check("impact_ratio", "not_satisfied", 0.34, "s", attribute="sex")]
    read = reading(
        tmp_path, threshold_rows("sex", ["a", "b"]), Done("policy", facts={"checks": checks}),
        tradeoffs=tradeoff_rows("sex"),
    )  # fmt: skip
    (chart,) = figures_of(advice(read))["advice-1-1-trade"].panels
    assert isinstance(chart, Plane)
    assert (chart.limit, chart.limit_text, chart.x_label, chart.y_label) == (
        0.8,
        "policy 0.8",
        "impact ratio",
        "accuracy",
    )
    assert [t.at for t in chart.traces] == [(0.34, 0.856), (0.5, 0.81), (0.8, 0.842)]
    now, common, group = chart.traces
    assert now.points == ()
    # (0.35, 0.82) is beaten by (0.4, 0.83); (1, 0.25) lies far below what the options come to.
    assert common.points == ((0.3, 0.85), (0.4, 0.83), (0.5, 0.81))
    assert group.points == ((0.34, 0.856), (0.6, 0.85), (0.8, 0.842), (1.0, 0.83))


def test_of_a_difference_less_is_better(tmp_path: Path) -> None:
    aim = "demographic_parity_difference ≤ 0.1"
    points = [{**r, "value": 1 - r["value"]} for r in tradeoff_rows("sex", aim)]
    read = reading(tmp_path, threshold_rows("sex", ["a", "b"], aim), tradeoffs=points)
    (chart,) = figures_of(advice(read))["advice-1-1-trade"].panels
    assert isinstance(chart, Plane)
    assert [round(x, 3) for x, _ in chart.traces[1].points] == [0.5, 0.6, 0.7]


def test_one_option_alone_is_no_trade_off(tmp_path: Path) -> None:
    rows = [r for r in threshold_rows("sex", ["a", "b"]) if r["kind"] == "current"]
    assert not figures_of(advice(reading(tmp_path, rows)))


# ---------------------------------------------------------------- sentences


def _met(rows: list[dict[str, Any]], **met: bool | None) -> list[dict[str, Any]]:
    return [{**r, "met": met.get(r["kind"], False) if "group" not in r else None} for r in rows]


@pytest.mark.parametrize(
    ("met", "words"),
    [
        ({"current": True}, "The threshold in force meets it"),
        ({}, "No threshold that was tried meets it"),
        ({"common": True, "group": True}, "Met by one other threshold for all (−0.046 in accuracy); a threshold for"),
        ({"current": None, "common": None, "group": None}, "No check of the policy on it depends on the threshold"),
    ],
)
def test_what_meets_the_aim(tmp_path: Path, met: dict[str, bool | None], words: str) -> None:
    section = advice(reading(tmp_path, _met(threshold_rows("sex", ["a", "b"]), **met)))
    assert any(words in text for text in told(section))
    options = [c.label for c in tables_of(section)["advice-1-1-options"].columns]
    assert ("Aim" in options) == (met.get("current", False) is not None)


def test_what_could_not_be_tried_says_why_and_a_trick_is_called_one(tmp_path: Path) -> None:
    facts = {"aims": [{"attribute": "sex", "aim": AIM, "plans": [
        {"kind": "common", "missing": None, "everyone_alike": "selected"},
        {"kind": "parity", "missing": "fairlearn needs labels"},
    ]}]}  # fmt: skip
    section = advice(reading(tmp_path, threshold_rows("sex", ["a", "b"]), Done("advice", facts=facts)))
    bullets = [text_of(i) for s in section.sections for b in s.blocks if isinstance(b, Bullets) for i in b.items]
    assert bullets == ["Lots by group (fairlearn): none, since fairlearn needs labels"]
    options = {row[0] for row in cells(tables_of(section)["advice-1-1-options"])}
    assert "one other threshold for allall are selected" in options


@pytest.mark.parametrize(
    ("met", "words"),
    [
        ({"common": True}, "Impact ratio ≥ 0.8 by sex: one other threshold for all meets it (what would change it)."),
        ({"group": True}, "only thresholds by group, which may be unlawful, meet it"),
        ({}, "no threshold that was tried meets it"),
    ],
)
def test_the_summary_says_what_could_be_done(tmp_path: Path, met: dict[str, bool], words: str) -> None:
    read = reading(tmp_path, _met(threshold_rows("sex", ["a", "b"]), **met))
    bullets = [text_of(i) for b in overview(read).blocks if isinstance(b, Bullets) for i in b.items]
    assert [b for b in bullets if words in b]


def test_the_summary_says_nothing_where_nothing_needs_to_change(tmp_path: Path) -> None:
    read = reading(tmp_path, _met(threshold_rows("sex", ["a", "b"]), current=True))
    bullets = [text_of(i) for b in overview(read).blocks if isinstance(b, Bullets) for i in b.items]
    assert not [b for b in bullets if "what would change it" in b]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (NotApplicable("advice", "multiclass", "There is no threshold to move."), "Not applicable: there is no thresh"),
        (Failed("advice", "memory", "memory ran out."), "The trial of other thresholds failed: memory ran out."),
    ],
)
def test_absence_has_a_sentence(tmp_path: Path, result, words: str) -> None:
    section = advice(reading_of(tmp_path, {}, result, policy=[]))
    assert words in told(section)[0]


def test_an_aim_is_told_in_words() -> None:
    assert aim_label("impact_ratio ≥ 0.8") == "impact ratio ≥ 0.8"
    assert aim_label("impact_ratio") == "impact ratio"
