from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from configs.schema import AuditConfig
from tasks.bias import DISPARITIES, METRICS
from tasks.bias.families import neighbours
from tasks.bias.families.neighbours import Neighbourhood, coordinates, limitations, neighbourhood
from tasks.bias.statistics.intervals import newcombe_paired
from tasks.load import Feature
from tests.tasks.bias.bias_views import situation_of, view_of

RNG = np.random.default_rng(0)
N = 300
CODES = np.column_stack([RNG.normal(40, 12, N), RNG.integers(0, 3, N), RNG.normal(size=N)]).astype(float)
FEATURES = (Feature("age", "number"), Feature("job", "category", ("a", "b", "c")), Feature("x", "number"))
GROUP = RNG.integers(0, 3, N)
DECISION = (CODES[:, 0] + 10 * CODES[:, 1] + 5 * GROUP + RNG.normal(0, 8, N) > 52).astype(int)


def _hot(codes: np.ndarray = CODES) -> np.ndarray:
    """The same coordinates as columns, by hand."""
    numbers = (codes[:, [0, 2]] - codes[:, [0, 2]].mean(0)) / codes[:, [0, 2]].std(0)
    return np.concatenate([numbers, np.eye(3)[codes[:, 1].astype(int)]], axis=1)


def _view(*, weight=None, codes=GROUP, decision=DECISION, place=None, of=N):
    view = view_of(np.full(N, 0.5), np.zeros(N, int), codes=codes, decision=decision, weight=weight)
    place = coordinates(FEATURES, CODES) if place is None else place
    near = Neighbourhood(np.arange(N), place, np.asarray(decision) == 1, of)
    return replace(view, evidence=replace(view.evidence, neighbourhood=lambda _: near))


def test_consistency_is_that_of_aif360() -> None:
    """AIF360: 1 − mean |y − mean y of sklearn's five nearest neighbours, itself among them|."""
    from sklearn.neighbors import NearestNeighbors

    hot = _hot()
    near = NearestNeighbors(n_neighbors=5, algorithm="ball_tree").fit(hot).kneighbors(hot, return_distance=False)
    each = 1 - np.abs(DECISION - DECISION[near].mean(1))
    found = METRICS["consistency"].measure(_view())
    for g in range(3):
        assert found.value[g] == pytest.approx(each[g == GROUP].mean())
        assert found.n[g] == (g == GROUP).sum()
        assert found.low[g] < found.value[g] < found.high[g]
    weight = RNG.random(N)
    assert METRICS["consistency"].measure(_view(weight=weight)).value[1] == pytest.approx(
        np.average(each[GROUP == 1], weights=weight[GROUP == 1])
    )


def test_equal_decisions_are_consistent_with_an_interval_that_has_a_width() -> None:
    found = METRICS["consistency"].measure(_view(decision=np.ones(N, int)))
    assert (found.value == 1).all()
    assert (found.low < 1).all()


def _clarify(hot: np.ndarray, decision: np.ndarray, own: np.ndarray, other: np.ndarray) -> float:
    """SageMaker Clarify's FT: a classifier of five neighbours (one where a has up to ten rows), fitted on a."""
    from sklearn.neighbors import KNeighborsClassifier

    k = 5 if own.sum() > 10 else 1
    theirs = KNeighborsClassifier(k).fit(hot[own], decision[own]).predict(hot[other])
    model = decision[other]
    return ((model > theirs).sum() - (model < theirs).sum()) / other.sum()


@pytest.mark.parametrize("reference", [0, 2])
def test_flip_test_is_clarifys(reference: int) -> None:
    rows = DISPARITIES["flip_test"].compare(situation_of(_view(), "consistency", reference=reference))
    for g in {0, 1, 2} - {reference}:
        row = rows[g]
        assert (row.group, row.reference) == (g, reference)
        assert row.value == pytest.approx(_clarify(_hot(), DECISION, reference == GROUP, g == GROUP))
        assert row.low < row.value < row.high
        assert row.test == "mcnemar"
    widest = max((rows[g] for g in range(3)), key=lambda row: abs(row.value))
    assert rows[-1].value == widest.value
    assert rows[-1].low < widest.low
    assert rows[-1].p == pytest.approx(min(1, 2 * min(rows[g].p for g in range(3) if g != reference)))


def test_ten_rows_of_the_reference_ask_one_neighbour() -> None:
    codes = np.where(np.arange(N) < 10, 0, 1)
    row = DISPARITIES["flip_test"].compare(situation_of(_view(codes=codes), "consistency"))[1]
    assert row.value == pytest.approx(_clarify(_hot(), DECISION, codes == 0, codes == 1))


def test_mcnemar_by_hand() -> None:
    """Nine rows favoured where their neighbour is not, two the other way round: 2 · P(≤ 2 of 11 at ½)."""
    from scipy.stats import binomtest

    n = 21
    codes = np.array([0] * 2 + [1] * (n - 2))
    decision = np.array([0, 1] + [1] * 9 + [0] * 2 + [1] * 8)
    place = neighbours.Place(np.array([0.0, 9.0] + [0.0] * 9 + [9.0] * 2 + [9.0] * 8)[:, None], np.zeros((n, 0), int))
    view = view_of(np.full(n, 0.5), np.zeros(n, int), codes=codes, decision=decision)
    near = Neighbourhood(np.arange(n), place, decision == 1, n)
    view = replace(view, evidence=replace(view.evidence, neighbourhood=lambda _: near))
    row = DISPARITIES["flip_test"].compare(situation_of(view, "consistency"))[1]
    assert row.value == pytest.approx(7 / 19)
    assert row.p == pytest.approx(binomtest(2, 11, 0.5).pvalue)


def test_newcombes_paired_interval_as_published() -> None:
    """Newcombe 1998, table II, 50 pairs with 36, 12, 2, 0."""
    low, high = newcombe_paired(np.array([36, 12, 2, 0]) / 50, 50, 0.95)
    assert (low, high) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_swapping_decisions_mirrors_the_flip_test() -> None:
    one, other = (
        DISPARITIES["flip_test"].compare(situation_of(_view(decision=d), "consistency"))[1]
        for d in (DECISION, 1 - DECISION)
    )
    assert other.value == pytest.approx(-one.value)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))


def test_weights_do_not_matter_in_scale() -> None:
    weight = RNG.random(N)
    for w in (weight, 4 * weight):
        row = DISPARITIES["flip_test"].compare(situation_of(_view(weight=w), "consistency"))[1]
        assert np.isnan(row.p)
    rows = [
        DISPARITIES["flip_test"].compare(situation_of(_view(weight=w), "consistency"))[1] for w in (weight, 4 * weight)
    ]
    assert (rows[1].value, rows[1].low) == pytest.approx((rows[0].value, rows[0].low))


def test_nulls_are_a_place_of_their_own() -> None:
    codes = np.array([[1.0, 0.0], [3.0, 1.0], [np.nan, 2.0], [2.0, 2.0]])
    found = coordinates((FEATURES[0], Feature("job", "category", ("a", "b"))), codes)
    assert found.numbers[:, 0] == pytest.approx([-np.sqrt(1.5), np.sqrt(1.5), 0, 0])
    assert found.numbers[:, 1].tolist() == [0, 0, 1, 0]
    assert found.codes[:, 0].tolist() == [0, 1, 2, 2]


def test_a_number_that_does_not_vary_says_nothing() -> None:
    assert coordinates((FEATURES[0],), np.full((4, 1), 7.0)).numbers.shape == (4, 0)


# ---------------------------------------------------------------- the subject


def _config(**data) -> AuditConfig:
    return AuditConfig.model_validate(
        {
            "name": "t",
            "model": {"path": "none", "task": "binary"},
            "data": {"path": "none.parquet", "target": {"column": "y", "favorable": "yes"}, **data},
        }
    )


def _subject(monkeypatch: pytest.MonkeyPatch, features=FEATURES, rows=CODES) -> list[int]:
    opened: list[int] = []
    subject = SimpleNamespace(features=features, rows=rows)
    monkeypatch.setattr("tasks.load.open_subject", lambda config: opened.append(1) or subject)
    return opened


def test_sensitive_columns_do_not_make_rows_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    _subject(monkeypatch)
    evidence = _view().evidence
    plain = neighbourhood(_config(), evidence)
    without = neighbourhood(_config(sensitive={"age": {"column": "age", "bins": [40]}}), evidence)
    assert isinstance(plain, Neighbourhood)
    assert isinstance(without, Neighbourhood)
    assert (plain.place.numbers.shape[1], without.place.numbers.shape[1]) == (2, 1)
    nothing = neighbourhood(_config(sensitive={f.name: {"column": f.name} for f in FEATURES}), evidence)
    assert isinstance(nothing, str)
    assert nothing.startswith("not applicable")


def test_many_rows_are_sampled_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    _subject(monkeypatch)
    monkeypatch.setattr(neighbours, "MAX_ROWS", 100)
    view = _view(decision=np.where(np.arange(N) < 20, -1, DECISION))
    view = replace(view, evidence=replace(view.evidence, neighbourhood=lambda e: neighbourhood(_config(), e)))
    found = METRICS["consistency"].measure(view)
    assert found.n.sum() == 100
    assert found.status(0, 1) == ("ok", "among 100 of 280 rows, drawn by the seed")
    again = neighbourhood(_config(), view.evidence)
    assert isinstance(again, Neighbourhood)
    assert again.rows.min() >= 20
    assert list(limitations(view.evidence)) == [
        "Neighbours of rows (consistency, flip_test) are looked for among 100 of 280 rows, drawn by the seed."
    ]


def test_the_subject_is_opened_once_and_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = _subject(monkeypatch)
    view = _view()
    view = replace(view, evidence=replace(view.evidence, neighbourhood=lambda e: neighbourhood(_config(), e)))
    METRICS["accuracy"].measure(view)
    assert opened == []
    METRICS["consistency"].measure(view)
    DISPARITIES["flip_test"].compare(situation_of(view, "consistency"))
    assert opened == [1]


def test_an_audit_without_a_model_goes_on(audit) -> None:
    found = audit({"g": ["a", "b"] * 40}, label=["yes", "no"] * 40, decision=["yes", "no", "no", "yes"] * 20)
    row = found.metric("consistency", "g", "a")
    assert (row["status"], row["value"]) == ("undefined", None)
    assert row["reason"].startswith("not applicable: the model's features cannot be read")
    assert found.gap("flip_test", "g")["status"] == "undefined"
    assert not [f for f in found.done.findings if "not applicable" in f.text]


def test_images_have_no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    _subject(monkeypatch, features=(), rows=np.zeros((N, 4, 4, 1)))
    found = neighbourhood(_config(), _view().evidence)
    assert found == "not applicable: the model's inputs are no columns by which rows are alike"
