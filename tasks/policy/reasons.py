"""Protected attributes among the principal reasons, and features that stand for them: counted, told and judged.

Which features stand for an attribute is known when the tables `reason_codes` and `proxies` both are there, so it is
told here and not where the reasons are stated, which is done beside the search for proxies. A proxy is what the stage
`sources` calls a strong one: a feature that tells a group with an area under the ROC curve surely above its limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.schema import AuditConfig, PolicyCheck
from tasks.bias import wording
from tasks.contracts import Finding
from tasks.policy.checks import CheckVerdict
from tasks.sources import STRONG

if TYPE_CHECKING:
    from tasks.persist import Workspace

#: names that a sentence lists
NAMED = 5


@dataclass(frozen=True)
class Seen:
    """What the reasons of an audit name.

    Attributes:
        stated: decisions whose reasons are stated; adverse: decisions that are adverse.
        protected, proxies: column → decisions that have it among their principal reasons.
        of: proxy → the attributes that it stands for.
        any_protected: decisions that name at least one protected attribute.
        any_either: decisions that name at least one protected attribute or proxy.
    """

    stated: int
    adverse: int
    protected: Mapping[str, int]
    proxies: Mapping[str, int]
    of: Mapping[str, tuple[str, ...]]
    any_protected: int
    any_either: int

    def facts(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "stated": self.stated, "adverse": self.adverse, "protected": dict(self.protected),
            "proxies": dict(self.proxies), "of": {name: list(of) for name, of in self.of.items()},
            "protected_decisions": self.any_protected, "decisions": self.any_either,
        }  # fmt: skip


def seen_in_reasons(config: AuditConfig, workspace: Workspace, adverse: int) -> Seen | None:
    """Counts decisions by what their principal reasons name; None where no reasons were stated.

    Args:
        adverse: decisions that are adverse, as the stage `reasons` counted them.
    """
    if not workspace.has_table("reason_codes"):
        return None
    import pyarrow.parquet as pq

    protected = sorted({own.column for own in config.data.sensitive.values()})
    of = strong_proxies(config, workspace)
    counts = dict.fromkeys([*protected, *of], 0)
    any_protected = any_either = 0
    with pq.ParquetFile(workspace.table_path("reason_codes")) as file:
        for group in range(file.num_row_groups):  # a decision's lines are in one row group
            part = file.read_row_group(group, ["rank", "features"])
            decision = np.cumsum(part["rank"].to_numpy() == 1) - 1
            lists = part["features"].combine_chunks()
            line = decision[lists.value_parent_indices().to_numpy()]
            names = lists.flatten()
            total = int(decision[-1]) + 1 if len(decision) else 0
            hit = {name: _named(name, names, line, total) for name in counts}
            for name, own in hit.items():
                counts[name] += int(own.sum())
            none = np.zeros(total, bool)
            first = np.logical_or.reduce([none, *(hit[name] for name in protected)])
            any_protected += int(first.sum())
            any_either += int(np.logical_or.reduce([first, *(hit[name] for name in of)]).sum())
    most = config.reasons.rows
    return Seen(
        stated=adverse if most == "all" else min(adverse, most),
        adverse=adverse,
        protected={name: counts[name] for name in protected if counts[name]},
        proxies={name: counts[name] for name in of if counts[name]},
        of=of,
        any_protected=any_protected,
        any_either=any_either,
    )


def _named(name: str, names: Any, line: np.ndarray, total: int) -> np.ndarray:
    """(total,) bool: decisions that name a column."""
    import pyarrow.compute as pc

    found = np.zeros(total, bool)
    found[line[pc.equal(names, name).to_numpy(zero_copy_only=False)]] = True
    return found


def strong_proxies(config: AuditConfig, workspace: Workspace) -> dict[str, tuple[str, ...]]:
    """Feature → the attributes whose groups it surely tells; a sensitive column itself is none."""
    if not workspace.has_table("proxies"):
        return {}
    rows = [row for row in workspace.read_table("proxies").to_pylist() if row["measure"] == "auc" and row["feature"]]
    sensitive = {own.column for own in config.data.sensitive.values()}
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(row["attribute"], set()).update([row["group"]] if row["group"] is not None else [])
    found: dict[str, list[str]] = {}
    for row in rows:
        # Of two groups each is told as well as the other: their mean has the interval.
        wanted = row["group"] is None if len(groups[row["attribute"]]) <= 2 else row["group"] is not None
        sure = row["status"] == "ok" and row["ci_low"] is not None and row["ci_low"] > STRONG
        if wanted and sure and row["feature"] not in sensitive:
            found.setdefault(row["feature"], []).append(row["attribute"])
    return {name: tuple(dict.fromkeys(of)) for name, of in sorted(found.items())}


def proxy_reason_findings(seen: Seen | None) -> tuple[Finding, ...]:
    """A warning for each proxy that is among the principal reasons."""
    if seen is None:
        return ()
    return tuple(
        Finding(
            "warning",
            "proxy_reason",
            f"{name}, which stands for {wording.listed(list(seen.of[name]), NAMED)} (a strong proxy), is among the"
            f" principal reasons of {count:,} of {seen.stated:,} adverse decisions.",
            evidence="reason_codes",
            stage="policy",
        )
        for name, count in seen.proxies.items()
    )


def judge_reasons(check: PolicyCheck, seen: Seen | None) -> dict[str, Any]:
    """The check of kind reasons as JSON values, with the keys of any other check.

    More decisions than the limit name a protected attribute: not satisfied. Otherwise it is satisfied if the reasons
    of all adverse decisions are stated, of which there is at least one; else it cannot be told.
    """
    verdict, sentence, reason = _judged(check, seen)
    count = None if seen is None else seen.any_either if check.include_proxies else seen.any_protected
    known = count is not None and seen is not None and seen.stated > 0
    number = float(count or 0) if known else None
    return {
        "metric": check.metric, "attribute": None, "group": None, "feature": None, "technique": None, "output": None,
        "min": None, "max": check.max, "severity": check.severity, "confidence": check.confidence, "verdict": verdict,
        "value": number, "status": "ok" if known else "undefined", "reason": reason, "ci_low": None, "ci_high": None,
        "numerator": number, "denominator": float(seen.stated) if seen is not None and known else None,
        "n": None if seen is None else seen.adverse, "reference": None, "reference_numerator": None,
        "reference_denominator": None, "reference_n": None, "p_value": None, "p_adjusted": None, "p_family": None,
        "family": 1, "test": None, "sentence": sentence, "no_disparity": None, "detectable": None, "flag": None,
        "four_fifths": None, "groups": [], "kind": check.kind, "include_proxies": check.include_proxies,
    }  # fmt: skip


def _judged(check: PolicyCheck, seen: Seen | None) -> tuple[CheckVerdict, str, str | None]:
    what = "a protected attribute or a strong proxy of one" if check.include_proxies else "a protected attribute"
    subject = f"How often a principal reason names {what}"
    if seen is None:
        reason = "no reasons were stated"
        return "insufficient_data", f"{subject} cannot be judged: {reason}.", reason
    if not seen.stated:
        reason = "no decision is adverse"
        return "insufficient_data", f"{subject} cannot be judged: {reason}.", reason
    count = seen.any_either if check.include_proxies else seen.any_protected
    named = {**seen.protected, **(seen.proxies if check.include_proxies else {})}
    most = sorted(named, key=lambda name: (-named[name], name))
    each = f" ({wording.listed([f'{name} in {named[name]:,}' for name in most], NAMED)})" if most else ""
    limit = check.max_protected or 0
    told = f"Among the principal reasons of {count:,} of {seen.stated:,} adverse decisions is {what}{each}"
    if count > limit:
        return "not_satisfied", f"{told}, above the declared maximum {limit:,}.", None
    if seen.stated < seen.adverse:
        reason = f"reasons are stated for {seen.stated:,} of {seen.adverse:,} adverse decisions"
        return "insufficient_data", f"{told}, within the declared maximum {limit:,}, but {reason}.", reason
    return "satisfied", f"{told}, within the declared maximum {limit:,}.", None
