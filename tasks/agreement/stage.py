"""Agreement and quality as a stage: the techniques checked against each other, and against the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from configs.schema import AuditConfig
from tasks.agreement import compare, faithfulness, quality
from tasks.agreement.compare import Agreement, Disagreement
from tasks.agreement.explanations import (
    Explained,
    common_rows,
    read_attributions,
    read_importance,
    read_maps,
    techniques_of,
)
from tasks.agreement.quality import Failing, Quality
from tasks.contracts import TABLES, Done, Finding, NotApplicable
from tasks.load import Subject, open_subject
from tasks.persist import Workspace
from tasks.watch import Watch

#: rows that deletion looks at for each output, and background rows that stand for "away"
DELETION_ROWS = 200
DELETION_BACKGROUND = 10
#: model evaluations that deletion may cost a technique; with many features it looks at fewer rows
_EVALUATIONS = 500_000
_FEWEST_ROWS = 20


def compare_techniques(
    config: AuditConfig, workspace: Workspace, watch: Watch, *, explained: Sequence[Done] = ()
) -> Done | NotApplicable:
    """Writes `agreement` and `explanation_quality` from the tables that the techniques wrote.

    Args:
        explained: the techniques' results, for what they measured themselves.

    Returns:
        Done, with a warning for each pair that disagrees and for each technique that does no better than a random
        attribution, and facts: `techniques`, `pairs`, `interval` (how intervals were made), `disagreements`,
        `failing` (technique, output, measure, value, random), `excluded` (rows in which a measure is 0/0).
        NotApplicable where no technique wrote anything.

    Raises:
        OutputError: the model returned NaN.
        Stopped, DeadlinePassed: as the watch says.
    """
    attributions = [e for name in techniques_of(workspace, "attributions") for e in read_attributions(workspace, name)]
    mapped = [m for name in techniques_of(workspace, "saliency") for m in read_maps(workspace, name)]
    ranked = read_importance(workspace)
    techniques = sorted(
        {*(a.technique for a in attributions), *(m.technique for m in mapped), *(r.technique for r in ranked)}
    )
    if not techniques and not explained:
        return NotApplicable("agreement", "no_explanations", "No technique explained the model.")
    watch.expect(len(attributions) + len(mapped) + 1)
    confidence = config.bias.confidence

    rows, apart = compare.compare_attributions(attributions, confidence, lambda: watch.advance(0))
    of_maps, apart_maps = compare.compare_maps(mapped, confidence, lambda: watch.advance(0))
    rows += of_maps + compare.compare_importances(ranked)
    watch.advance()
    said, failing = quality.stated(explained)
    said += quality.completeness(attributions)
    if attributions:
        deleted, worse = _deletion(config, attributions, watch)
        said, failing = said + deleted, failing + worse
    watch.advance(len(mapped))
    limitations = () if rows else ("No two techniques explained the same: there is no agreement to report.",)
    return Done(
        "agreement",
        tables=(
            workspace.write_table("agreement", agreement_table(rows)),
            workspace.write_table("explanation_quality", quality_table(said)),
        ),
        findings=(*_disagreements(apart), *_disagreements(apart_maps), *map(_no_better, failing)),
        limitations=limitations,
        facts={
            "techniques": techniques,
            "pairs": len({(row.technique_a, row.technique_b) for row in rows}),
            "interval": f"Student's t over rows, {100 * confidence:g} %",
            "disagreements": [_disagreement_fact(one) for one in (*apart, *apart_maps)],
            "failing": [_failing_fact(one) for one in failing],
            "excluded": [
                {
                    "techniques": [row.technique_a, row.technique_b],
                    "output": row.output,
                    "measure": row.measure,
                    "k": row.k,
                    "rows": row.excluded,
                }
                for row in rows
                if row.excluded
            ],
        },
    )


def agreement_table(rows: Iterable[Agreement]) -> pa.Table:
    """The `agreement` table of the contract."""
    names = TABLES["agreement"].names
    return pa.Table.from_pylist([{n: getattr(row, n) for n in names} for row in rows], schema=TABLES["agreement"])


def quality_table(rows: Iterable[Quality]) -> pa.Table:
    """The `explanation_quality` table of the contract."""
    schema = TABLES["explanation_quality"]
    return pa.Table.from_pylist([{n: getattr(row, n) for n in schema.names} for row in rows], schema=schema)


# ---------------------------------------------------------------- deletion


def _deletion(
    config: AuditConfig, attributions: Sequence[Explained], watch: Watch
) -> tuple[list[Quality], list[Failing]]:
    """Deletion areas of every technique and output, beside a random attribution on the same rows."""
    subject = open_subject(config)
    names = tuple(feature.name for feature in subject.features)
    usable = [one for one in attributions if set(one.features) == set(names)]
    background = _background(subject, config.explain.seed)
    d, b = len(names), len(background)
    outputs = list(dict.fromkeys(one.output for one in usable))
    most = max(_FEWEST_ROWS, _EVALUATIONS // max(1, (d - 1) * b * max(1, len(outputs))))
    areas: dict[tuple[str, str], np.ndarray] = {}
    chance: dict[str, np.ndarray] = {}

    def predict(rows: np.ndarray) -> np.ndarray:
        return subject.predictor(rows, config.explain.output, watch)

    for output in outputs:
        entries = [one for one in usable if one.output == output]
        picked = _picked(entries, min(DELETION_ROWS, most))
        if not len(picked):
            continue
        places, _ = common_rows(subject.data.row_id, picked)
        picked = subject.data.row_id.take(pa.array(places))
        rows, column = np.ascontiguousarray(subject.rows[places]), subject.predictor.outputs.index(output)
        generator = np.random.default_rng([config.explain.seed, *b"deletion"])
        orders: dict[str | None, np.ndarray] = {None: faithfulness.random_order(len(rows), d, generator)}
        for one in entries:
            _, own = common_rows(picked, one.row_id)
            values = one.at(own, names)
            if np.isfinite(values).all():
                orders[one.technique] = faithfulness.deletion_order(values)
        for technique, order in orders.items():
            curves = faithfulness.deletion_curves(predict, rows, order, background, column, lambda _: watch.advance(0))
            area = faithfulness.deletion_area(curves)
            if technique is None:
                chance[output] = area
            else:
                areas[technique, output] = area
                watch.advance()
    return quality.deletion(areas, chance, config.bias.confidence)


def _picked(entries: Sequence[Explained], most: int) -> pa.Array:
    """Ids of up to `most` rows that all techniques explained, taken evenly over the first one's."""
    rows = entries[0].row_id
    for one in entries[1:]:
        places, _ = common_rows(rows, one.row_id)
        rows = rows.take(pa.array(places))
    if not len(rows):
        return rows
    return rows.take(pa.array(np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))))


def _background(subject: Subject, seed: int) -> np.ndarray:
    """Up to ten rows of the reference, or of the data where there is none, drawn once."""
    rows = subject.rows if subject.reference is None else subject.reference
    generator = np.random.default_rng([seed, *b"deletion background"])
    chosen = generator.choice(len(rows), min(DELETION_BACKGROUND, len(rows)), replace=False)
    return np.ascontiguousarray(rows[np.sort(chosen)])


# ---------------------------------------------------------------- findings and facts


def _disagreements(apart: Sequence[Disagreement]) -> Iterator[Finding]:
    """One finding a pair of techniques, about the output on which they agree least."""
    by_pair: dict[tuple[str, str], list[Disagreement]] = {}
    for one in apart:
        by_pair.setdefault((one.technique_a, one.technique_b), []).append(one)
    for (a, b), group in by_pair.items():
        worst = min(group, key=lambda one: one.worth)
        parts = []
        if worst.rank_correlation is not None:
            parts.append(f"their rank correlation is {worst.rank_correlation:.2f} on average")
        if worst.shared is not None:
            parts.append(f"they share {100 * worst.shared:.0f} % of the {worst.k} largest features")
        where = "on which features speak" if worst.most else "on where in the image the evidence lies"
        text = f"{a} and {b} disagree {where} for {worst.output}: over {worst.n_rows:,} rows {' and '.join(parts)}."
        if worst.most:
            named = ", ".join(f"{name} (rank {x:.1f} by {a}, {y:.1f} by {b})" for name, x, y in worst.most)
            text += f" They differ most on {named}."
        others = [one.output for one in group if one is not worst]
        if others:
            text += f" They disagree for {len(others)} more output{'s' if len(others) > 1 else ''}."
        yield Finding("warning", "techniques_disagree", text, evidence="agreement", stage="agreement")


def _no_better(failing: Failing) -> Finding:
    about = "" if failing.output is None else f" for {failing.output}"
    measure = failing.measure.replace("_", " ")
    text = (
        f"{failing.technique} is no better than a random attribution{about}:"
        f" {measure} {failing.value:.3g} against {failing.random:.3g}"
    )
    if failing.better is not None:
        _, low, high = failing.better
        text += f" (better by {failing.better[0]:.2g}, interval {low:.2g} to {high:.2g})"
    return Finding("warning", "no_better_than_random", f"{text}.", evidence="explanation_quality", stage="agreement")


def _disagreement_fact(one: Disagreement) -> dict[str, Any]:
    return {
        "techniques": [one.technique_a, one.technique_b],
        "output": one.output,
        "spearman": one.rank_correlation,
        "feature_agreement": one.shared,
        "k": one.k,
        "features": [name for name, _, _ in one.most],
    }


def _failing_fact(one: Failing) -> dict[str, Any]:
    return {
        "technique": one.technique,
        "output": one.output,
        "measure": one.measure,
        "value": one.value,
        "random": one.random,
    }
