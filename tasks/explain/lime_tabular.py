"""LIME of tables, as the lime package defines it: one sample of neighbours for all rows, a ridge for each row.

The package draws neighbours from the training distribution, a feature at a time and whatever the row. Only what the
regression sees depends on the row: whether a neighbour is in the same bin, and how far away that makes it. So one
sample and one pass through the model serve every row. (The package draws anew for each row; the distribution is the
same.)

`sample_around_instance` moves the neighbours' numbers to the row, as in the package: then each row has neighbours of
its own and costs as many evaluations, many rows' in each call of the model. The steps from the row are shared even so.
As in the package it concerns numbers without bins alone (`discretize: none`); categories, and numbers in bins, are
drawn from the training distribution whatever it says.

Features that the user binds together are explained as one: where all are categories or in bins, as one regressor that
is 1 where all of them are the row's (`lime_neighbours`), and its coefficient is the attribution; where a number enters
without bins, as the sum of their coefficients.

Source: Ribeiro, Singh and Guestrin 2016, "Why should I trust you?", https://doi.org/10.1145/2939672.2939778, as in
lime 0.2.0.1 (`lime_tabular.py`, `lime_base.py`, `discretize.py`). We differ in these: a null number is a bin of its
own, where the package has no answer (without bins, it is at the mean); all features are kept unless `features` says how
many; and coefficients have a standard error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from tasks.errors import OutputError
from tasks.explain.base import OF_BATCH, Attribution, LocalExplainer, Prepared, Problem, Settings, Technique
from tasks.explain.engine.lime_neighbours import Neighbourhood, draw_neighbourhood
from tasks.explain.engine.lime_regression import Sample, compiled, fit, standard_errors, weighted_moments
from tasks.watch import Watch

#: numbers that are held at a time for a part of a batch (64 MiB, of which there are a few)
CELLS = 2**23
#: neighbours that must share the row's value, and as many that must not, for its coefficient to have a standard error
LEAST = 30
#: said of rows that it holds for
NULLS = "LIME: a null number counts as the mean when distances are measured"


class LimeTabularSettings(Settings):
    samples: int = Field(default=5000, ge=10, le=1_000_000, description="Neighbours, the row itself among them.")
    discretize: Literal["quartile", "decile", "none"] = Field(
        default="quartile", description="Bins of numbers; none: numbers enter standardised, as they are."
    )
    sample_around_instance: bool = Field(
        default=False,
        description="Numbers without bins are drawn around the row; a row then costs as many evaluations as samples.",
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


def prepare(problem: Problem, settings: LimeTabularSettings, watch: Watch) -> Prepared:
    """The neighbours and, where rows share them, their outputs; then a ridge for each row.

    An attribution is the ridge's coefficient, as the package's `as_map` gives it: the output's change, in the
    neighbourhood, from another bin (category) to the row's; of a number that enters as it is, per standard deviation.
    `base` is the intercept. `std_error` is how far the coefficient would vary had other neighbours been drawn; NaN
    where too few share the row's value, and none at all where `features` chooses, since the choice varies too.
    """
    assert problem.features is not None
    around = draw(problem, settings)
    outputs = None
    with ThreadPoolExecutor(1) as pool:
        compiling = pool.submit(compiled)
        if not around.around:
            try:
                outputs = problem.predictor(around.codes, problem.kind, watch)
            except OutputError as error:
                raise _broken(()) from error
        compiling.result()
    players = len(problem.players)
    return Prepared(
        local_regressions(problem, around, outputs, settings, watch),
        facts={
            "samples": settings.samples,
            "discretize": settings.discretize,
            "sample_around_instance": around.around,
            "kernel_width": kernel_width(settings, len(around.first_features)),
            "features_kept": min(settings.features or players, players),
        },
        limitations=_limitations(problem, around, settings),
        evaluations=0 if outputs is None else len(outputs),
    )


def draw(problem: Problem, settings: LimeTabularSettings, state: np.random.RandomState | None = None) -> Neighbourhood:
    """The neighbours of a problem's rows, but for the row itself; from the problem's seed, or from another state."""
    state = state or np.random.RandomState(problem.generator("lime").integers(2**32, dtype=np.uint64))
    return draw_neighbourhood(
        problem.reference,
        np.array([feature.kind == "category" for feature in problem.features or ()]),
        problem.players,
        count=settings.samples - 1,
        discretize=settings.discretize,
        repair=settings.single_value_bins == "value",
        around=settings.sample_around_instance,
        state=state,
    )


def kernel_width(settings: LimeTabularSettings, regressors: int) -> float:
    """The package's default is 0.75 √d, of what it regresses on."""
    return settings.kernel_width or 0.75 * math.sqrt(regressors)


def _broken(rows: tuple[int, ...]) -> OutputError:
    what = "the model returned NaN or infinity for neighbours that LIME drew"
    hint = "neighbours combine values of different rows; look at the model's answer to such rows"
    if not rows:
        return OutputError(what, where="model.path", hint=hint)
    return OutputError(f"{what} around rows", where="model.path", values=rows, hint=hint, code=OF_BATCH)


# ---------------------------------------------------------------- rows


@dataclass(frozen=True)
class _Task:
    """Some rows with what the model says of them and of their neighbours.

    Attributes:
        rows: (n, d). explained: (n, m), of the outputs in `sample` and in `own`.
        own: (n, k) the rows' outputs, less `centre`, (n, m), which the regression does not see.
    """

    rows: np.ndarray
    explained: np.ndarray
    own: np.ndarray
    centre: np.ndarray
    sample: Sample


def local_regressions(
    problem: Problem, around: Neighbourhood, outputs: np.ndarray | None, settings: LimeTabularSettings, watch: Watch
) -> LocalExplainer:
    """The local explainer of a neighbourhood with its outputs, (N, k); None where each row has its own neighbours."""
    members = problem.membership[:, around.first_features]
    width = kernel_width(settings, len(around.first_features))
    chooses = settings.features is not None and settings.features < len(members)

    def attribution(task: _Task) -> Attribution:
        same, numbers = around.compared_with(task.rows)
        # Where the numbers are distances from the row, it stands at nought among its neighbours.
        at = np.zeros_like(numbers) if around.around else numbers
        moments = weighted_moments(task.sample, same, at, task.own, task.explained, width)
        at_row = np.concatenate([np.ones(same.shape), numbers], axis=1)
        found = fit(moments, task.explained.shape[1], at_row, settings.features, members)
        errors = None
        if not chooses:
            errors = standard_errors(task.sample, same, at, task.explained, width, moments, found, members)
            shared = around.shared_by(same)
            few = (shared < LEAST) | ((shared > len(around.codes) - LEAST) & (shared < len(around.codes)))
            errors[np.broadcast_to((few @ members[:, : few.shape[1]].T)[:, None], errors.shape)] = np.nan
        shift = np.einsum("nmb,nb->nm", found.coefficients[..., same.shape[1] :], numbers - at)
        return Attribution(
            values=found.coefficients @ members.T.astype(np.float64),
            base=found.intercept + task.centre - shift,
            std_error=errors,
            quality={"local_r2": found.r2},
            evaluations=len(task.rows) * (1 if outputs is not None else 1 + len(around.codes)),
            notes={NULLS: np.isnan(task.rows[:, around.numeric]).any(axis=1)},
        )

    def explain(rows: np.ndarray, explained: np.ndarray) -> Attribution:
        q, m = 1 + members.shape[1] + explained.shape[1], explained.shape[1]
        cells = q**2 * (2 + 2 * m)
        if outputs is None:
            cells += (1 + len(around.codes)) * (rows.shape[1] + len(problem.outputs))
        step = max(1, CELLS // cells)
        parts = [slice(start, start + step) for start in range(0, len(rows), step)]
        tasks: Iterator[_Task]
        if outputs is None:
            tasks = (_with_own_neighbours(problem, around, rows, explained, part, watch) for part in parts)
        else:
            tasks = _with_shared_neighbours(problem, around, outputs, rows, explained, parts)
        found = []
        for task in tasks:
            found.append(attribution(task))
            watch.advance(0)
        return _joined(found)

    return explain


def _with_shared_neighbours(
    problem: Problem,
    around: Neighbourhood,
    outputs: np.ndarray,
    rows: np.ndarray,
    explained: np.ndarray,
    parts: list[slice],
) -> Iterator[_Task]:
    # The regression does not mind where nought is; sums of squares do.
    centre = outputs.mean(axis=0)
    sample = Sample(around.same, around.numbers, np.ascontiguousarray((outputs - centre).T))
    own = problem.predictor(rows, problem.kind) - centre
    for part in parts:
        yield _Task(rows[part], explained[part], own[part], centre[explained[part]], sample)


def _with_own_neighbours(
    problem: Problem, around: Neighbourhood, rows: np.ndarray, explained: np.ndarray, part: slice, watch: Watch
) -> _Task:
    codes = around.codes_around(rows[part])
    n, count, d = codes.shape
    try:
        found = problem.predictor(codes.reshape(n * count, d), problem.kind, watch).reshape(n, count, -1)
    except OutputError as error:
        broken = dict.fromkeys(part.start + int(str(place)) // count for place in error.values)
        raise _broken(tuple(broken)) from error
    chosen = np.take_along_axis(found, explained[part][:, None], axis=2).swapaxes(1, 2)  # (n, m, 1 + N)
    centre = chosen.mean(axis=2)
    chosen = chosen - centre[..., None]
    places = np.broadcast_to(np.arange(chosen.shape[1]), chosen.shape[:2])
    sample = Sample(around.same, around.numbers, np.ascontiguousarray(chosen[..., 1:]))
    return _Task(rows[part], places, chosen[..., 0], centre, sample)


def _joined(parts: list[Attribution]) -> Attribution:
    """One answer for the rows of all parts, in order."""
    errors = [part.std_error for part in parts if part.std_error is not None]
    return Attribution(
        values=np.concatenate([part.values for part in parts]),
        base=np.concatenate([part.base for part in parts]),
        std_error=np.concatenate(errors) if errors else None,
        quality={name: np.concatenate([part.quality[name] for part in parts]) for name in parts[0].quality},
        evaluations=sum(part.evaluations for part in parts),
        notes={name: np.concatenate([part.notes[name] for part in parts]) for name in parts[0].notes},
    )


# ---------------------------------------------------------------- what must be said


def _limitations(problem: Problem, around: Neighbourhood, settings: LimeTabularSettings) -> tuple[str, ...]:
    assert problem.features is not None
    said = []
    if settings.sample_around_instance and not around.around:
        said.append(
            "LIME: sample_around_instance moves numbers without bins alone, as in the lime package; here all are drawn"
            " from the training distribution. Set explain.techniques.lime.discretize to none for it to take effect."
        )
    columns = [(j, column) for c in around.compared for j, column in zip(c.features, c.columns, strict=True)]
    names = [problem.features[j].name for j, column in sorted(columns, key=lambda pair: pair[0]) if column.single]
    if names and settings.single_value_bins == "as_lime":
        said.append(
            f"LIME: {_listed(names)} has a bin that holds one single value; as the lime package does, neighbours in it"
            " get 0 in its place. Set explain.techniques.lime.single_value_bins to value to give them the value."
        )
    # How many neighbours a row of the reference can expect to share its group's values with.
    expected = {c.features: len(around.codes) * float((c.frequencies**2).sum()) for c in around.compared}
    rare = [p.name for p in problem.players if len(p.columns) > 1 and expected.get(p.columns, LEAST) < LEAST]
    if rare:
        said.append(
            f"LIME: the values of {_listed(rare)} are together so rare that on average fewer than {LEAST} neighbours"
            " share a row's; the weight rests on few. Take more samples, or bind fewer features."
        )
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
    batch=2048,
    source="Ribeiro, Singh and Guestrin 2016, https://doi.org/10.1145/2939672.2939778",
)
