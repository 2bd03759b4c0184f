"""From scores to counts: how many rows of each group lie at or above each threshold.

Rows are counted once, by group, label, present decision and the step of their score; every threshold, rate and
comparison of groups follows from those counts, so that a search costs the same for a thousand rows and for ten million.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from configs.schema import AuditConfig
from tasks.bias import Counts, Evidence
from tasks.contracts import NotApplicable

#: thresholds that are tried at most
MAX_STEPS = 1001
#: counts that the curves of one attribute may have
_MAX_CELLS = 4_000_000
#: what a label or a decision is: the class below the threshold, the one at or above it, or missing
LOWER, UPPER, NONE = 0, 1, 2
_DEFAULT = 0.5  # as tasks/predict has it, where the config names no threshold


@dataclass(frozen=True, eq=False)
class Cut:
    """Scores, and the two classes that a threshold parts them into.

    Attributes:
        score: (n,) a row is decided for the upper class iff its score ≥ the threshold. A row without a finite score
            keeps its decision at every threshold.
        label, now: (n,) int64 LOWER, UPPER or NONE: the label and the present decision.
        weight: (n,) ≥ 0, or None.
        classes: codes of the lower and the upper class, as the evidence has them.
        favorable, positive: for the lower and the upper class: whether it counts as favourable, as positive.
        threshold: the present one.
    """

    score: np.ndarray
    label: np.ndarray
    now: np.ndarray
    weight: np.ndarray | None
    classes: tuple[int, int]
    favorable: tuple[bool, bool]
    positive: tuple[bool, bool]
    threshold: float

    @property
    def wanted(self) -> int:
        """The class that is favourable: LOWER or UPPER."""
        return UPPER if self.favorable[1] else LOWER

    @cached_property
    def questions(self) -> dict[str, np.ndarray]:
        """Question → (9, 9) 0/1: cells of label × decision here (columns of 3) → cells of that question's table."""
        asked = {"favorable": self.favorable, "positive": self.positive}
        found = {name: np.zeros((9, 9)) for name in (*asked, "correct")}
        for label in (LOWER, UPPER, NONE):
            for decision in (LOWER, UPPER, NONE):
                for name, yes in asked.items():
                    answers = [int(yes[code]) if code != NONE else 2 for code in (label, decision)]
                    found[name][label * 3 + decision, answers[0] * 3 + answers[1]] = 1
                right = 2 if decision == NONE else int(label == decision)
                found["correct"][label * 3 + decision, (2 if label == NONE else 1) * 3 + right] = 1
        return found


def uncut(config: AuditConfig) -> NotApplicable | None:
    """Why no threshold makes the decisions of this audit; None where one does. Nothing is read for it."""
    task, decision = config.model.task, config.bias.decision
    if not config.data.sensitive:
        return _not("no_attributes", "No sensitive attribute is declared.")
    if decision.column is not None:
        return _not("recorded_decisions", "The decisions were recorded, not made of the model's scores by a threshold.")
    if task == "multiclass":
        return _not("multiclass", "With several classes the highest score decides, and there is no threshold to move.")
    if task == "regression" and decision.comparison is None:
        return _not("no_decisions", "The regression makes no decisions: bias.decision.favorable_when is not given.")
    return None


def cut_of(config: AuditConfig, evidence: Evidence) -> Cut | NotApplicable:
    """What thresholds of this audit cut, or why none does."""
    decision = config.bias.decision
    if len(evidence.classes) > 2:
        return _not("several_classes", "Labels or decisions have more than two classes; no one threshold parts them.")
    upper, threshold = _upper(config, evidence)
    lower = 1 - upper
    score = evidence.scores[:, -1]
    coded = [
        np.where(code < 0, NONE, np.where(code == upper, UPPER, LOWER)) for code in (evidence.label, evidence.decision)
    ]
    if decision.top_k is not None:
        chosen = score[(coded[1] == UPPER) & np.isfinite(score)]
        threshold = float(chosen.min()) if len(chosen) else float("inf")
    favorable = lower in evidence.favorable, upper in evidence.favorable
    if favorable[0] == favorable[1]:
        told = "Every outcome" if favorable[0] else "No outcome"
        return _not("one_outcome", f"{told} counts as favourable: no threshold changes how many rows get it.")
    return Cut(
        score=score, label=coded[0], now=coded[1], weight=evidence.weight, classes=(lower, upper), favorable=favorable,
        positive=(lower in evidence.positive, upper in evidence.positive), threshold=threshold,
    )  # fmt: skip


def _not(code: str, reason: str) -> NotApplicable:
    return NotApplicable("advice", code, reason)


def _upper(config: AuditConfig, evidence: Evidence) -> tuple[int, float]:
    """The class at or above the threshold, and the threshold."""
    if config.model.task != "regression":
        given = config.bias.decision.threshold
        return evidence.classes.index(evidence.outputs[-1]), _DEFAULT if given is None else given
    rule = config.bias.decision.comparison
    assert rule is not None
    sign, limit = rule
    # `> x` is `≥ the next number`, and `≤ x` is what that leaves.
    threshold = limit if sign in (">=", "<") else float(np.nextafter(limit, np.inf))
    return int(sign in (">=", ">")), threshold


@dataclass(frozen=True, eq=False)
class Sums:
    """Rows, Σw or Σw² by group, label and present decision.

    Attributes:
        above: (G, 3, 3, K) of the rows at or above each threshold.
        every: (G, 3, 3) of all rows that have a score.
        fixed: (G, 3, 3) of those that have none.
    """

    above: np.ndarray
    every: np.ndarray
    fixed: np.ndarray


@dataclass(frozen=True, eq=False)
class Curves:
    """What each of K thresholds does to each of G groups.

    Attributes:
        cut: what is cut.
        thresholds: (K,) rising.
        current: index of the present threshold.
        rows, weight, square: counts; without weights all three are the rows.
    """

    cut: Cut
    thresholds: np.ndarray
    current: int
    rows: Sums
    weight: Sums
    square: Sums

    @property
    def groups(self) -> int:
        return len(self.rows.every)

    @property
    def weighted(self) -> bool:
        return self.cut.weight is not None

    def cells(self, what: str = "weight") -> np.ndarray:
        """(G, K, 9) float64 the table of label × decision at every threshold; `what` is rows, weight or square."""
        sums: Sums = getattr(self, what)
        upper = sums.above.sum(2).transpose(0, 2, 1)
        some = (self.rows.every.sum(2)[:, None] - self.rows.above.sum(2).transpose(0, 2, 1)) > 0
        found = np.zeros((*upper.shape, 3))
        found[..., UPPER] = upper
        found[..., LOWER] = np.where(some, sums.every.sum(2)[:, None] - upper, 0)  # no rest of a rounding
        return (found + sums.fixed[:, None]).reshape(*upper.shape[:2], 9)

    def moved(self, choice: np.ndarray, what: str = "weight") -> np.ndarray:
        """(G, 3, 3, 3) float64 by label, present decision, and decision where group g has the threshold choice[g].

        With choice[g] = KEEP the group keeps its present decisions, whatever made them.
        """
        place = np.maximum(choice, 0)[:, None, None, None]
        sums: Sums = getattr(self, what)
        above = np.take_along_axis(sums.above, place, 3)[..., 0]
        some = self.rows.every > np.take_along_axis(self.rows.above, place, 3)[..., 0]
        found = np.zeros((*sums.every.shape, 3))
        found[..., UPPER] = above
        found[..., LOWER] = np.where(some, sums.every - above, 0)
        stay = np.zeros_like(found)
        for code in (LOWER, UPPER, NONE):
            stay[:, :, code, code] = sums.every[:, :, code] + sums.fixed[:, :, code]
            found[:, :, code, code] += sums.fixed[:, :, code]
        return np.where((choice < 0)[:, None, None, None], stay, found)

    def thinned(self, steps: int) -> tuple[Curves, np.ndarray]:
        """The same with at most so many thresholds, and their indices; the first, the last and the present one stay."""
        if steps >= len(self.thresholds):
            return self, np.arange(len(self.thresholds))
        evenly = np.linspace(0, len(self.thresholds) - 1, max(2, steps - 1)).round().astype(np.int64)
        kept = np.union1d(evenly, self.current)

        def part(sums: Sums) -> Sums:
            return replace(sums, above=sums.above[..., kept])

        rows = part(self.rows)
        weight, square = (part(self.weight), part(self.square)) if self.weighted else (rows, rows)
        current = int(np.searchsorted(kept, self.current))
        return Curves(self.cut, self.thresholds[kept], current, rows, weight, square), kept


#: a choice: the group keeps its present decisions
KEEP = -1


def counts_of(moved: np.ndarray, rows: np.ndarray, square: np.ndarray, cut: Cut) -> Counts:
    """The table of counts of `Curves.moved`, for the bias stage's own functions.

    Args:
        moved, rows, square: (G, 3, 3, 3) Σw, rows and Σw².
    """
    weight, number, squares = (part.sum(2).reshape(len(part), 9) for part in (moved, rows, square))
    group, cell = np.nonzero(number)
    codes = np.array([*cut.classes, -1])
    return Counts(
        groups=len(weight), group=group, label=codes[cell // 3], decision=codes[cell % 3],
        rows=number[group, cell].astype(np.int64), weight=weight[group, cell], square=squares[group, cell],
        weighted=cut.weight is not None,
    )  # fmt: skip


def steps_of(score: np.ndarray, current: float, limit: int = MAX_STEPS) -> tuple[np.ndarray, int]:
    """(thresholds, index of the present one): every distinct score, one above them all, and the present threshold.

    Beyond the limit, scores at evenly spaced ranks stand for all.
    """
    ranked = np.sort(score[np.isfinite(score)])
    if not len(ranked):
        return np.array([current]), 0
    distinct = ranked[np.append(True, ranked[1:] > ranked[:-1])]
    if len(distinct) > limit - 2:
        distinct = np.unique(ranked[np.linspace(0, len(ranked) - 1, limit - 2).round().astype(np.int64)])
    none = np.nextafter(ranked[-1], np.inf)
    thresholds = np.union1d(np.append(distinct, none), none if np.isinf(current) else current)
    return thresholds, int(np.searchsorted(thresholds, min(current, thresholds[-1])))


def curves_of(cut: Cut, codes: np.ndarray, groups: int, half: np.ndarray) -> tuple[Curves, Curves, Curves]:
    """The curves of all rows, of the first half and of the second.

    Args:
        codes: (n,) group of each row.
        half: (n,) bool: the row is in the second half.
    """
    limit = min(MAX_STEPS, max(21, _MAX_CELLS // (18 * groups)))
    thresholds, current = steps_of(cut.score, cut.threshold, limit)
    scored = np.isfinite(cut.score)
    # How many thresholds a row is at or above; a row without a score has a place of its own behind them.
    step = np.searchsorted(thresholds, cut.score, side="right")
    step[~scored] = len(thresholds) + 1
    shape = (2, groups, 3, 3, len(thresholds) + 2)
    key = half.astype(np.int64)
    for part, size in zip((codes, cut.label, cut.now, step), shape[1:], strict=True):
        key *= size
        key += part

    def sums(values: np.ndarray | None) -> np.ndarray:
        return np.bincount(key, values, int(np.prod(shape))).reshape(shape)

    if cut.weight is None:
        counted = [sums(None)] * 3
    else:
        # A row of weight 0 stands for nobody.
        counted = [sums((cut.weight > 0).astype(float)).astype(np.int64), sums(cut.weight), sums(cut.weight**2)]

    def curves(parts: list[np.ndarray]) -> Curves:
        made = [_summed(part) for part in (parts if cut.weight is not None else parts[:1])]
        rows, weight, square = made if len(made) == 3 else made * 3
        return Curves(cut, thresholds, current, rows, weight, square)

    whole, first, second = (
        [pick(part) for part in counted] for pick in (lambda c: c.sum(0), lambda c: c[0], lambda c: c[1])
    )
    return curves(whole), curves(first), curves(second)


def _summed(counted: np.ndarray) -> Sums:
    """From counts of each step (…, K + 2) to counts at or above each threshold."""
    from_above = np.cumsum(counted[..., -2::-1], axis=-1)[..., ::-1]  # (…, K + 1): at or above 0 thresholds, 1, …
    return Sums(np.ascontiguousarray(from_above[..., 1:]), from_above[..., 0], counted[..., -1])
