"""Coverage of intervals and size of tests: exact, by adding up every outcome, for what is made of counts; simulated
with a seed fixed beforehand for the rest. docs/uncertainty.md has the table, which

    pytest tests/tasks/bias/statistics/test_coverage.py --soak -s

prints row by row. A simulated share passes where one of the right size would in 99.9 % of simulations; DeLong's, known
to be a little off in few rows, where one of 94 to 96.5 % would: what METRICS.md asks of the mean over rates.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import binom

from tasks.bias import DISPARITIES, METRICS
from tasks.bias.base import Measured, View
from tasks.bias.measure import Settings, compare, measure
from tasks.bias.registry import DERIVED
from tasks.bias.rows.counts import Counts
from tasks.bias.rows.evidence import Evidence
from tasks.bias.rows.groups import Attribute
from tasks.bias.statistics.alike import chances as chances_of
from tasks.bias.statistics.chance import no_disparity
from tasks.bias.statistics.intervals import katz, mean_of, mover_difference, mover_ratio, normal_quantile, wilson
from tasks.bias.statistics.significance import fisher

RATES = np.arange(0.05, 0.951, 0.05)
SEED = 20261122
soak = pytest.mark.soak


def told(what: str, design: str, shares: np.ndarray) -> None:
    """A row of the table: what, design, mean, least, most."""
    row = (what, design, *(f"{share:.4f}" for share in (np.mean(shares), np.min(shares), np.max(shares))))
    sys.stdout.write(f"| {' | '.join(row)} |\n")


def chances(n: int) -> np.ndarray:
    """(rates, n + 1) chance of each count."""
    return binom.pmf(np.arange(n + 1), n, RATES[:, None])


def band(share: float, draws: int) -> tuple[float, float]:
    """Where the share that is counted in so many draws lies in 99.9 % of simulations."""
    low, high = binom.ppf([0.0005, 0.9995], draws, share) / draws
    return float(low), float(high)


# ---------------------------------------------------------------- exact: counts


@pytest.mark.parametrize("n", [30, 50, 100, *(pytest.param(n, marks=soak) for n in (*range(31, 50), 200, 500, 2000))])
def test_wilson(n: int) -> None:
    x = np.arange(n + 1)
    low, high = wilson(x / n, n, 0.95)
    covers = (low <= RATES[:, None]) & (RATES[:, None] <= high)
    found = (chances(n) * covers).sum(1)
    told("Wilson, a rate", f"{n}", found)
    assert 0.94 <= found.mean() <= 0.965
    assert found.min() >= 0.915


def two_rates(n1: int, n2: int) -> dict[str, np.ndarray]:
    """(rates²,) coverage of the intervals of two rates; where there is no interval nothing is missed."""
    x1, x2 = np.meshgrid(np.arange(n1 + 1), np.arange(n2 + 1), indexing="ij")
    a, b = x1 / n1, x2 / n2
    first, second = wilson(a, n1, 0.95), wilson(b, n2, 0.95)
    limits = {
        "difference": mover_difference(a, first, b, second),
        "ratio": mover_ratio(a, first, b, second),
        "mean": mean_of(np.stack([a, b], -1), np.stack([first[0], second[0]], -1), np.stack([first[1], second[1]], -1)),
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        centre, half = np.log(a / b), normal_quantile(0.95) * np.sqrt(1 / x1 - 1 / n1 + 1 / x2 - 1 / n2)
    told_katz = katz(3, n1, 4, n2, 0.95)
    assert (np.exp(centre - half)[3, 4], np.exp(centre + half)[3, 4]) == pytest.approx(told_katz)
    with np.errstate(invalid="ignore"):
        limits["katz"] = np.exp(centre - half), np.exp(centre + half)
    truths = {"difference": np.subtract, "ratio": np.divide, "katz": np.divide, "mean": lambda p, q: (p + q) / 2}
    ones, twos = chances(n1), chances(n2)
    found: dict[str, list[float]] = {name: [] for name in [*limits, "ratio, where there is one"]}
    for i, p in enumerate(RATES):
        for j, q in enumerate(RATES):
            for name, (low, high) in limits.items():
                truth = truths[name](p, q)
                missed = (low > truth + 1e-12) | (high < truth - 1e-12)
                if name == "katz":  # none where a count is 0, and that is no cover
                    missed |= ~(np.isfinite(low) & np.isfinite(high))
                chance = float(ones[i] @ missed @ twos[j])
                found[name].append(1 - chance)
                if name == "ratio":
                    found["ratio, where there is one"].append(1 - chance / (1 - twos[j][0]))
    return {name: np.array(shares) for name, shares in found.items()}


@pytest.mark.parametrize(
    ("n1", "n2"),
    [(30, 30), (30, 60), (60, 30),
     *(pytest.param(*n, marks=soak) for n in ((37, 43), (50, 50), (100, 100), (200, 200), (30, 300), (300, 30)))],
)  # fmt: skip
def test_newcombe_and_mover(n1: int, n2: int) -> None:
    found = two_rates(n1, n2)
    for name in ("difference", "ratio", "ratio, where there is one", "mean", "katz"):
        told({"difference": "Newcombe, a difference", "katz": "Katz, a ratio"}.get(name, f"MOVER, a {name}"),
             f"{n1}, {n2}", found[name])  # fmt: skip
        if name != "katz":
            assert 0.94 <= found[name].mean() <= 0.965, name
            assert found[name].min() >= 0.915, name


def test_katz_fails_small_groups() -> None:
    found = two_rates(15, 15)
    told("Katz, a ratio", "15, 15", found["katz"])
    assert found["katz"].min() == pytest.approx(0.288, abs=0.0005)
    assert found["ratio"].min() > 0.93


def sizes(n1: int, n2: int) -> tuple[np.ndarray, np.ndarray]:
    """(rates,) chance that Fisher's and the pooled z test reject at 5 % where both groups have the same rate."""
    x1, x2 = np.meshgrid(np.arange(n1 + 1), np.arange(n2 + 1), indexing="ij")
    pooled = (x1 + x2) / (n1 + n2)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (x1 / n1 - x2 / n2) / np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n2))
    exact = np.array([[fisher(a, n1, b, n2) < 0.05 for b in range(n2 + 1)] for a in range(n1 + 1)])
    ones, twos = chances(n1), chances(n2)
    return tuple((ones @ rejected * twos).sum(1) for rejected in (exact, np.abs(z) >= 1.96))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("n1", "n2"), [(30, 30), (30, 60), *(pytest.param(*n, marks=soak) for n in ((50, 50), (100, 100), (40, 200)))]
)
def test_fisher_and_pooled_z(n1: int, n2: int) -> None:
    exact, pooled = sizes(n1, n2)
    told("Fisher, size", f"{n1}, {n2}", exact)
    told("pooled z, size", f"{n1}, {n2}", pooled)
    assert exact.max() <= 0.05
    assert pooled.max() <= 0.06


# ---------------------------------------------------------------- exact: the permutation of max − min


def permutation_size(n: tuple[int, int, int], rates: np.ndarray) -> np.ndarray:
    """(rates,) chance that the permutation test of three groups' max − min rejects at 5 %, over every table.

    The test's order of tables, by the gap and then by χ², is worked out anew for each number of hits.
    """
    total = sum(n)
    a, b = np.meshgrid(np.arange(n[0] + 1), np.arange(n[1] + 1), indexing="ij")

    def ways(size: int, x: np.ndarray | int) -> np.ndarray:
        return gammaln(size + 1) - gammaln(np.add(x, 1)) - gammaln(size - np.asarray(x) + 1)

    both = ways(n[0], a) + ways(n[1], b)
    rejected = np.zeros(total + 1)
    for hits in range(1, total):
        c = hits - a - b
        possible = (c >= 0) & (c <= n[2])
        x = np.stack([a[possible], b[possible], c[possible]], 1)
        mass = np.exp(both[possible] + ways(n[2], x[:, 2]) - ways(total, hits))
        gap, apart = np.round(np.ptp(x / np.array(n), axis=1), 10), np.round((x**2 / np.array(n)).sum(1), 8)
        order = np.lexsort((apart, gap))[::-1]
        ranked = np.stack([gap, apart], 1)[order]
        tie = np.cumsum(np.concatenate([[True], (ranked[1:] != ranked[:-1]).any(1)])) - 1
        mass = np.bincount(tie, mass[order])
        rejected[hits] = mass[np.cumsum(mass) < 0.05].sum()
    return binom.pmf(np.arange(total + 1), total, rates[:, None]) @ rejected


@pytest.mark.parametrize(
    "n", [(200, 200, 200), *(pytest.param(n, marks=soak) for n in ((200, 300, 250), (400, 200, 200)))]
)
def test_the_permutation_of_the_widest_gap(n: tuple[int, int, int]) -> None:
    found = permutation_size(n, RATES)
    told("permutation of max − min, size", ", ".join(map(str, n)), found)
    assert found.min() >= 0.04
    assert found.max() <= 0.05


# ---------------------------------------------------------------- simulated


def share_of_rejections(entry: str, n: list[int], rate: float, runs: int, draws: int) -> float:
    generator = np.random.default_rng(SEED)
    size, rejected = np.array(n, float), 0
    for run in range(runs):
        hits = generator.binomial(n, rate).astype(float)
        counts = dict.fromkeys(DISPARITIES[entry].bases, (hits, size))
        found = no_disparity(DISPARITIES[entry], counts, "g", seed=run, draws=draws)
        assert found is not None
        rejected += found.p < 0.05
    return rejected / runs


@pytest.mark.parametrize(
    ("entry", "rate", "runs"),
    [("demographic_parity_difference", 0.3, 1500),
     *(pytest.param(entry, rate, 10_000, marks=soak)
       for entry in ("demographic_parity_difference", "impact_ratio") for rate in (0.1, 0.5, 0.8))],
)  # fmt: skip
def test_the_p_value_of_the_widest_gap(entry: str, rate: float, runs: int) -> None:
    share = share_of_rejections(entry, [200, 250, 300, 220], rate, runs, 400)
    told(f"permutation p of {entry}, size", f"4 groups of 200 to 300, rate {rate}", np.array([share]))
    assert band(0.04, runs)[0] <= share <= band(0.05, runs)[1]


def evidence(label: np.ndarray, score: np.ndarray) -> Evidence:
    n = len(label)
    return Evidence(
        task="binary", row_id=np.arange(n), position=np.arange(n), classes=("no", "yes"), label=label,
        decision=(score >= 0.5).astype(np.int64), outputs=("yes",), scores=score[:, None], truth=None, weight=None,
        favorable=(1,), positive=(1,),
    )  # fmt: skip


def measured(metric: str, runs: int, rows: int, draw: Callable[[np.random.Generator, int], tuple]) -> Measured:
    """A metric of so many simulated data sets, which are the groups of one attribute."""
    generator = np.random.default_rng(SEED)
    label, score = draw(generator, runs * rows)
    codes = np.repeat(np.arange(runs), rows)
    found = evidence(label, score)
    counts = Counts.of(codes, runs, found.label, found.decision, None)
    return METRICS[metric].measure(View(found, codes, counts, 0.95))


def _calibrated(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    score = generator.beta(2, 3, n)
    return (generator.random(n) < score).astype(np.int64), score


def _binormal(distance: float) -> Callable[[np.random.Generator, int], tuple]:
    def draw(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        label = (generator.random(n) < 0.4).astype(np.int64)
        return label, 1 / (1 + np.exp(-(distance * label + generator.standard_normal(n) - distance / 2)))

    return draw


@pytest.mark.parametrize(
    ("distance", "rows", "runs"),
    [(1.0, 100, 2000), (2.0, 200, 2000), (0.0, 80, 10_000), pytest.param(1.5, 400, 10_000, marks=soak)],
)
def test_delong(distance: float, rows: int, runs: int) -> None:
    from scipy.special import ndtr

    found = measured("roc_auc", runs, rows, _binormal(distance))
    truth = ndtr(distance / np.sqrt(2))
    share = np.mean((found.low <= truth) & (truth <= found.high))
    told("DeLong on logits, an area", f"{rows} rows, 40 % positive, area {truth:.2f}", np.array([share]))
    assert band(0.94, runs)[0] <= share <= band(0.965, runs)[1]


@pytest.mark.parametrize(
    ("metric", "rows", "runs"),
    [("mean_score", 30, 3000), ("brier_score", 100, 3000),
     *(pytest.param(m, n, 10_000, marks=soak) for m in ("mean_score", "brier_score", "log_loss") for n in (100, 500))],
)  # fmt: skip
def test_students_means(metric: str, rows: int, runs: int) -> None:
    found = measured(metric, runs, rows, _calibrated)
    generator = np.random.default_rng(SEED + 1)
    score = generator.beta(2, 3, 4_000_000)
    truth = {  # E[p], E[p(1 − p)], E of the entropy; the first two are 2/5 and 1/5
        "mean_score": 0.4,
        "brier_score": 0.2,
        "log_loss": -float(np.mean(score * np.log(score) + (1 - score) * np.log1p(-score))),
    }[metric]
    share = np.mean((found.low <= truth) & (truth <= found.high))
    told(f"Student, {metric}", f"{rows} rows", np.array([share]))
    low, high = band(0.95, runs)
    assert low <= share <= high


def aggregate_coverage(entry: str, rates: list[tuple[float, float]], rows: int, runs: int) -> np.ndarray:
    """(runs,) whether the interval of an aggregate covers what the groups' (TPR, FPR) come to; NaN where there is none.

    Half of each group's rows are positive.
    """
    generator = np.random.default_rng(SEED)
    k, half = len(rates), rows // 2
    tpr, fpr = np.array(rates).T
    selected = (tpr + fpr) / 2
    truth = {
        "demographic_parity_difference": np.ptp(selected),
        "demographic_parity_ratio": selected.min() / selected.max(),
        "equalized_odds_difference": max(np.ptp(tpr), np.ptp(fpr)),
        "average_odds_difference": np.ptp(selected),
        "roc_auc_difference": np.nan,
    }[entry]
    wanted = [METRICS[name] for name in ("count", "selection_rate", "true_positive_rate", "false_positive_rate")]
    codes = np.repeat(np.arange(k), 2 * half)
    label = np.tile(np.repeat([1, 0], half), k)
    chance = np.where(label == 1, tpr[codes], fpr[codes])
    found = np.full(runs, np.nan)
    for run in range(runs):
        decision = (generator.random(len(codes)) < chance).astype(np.int64)
        settings = Settings(resamples=600, seed=run)
        attribute = Attribute("g", tuple("abcdefgh"[:k]), codes)
        data = evidence(label, np.where(decision == 1, 0.9, 0.1))
        gap = compare(measure(data, attribute, wanted, settings), [DISPARITIES[entry]], settings).gaps[entry][-1]
        if not np.isnan(gap.low):
            found[run] = gap.low <= truth + 1e-12 and truth - 1e-12 <= gap.high
    return found


ALIKE, APART, TIED = [(0.6, 0.3)] * 4, [(0.8, 0.2), (0.6, 0.3), (0.4, 0.2)], [(0.8, 0.3), (0.5, 0.3), (0.5, 0.3)]


@pytest.mark.parametrize(
    ("entry", "design", "rates", "runs"),
    [("equalized_odds_difference", "4 alike", ALIKE, 200), ("demographic_parity_ratio", "3 apart", APART, 200),
     *(pytest.param(entry, name, rates, 2000, marks=soak)
       for entry in ("demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference",
                     "average_odds_difference")
       for name, rates in (("4 alike", ALIKE), ("3 apart", APART), ("2 of 3 tied", TIED)))],
)  # fmt: skip
def test_the_widest_gap_of_several_groups(entry: str, design: str, rates: list[tuple[float, float]], runs: int) -> None:
    found = aggregate_coverage(entry, rates, 300, runs)
    assert not np.isnan(found).any()
    told(f"bootstrap, {entry}", f"{design}, 300 rows each", np.array([found.mean()]))
    assert found.mean() >= band(0.95, runs)[0]


@pytest.mark.parametrize(
    ("metric", "truth", "rows", "runs"),
    [("calibration_slope", 1.0, 300, 2000), ("calibration_intercept", 0.0, 300, 2000),
     pytest.param("calibration_slope", 1.0, 1000, 4000, marks=soak),
     pytest.param("calibration_intercept", 0.0, 1000, 4000, marks=soak)],
)  # fmt: skip
def test_calibration(metric: str, truth: float, rows: int, runs: int) -> None:
    found = measured(metric, runs, rows, _calibrated)
    share = np.mean((found.low <= truth) & (truth <= found.high))
    told(metric, f"{rows} rows", np.array([share]))
    low, high = band(0.95, runs)
    assert low <= share <= high


def areas(distances: list[float], rows: int, runs: int) -> tuple[float, float, int]:
    """Coverage of the widest gap in areas, share of its chance p-values below .05, and runs that have an interval."""
    from scipy.special import ndtr

    generator = np.random.default_rng(SEED)
    truth = np.ptp(ndtr(np.array(distances) / np.sqrt(2)))
    codes = np.repeat(np.arange(len(distances)), rows)
    entry, wanted = DERIVED["roc_auc_difference"], [METRICS["count"], METRICS["roc_auc"]]
    covered = rejected = 0
    for run in range(runs):
        parts = [_binormal(distance)(generator, rows) for distance in distances]
        label, score = (np.concatenate(part) for part in zip(*parts, strict=True))
        settings = Settings(resamples=400, seed=run)
        attribute = Attribute("g", tuple("abcdefgh"[: len(distances)]), codes)
        one = compare(measure(evidence(label, score), attribute, wanted, settings), [entry], settings)
        gap = one.gaps[entry.name][-1]
        covered += gap.low <= truth + 1e-12 and truth <= gap.high + 1e-12
        rejected += chances_of(one, settings)[entry.name].p < 0.05
    return covered / runs, rejected / runs, runs


@pytest.mark.parametrize(
    ("distances", "runs"),
    [([1.0, 1.0, 1.0], 150), *(pytest.param(d, 1000, marks=soak) for d in ([1.0, 1.0, 1.0], [0.3, 1.0, 2.0]))],
)
def test_the_widest_gap_in_areas(distances: list[float], runs: int) -> None:
    covered, rejected, runs = areas(distances, 200, runs)
    told("parametric bootstrap, roc_auc_difference", f"{distances}, 200 rows each", np.array([covered]))
    assert covered >= band(0.95, runs)[0]
    if len(set(distances)) == 1:
        told("draws around one value, p of roc_auc_difference, size", "3 groups of 200", np.array([rejected]))
        assert band(0.04, runs)[0] <= rejected <= band(0.06, runs)[1]
