from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"), (0.5, "0.500"), (0.08966, "0.090"), (1.0, "1.000"), (-0.25, "−0.250"), (12.345, "12.35"),
        (1234.5, "1,234"), (1234567.0, "1,234,567"), (0.000377, "0.00038"), (-0.000377, "−0.00038"),
        (3.2e-9, "3.2 × 10⁻⁹"), (-0.00005, "−5.0 × 10⁻⁵"), (math.inf, "infinity"), (-math.inf, "−infinity"),
        (None, "undefined"), (math.nan, "undefined"), (True, "undefined"), ("0.5", "undefined"),
    ],
)  # fmt: skip
def test_number(value: object, text: str) -> None:
    assert numbers.number(value) == text


@pytest.mark.parametrize(
    ("value", "beside", "text"),
    [
        (0.79996, 0.8, "0.79996"),
        (0.8, 0.8, "0.800"),
        (0.7999999999999999, 0.8, "0.800"),  # (3/5)/(6/8)
        (0.79999999, 0.8, "0.79999999"),
        (0.81, 0.8, "0.810"),
        (0.34, 0.8, "0.340"),
    ],
)
def test_a_value_is_never_rounded_onto_the_threshold_it_is_compared_with(
    value: float, beside: float, text: str
) -> None:
    assert numbers.number(value, beside=beside) == text


@given(st.floats(min_value=-1e12, max_value=1e12, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-4))
def test_number_reads_back_to_within_its_last_digit(value: float) -> None:
    text = numbers.number(value).replace("−", "-").replace(",", "")
    error = abs(float(text) - value)
    assert error <= max(0.00051, 0.00051 * abs(value))
    if abs(value) < 1e-3:
        assert error <= 0.051 * abs(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.8, "0.8"), (0.1, "0.1"), (-0.05, "−0.05"), (1e6, "1,000,000"), (0.123456789, "0.123456789")],
)
def test_limits_are_not_rounded(value: float, text: str) -> None:
    assert numbers.limit(value) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.1, 0.2, "0.100 to 0.200"), (0.1, None, "0.100 or more"), (None, 0.2, "0.200 or less"), (None, None, "–"),
        (0.1, math.inf, "0.100 or more"), (math.nan, 0.2, "0.200 or less"),
    ],
)  # fmt: skip
def test_interval(low: float | None, high: float | None, text: str) -> None:
    assert numbers.interval(low, high) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (16281, "16,281"), (12.5, "12.5"), (3.0, "3"), (None, "not given"), (math.inf, "not given")],
)
def test_count(value: object, text: str) -> None:
    assert numbers.count(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0.0 %"), (1.0, "100.0 %"), (0.9996, "99.96 %"), (0.00004, "0.004 %"), (0.2612, "26.1 %")]
)
def test_percent_keeps_what_is_not_quite_nothing_or_all(share: float, text: str) -> None:
    assert numbers.percent(share).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0, "< 0.0001"), (0.00009, "< 0.0001"), (0.4605, "0.4605"), (None, "–"), (math.nan, "–")]
)
def test_p_value(p: float | None, text: str) -> None:
    assert numbers.p_value(p) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (61.0, "1 min 1 s"), (3725.0, "1 h 2 min")]
)
def test_duration(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("octets", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_340_000, "2.34 MB"), (5 * 10**9, "5 GB")]
)
def test_size(octets: int, text: str) -> None:
    assert numbers.size(octets) == text


@pytest.mark.parametrize(
    ("iso", "text"),
    [
        ("2026-11-22T10:17:30+00:00", "22 November 2026, 10:17 UTC"),
        ("2026-11-22T10:17:30Z", "22 November 2026, 10:17 UTC"),
        ("2026-11-22T12:17:30+02:00", "22 November 2026, 10:17 UTC"),
        ("yesterday", "yesterday"),
    ],
)
def test_moment(iso: str, text: str) -> None:
    assert numbers.moment(iso) == text


@pytest.mark.parametrize(
    ("value", "error", "share", "text"),
    [
        (3.6e-5, None, True, "0.000"), (-3.6e-5, None, True, "0.000"), (3.6e-5, None, False, "3.6 × 10⁻⁵"),
        (-0.0534, 0.02, True, "−0.05"), (-0.0534, 0.0009, True, "−0.053"), (0.0534, 1e-9, True, "0.053"),
        (25_123.4, 120.0, False, "25,123"), (None, 0.1, True, "undefined"), (0.1234, math.nan, True, "0.123"),
    ],
)  # fmt: skip
def test_digits_that_the_error_makes_meaningless_are_not_written(value, error, share: bool, text: str) -> None:
    assert numbers.settled(value, error, share=share) == text
