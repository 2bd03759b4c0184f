"""Which changes of a feature may be proposed to a person: the candidates, the smallest change first.

A number moves by multiples of its step from where it is. Where no step is given, integers move by one, and other
numbers over a grid of round values, a thousand to ten thousand over what may be proposed. A category, and a number
with `values`, moves among these. Nothing is proposed beyond the config's limits or beyond what was observed in the
data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from configs.reasons import ChangeableConfig
from tasks.errors import ConfigError, nearest
from tasks.load import Feature, Subject, pieces

#: round values over the observed range, at least, where a number has no step
GRID = 1000
WHERE = "reasons.changeable"


@dataclass(frozen=True)
class Steps:
    """Candidates of n rows, by number from 1 on, the smaller the change the lower.

    Attributes:
        count: (n,) int64 how many each row has.
        value: rows (p,), numbers (p,) → (p,) codes.
    """

    count: np.ndarray
    value: Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Changeable:
    """A feature that may change.

    Attributes:
        column: of the coded matrix.
        steps: (n,) codes → its candidates, one `Steps` a direction.
        cost: (n,) old and new codes → how large a change is: standard deviations of a number, places of an ordered
            category, one of any other.
        resolution: what the candidates are, in words.
    """

    name: str
    column: int
    steps: Callable[[np.ndarray], tuple[Steps, ...]]
    cost: Callable[[np.ndarray, np.ndarray], np.ndarray]
    resolution: str


def changeable_of(subject: Subject) -> tuple[Changeable, ...]:
    """The features that the config marks, in the order of their names.

    Raises:
        ConfigError: one is no feature, is a sensitive attribute, or has limits that do not fit it.
    """
    names = [feature.name for feature in subject.features]
    sensitive = {own.column for own in subject.config.data.sensitive.values()}
    found = []
    for name, own in sorted(subject.config.reasons.changeable.items()):
        where = f"{WHERE}.{name}"
        if name not in names:
            raise ConfigError("is not a feature of the model", where=where, available=names, hint=nearest(name, names))
        if name in sensitive:
            raise ConfigError("a sensitive attribute is nothing to ask a change of", where=where, hint="remove it")
        column = names.index(name)
        feature = subject.features[column]
        if feature.kind == "category":
            found.append(_category(feature, column, own, where))
        else:
            found.append(_number(subject, feature, column, own, where))
    return tuple(found)


# ---------------------------------------------------------------- numbers


def _number(subject: Subject, feature: Feature, column: int, own: ChangeableConfig, where: str) -> Changeable:
    observed = _observed(subject, column)
    low = max(observed.low, -math.inf if own.min is None else own.min)
    high = min(observed.high, math.inf if own.max is None else own.max)
    if feature.integer:
        low, high = math.ceil(low) if math.isfinite(low) else low, math.floor(high) if math.isfinite(high) else high
        if own.step is not None and own.step != int(own.step):
            raise ConfigError(f"step: {feature.name} holds whole numbers", where=where, values=[own.step])
    scale = observed.spread or 1.0

    def cost(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        return np.abs(new - old) / scale

    if own.values is not None:
        listed = _numbers_listed(own, feature, observed, where)
        return Changeable(
            feature.name, column, lambda codes: _by_distance(codes, listed, own.direction), cost, "the listed values"
        )
    step = own.step or (1.0 if feature.integer else None)
    signs = {"up": (1,), "down": (-1,), "any": (1, -1)}[own.direction]
    if step is not None:
        move = _moved(step)
        told = f"multiples of {step:g} from {low:g} to {high:g}"
    else:
        grid = _round_step(high - low)
        move = _over_grid(grid)
        told = f"multiples of {grid:g} from {low:g} to {high:g}"

    def steps(codes: np.ndarray) -> tuple[Steps, ...]:
        return tuple(move(codes, sign, low, high) for sign in signs)

    return Changeable(feature.name, column, steps, cost, told)


@dataclass(frozen=True)
class _Observed:
    low: float
    high: float
    spread: float


def _observed(subject: Subject, column: int) -> _Observed:
    """Range of a number over audited and reference rows, and its standard deviation; nulls left out."""
    low, high, n, total, squares = math.inf, -math.inf, 0, 0.0, 0.0
    shift: float | None = None
    for matrix in (subject.rows, subject.reference):
        if matrix is None:
            continue
        for part in pieces(matrix):
            known = matrix[part, column]
            known = known[np.isfinite(known)]
            if not len(known):
                continue
            shift = float(known[0]) if shift is None else shift
            low, high = min(low, float(known.min())), max(high, float(known.max()))
            n, total, squares = (
                n + len(known),
                total + float((known - shift).sum()),
                squares + float(((known - shift) ** 2).sum()),
            )
    spread = math.sqrt(max(squares / n - (total / n) ** 2, 0.0)) if n else 0.0
    return _Observed(low, high, spread)


Move = Callable[[np.ndarray, int, float, float], Steps]


def _moved(step: float) -> Move:
    """Multiples of a step from where each row is."""
    digits = _decimals(step)

    def move(codes: np.ndarray, sign: int, low: float, high: float) -> Steps:
        known = np.isfinite(codes)
        start = np.where(known, codes, 0.0)
        # The first step that is within the limits, and the last; a hair's breadth for tenths that are none in binary.
        ahead, behind = (low, high) if sign > 0 else (-high, -low)
        first = np.maximum(1, np.ceil((ahead - sign * start) / step - 1e-9))
        last = np.floor((behind - sign * start) / step + 1e-9)
        count = np.where(known & (last >= first), last - first + 1, 0)

        def value(rows: np.ndarray, number: np.ndarray) -> np.ndarray:
            moved = np.round(start[rows] + sign * step * (first[rows] + number - 1), digits)
            return np.clip(moved, low, high)

        return Steps(_counts(count), value)

    return move


def _over_grid(step: float) -> Move:
    """Round values, whatever each row's own is."""
    digits = _decimals(step)

    def move(codes: np.ndarray, sign: int, low: float, high: float) -> Steps:
        known = np.isfinite(codes) & np.isfinite(low) & np.isfinite(high)
        start = np.where(known, codes, 0.0)
        ahead, behind = (low, high) if sign > 0 else (-high, -low)
        base = np.floor(sign * start / step + 1e-9)
        first = np.maximum(base + 1, np.ceil(ahead / step - 1e-9)) if math.isfinite(ahead) else base + 1
        last = np.floor(behind / step + 1e-9) if math.isfinite(behind) else base
        count = np.where(known & (last >= first), last - first + 1, 0)

        def value(rows: np.ndarray, number: np.ndarray) -> np.ndarray:
            return np.clip(np.round(sign * step * (first[rows] + number - 1), digits), low, high)

        return Steps(_counts(count), value)

    return move


def _counts(count: np.ndarray) -> np.ndarray:
    return np.minimum(count, 2.0**53).astype(np.int64)


def _decimals(step: float) -> int:
    """Digits behind the point that multiples of a step need, as far as it is a decimal at all."""
    text = f"{step:.12f}".rstrip("0")
    return min(12, len(text.partition(".")[2]) + 3) if step < 1 or step != int(step) else 9


def _round_step(room: float) -> float:
    if not math.isfinite(room) or room <= 0:
        return 1.0
    return float(10.0 ** math.floor(math.log10(room / GRID)))


# ---------------------------------------------------------------- lists


def _numbers_listed(own: ChangeableConfig, feature: Feature, observed: _Observed, where: str) -> np.ndarray:
    wrong: list[object] = [value for value in own.values or [] if isinstance(value, (str, bool))]
    if feature.integer:
        wrong += [value for value in own.values or [] if isinstance(value, float) and value != int(value)]
    if wrong:
        kind = "whole numbers" if feature.integer else "numbers"
        raise ConfigError(f"values: {feature.name} holds {kind}", where=where, values=wrong)
    listed = np.array([float(value) for value in own.values or []])
    return np.sort(listed[(listed >= observed.low) & (listed <= observed.high)])


def _by_distance(codes: np.ndarray, listed: np.ndarray, direction: str) -> tuple[Steps, ...]:
    """Listed numbers, the nearest first."""
    apart = listed[None] - codes[:, None]
    allowed = {"up": apart > 0, "down": apart < 0, "any": apart != 0}[direction] & np.isfinite(apart)
    return (_ranked(np.where(allowed, np.abs(apart), np.inf), listed),)


def _category(feature: Feature, column: int, own: ChangeableConfig, where: str) -> Changeable:
    if own.min is not None or own.max is not None or own.step is not None:
        raise ConfigError(f"{feature.name} holds categories, which have no min, max or step", where=where)
    if own.values is None:
        if own.direction != "any":
            told = f"direction: {own.direction} needs the order of {feature.name}'s categories"
            raise ConfigError(told, where=where, hint="list them in values")
        places = np.arange(len(feature.categories), dtype=float)
        order = np.zeros(len(feature.categories))
    else:
        texts = [str(value) for value in own.values]
        unknown = [text for text in texts if text not in feature.categories]
        if unknown:
            told, known = f"values: no category of {feature.name}", feature.categories
            raise ConfigError(told, where=where, values=unknown, available=known, hint=nearest(unknown[0], known))
        places = np.array([feature.categories.index(text) for text in texts], float)
        order = np.arange(len(places), dtype=float)
    ordered = own.values is not None
    #: code → place in the order; NaN for one that is not listed, and for null
    place = np.full(len(feature.categories) + 1, np.nan)
    place[places.astype(np.int64)] = order

    def steps(codes: np.ndarray) -> tuple[Steps, ...]:
        at = place[codes.astype(np.int64)]
        apart = order[None] - at[:, None]
        other = places[None] != codes[:, None]
        if own.direction == "any":  # who has a value that is not listed may take any that is
            distance = np.where(np.isnan(apart), order[None], np.abs(apart))
            return (_ranked(np.where(other, distance, np.inf), places),)
        ahead = (apart > 0) if own.direction == "up" else (apart < 0)
        return (_ranked(np.where(ahead & other, np.abs(apart), np.inf), places),)

    def cost(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        if not ordered:
            return np.ones(len(old))
        apart = np.abs(place[new.astype(np.int64)] - place[old.astype(np.int64)])
        return np.where(np.isnan(apart), 1.0, apart)

    return Changeable(feature.name, column, steps, cost, "the listed values" if ordered else "every observed category")


def _ranked(distance: np.ndarray, values: np.ndarray) -> Steps:
    """Candidates by rising distance, ties in the list's order; ∞: none."""
    order = np.argsort(distance, axis=1, kind="stable")
    count = np.isfinite(distance).sum(axis=1)
    return Steps(count.astype(np.int64), lambda rows, number: values[order[rows, number - 1]])
