"""LIME of tables, as the lime package defines it: one sample of neighbours for all rows, a ridge for each row.

The package draws neighbours from the training distribution, a feature at a time and whatever the row: a bin (or a
category) by its frequency, then a number from a truncated normal within the bin. Only what the regression sees depends
on the row: whether a neighbour is in the same bin, and how far away that makes it. So one sample and one pass through
the model serve every row. (The package draws anew for each row; the distribution is the same.)

Source: Ribeiro, Singh and Guestrin 2016, "Why should I trust you?", https://doi.org/10.1145/2939672.2939778, as in
lime 0.2.0.1 (`lime_tabular.py`, `lime_base.py`, `discretize.py`). We differ in these: a null number is a bin of its
own, where the package has no answer; and all features are kept unless `features` says how many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tasks.errors import OutputError
from tasks.explain.base import Attribution, Prepared, Problem, Settings, Technique
from tasks.explain.lime_regression import Sample, fit, weighted_moments
from tasks.watch import Watch

if TYPE_CHECKING:
    from lime.discretize import BaseDiscretizer


class LimeTabularSettings(Settings):
    samples: int = Field(default=5000, ge=10, le=1_000_000, description="Neighbours, the row itself among them.")
    discretize: Literal["quartile", "decile", "none"] = Field(
        default="quartile", description="Bins of numbers; none: numbers enter standardised, as they are."
    )
    kernel_width: float | None = Field(
        default=None, gt=0, description="Default: 0.75 times the root of the features' number."
    )
    features: int | None = Field(
        default=None, ge=1, description="How many features an explanation keeps; default: all."
    )
    single_value_bins: Literal["as_lime", "value"] = Field(
        default="as_lime",
        description="What neighbours get in a bin of one single value: as_lime: 0, as the package; value: that value.",
    )


@dataclass(frozen=True)
class Column:
    """How one feature is drawn and compared.

    Attributes:
        codes: (v,) what to compare a row with: category codes, or bins 0, 1, …; the bin after the last is null.
        frequencies: (v,) shares in the reference, adding up to 1.
        discretizer: of a number with bins; None for a category.
        empty: the bin of null of a number; -1 for a category, whose null is a code like another.
        single: bins of one single value → that value, where the package would put something else.
    """

    codes: np.ndarray
    frequencies: np.ndarray
    discretizer: BaseDiscretizer | None = None
    empty: int = -1
    single: tuple[tuple[int, float], ...] = ()

    def binned(self, values: np.ndarray) -> np.ndarray:
        """(n,) int32: the bin or the code of each value."""
        if self.discretizer is None:
            return values.astype(np.int32)
        null = np.isnan(values)
        bins = self.discretizer.discretize(np.where(null, 0.0, values)[:, None])[:, 0].astype(np.int32)
        return np.where(null, np.int32(self.empty), bins)

    def drawn(self, count: int, state: np.random.RandomState, repair: bool) -> tuple[np.ndarray, np.ndarray]:
        """(count,) int32 bins and (count,) float64 values in them."""
        bins = state.choice(self.codes, size=count, replace=True, p=self.frequencies).astype(np.int32)
        if self.discretizer is None:
            return bins, bins.astype(np.float64)
        values = np.full(count, np.nan)
        given = bins != self.empty
        if given.any():
            values[given] = self.discretizer.undiscretize(bins[given, None].astype(np.float64))[:, 0]
        if repair:
            for single, value in self.single:
                values[bins == single] = value
        return bins, values


def column_of(values: np.ndarray, category: bool, discretize: str, state: np.random.RandomState) -> Column:
    """How a feature is drawn, learnt from its reference values (r,): shares of its codes, or of its bins."""
    if category:
        codes, counts = np.unique(values, return_counts=True)
        return Column(codes.astype(np.int32), counts / counts.sum())
    from lime.discretize import DecileDiscretizer, QuartileDiscretizer

    given = values[~np.isnan(values)]
    if not len(given):
        return Column(np.array([0], np.int32), np.ones(1), _Nothing(), empty=0)
    kind = {"quartile": QuartileDiscretizer, "decile": DecileDiscretizer}[discretize]
    discretizer = kind(given[:, None], [], ["value"], random_state=state)
    empty = len(discretizer.means[0])
    column = Column(np.zeros(0, np.int32), np.zeros(0), discretizer, empty)
    codes, counts = np.unique(column.binned(values), return_counts=True)
    low, high, mean, deviation = (getattr(discretizer, name)[0] for name in ("mins", "maxs", "means", "stds"))
    single = tuple(
        (int(code), float(low[code]))
        for code in codes
        if code != empty and (low[code] - mean[code]) / deviation[code] == (high[code] - mean[code]) / deviation[code]
        and (low[code] - mean[code]) / deviation[code] != low[code]
    )  # fmt: skip
    return Column(codes.astype(np.int32), counts / counts.sum(), discretizer, empty, single)


class _Nothing:
    """Stands for the discretizer of a number that the reference never has."""

    def discretize(self, values: np.ndarray) -> np.ndarray:
        return np.ones_like(values)


@dataclass(frozen=True)
class Neighbourhood:
    """The shared neighbours of a table's rows, and how a row is compared with them.

    Attributes:
        codes: (N, d) coded rows to put through the model.
        same: (a, N) int32 bins or category codes; numbers: (b, N) standardised numbers.
        compared, numeric: the features in `same` and in `numbers`.
        columns: of the compared features.
        mean, scale: (b,) of the numeric ones.
    """

    codes: np.ndarray
    same: np.ndarray
    numbers: np.ndarray
    compared: np.ndarray
    numeric: np.ndarray
    columns: tuple[Column, ...]
    mean: np.ndarray
    scale: np.ndarray

    def compared_with(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, a) int32 and (n, b) float64: rows as `same` and `numbers` know them; a null number is at the mean."""
        same = np.empty((len(rows), len(self.compared)), np.int32)
        for place, (feature, column) in enumerate(zip(self.compared, self.columns, strict=True)):
            same[:, place] = column.binned(rows[:, feature])
        return same, np.nan_to_num((rows[:, self.numeric] - self.mean) / self.scale, nan=0.0)


def draw_neighbourhood(
    reference: np.ndarray, categories: np.ndarray, settings: LimeTabularSettings, state: np.random.RandomState
) -> Neighbourhood:
    """Draws the neighbours that all rows share.

    Args:
        reference: (r, d) coded rows of the training distribution.
        categories: (d,) bool.
    """
    count = settings.samples - 1  # the row itself is one of its samples
    d = reference.shape[1]
    numeric = np.flatnonzero(~categories) if settings.discretize == "none" else np.zeros(0, np.int64)
    compared = np.setdiff1d(np.arange(d), numeric)
    codes = np.empty((count, d))
    given = np.ma.masked_invalid(reference[:, numeric])
    mean, scale = given.mean(axis=0).filled(np.nan), given.std(axis=0).filled(1.0)
    scale = np.where(scale == 0, 1.0, scale)
    drawn = state.normal(0, 1, (count, len(numeric)))
    codes[:, numeric] = drawn * scale + mean
    columns = []
    same = np.empty((len(compared), count), np.int32)
    for place, feature in enumerate(compared):
        column = column_of(reference[:, feature], bool(categories[feature]), settings.discretize, state)
        same[place], codes[:, feature] = column.drawn(count, state, settings.single_value_bins == "value")
        columns.append(column)
    return Neighbourhood(codes, same, np.ascontiguousarray(drawn.T), compared, numeric, tuple(columns), mean, scale)


def prepare(problem: Problem, settings: LimeTabularSettings, watch: Watch) -> Prepared:
    """The neighbours and their outputs; then a ridge for each row.

    An attribution is the ridge's coefficient, as the package's `as_map` gives it: the output's change, in the
    neighbourhood, from another bin (category) to the row's; of a number that enters as it is, per standard deviation.
    `base` is the intercept.
    """
    assert problem.features is not None
    categories = np.array([feature.kind == "category" for feature in problem.features])
    state = np.random.RandomState(problem.generator("lime").integers(2**32, dtype=np.uint64))
    around = draw_neighbourhood(problem.reference, categories, settings, state)
    try:
        outputs = problem.predictor(around.codes, problem.kind, watch)
    except OutputError as error:
        raise OutputError(
            "the model returned NaN or infinity for neighbours that LIME drew",
            where="model.path",
            hint="neighbours combine values of different rows; look at the model's answer to such rows",
        ) from error
    return Prepared(
        local_regressions(problem, around, outputs, settings),
        facts={
            "samples": settings.samples,
            "discretize": settings.discretize,
            "kernel_width": kernel_width(settings, len(problem.features)),
            "features_kept": min(settings.features or len(problem.features), len(problem.features)),
        },
        limitations=_limitations(problem, around, settings),
        evaluations=len(around.codes),
    )


def kernel_width(settings: LimeTabularSettings, features: int) -> float:
    """The package's default is 0.75 √d."""
    return settings.kernel_width or 0.75 * math.sqrt(features)


def local_regressions(
    problem: Problem, around: Neighbourhood, outputs: np.ndarray, settings: LimeTabularSettings
) -> Any:
    """The local explainer of a neighbourhood with its outputs, (N, k)."""
    d = around.codes.shape[1]
    width = kernel_width(settings, d)
    # The regression does not mind where nought is; sums of squares do.
    centre = outputs.mean(axis=0)
    sample = Sample(around.same, around.numbers, np.ascontiguousarray((outputs - centre).T))
    order = np.argsort(np.concatenate([around.compared, around.numeric]), kind="stable")

    def explain(rows: np.ndarray, explained: np.ndarray) -> Attribution:
        own = problem.predictor(rows, problem.kind)
        same, numbers = around.compared_with(rows)
        moments = weighted_moments(sample, same, numbers, own - centre, explained, width)
        m = explained.shape[1]
        # Columns go back to the features' order before anything is chosen among them: the first wins a tie.
        place = np.concatenate([[0], 1 + order, 1 + d + np.arange(m)])
        at_row = np.concatenate([np.ones(same.shape), numbers], axis=1)[:, order]
        fits = fit(moments[:, place[:, None], place], m, at_row, settings.features)
        return Attribution(
            values=fits.coefficients,
            base=fits.intercept + centre[explained],
            quality={"local_r2": fits.r2},
            evaluations=len(rows),
        )

    return explain


def _limitations(problem: Problem, around: Neighbourhood, settings: LimeTabularSettings) -> tuple[str, ...]:
    assert problem.features is not None
    said = []
    names = [
        f.name for f, c in zip((problem.features[i] for i in around.compared), around.columns, strict=True) if c.single
    ]
    if names and settings.single_value_bins == "as_lime":
        said.append(
            f"LIME: {_listed(names)} has a bin that holds one single value; as the lime package does, neighbours in it"
            " get 0 in its place. Set explain.techniques.lime.single_value_bins to value to give them the value."
        )
    nulls = [problem.features[j].name for j in around.numeric if np.isnan(problem.rows[:, j]).any()]
    if nulls:
        said.append(f"LIME: a null in {_listed(nulls)} counts as the mean when distances are measured.")
    return tuple(said)


def _listed(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def unfit(problem: Problem, settings: LimeTabularSettings) -> str | None:
    return None if problem.features is not None else "it explains columns of a table; the model takes images"


TECHNIQUE = Technique(
    name="lime",
    title="LIME",
    modality="table",
    scope="local",
    settings=LimeTabularSettings,
    prepare=prepare,
    unfit=unfit,
    batch=512,
    source="Ribeiro, Singh and Guestrin 2016, https://doi.org/10.1145/2939672.2939778",
)
