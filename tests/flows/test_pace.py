"""How fast, and how long yet: from moments that a test chooses."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from flows import terminal
from flows.pace import WINDOW, Pace, clock, shown_rate


def paced(*seen: tuple[float, int]) -> Pace:
    pace = Pace()
    for at, done in seen:
        pace.saw(done, at)
    return pace


@pytest.mark.parametrize(
    ("seen", "rate", "left"),
    [
        ((), None, None),
        (((0, 0),), None, None),
        (((0, 0), (1, 100)), None, None),  # too little was seen
        (((0, 0), (4, 400)), 100.0, 6.0),
        (((0, 0), (4, 0)), None, None),
        (((0, 0), (4, 1000)), 250.0, 0.0),
        (((0, 0), (4, 1100)), 275.0, 0.0),  # more than was planned
        (((0, 500), (4, 600)), 25.0, 16.0),  # what was there is not pace
        (((0, 900), (3, 950), (4, 0), (8, 40)), 10.0, 96.0),  # a new count
    ],
)
def test_pace(seen, rate, left):
    pace = paced(*seen)
    assert pace.per_second == rate
    assert pace.left(1000) == left


def test_what_is_long_ago_does_not_count():
    pace = paced((0, 0), (1, 900_000), *((1 + second, 900_000 + 10 * second) for second in range(1, 200)))
    assert pace.per_second == pytest.approx(10)
    assert len(pace._seen) < 2 * WINDOW + 3


def test_a_quick_step_keeps_few_moments():
    pace = paced(*((number / 1000, number) for number in range(10_000)))
    assert len(pace._seen) < 100
    assert pace.per_second == pytest.approx(1000, rel=0.01)


def test_what_is_told():
    assert paced((0, 0)).told(1000) == "0 of 1,000"
    assert paced((0, 0), (10, 61_440)).told(1_000_000) == "61,440 of 1,000,000, 6,140 a second, 0:02:33 left"


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0123, "0.012"), (0.5, "0.5"), (2.345, "2.35"), (99.94, "99.9"), (123.4, "123"), (17_012.0, "17,000")],
)
def test_rates(rate, text):
    assert shown_rate(rate) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (93_790, "26:03:10")])
def test_clock(seconds, text):
    assert clock(seconds) == text


# ---------------------------------------------------------------- where it is shown


def test_lines_come_now_and_then_and_what_is_said_at_once(monkeypatch):
    moments = iter([0.0, 10.0, 29.9, 30.0, 45.0, 61.0, 70.0, 71.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(moments))
    out = io.StringIO()
    with terminal.progress(Console(file=out, highlight=False, markup=False, width=200)) as shown:
        for done in (0, 100, 299, 300, 450, 610):
            shown("explain with lime", done, 1000)
        shown.say("explain with lime", "300 of 1,000 rows were there\u202e")
        shown("explain with lime", 1000, 1000)
        shown("explain with lime", 1000, 1000)
    assert out.getvalue().splitlines() == [
        "  explain with lime: 300 of 1,000, 10 a second, 0:01:10 left",
        "  explain with lime: 610 of 1,000, 10 a second, 0:00:39 left",
        "  explain with lime: 300 of 1,000 rows were there\\u202e",
        "  explain with lime: done",
    ]


def test_a_bar_tells_how_far_and_how_long_it_took():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, highlight=False, markup=False)
    with terminal.progress(console) as shown:
        shown("explain with lime", 0, None)
        shown("explain with lime", 61_440, 1_000_000)
        shown.say("explain with lime", "12 rows were there")
        shown("predict", 5, 5)
    text = out.getvalue()
    assert "explain with lime: 12 rows were there" in text
    assert "61,440 of 1,000,000" in text
    assert "5 of 5, took 0:00:00" in text
