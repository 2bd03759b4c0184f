"""Whole runs to report on, made of the pieces in report_builder.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from configs.schema import CROSSING, AuditConfig
from tasks.contracts import Done, Failed, Finding, NotApplicable, StageResult
from tasks.persist import Workspace
from tasks.report import RunRecord
from tests.tasks.report.report_builder import (
    CELLS,
    FEATURES,
    check,
    config_of,
    explained,
    loaded,
    metrics_and_disparities,
    png,
    predicted,
    rate,
    record_of,
    table,
    validated,
    workspace_of,
)
from tests.tasks.report.report_evidence import by_chance, evidence


def tabular_run(folder: Path, **changes: Any) -> tuple[AuditConfig, Workspace, RunRecord]:
    """A finished audit of a table, not satisfied."""
    config = config_of(**changes)
    workspace = workspace_of(folder)
    rows = sum(c[0] for c in CELLS.values())
    attributes = {"sex": lambda k: k[0], "race": lambda k: k[1], "sex × race": CROSSING.join}
    metrics, disparities = metrics_and_disparities(CELLS, attributes)
    done, importance = explained(workspace)
    named = {a: list(dict.fromkeys(of(key) for key in CELLS)) for a, of in attributes.items()}
    sources, advice, gaps = evidence(workspace, named, FEATURES)
    importance_ref = workspace.write_table("importance", table("importance", importance))
    agreement = [
        {"technique_a": "shap", "technique_b": "lime", "output": ">50K", "measure": measure, "k": k, "value": value,
         "ci_low": value - 0.05, "ci_high": value + 0.05, "n_rows": 30}
        for measure, k, value in (("feature_agreement", 5, 0.62), ("spearman", None, 0.48))
    ]  # fmt: skip
    drift = [
        {"kind": "data", "feature": "age", "measure": "population_stability_index", "value": 0.31, "threshold": 0.25,
         "status": "ok"},
        {"kind": "prediction", "feature": ">50K", "measure": "jensen_shannon", "value": 0.004, "status": "ok"},
    ]  # fmt: skip
    female, male = 462 / 5153, 2735 / 10387
    checks = [
        check("impact_ratio", "not_satisfied", female / male, "By sex, Female is selected 0.34 times as often.",
              attribute="sex", group="Female", ci_low=0.31, ci_high=0.37),
        check("impact_ratio", "not_satisfied", 0.534, "By race, Black is selected 0.534 times as often.",
              attribute="race", group="Black", ci_low=0.47, ci_high=0.6),
        check("accuracy", "satisfied", 0.8556, "Accuracy is 0.856; the policy asks for 0.8.",
              ci_low=0.8499, ci_high=0.8611),
    ]  # fmt: skip
    results = [
        *loaded(config, rows),
        validated(workspace),
        predicted(workspace),
        *done,
        Done(
            "bias",
            (
                workspace.write_table("group_metrics", table("group_metrics", metrics)),
                workspace.write_table("disparities", table("disparities", disparities + gaps)),
            ),
            facts={"no_disparity": by_chance(list(attributes))},
            findings=(
                Finding("critical", "four_fifths", "By sex, Female is below four fifths of Male.", "disparities"),
            ),
            seconds=0.8,
        ),
        Done(
            "drift",
            (workspace.write_table("drift", table("drift", drift)),),
            facts={"drifted": ["age"]},
            seconds=0.2,
        ),
        sources,
        advice,
        Done(
            "agreement",
            (importance_ref, workspace.write_table("agreement", table("agreement", agreement))),
            seconds=0.1,
        ),
        Done("policy", facts={"checks": checks, "verdict": "not_satisfied"}, seconds=0.1),
    ]
    return config, workspace, record_of(results, "not_satisfied")


def image_run(folder: Path) -> tuple[AuditConfig, Workspace, RunRecord]:
    """A finished audit of pictures with overlays, satisfied, with a technique that did not fit."""
    classes = [str(d) for d in range(4)]
    config = config_of(
        name="digit-scenes", title="Digit classifier",
        model={"path": "data/models/digit_scenes", "task": "multiclass", "classes": classes, "inputs": "image"},
        data={"path": "data/digit_scenes/test.parquet", "target": {"column": "digit", "favorable": ["2", "3"]},
              "id": "scene_id", "image": "image", "sensitive": {"contrast": {"column": "contrast"}},
              "intersections": []},
        bias={"decision": {}}, policy=[], report={"regulations": [], "rows": {"show": 2}},
    )  # fmt: skip
    workspace = workspace_of(folder)
    draw = np.random.default_rng(3)
    ids = [f"scene-{i:03}" for i in range(60)]
    truth = draw.integers(0, 4, 60)
    logits = draw.normal(0, 1, (60, 4)) + 2.5 * np.eye(4)[truth]
    score = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    lines = [
        {"row_id": ids[i], "output": classes[j], "y_true": classes[truth[i]], "score": float(score[i, j]),
         "decision": classes[int(score[i].argmax())]}
        for i in range(60)
        for j in range(4)
    ]  # fmt: skip
    predictions = workspace.write_table("predictions", table("predictions", lines, pa.string()))
    done: list[StageResult] = []
    for technique in ("gradcam", "shap"):
        maps = []
        for i in range(4):
            for j in range(4):
                image = f"images/{technique}-{4 * i + j:04}.png" if i < 3 else None  # numbered, as the program does
                if image:
                    workspace.write_bytes(f"artifacts/{image}", png(tone=40 * j + i))
                layer = "conv" if technique == "gradcam" else None
                maps.append({"row_id": ids[i], "output": classes[j], "layer": layer, "height": 2,
                             "width": 2, "heatmap": [0.0, 0.5, 1.0, 0.1], "image": image})  # fmt: skip
        ref = workspace.write_table(f"saliency/{technique}", table("saliency", maps, pa.string()))
        facts = {"caption": "Bright is for."} if technique == "gradcam" else {}
        done.append(Done(f"explain/{technique}", (ref,), facts=facts, seconds=1.0))
    counts = {("high", ""): (30, 14, 27, 13, 1, 14), ("low", ""): (30, 16, 25, 14, 2, 16)}
    metrics, disparities = metrics_and_disparities(counts, {"contrast": lambda k: k[0]})
    results = [
        *loaded(config, 60, preprocessor=None, preprocessor_sha256=None, features=None),
        validated(workspace),
        Done("predict", (predictions,), seconds=0.3),
        *done,
        NotApplicable("explain/lime", "no_superpixels", "the pictures are too small for superpixels"),
        Done("bias", (workspace.write_table("group_metrics", table("group_metrics", metrics)),
                      workspace.write_table("disparities", table("disparities", disparities)))),
        NotApplicable("drift", "no_reference", "there is no reference data"),
        Done("agreement", ()),
        Done("policy", facts={"checks": [], "verdict": "satisfied"}),
    ]  # fmt: skip
    return config, workspace, record_of(results, "satisfied")


def refused_run(folder: Path) -> tuple[AuditConfig, Workspace, RunRecord]:
    """The data gate found a critical failure."""
    config = config_of()
    workspace = workspace_of(folder)
    stages = ("predict", "explain/shap", "bias", "drift", "agreement", "policy")
    missed = [Failed(s, "not_reached", "not reached: the data was refused") for s in stages]
    return (
        config,
        workspace,
        record_of([*loaded(config, 100), validated(workspace, critical=True), *missed], "refused"),
    )


def unreadable_run(folder: Path) -> tuple[AuditConfig, Workspace, RunRecord]:
    """Nothing was even loaded: no table at all."""
    config = config_of()
    failed = Failed("load_data", "duplicate_columns", "more than one column has the name: age", exit_code=3)
    results = [
        loaded(config, 1)[0],
        failed,
        Failed("validate", "not_reached", "not reached: the data was refused"),
    ]
    return config, workspace_of(folder), record_of(results, "refused")


def incomplete_run(folder: Path) -> tuple[AuditConfig, Workspace, RunRecord]:
    """As the tabular run, but LIME failed."""
    config, workspace, record = tabular_run(folder)
    failed = Failed("explain/lime", "model_output", "the model returned NaN in rows 3, 17", seconds=2.0)
    results = tuple(failed if r.stage == failed.stage else r for r in record.results)
    return config, workspace, replace(record, results=results, verdict="incomplete")


#: text that wants to be markup, to turn the line around, or to burst the layout
HOSTILE = (
    "<script>alert(1)</script>",
    "\"quoted\" & 'single' &lt;b&gt;",
    "a|b | c",
    "# heading `code` **bold** [x](http://evil.example/)",
    "שלום \u202egnitset عربى",
    "emoji 🙂👩🏽‍💻 中文",
    "W" * 200,
    '#import "x.typ"; #eval("1") $x$ \\ @ref <label>',
    "![i](http://evil.example/i.png) <img src=x onerror=alert(1)> javascript:alert(1)",
    "ctrl\x00\x1b[31m\x7f\nline\ttab",
)


def hostile_run(folder: Path) -> tuple[AuditConfig, Workspace, RunRecord]:
    """Every name that comes from outside is hostile: title, classes, columns, features, groups, sentences, values."""
    bad, good = HOSTILE[0], HOSTILE[1]
    config = config_of(
        title=HOSTILE[3] + HOSTILE[0],
        model={"path": f"models/{HOSTILE[2]}", "classes": [good, bad]},
        data={"path": HOSTILE[8], "target": {"column": HOSTILE[7], "favorable": bad},
              "sensitive": {HOSTILE[4]: {"column": HOSTILE[2]}}, "intersections": []},
        policy=[{"metric": "impact_ratio", "attribute": HOSTILE[4], "min": 0.8}],
        report={"regulations": ["eeoc_four_fifths"], "attestations": {HOSTILE[0]: HOSTILE[1]}},
    )  # fmt: skip
    workspace = workspace_of(folder)
    cells = {(name, ""): (100 + i, 20 + i, 70, 10, 5, 20) for i, name in enumerate(HOSTILE)}
    metrics, disparities = metrics_and_disparities(cells, {HOSTILE[4]: lambda k: k[0]})
    done, importance = explained(workspace, HOSTILE, rows=5, output=bad)
    sources, advice, gaps = evidence(workspace, {HOSTILE[4]: HOSTILE}, HOSTILE, bad)
    sentence = f"Group {HOSTILE[0]} and {HOSTILE[4]}: {HOSTILE[2]}."
    checks = [
        check("impact_ratio", "insufficient_data", 0.79996, sentence, attribute=HOSTILE[4], group=bad, ci_high=0.9)
    ]
    odd = tuple(Finding("warning", "odd", f"{name} is odd.", "validation") for name in HOSTILE)
    results = [
        *loaded(config, 100, features=list(HOSTILE), card={"predicts": HOSTILE[3], "limits": list(HOSTILE)}),
        Done("validate", (workspace.write_table("validation", table("validation", [
            {"expectation": "expect_column_to_exist", "column": name, "severity": "warning", "success": False,
             "element_count": 3, "unexpected_count": 1, "unexpected_percent": 33.3, "detail": f"{name} is odd."}
            for name in HOSTILE])),), findings=odd,
            limitations=tuple(f"Limit: {n}" for n in HOSTILE)),
        predicted(workspace, output=bad),
        *done,
        Failed("explain/gradcam", "unexpected", sentence),
        sources,
        advice,
        Done("bias", (workspace.write_table("group_metrics", table("group_metrics", metrics)),
                      workspace.write_table("disparities", table("disparities", disparities + gaps)))),
        Done("agreement", (workspace.write_table("importance", table("importance", importance)),)),
        Done("policy", facts={"checks": checks, "verdict": "inconclusive"}),
    ]  # fmt: skip
    return config, workspace, record_of(results, "incomplete")


def large_run(folder: Path, *, features: int = 200, groups: int = 60) -> tuple[AuditConfig, Workspace, RunRecord]:
    """Many features, and many groups of each of two attributes."""
    config = config_of(
        data={"sensitive": {"region": {"column": "region"}, "sex": {"column": "sex"}},
              "intersections": [["region", "sex"]]},
        policy=[{"metric": "impact_ratio", "attribute": "region", "min": 0.8}],
        report={"regulations": ["nyc_ll144", "eeoc_four_fifths"]},
    )  # fmt: skip
    workspace = workspace_of(folder)
    draw = np.random.default_rng(5)
    cells = {}
    for i in range(groups):
        n = int(draw.integers(10, 2000))
        selected, positive = int(draw.binomial(n, 0.3)), int(draw.binomial(n, 0.4)) or 1
        hits = min(selected, positive) // 2
        cells[(f"region {i:02}", "Female" if i % 2 else "Male")] = (
            n,
            max(selected, 1),
            n // 2,
            hits,
            selected - hits,
            positive,
        )
    attributes = {"region": lambda k: k[0], "sex": lambda k: k[1], "region × sex": CROSSING.join}
    metrics, disparities = metrics_and_disparities(cells, attributes)
    names = [f"feature_{i:03}" for i in range(features)]
    # lines of single features, which the report leaves to the table
    metrics += [
        rate("mean_attribution", 1, 2, attribute="region", group=f"region {g:02}", feature=f, technique="shap")
        for g in range(groups)
        for f in names
    ]
    done, importance = explained(workspace, names, rows=100)
    named = {a: list(dict.fromkeys(of(key) for key in cells)) for a, of in attributes.items()}
    sources, advice, gaps = evidence(workspace, named, names)
    checks = [check("impact_ratio", "not_satisfied", 0.61, "Below.", attribute="region", group="region 41")]
    results = [
        *loaded(config, 60_000, features=names),
        validated(workspace),
        predicted(workspace, rows=60_000),
        *done,
        sources,
        advice,
        Done("bias", (workspace.write_table("group_metrics", table("group_metrics", metrics)),
                      workspace.write_table("disparities", table("disparities", disparities + gaps))),
             facts={"no_disparity": by_chance(list(attributes))}),
        Done("agreement", (workspace.write_table("importance", table("importance", importance)),)),
        Done("policy", facts={"checks": checks, "verdict": "not_satisfied"}),
    ]  # fmt: skip
    return config, workspace, record_of(results, "not_satisfied")
