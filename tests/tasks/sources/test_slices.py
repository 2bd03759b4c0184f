"""Slices: found where they are planted, not where nothing is, and told without the bias of having been looked for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from tasks.sources.confirm import benjamini_yekutieli, confirm
from tasks.sources.features import Part
from tasks.sources.outcomes import Question
from tasks.sources.slices import KEPT, Kept, Slice, halves, planned, search

LEAST = 20


def part(name: str, codes: np.ndarray, *, kind="feature", column: str | None = None, values=None) -> Part:
    size = int(codes.max()) + 1
    values = values or tuple(f"v{k}" for k in range(size))
    return Part(name, kind, column or name, values, codes.astype(np.int32), False, None, np.ones(size, bool))


def rate(metric: str, lower: bool, among: np.ndarray, hit: np.ndarray) -> Question:
    return Question(metric, metric, lower, among, (among & hit).astype(float), True)


def asked(label: np.ndarray, decision: np.ndarray) -> list[Question]:
    everyone = np.ones(len(label), bool)
    return [
        rate("selection_rate", True, everyone, decision),
        rate("accuracy", True, everyone, label == decision),
        rate("true_positive_rate", True, label, decision),
        rate("false_positive_rate", False, ~label, decision),
    ]


def drawn(seed: int, n: int, size: int = 6, planted: float = 0.0):
    """Parts, and questions whose answers depend on nothing but one slice of three parts."""
    rng = np.random.default_rng(seed)
    parts = [part(f"x{j}", rng.integers(0, 2 + j % 4, n)) for j in range(size)]
    inside = (parts[0].codes == 0) & (parts[1].codes == 0) & (parts[2].codes == 0)
    decision = rng.random(n) < 0.5 - planted * inside
    return parts, asked(rng.random(n) < 0.5, decision)


def audited(parts, questions, seed=0, weight=None, least=LEAST):
    n = len(parts[0].codes)
    one, other = halves(n, [seed])
    found = search(parts, questions, weight, one, least)
    return found, confirm(found.kept, parts, questions, weight, other, least, 0.95)


def _null(audits: int) -> int:
    return sum(any(row.named for row in audited(*drawn(seed, 1000), seed)[1]) for seed in range(audits))


def test_where_nothing_is_to_be_found_slices_are_rarely_named():
    # At most 1 in 20 audits names any; a method of just that size passes this 99.9 % of the time.
    assert _null(150) <= binom.ppf(0.999, 150, 0.05)


@pytest.mark.soak
def test_where_nothing_is_to_be_found_slices_are_rarely_named_in_many_audits():
    assert _null(3000) <= binom.ppf(0.999, 3000, 0.05)


def test_the_search_itself_does_find_slices_where_there_are_none():
    # Else the test above would say nothing: on the half that was searched the kept slices do look worse.
    inside = []
    for seed in range(40):
        parts, questions = drawn(seed, 1000)
        one, _ = halves(1000, [seed])
        found = search(parts, questions, None, one, LEAST)
        inside += confirm(found.kept, parts, questions, None, one, LEAST, 0.95)
    assert len(inside) > 40
    assert all(row.worse for row in inside)
    assert np.mean([row.p < 0.05 for row in inside]) > 0.5


def test_a_planted_slice_of_three_parts_is_found_and_its_difference_is_unbiased():
    differences, named, covered, ranked = [], 0, 0, 0
    for seed in range(60):
        _, rows = audited(*drawn(seed, 4000, planted=0.4), seed)
        best = next(row for row in rows if row.metric == "selection_rate" and row.rank == 1)
        if set(best.parts) == {"x0 = v0", "x1 = v0", "x2 = v0"}:
            ranked += 1
            named += best.named
            covered += best.low <= -0.4 <= best.high
            differences.append(best.difference)
    assert ranked >= 50
    assert named >= 50
    # Unbiased though it was chosen for being large: it is measured where it was not chosen.
    error = np.std(differences) / np.sqrt(ranked)
    assert abs(np.mean(differences) + 0.4) < 3.3 * error
    assert covered >= binom.ppf(0.0005, ranked, 0.95)


def test_a_slice_that_its_parent_explains_is_not_kept():
    rng = np.random.default_rng(1)
    n = 6000
    parts = [part(f"x{j}", rng.integers(0, 3, n)) for j in range(4)]
    decision = rng.random(n) < np.where(parts[0].codes == 0, 0.2, 0.6)
    found, rows = audited(parts, asked(rng.random(n) < 0.5, decision)[:1])
    assert rows[0].slice == "x0 = v0"
    assert [row.slice for row in rows if row.named] == ["x0 = v0"]
    assert found.looked_at > 100


def test_copies_of_a_column_are_one_slice():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 3, 4000)
    parts = [part("a", codes), part("b", codes), part("c", rng.integers(0, 2, 4000))]
    decision = rng.random(4000) < np.where(codes == 1, 0.2, 0.6)
    _, rows = audited(parts, asked(decision, decision)[:1])
    assert [row.slice for row in rows if row.named] == ["a = v1"]


def test_one_column_is_not_crossed_with_itself():
    codes = np.random.default_rng(3).integers(0, 4, 3000)
    parts = [part("fine", codes, column="age"), part("coarse", codes // 2, column="age", kind="attribute")]
    decision = np.random.default_rng(4).random(3000) < np.where(codes == 0, 0.2, 0.6)
    found, rows = audited(parts, asked(decision, decision)[:1])
    assert all(len(one.slice.parts) == 1 for one in found.kept)
    assert rows


def _by_hand(parts, question, rows, names):
    inside = np.ones(len(rows), bool)
    for name in names:
        column, value = name.split(" = v")
        own = next(p for p in parts if p.name == column)
        inside &= own.codes[rows] == int(value)
    among, value = question.among[rows], question.value[rows]
    return value[inside & among], value[~inside & among]


def test_numbers_are_those_of_the_half_that_was_not_searched():
    from scipy.stats import fisher_exact

    parts, questions = drawn(5, 3000, planted=0.4)
    _, other = halves(3000, [0])
    _, rows = audited(parts, questions)
    by_metric = {question.metric: question for question in questions}
    assert len(rows) > 3
    for row in rows:
        own, rest = _by_hand(parts, by_metric[row.metric], other, row.parts)
        assert (row.n, row.numerator, row.denominator) == (len(own), own.sum(), len(own))
        assert row.value == own.mean()
        assert row.difference == pytest.approx(own.mean() - rest.mean(), abs=1e-15)
        table = [[own.sum(), len(own) - own.sum()], [rest.sum(), len(rest) - rest.sum()]]
        assert row.p == pytest.approx(fisher_exact(table)[1], rel=1e-9)
        assert row.low < row.difference < row.high
        assert row.test == "fisher"


def test_q_values_by_hand():
    # Five p-values; 1 + 1/2 + 1/3 + 1/4 + 1/5 = 137/60.
    p = np.array([0.01, 0.04, np.nan, 0.002, 0.5, 0.03])
    c = 137 / 60
    expected = [c * 0.01 * 5 / 2, c * 0.04 * 5 / 4, np.nan, c * 0.002 * 5 / 1, 1.0, c * 0.04 * 5 / 4]
    np.testing.assert_allclose(benjamini_yekutieli(p), expected, rtol=1e-12)
    assert len(benjamini_yekutieli(np.array([]))) == 0


def test_q_values_are_scipys():
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(0).random(50) ** 3
    np.testing.assert_allclose(benjamini_yekutieli(p), false_discovery_control(p, method="by"), rtol=1e-12)


def test_the_order_of_columns_and_their_names_change_nothing():
    parts, questions = drawn(6, 3000, planted=0.4)
    _, first = audited(parts, questions)
    renamed = [part(f"z{9 - j}", own.codes) for j, own in enumerate(parts)]
    _, second = audited(renamed[::-1], questions)
    assert [(r.metric, r.rank, r.value, r.difference, r.p, r.q) for r in first] == [
        (r.metric, r.rank, r.value, r.difference, r.p, r.q) for r in second
    ]
    back = {f"z{9 - j}": f"x{j}" for j in range(len(parts))}
    assert [set(r.parts) for r in first] == [{back[p[:2]] + p[2:] for p in r.parts} for r in second]


def test_the_same_seed_gives_the_same_bits():
    assert audited(*drawn(7, 2000, planted=0.3))[1] == audited(*drawn(7, 2000, planted=0.3))[1]


def test_weights_of_one_size_change_no_value_and_scaling_them_changes_nothing():
    parts, questions = drawn(8, 3000, planted=0.4)
    rng = np.random.default_rng(0)
    weight = rng.exponential(size=3000)
    _, plain = audited(parts, questions)
    _, ones = audited(parts, questions, weight=np.full(3000, 4.0))
    _, once = audited(parts, questions, weight=weight)
    _, twice = audited(parts, questions, weight=weight * 8)
    assert [(r.slice, r.metric) for r in plain] == [(r.slice, r.metric) for r in ones]
    np.testing.assert_allclose([r.difference for r in plain], [r.difference for r in ones], atol=1e-12)
    assert [r.slice for r in once] == [r.slice for r in twice]
    np.testing.assert_allclose([r.q for r in once], [r.q for r in twice])
    assert {r.test for r in once} == {"wald, linearised"}
    assert all(r.denominator != r.n for r in once)


def test_means_are_told_with_welchs_error():
    from scipy.stats import norm

    rng = np.random.default_rng(9)
    parts = [part(f"x{j}", rng.integers(0, 3, 3000)) for j in range(3)]
    error = rng.exponential(size=3000) * np.where(parts[1].codes == 2, 2.0, 1.0)
    question = Question("mean_absolute_error", "mean absolute error", False, np.ones(3000, bool), error, False)
    _, rows = audited(parts, [question])
    _, other = halves(3000, [0])
    assert rows[0].parts == ("x1 = v2",)
    own, rest = _by_hand(parts, question, other, rows[0].parts)
    z = (own.mean() - rest.mean()) / np.sqrt(own.var(ddof=1) / len(own) + rest.var(ddof=1) / len(rest))
    assert rows[0].p == pytest.approx(2 * norm.sf(abs(z)), rel=1e-9)
    assert rows[0].test == "wald"
    assert rows[0].named


def test_a_slice_with_too_few_rows_in_the_second_half_is_said_to_have_too_few():
    parts = [part("x", np.arange(100) % 4)]
    question = rate("selection_rate", True, np.ones(100, bool), np.arange(100) % 3 == 0)
    kept = [Kept(0, 1, Slice((0,), (1,)))]
    [row] = confirm(kept, parts, [question], None, np.arange(100), 26, 0.95)
    assert (row.status, row.n) == ("insufficient_data", 25)
    assert np.isfinite(row.value)
    assert np.isnan(row.p)
    assert not row.named
    [none] = confirm(kept, parts, [question], None, np.arange(0, 100, 4), 1, 0.95)
    assert (none.status, none.n) == ("undefined", 0)
    assert np.isnan(none.difference)


def test_small_slices_are_not_looked_at():
    parts, questions = drawn(10, 400)
    assert audited(parts, questions, least=201)[0].looked_at == 0


def test_crossings_are_bounded():
    assert planned(13, 8000) == {1: 13, 2: 78, 3: 286}
    wide = planned(200, 100_000)
    assert wide[1] == 200
    assert 1000 < wide[2] <= 10_000
    assert 1000 < wide[3] <= 10_000
    parts, questions = drawn(11, 500, size=60)
    found, _ = audited(parts, questions[:1])
    assert found.possible[3] == 34_220
    assert found.crossings[3] <= 10_000
    assert len(found.kept) <= KEPT


def test_the_strongest_parts_are_crossed_where_all_are_too_many(monkeypatch):
    monkeypatch.setattr("tasks.sources.slices.CROSSINGS", {2: 10, 3: 1})
    parts, questions = drawn(12, 6000, size=12, planted=0.45)
    found, rows = audited(parts, questions[:1])
    assert found.crossings == {1: 12, 2: 10, 3: 1}
    assert set(rows[0].parts) == {"x0 = v0", "x1 = v0", "x2 = v0"}


def test_hostile_names_are_quoted():
    codes = np.random.default_rng(13).integers(0, 2, 1000)
    names = ('x" and y', "<script>", "a = b", "")
    own = [part(name, codes, values=("v and w = 1", "\n")) for name in names]
    whole = Slice(tuple(range(4)), (0, 1, 0, 1)).names(own)
    assert '"x\\" and y" = "v and w = 1"' in whole
    assert '<script> = "\\n"' in whole
    assert '"a = b" = "v and w = 1"' in whole
    assert len(set(whole)) == 4
