"""How numbers are written for reading. The only place where a number becomes text, so that every form says the same.

Three decimals for rates and other numbers below one, four significant digits above, thousands by commas, a true minus
sign. What has no value is a word, never a number.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

MINUS = "−"
NOT_GIVEN = "not given"
#: status of a value in a table → what stands in its place
WORDS = {"undefined": "undefined", "insufficient_data": "insufficient data"}
_MOST_DIGITS = 12
_SAME = 1e-12  # (3/5)/(6/8) is 0.8


def number(value: Any, *, beside: float | None = None) -> str:
    """A measure for reading.

    Args:
        value: the number; None and NaN become "undefined".
        beside: a threshold that it is compared with. Digits are added until rounding no longer makes the two look
            equal when they are not: 0.79996 beside 0.8 is not "0.800".
    """
    if not _is_number(value):
        return WORDS["undefined"]
    value = float(value)
    if math.isinf(value):
        return "infinity" if value > 0 else f"{MINUS}infinity"
    text = _rounded(value, 3)
    if beside is not None and not math.isclose(value, beside, rel_tol=_SAME):
        for digits in range(3, _MOST_DIGITS):
            text = _rounded(value, digits)
            if text != _rounded(float(beside), digits):
                break
    return text


def settled(value: Any, error: Any = None, *, share: bool = False) -> str:
    """A number without the digits that its standard error makes meaningless.

    Args:
        value: None and NaN become "undefined".
        error: of the value; None keeps three decimals.
        share: the unit is a probability, in which less than half a thousandth is 0.000.
    """
    if not _is_finite(value):
        return number(value)
    decimals = 3
    if _is_finite(error) and error > 0:
        decimals = min(max(math.ceil(-math.log10(error)), 0), 3)
    if share or decimals < 3:
        text = f"{abs(value):,.{decimals}f}"
        return MINUS + text if value < 0 and float(text.replace(",", "")) else text
    return number(value)


def _rounded(value: float, digits: int) -> str:
    """`digits` decimals below one, digits + 1 significant ones above; small numbers keep two significant digits."""
    size = abs(value)
    if size == 0:
        text = f"{0:.{digits}f}"
    elif size < 1e-4:
        mantissa, exponent = f"{size:.{max(1, digits - 2)}e}".split("e")
        text = f"{mantissa} × 10{_superscript(int(exponent))}"
    elif size < 10.0**-digits:
        # 0.00038: two significant digits, where three decimals would show nought
        text = f"{size:.{1 - math.floor(math.log10(size))}f}"
    elif size < 1e15:
        decimals = digits if size < 1 else max(0, digits - math.floor(math.log10(size)))
        text = f"{size:,.{decimals}f}"
    else:
        mantissa, exponent = f"{size:.{digits}e}".split("e")
        text = f"{mantissa} × 10{_superscript(int(exponent))}"
    return MINUS + text if value < 0 else text


def limit(value: float) -> str:
    """A threshold as it was written, not rounded."""
    text = f"{abs(value):,.12g}"
    return MINUS + text if value < 0 else text


def place(value: float) -> str:
    """A value of a feature: a whole number as it is, others to four digits."""
    if abs(value) >= 1e15 or 0 < abs(value) < 1e-4:
        return number(value)
    return limit(value if float(value).is_integer() else float(f"{value:.4g}"))


def _superscript(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def count(value: Any) -> str:
    """A number of things; a sum of weights keeps up to two decimals."""
    if not _is_number(value) or math.isinf(float(value)):
        return NOT_GIVEN
    value = float(value)
    text = f"{abs(value):,.0f}" if value == int(value) else f"{abs(value):,.2f}".rstrip("0").rstrip(".")
    return MINUS + text if value < 0 else text


def fraction(numerator: Any, denominator: Any) -> str:
    """Counts behind a rate: `2,044 of 6,552`; a dash where the metric has none."""
    if not _is_number(numerator) or not _is_number(denominator):
        return "–"
    return f"{count(numerator)} of {count(denominator)}"


def interval(low: Any, high: Any) -> str:
    """Both ends, or the one that there is."""
    has_low, has_high = _is_finite(low), _is_finite(high)
    if has_low and has_high:
        return f"{number(low)} to {number(high)}"
    if has_low:
        return f"{number(low)} or more"
    if has_high:
        return f"{number(high)} or less"
    return "–"


def p_value(value: Any) -> str:
    if not _is_number(value):
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{float(value):.4f}"


def percent(value: Any) -> str:
    """A share, 0–1, for sentences: one decimal, more where that would round to nought or to the whole."""
    if not _is_number(value):
        return WORDS["undefined"]
    hundred = float(value) * 100
    for digits in (1, 2, 3):
        text = f"{hundred:.{digits}f}"
        if value in (0, 1) or float(text) not in (0.0, 100.0):
            break
    return text.replace("-", MINUS) + "\u00a0%"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(octets: int) -> str:
    """Bytes in decimal units."""
    value = float(octets)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} GB"


def moment(iso: str) -> str:
    """`22 November 2026, 14:03 UTC` from an ISO time; the text itself where it is none."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    when = when.astimezone(UTC) if when.tzinfo else when
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)
