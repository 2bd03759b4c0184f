"""Principal reasons for adverse decisions, from attributions of the margin.

Source: 12 CFR 1002.9(b)(2) and its commentary: specific principal reasons, no more than four, only factors that were
scored, and none left out. So a protected attribute that is among them stays there, and is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import AuditConfig
from tasks.contracts import Done, Finding, NotApplicable
from tasks.explain import contributions, problem_of
from tasks.load import Subject, open_subject
from tasks.persist import Workspace
from tasks.watch import Watch

STAGE = "reasons"
#: more are not likely to help (commentary to 12 CFR 1002.9(b)(2))
REASONS = 4
#: approved rows that a declined one is compared with, and coalitions that its attributions may cost
BACKGROUND, COALITIONS = 50, 512
#: decisions that reasons are stated for: each costs 25,600 model evaluations, a millisecond or two of a small network
MOST_ROWS = 20_000


@dataclass(frozen=True)
class _Decided:
    """(n,) for every audited row: whether it was decided in favour, and its score for the last audited output."""

    favorable: np.ndarray
    score: np.ndarray


def state_reasons(config: AuditConfig, workspace: Workspace, watch: Watch) -> Done | NotApplicable:
    """States the principal reasons of the explained rows that were decided adversely; writes `reason_codes`.

    Rows are compared with the approved ones just above the cut-off, as far as there are any. Of more than MOST_ROWS
    adverse decisions a simple random sample has its reasons stated, and a limitation says so.

    Raises:
        OutputError: the model returned NaN or infinity.
        StorageError, Stopped, DeadlinePassed.
    """
    subject = open_subject(config)
    unfit = _unfit(subject)
    if unfit:
        return NotApplicable(STAGE, "unfit", unfit)
    problem = problem_of(subject)
    decided = _decided(subject, workspace)
    positions = np.arange(len(subject.rows)) if problem.positions is None else problem.positions
    every = positions[~decided.favorable[positions]]
    adverse = every
    if len(every) > MOST_ROWS:
        adverse = np.sort(problem.generator("reasons").choice(every, MOST_ROWS, replace=False))
    background, compared = _background(subject, problem.background, decided)
    names = [feature.name for feature in subject.features]
    toward = 1.0 if _upward(subject) else -1.0
    values = toward * contributions(subject, problem, subject.rows[adverse], background, COALITIONS, watch)
    table = _table(subject, adverse, names, values)
    protected = _protected(config, names, values)
    return Done(
        STAGE,
        tables=(workspace.write_table("reason_codes", table),),
        findings=tuple(_finding(name, count, len(adverse)) for name, count in protected.items()),
        limitations=(_whose(len(adverse), len(every), len(positions)),),
        facts={
            "adverse": len(every),
            "stated": len(adverse),
            "explained": len(positions),
            "background": compared,
            "background_rows": len(background),
            "protected": protected,
            "most": REASONS,
        },
    )


def principal_reasons(contribution: np.ndarray, names: list[str], most: int = REASONS) -> list[int]:
    """The features that spoke most against the favourable outcome, worst first; ties by name.

    Args:
        contribution: (d,) towards the favourable outcome, in log-odds.
        names: of the d features.

    Returns:
        Indices of at most `most` features whose contribution is negative.
    """
    order = sorted(range(len(names)), key=lambda j: (contribution[j], names[j]))
    return [j for j in order if contribution[j] < 0][:most]


def code_of(feature: str) -> str:
    """A stable code for a reason, until the config gives one of its own."""
    return "R-" + "".join(c if c.isalnum() else "-" for c in feature.upper())


def _whose(stated: int, adverse: int, explained: int) -> str:
    """Which decisions have their reasons stated."""
    among = f"{adverse:,} adverse decisions among the {explained:,} explained rows"
    if stated == adverse:
        return f"Reasons are stated for the {among}."
    return f"Reasons are stated for {stated:,} of the {among}, a simple random sample."


def _upward(subject: Subject) -> bool:
    """Whether a higher score of the last audited output, which is that of the last class, is the better one."""
    return len(subject.classes) - 1 in subject.favorable


def _unfit(subject: Subject) -> str | None:
    if subject.modality != "table":
        return "reasons are stated in features of a table; the model takes images"
    task = subject.config.model.task
    if task != "binary":
        return f"reasons are stated for binary decisions; the task is {task}"
    if not subject.favorable:
        return "data.target.favorable names no favourable outcome, so no decision is adverse"
    if len(set(subject.favorable)) == len(subject.classes):
        return "every outcome is favourable, so no decision is adverse"
    return None


def _decided(subject: Subject, workspace: Workspace) -> _Decided:
    table = workspace.read_table("predictions", ["output", "score", "decision"])
    output = subject.predictor.outputs[subject.predictor.audited][-1]
    own = table.filter(pc.equal(table["output"], output))
    names = [subject.classes[index] for index in subject.favorable]
    favorable = np.isin(own["decision"].to_numpy(zero_copy_only=False), names)
    return _Decided(favorable, own["score"].to_numpy())


def _background(subject: Subject, otherwise: np.ndarray, decided: _Decided) -> tuple[np.ndarray, str]:
    """The approved rows nearest the cut-off, and what they are in words."""
    approved = np.flatnonzero(decided.favorable)
    if not len(approved):
        return otherwise, "the audit's background rows, since no row was decided in favour"
    score = decided.score[approved] if _upward(subject) else -decided.score[approved]
    nearest = approved[np.argsort(score, kind="stable")]
    return subject.rows[np.sort(nearest[:BACKGROUND])], "the rows decided in favour that lie nearest the cut-off"


def _table(subject: Subject, adverse: np.ndarray, names: list[str], values: np.ndarray) -> pa.Table:
    ranked = [principal_reasons(row, names) for row in values]
    rows = np.repeat(np.arange(len(adverse)), [len(chosen) for chosen in ranked])
    chosen = [j for reasons in ranked for j in reasons]
    return pa.table(
        {
            "row_id": subject.row_id.take(pa.array(adverse[rows])),
            "rank": pa.array([r + 1 for reasons in ranked for r in range(len(reasons))], pa.int64()),
            "code": pa.array([code_of(names[j]) for j in chosen], pa.string()),
            "text": pa.array([names[j].replace("_", " ") for j in chosen], pa.string()),
            "features": pa.array([[names[j]] for j in chosen], pa.list_(pa.string())),
            "contribution": pa.array(values[rows, chosen] if chosen else [], pa.float64()),
        }
    )


def _protected(config: AuditConfig, names: list[str], values: np.ndarray) -> dict[str, int]:
    """Sensitive feature → decisions that it is a principal reason of."""
    sensitive = {own.column for own in config.data.sensitive.values()}
    counts = {name: 0 for name in names if name in sensitive}
    for row in values:
        for j in principal_reasons(row, names):
            if names[j] in counts:
                counts[names[j]] += 1
    return {name: count for name, count in counts.items() if count}


def _finding(name: str, count: int, adverse: int) -> Finding:
    return Finding(
        "warning",
        "protected_reason",
        f"{name}, a sensitive attribute, is among the {REASONS} principal reasons"
        f" of {count} of {adverse} adverse decisions.",
        evidence="reason_codes",
        stage=STAGE,
    )
