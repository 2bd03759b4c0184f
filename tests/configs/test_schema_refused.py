"""Values that the schema refuses, and the words of what is wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

TWO = {"data__sensitive": {"sex": {"column": "sex"}, "race": {"column": "race"}}, "data__target__favorable": "yes"}
BAD: list[tuple[dict[str, Any], str]] = [
    # names and paths
    ({"name": ""}, "pattern"),
    ({"name": "../up"}, "pattern"),
    ({"name": ".hidden"}, "pattern"),
    ({"name": "a/b"}, "pattern"),
    ({"name": "a b"}, "pattern"),
    ({"name": "a\n"}, "pattern"),
    ({"name": "é"}, "pattern"),
    ({"name": "x" * 81}, "pattern"),
    ({"name": 5}, "valid string"),
    ({"title": "x" * 301}, "300"),
    ({"model__path": ""}, "at least 1"),
    ({"data__path": ""}, "at least 1"),
    ({"data__reference": ""}, "at least 1"),
    ({"data__target__column": ""}, "at least 1"),
    # model
    ({"model__task": "ranking"}, "'binary', 'multiclass' or 'regression'"),
    ({"model__version": -1}, "greater than or equal to 0"),
    ({"model__version": "newest"}, "'latest'"),
    ({"model__version": True}, "number"),
    ({"model__sha256": "ABCDEF0123456789" * 4}, "pattern"),
    ({"model__sha256": "0" * 63}, "pattern"),
    ({"model__classes": ["a", "a"]}, "once only"),
    ({"model__classes": [1, "1"]}, "once only"),
    ({"model__classes": ["a"]}, "binary needs two"),
    ({"model__classes": ["a", "b", "c"]}, "binary needs two"),
    ({"model__classes": []}, "binary needs two"),
    ({"model__task": "multiclass", "model__classes": ["a"]}, "at least two"),
    ({"model__task": "regression", "model__classes": ["a", "b"]}, "a regression has none"),
    ({"model__classes": [["a"], "b"]}, "valid string"),
    ({"model__inputs": "tensor"}, "'auto', 'matrix', 'named' or 'image'"),
    ({"model__image__scale": 0}, "greater than 0"),
    ({"model__image__scale": True}, "number"),
    # explain
    ({"explain__feature_groups": {"a": ["x"]}}, "at least 2"),
    ({"explain__feature_groups": {" ": ["x", "y"]}}, "feature_groups: a group needs a name"),
    ({"explain__feature_groups": {"a": ["x", "y", "x"]}}, "feature_groups: a names x twice"),
    ({"explain__feature_groups": {"a": ["x", "y"], "b": ["z", "y"]}}, "feature_groups: b names y, and so does a"),
    ({"explain__feature_groups": {"a": "xy"}}, "valid list"),
    # data
    ({"data__target__favorable": []}, "at least 1"),
    ({"data__target__positive": []}, "at least 1"),
    ({"data__target__favorable": {"a": 1}}, "valid string"),
    ({"data__features": []}, "at least 1"),
    ({"data__features": ["a", "b", "a"]}, "features: a column is named twice"),
    ({"data__sensitive": {"sex": {"column": "sex"}}}, "data.target.favorable: needed while data.sensitive is set"),
    ({"data__sensitive": {"sex": "sex"}}, "SensitiveConfig"),
    ({"data__sensitive": {" ": {"column": "sex"}}, "data__target__favorable": 1}, "cannot name an attribute"),
    ({"data__sensitive": {"a × b": {"column": "sex"}}, "data__target__favorable": 1}, "cannot name an attribute"),
    ({"data__sensitive": {"age": {"column": "age", "bins": []}}}, "at least 1"),
    ({"data__sensitive": {"age": {"column": "age", "bins": [40, 25]}}}, "edges must rise"),
    ({"data__sensitive": {"age": {"column": "age", "bins": [25, 25]}}}, "edges must rise"),
    ({"data__sensitive": {"age": {"column": "age", "bins": [25, float("nan")]}}}, "finite"),
    ({"data__sensitive": {"age": {"column": "age", "bins": [float("inf")]}}}, "finite"),
    ({"data__sensitive": {"age": {"column": "age", "bins": [True]}}}, "number"),
    ({**TWO, "data__intersections": [["sex"]]}, "at least 2"),
    ({**TWO, "data__intersections": [["sex", "age"]]}, "age is not under sensitive; available: sex, race"),
    ({**TWO, "data__intersections": [["sex", "sex"]]}, "names an attribute twice"),
    ({**TWO, "data__intersections": [["sex", "race"], ["sex", "race"]]}, "sex × race is given twice"),
    ({**TWO, "data__intersections": ["sex", "race"]}, "valid list"),
    ({"data__intersections": [["sex", "race"]]}, "available: none"),
    ({"data__expectations": [{"type": "between"}]}, "pattern"),
    ({"data__expectations": [{"type": "expect_x; import os"}]}, "pattern"),
    ({"data__expectations": [{"column": "age"}]}, "required"),
    ({"data__expectations": [{"type": "expect_x", "severity": "fatal"}]}, "'critical', 'warning' or 'info'"),
    ({"data__expectations": {"type": "expect_x"}}, "valid list"),
    # explain
    ({"explain__rows": 0}, "greater than 0"),
    ({"explain__rows": "many"}, "'all'"),
    ({"explain__rows": 1.5}, "whole number|fractional"),
    ({"explain__rows": True}, "number"),
    ({"explain__background": 0}, "greater than 0"),
    ({"explain__background": 10_001}, "less than or equal to 10000"),
    ({"explain__seed": -1}, "greater than or equal to 0"),
    ({"explain__seed": 2**32}, "less than"),
    ({"explain__seed": False}, "number"),
    ({"explain__output": "logit"}, "'probability' or 'margin'"),
    ({"explain__outputs": []}, "at least 1"),
    ({"explain__outputs": "none"}, "'auto' or 'all'"),
    ({"explain__techniques": ["shap"]}, "valid dictionary"),
    ({"explain__techniques": {"shap": "auto"}}, "valid dictionary"),
    # bias
    ({"bias__decision__threshold": 1.01}, "less than or equal to 1"),
    ({"bias__decision__threshold": -0.1}, "greater than or equal to 0"),
    ({"bias__decision__threshold": True}, "number"),
    ({"bias__decision__threshold": float("nan")}, "finite"),
    ({"bias__decision__top_k": 0}, "greater than 0"),
    ({"bias__decision": {"threshold": 0.5, "top_k": 3}}, "give one of threshold, top_k, .*, not threshold and top_k"),
    ({"bias__decision": {"threshold": 0, "column": "d"}}, "not threshold and column"),
    ({"bias__confidence": 0.5}, "greater than 0.5"),
    ({"bias__confidence": 1}, "less than 1"),
    ({"bias__resamples": -1}, "greater than or equal to 0"),
    ({"bias__resamples": 1_000_001}, "less than or equal to 1000000"),
    ({"bias__min_group_size": 0}, "greater than or equal to 1"),
    ({"bias__decision__favorable_when": ">= 3"}, "for regression only"),
    ({"model__task": "multiclass", "bias__decision__threshold": 0.5}, "a multiclass decision is the argmax"),
    ({"model__task": "regression", "bias__decision__threshold": 0.5}, "use favorable_when"),
    # policy
    ({"policy": [{"metric": "accuracy"}]}, "needs min or max"),
    ({"policy": [{"metric": "accuracy", "min": 0.9, "max": 0.1}]}, "min is above max"),
    ({"policy": [{"metric": "", "min": 0}]}, "at least 1"),
    ({"policy": [{"metric": "accuracy", "min": float("nan")}]}, "finite"),
    ({"policy": [{"metric": "accuracy", "max": float("-inf")}]}, "finite"),
    ({"policy": [{"metric": "accuracy", "min": True}]}, "number"),
    ({"policy": [{"metric": "accuracy", "min": 0, "group": "Female"}]}, "name its attribute too"),
    ({"policy": [{"metric": "a", "min": 0, "attribute": "x"}]}, "policy.0.attribute: x is not .* available: none"),
    ({**TWO, "policy": [{"metric": "a", "min": 0, "attribute": "age"}]}, "age is not declared .* available: race, sex"),
    ({"policy": [{"metric": "a", "min": 0}, {"metric": "a", "min": 0, "attribute": "x"}]}, "policy.1.attribute: x"),
    ({**TWO, "policy": [{"metric": "a", "min": 0, "attribute": "sex × race"}]}, "sex × race is not declared"),
    ({"policy": [{"metric": "accuracy", "min": 0, "confidence": 0.9}]}, "'point' or 'interval'"),
    ({"policy": {"metric": "accuracy", "min": 0}}, "valid list"),
    # classes that agree
    ({"model__classes": ["a", "b"], "data__target__favorable": "c"}, "favorable: c is not a class; available: a, b"),
    ({"model__classes": ["a", "b"], "data__target__positive": ["a", "d", "e"]}, "positive: d, e is not a class"),
    # report, schedule, run
    ({"report__formats": ["html", "docx"]}, "'html', 'pdf', 'json', 'markdown', 'cyclonedx' or 'model_card'"),
    ({"report__formats": "html"}, "valid list"),
    ({"report__rows__show": 51}, "less than or equal to 50"),
    ({"report__rows__show": -1}, "greater than or equal to 0"),
    ({"report__attestations": ["x"]}, "valid dictionary"),
    ({"schedule": {"cron": ""}}, "pattern"),
    ({"schedule": {"cron": "every day"}}, "pattern"),
    ({"schedule": {"timezone": "UTC"}}, "required"),
    ({"schedule": {"cron": "0 6 * * 1", "timezone": "Mars/Olympus"}}, "no time zone"),
    ({"schedule": {"cron": "0 6 * * 1", "timezone": "../../etc/passwd"}}, "no time zone"),
    ({"schedule": {"cron": "0 6 * * 1", "timezone": ""}}, "no time zone"),
    ({"schedule": {"cron": "0 6 * * 1", "timezone": "\0"}}, "no time zone"),
    ({"run__task_runner": "ray"}, "'threads' or 'dask'"),
    ({"run__workers": 0}, "greater than or equal to 1"),
    ({"run__workers": 2000}, "less than or equal to 1024"),
    ({"run__deadline": 0}, "greater than 0"),
    ({"run__deadline": True}, "number"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "says"), BAD, ids=lambda part: str(part)[:60])
def test_bad_values(valid, changes, says):
    with pytest.raises(ValidationError) as raised:
        valid(**changes)
    messages = [error["msg"] for error in raised.value.errors()]
    assert any(re.search(says, message) for message in messages), messages
