"""The stage: reads the predictions and the data, measures every group, compares the groups, writes three tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from configs.schema import CROSSING, AuditConfig
from tasks.bias.explanations import carriers, with_explanations
from tasks.bias.families import neighbours
from tasks.bias.families.conditional import strata_of
from tasks.bias.families.curves import curve_limitations, curve_table
from tasks.bias.families.explained import GAPS
from tasks.bias.frames import MAX_GROUPS, MAX_ROWS
from tasks.bias.measure import (
    MAX_CLASSES,
    MAX_COMPARED,
    Adjusted,
    Compared,
    Found,
    Settings,
    adjust,
    asked_of,
    check_with_fairlearn,
    compare,
    measure,
    with_fairlearn,
)
from tasks.bias.registry import DERIVED, DISPARITIES, applicable_disparities, applicable_metrics
from tasks.bias.rows.columns import sensitive_columns
from tasks.bias.rows.evidence import Evidence, evidence_of
from tasks.bias.rows.groups import Attribute, attributes_of, everyone
from tasks.bias.summary import facts_of, findings_of
from tasks.contracts import Done, TableRef, schema_of
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.persist import Workspace

#: rows of a row group of `groups`: their texts are never held for all rows
ROW_GROUP = 1 << 18


def measure_bias(config: AuditConfig, workspace: Workspace, watch: Watch) -> Done:
    """Measures the groups and writes `groups`, `group_metrics`, `disparities` and `curves`.

    Raises:
        DataRefused: a sensitive column or a weight cannot be used.
        Incomplete: the predictions do not fit the data, or fairlearn and the table of counts disagree.
        StorageError, Stopped, DeadlinePassed: as the workspace and the watch say.
    """
    from tasks.load import open_data

    data = open_data(config)
    evidence = evidence_of(config, workspace.table_path("predictions"), data)
    sensitive = sensitive_columns(config, data, evidence.position)
    attributes = attributes_of(config, sensitive)
    evidence = replace(evidence, strata=strata_of(config, sensitive))
    evidence = replace(evidence, neighbourhood=partial(neighbours.neighbourhood, config))
    data.forget()
    watch.expect(2 + len(attributes))
    settings = Settings(config.bias.confidence, config.bias.min_group_size, config.bias.resamples, config.explain.seed)
    metrics, disparities = applicable_metrics(config), applicable_disparities(config)
    with ThreadPoolExecutor(1) as beside:  # Parquet is written without Python's lock: a second core's work
        written = beside.submit(_write_groups, workspace, evidence, attributes)
        overall = with_fairlearn(measure(evidence, everyone(evidence.rows), metrics, settings), metrics)
        watch.advance()
        compared = []
        for attribute in attributes:
            one = measure(evidence, attribute, metrics, settings)
            seconded = len(attribute.groups) <= MAX_GROUPS
            compared.append(compare(with_fairlearn(one, metrics) if seconded else one, disparities, settings))
            if seconded:
                check_with_fairlearn(compared[-1], settings.least)
            watch.advance()
        groups = written.result()
    watch.advance()
    explained = with_explanations(workspace, evidence, overall, compared, settings, watch)
    overall, compared = explained.overall, list(explained.compared)
    adjusted = adjust(compared)
    found = [overall, *(one.found for one in compared)]
    views = [(one.attribute, one.view) for one in found]
    return Done(
        stage="bias",
        tables=(
            groups,
            workspace.write_table("group_metrics", _metric_table(found, settings.least)),
            workspace.write_table("disparities", _disparity_table(compared, adjusted)),
            workspace.write_table("curves", curve_table(views)),
        ),
        findings=(*findings_of(config, evidence, compared, adjusted), *carriers(config, compared, adjusted)),
        limitations=(
            *evidence.limitations,
            *_limitations(config, evidence, attributes),
            *curve_limitations(views),
            *neighbours.limitations(evidence),
            *explained.limitations,
        ),
        facts=facts_of(config, evidence, overall, compared, metrics),
    )


def _limitations(config: AuditConfig, evidence: Evidence, attributes: Sequence[Attribute]) -> Iterator[str]:
    by_name = {attribute.name: attribute for attribute in attributes}
    for keys in config.data.intersections:
        attribute = by_name[CROSSING.join(keys)]
        if attribute.reference is None and attribute.empty:
            yield (
                f"{attribute.name}: no row is {attribute.empty[0]}, the crossing of the references that are named; the"
                " best-off group is the reference."
            )
    crowded = [str(attribute.name) for attribute in attributes if len(attribute.groups) > MAX_GROUPS]
    if crowded:
        yield (
            f"{', '.join(crowded)}: with more than {MAX_GROUPS} groups, rates come from the table of counts alone,"
            " without fairlearn's second computation."
        )
    if evidence.truth is not None and evidence.rows > MAX_ROWS:
        yield f"With more than {MAX_ROWS:,} rows, errors are computed once, without fairlearn's second computation."
    if evidence.task == "multiclass" and len(evidence.classes) > MAX_CLASSES:
        yield f"With more than {MAX_CLASSES} classes, single classes are measured over all rows, not by group."
    if evidence.task == "multiclass" and attributes and len(evidence.classes) > MAX_COMPARED:
        yield f"With more than {MAX_COMPARED} classes, groups are not compared in single classes."


def _write_groups(workspace: Workspace, evidence: Evidence, attributes: Sequence[Attribute]) -> TableRef:
    with workspace.table_writer("groups", evidence.row_id.type) as writer:
        for attribute in attributes:
            names = pa.array(attribute.groups, pa.string())
            for start in range(0, evidence.rows, ROW_GROUP):
                codes = attribute.codes[start : start + ROW_GROUP]
                rows = len(codes)
                weight = np.ones(rows) if evidence.weight is None else evidence.weight[start : start + rows]
                writer.write(
                    pa.table({
                        "row_id": evidence.row_id.slice(start, rows),
                        "attribute": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [attribute.name]),
                        "group": pa.DictionaryArray.from_arrays(codes, names),
                        "weight": weight,
                    })
                )  # fmt: skip
        if not attributes:
            writer.write(schema_of("groups", evidence.row_id.type).empty_table())
    assert writer.ref is not None
    return writer.ref


def _number(value: float) -> float | None:
    """NaN and infinity are no numbers of a table."""
    return float(value) if np.isfinite(value) else None


def _metric_table(found: Sequence[Found], least: int) -> pa.Table:
    columns: dict[str, list] = {
        name: []
        for name in (
            "attribute", "group", "output", "feature", "technique", "metric", "value", "status", "reason", "numerator",
            "denominator", "n", "ci_low", "ci_high", "method",
        )
    }  # fmt: skip
    for one in found:
        attribute = one.attribute
        for of, values in one.values.items():
            for g, group in enumerate(attribute.groups):
                status, reason = values.status(g, least)
                columns["attribute"].append(attribute.name)
                columns["group"].append(group if attribute.name is not None else None)
                for key, text in of._asdict().items():
                    columns[key].append(text)
                columns["value"].append(_number(values.value[g]))
                columns["status"].append(status)
                columns["reason"].append(reason)
                columns["numerator"].append(_number(values.numerator[g]))
                columns["denominator"].append(_number(values.denominator[g]))
                columns["n"].append(int(values.n[g]))
                columns["ci_low"].append(_number(values.low[g]))
                columns["ci_high"].append(_number(values.high[g]))
                columns["method"].append(values.method if np.isfinite(values.low[g]) else None)
    return _typed("group_metrics", columns)


def _disparity_table(compared: Sequence[Compared], adjusted: Adjusted) -> pa.Table:
    columns: dict[str, list] = {
        name: []
        for name in (
            "attribute", "output", "feature", "technique", "metric", "comparison", "group", "reference", "value",
            "status", "reason", "ci_low", "ci_high", "p_value", "p_adjusted", "q_value", "test",
        )
    }  # fmt: skip
    for one in compared:
        attribute = one.found.attribute
        names = (*attribute.groups, None)  # the last one is where index −1, no group, points to
        for metric, rows in (*one.gaps.items(), *one.beside.items()):
            comparison = (DISPARITIES.get(metric) or GAPS.get(metric) or DERIVED[metric]).comparison
            for gap in rows:
                key = asked_of(attribute.name, gap)
                columns["attribute"].append(attribute.name)
                columns["output"].append(gap.output)
                columns["feature"].append(gap.feature)
                columns["technique"].append(gap.technique)
                columns["metric"].append(metric)
                columns["comparison"].append(comparison)
                columns["group"].append(names[-1 if gap.group is None else gap.group])
                columns["reference"].append(names[-1 if gap.reference is None else gap.reference])
                columns["value"].append(_number(gap.value))
                columns["status"].append(gap.status)
                columns["reason"].append(gap.reason)
                columns["ci_low"].append(_number(gap.low))
                columns["ci_high"].append(_number(gap.high))
                columns["p_value"].append(_number(gap.p))
                columns["p_adjusted"].append(adjusted.p.get(key))
                columns["q_value"].append(adjusted.q.get(key))
                columns["test"].append(gap.test)
    return _typed("disparities", columns)


def _typed(name: str, columns: dict[str, list]) -> pa.Table:
    schema = schema_of(name)
    return pa.table({key: pa.array(values, schema.field(key).type) for key, values in columns.items()})
