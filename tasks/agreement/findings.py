"""What the comparison of techniques tells its reader: sentences, and facts for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tasks.agreement.compare import Disagreement
from tasks.agreement.quality import Failing
from tasks.contracts import Finding

#: pairs that disagree that are told one by one
MOST_SAID = 4
_DECIDED = "the decided class of each row"


def disagreements(apart: Sequence[Disagreement]) -> Iterator[Finding]:
    """One finding a pair of techniques, about the output on which they agree least; the pairs after the worst few
    share one."""
    by_pair: dict[tuple[str, str], list[Disagreement]] = {}
    for one in apart:
        by_pair.setdefault((one.technique_a, one.technique_b), []).append(one)
    worst_first = sorted(by_pair.items(), key=lambda pair: min(one.worth for one in pair[1]))
    told = worst_first if len(worst_first) <= MOST_SAID + 1 else worst_first[:MOST_SAID]
    for (a, b), group in told:
        worst = min(group, key=lambda one: one.worth)
        parts = []
        if worst.rank_correlation is not None:
            parts.append(f"their rank correlation is {worst.rank_correlation:.2f} on average")
        if worst.shared is not None:
            parts.append(f"they share {100 * worst.shared:.0f} % of the {worst.k} largest features")
        where = "on which features speak" if worst.most else "on where in the image the evidence lies"
        about = _DECIDED if worst.output is None else worst.output
        text = f"{a} and {b} disagree {where} for {about}: over {worst.n_rows:,} rows {' and '.join(parts)}."
        if worst.most:
            named = ", ".join(f"{name} (rank {x:.1f} by {a}, {y:.1f} by {b})" for name, x, y in worst.most)
            text += f" They differ most on {named}."
        others = [one.output for one in group if one is not worst]
        if others:
            text += f" They disagree for {len(others)} more output{'s' if len(others) > 1 else ''}."
        yield Finding("warning", "techniques_disagree", text, evidence="agreement", stage="agreement")
    rest = worst_first[len(told) :]
    if rest:
        text = f"{len(rest)} more pairs of techniques disagree, less than these."
        yield Finding("warning", "more_techniques_disagree", text, evidence="agreement", stage="agreement")


def failure(failing: Failing) -> Finding:
    """Why a technique is failing."""
    about = "" if failing.output is None else f" for {failing.output}"
    measure = failing.measure.replace("_", " ")
    if failing.reason == "unchanged_by_randomisation":
        text = (
            f"{failing.technique} explains a model of random weights as it explains this one{about}: the rank"
            f" correlation of the two is {failing.value:.2f} on average over {failing.n_rows} rows"
        )
    else:
        text = (
            f"{failing.technique} is no better than a random attribution{about}:"
            f" {measure} {failing.value:.3g} against {failing.random:.3g}"
        )
    if failing.better is not None:
        mean, low, high = failing.better
        text += f" over {failing.n_rows} rows (better by {mean:.2g}, interval {low:.2g} to {high:.2g})"
    return Finding("warning", failing.reason, f"{text}.", evidence="explanation_quality", stage="agreement")


def beside_boxes(technique: str, hits: float, chance: float) -> Finding:
    """A map that finds the known regions by chance alone."""
    text = (
        f"{technique} finds the known regions no more often than chance: box hit rate {hits:.3g} against {chance:.3g}."
    )
    return Finding("warning", "misses_known_regions", text, evidence="explanation_quality", stage="agreement")


def disagreement_fact(one: Disagreement) -> dict[str, Any]:
    return {
        "techniques": [one.technique_a, one.technique_b],
        "output": one.output,
        "spearman": one.rank_correlation,
        "feature_agreement": one.shared,
        "k": one.k,
        "features": [name for name, _, _ in one.most],
    }


def failing_fact(one: Failing) -> dict[str, Any]:
    return {
        "technique": one.technique,
        "output": one.output,
        "reason": one.reason,
        "measure": one.measure,
        "value": one.value,
        "random": one.random,
        "n_rows": one.n_rows,
        "p_adjusted": one.p_adjusted,
    }
