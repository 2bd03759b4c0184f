"""Agreement and quality as a stage: the techniques checked against each other, and against the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from configs.schema import AuditConfig
from tasks.agreement import compare, findings, quality
from tasks.agreement.compare import Agreement
from tasks.agreement.explanations import (
    Entry,
    Explained,
    Mapped,
    common_rows,
    decided,
    read_attributions,
    read_importance,
    read_maps,
    techniques_of,
)
from tasks.agreement.judged import Judged, judged_images, judged_tables
from tasks.agreement.quality import Failing, Quality
from tasks.agreement.rerun import NotMeasured, Rerun, run_again
from tasks.agreement.row_values import faithfulness_table
from tasks.agreement.scores import Scores, evaluations_of, faithfulness_scores, plain_scores
from tasks.contracts import TABLES, Done, NotApplicable, TableRef
from tasks.explain import problem_of
from tasks.load import Subject, open_subject
from tasks.persist import Workspace
from tasks.watch import Watch

#: rows that faithfulness is judged on, and the fewest however many model evaluations they take
JUDGED_ROWS = {"table": 200, "image": 40}
FEWEST_ROWS = {"table": 40, "image": 20}
#: background rows of a table that stand for "away", where all of them are too many
FEWEST_BACKGROUND = 10
#: model evaluations that it may cost beyond those: a share of what explaining did, between these
EVALUATIONS = {"table": (1_000_000, 4_000_000), "image": (6_000, 20_000)}
SHARE = {"table": 0.05, "image": 0.33}


def compare_techniques(
    config: AuditConfig, workspace: Workspace, watch: Watch, *, explained: Sequence[Done] = ()
) -> Done | NotApplicable:
    """Writes `agreement`, `explanation_quality` and, where single rows were explained, `faithfulness` from the tables
    that the techniques wrote.

    Args:
        explained: the techniques' results, for what they measured themselves; those among them that can be are run
            again on a few rows.

    Returns:
        Done, with a warning for each pair that disagrees and for each technique that fails, and facts: `techniques`,
        `pairs`, `interval` (how intervals were made), `disagreements`, `verdicts` (technique → passes, fails or
        not_judged), `failing` (why), `judged_rows`, `rerun_rows`, `evaluations`, `not_measured` (technique, measures,
        reason), `excluded` (rows in which a measure is 0/0). NotApplicable where no technique wrote anything.

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
    watch.expect(4)
    confidence = config.bias.confidence
    subject = open_subject(config) if attributions or mapped else None
    several = [] if subject is None else _decided(subject, [*attributions, *mapped], watch)
    tables = [*attributions, *(e for e in several if isinstance(e, Explained))]
    images = [*mapped, *(e for e in several if isinstance(e, Mapped))]
    rows, apart = compare.compare_attributions(tables, confidence, lambda: watch.advance(0))
    of_maps, apart_maps = compare.compare_maps(images, confidence, lambda: watch.advance(0))
    rows += of_maps + compare.compare_importances(ranked)
    apart += apart_maps
    if any(one.output is None for one in apart) or several:
        # Where nothing speaks for a class, what is said of it is noise: the decided one is what techniques differ on.
        apart = [one for one in apart if one.output is None]
    watch.advance()
    judged = _Quality() if subject is None else _judged(config, subject, attributions, mapped, explained, watch)
    said = [*quality.completeness(tables), *judged.rows]
    measured = {(one.technique, one.measure) for one in said}
    said = [*(one for one in quality.stated(explained) if (one.technique, one.measure) not in measured), *said]
    lost = [one for one in judged.rerun.missing if any((one.technique, m) in judged.rerun.scores for m in one.measures)]
    limitations = [] if rows else ["No two techniques explained the same: there is no agreement to report."]
    limitations += [
        f"{', '.join(one.measures)} of {one.technique} could not be measured: {one.reason}." for one in lost
    ]
    if "not_judged" in judged.verdicts.values():
        limitations.append(
            f"Whether the techniques do better than a random attribution is not judged: {judged.unjudged}."
        )
    return Done(
        "agreement",
        tables=(
            workspace.write_table("agreement", agreement_table(rows)),
            workspace.write_table("explanation_quality", quality_table(said)),
            *(() if subject is None else (_write_faithfulness(workspace, subject, attributions, judged),)),
        ),
        findings=(
            *map(findings.failure, judged.failing),
            *findings.disagreements(apart),
            *(findings.beside_boxes(*one) for one in quality.beside_boxes(explained)),
        ),
        limitations=tuple(limitations),
        facts={
            "techniques": techniques,
            "pairs": len({(row.technique_a, row.technique_b) for row in rows}),
            "interval": f"Student's t over rows, {100 * confidence:g} %",
            "disagreements": [findings.disagreement_fact(one) for one in apart],
            "verdicts": judged.verdicts,
            "failing": [findings.failing_fact(one) for one in judged.failing],
            "judged_rows": judged.count,
            "rerun_rows": judged.rerun.rows,
            "evaluations": {"faithfulness": judged.evaluations, "rerun": judged.rerun.evaluations},
            "not_measured": [_missing_fact(one) for one in judged.rerun.missing],
            "excluded": [_excluded_fact(row) for row in rows if row.excluded],
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


def _write_faithfulness(
    workspace: Workspace, subject: Subject, attributions: Sequence[Explained], judged: _Quality
) -> TableRef:
    table = faithfulness_table(
        attributions, judged.judged, judged.scores, subject.predictor.outputs, subject.row_id.type
    )
    return workspace.write_table("faithfulness", table)


# ---------------------------------------------------------------- agreement on the decided class


def _decided(subject: Subject, entries: Sequence[Entry], watch: Watch) -> list[Entry]:
    """For each technique that explained several outputs a row, its explanations of each row's highest-scoring one."""
    by_technique: dict[str, list[Entry]] = {}
    for one in entries:
        if one.output in subject.predictor.outputs:
            by_technique.setdefault(one.technique, []).append(one)
    several = [group for group in by_technique.values() if len(group) > 1]
    if not several:
        return []
    ids = pa.chunked_array([one.row_id for group in several for one in group]).unique()
    places, found = common_rows(subject.row_id, ids)
    ids, rows = ids.take(pa.array(found)), np.ascontiguousarray(subject.rows[places])
    scores = subject.predictor(rows, subject.config.explain.output, watch)
    of_output = dict(zip(subject.predictor.outputs, scores.T, strict=True))
    return [one for one in (decided(group, of_output, ids) for group in several) if one is not None]


# ---------------------------------------------------------------- quality


@dataclass
class _Quality:
    rows: list[Quality] = field(default_factory=list)
    failing: list[Failing] = field(default_factory=list)
    verdicts: dict[str, str] = field(default_factory=dict)
    rerun: Rerun = field(default_factory=Rerun)
    count: int = 0
    evaluations: int = 0
    unjudged: str | None = None  # why no technique is compared with chance
    judged: Judged | None = None
    scores: Scores = field(default_factory=dict)


def _judged(
    config: AuditConfig,
    subject: Subject,
    attributions: Sequence[Explained],
    mapped: Sequence[Mapped],
    explained: Sequence[Done],
    watch: Watch,
) -> _Quality:
    """Every measure on the same rows, beside a random attribution, and which techniques fail."""
    problem, kind = problem_of(subject), subject.modality
    count = len({one.technique for one in attributions} | {one.technique for one in mapped})
    players = len(problem.players) if kind == "table" else 64
    background, most = _affordable(kind, explained, evaluations_of(players, count, kind, 1), len(problem.background))
    judged: Judged | None
    if kind == "table":
        judged = judged_tables(subject, problem, attributions, most, watch, background)
    else:
        judged = judged_images(subject, problem, mapped, most, watch)
    if judged is None:
        return _Quality()
    generator = problem.generator("faithfulness")
    scores = faithfulness_scores(judged, kind, generator, lambda: watch.advance(0))
    scores |= plain_scores(judged, generator)
    watch.advance()
    rerun = run_again(subject, problem, judged, explained, watch)
    watch.advance()
    rows = quality.rows_of(scores | rerun.scores, judged.name)
    if judged.name is None:
        rows += quality.rows_by_output(scores, judged.output, subject.predictor.outputs)
    unjudged = _unjudged(scores, judged)
    failing = [
        *([] if unjudged else quality.no_better(scores, judged.name, config.bias.confidence)),
        *quality.unchanged(rerun.scores, judged.name, judged.players),
    ]
    fails = {one.technique for one in failing}
    passes = "not_judged" if unjudged else "passes"
    verdicts = {name: "fails" if name in fails else passes for name in judged.attributions}
    spent = evaluations_of(judged.players, count, kind, background) * len(judged.rows)
    return _Quality(rows, failing, verdicts, rerun, len(judged.rows), spent, unjudged, judged, scores)


def _unjudged(scores: Scores, judged: Judged) -> str | None:
    """Why no technique is compared with chance, or None where all are."""
    if len(judged.rows) < quality.FEWEST_ROWS:
        return f"there are {len(judged.rows)} rows, and {quality.FEWEST_ROWS} are needed"
    if not quality.orders_matter(scores, judged.own):
        return "the model's output does not depend on the order in which features are taken away"
    return None


def _affordable(kind: str, explained: Sequence[Done], a_row: int, background: int) -> tuple[int, int]:
    """Background rows, and rows, for what faithfulness may cost; a_row: evaluations of a row and one background row."""
    least, most = EVALUATIONS[kind]
    spent = sum(int(done.facts.get("evaluations") or 0) for done in explained)
    budget = min(max(least, int(SHARE[kind] * spent)), most)
    behind = 1
    if kind == "table":
        behind = min(background, max(FEWEST_BACKGROUND, budget // (FEWEST_ROWS[kind] * a_row)))
    return behind, max(FEWEST_ROWS[kind], min(JUDGED_ROWS[kind], budget // (a_row * behind)))


def _missing_fact(one: NotMeasured) -> dict[str, Any]:
    return {"technique": one.technique, "measures": list(one.measures), "reason": one.reason}


def _excluded_fact(row: Agreement) -> dict[str, Any]:
    return {
        "techniques": [row.technique_a, row.technique_b],
        "output": row.output,
        "measure": row.measure,
        "k": row.k,
        "rows": row.excluded,
    }
