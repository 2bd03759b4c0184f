"""What a config may say, judged without opening model or data."""

from __future__ import annotations

import re
import typing
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel, ValidationError

from configs import blocks, schema
from configs.schema import AuditConfig, Block

READY = ["configs/adult_income.yaml", "configs/digit_scenes.yaml"]


TWO = {"data__sensitive": {"sex": {"column": "sex"}, "race": {"column": "race"}}, "data__target__favorable": "yes"}


# What is required, and what stands in for the rest


def test_five_keys_are_enough(valid):
    found = valid()
    assert found.model.version == "latest"
    assert found.model.inputs == "auto"
    assert found.model.image.scale == 1.0
    assert found.explain.rows == 1000
    assert found.explain.background == 100
    assert found.explain.output == "probability"
    assert found.explain.outputs == "auto"
    assert found.explain.seed == 0
    assert found.explain.techniques is None
    assert found.bias.confidence == 0.95
    assert found.bias.resamples == 2000
    assert found.bias.min_group_size == 30
    assert found.report.formats == ["html", "pdf", "json", "markdown", "cyclonedx", "model_card"]
    assert (found.report.rows.show, found.report.rows.redact) == (3, [])
    assert found.run.task_runner == "threads"
    assert found.policy == []
    assert found.schedule is None


@pytest.mark.parametrize(
    "key", ["name", "model", "model__path", "model__task", "data", "data__path", "data__target", "data__target__column"]
)
def test_each_of_the_required_keys_is_required(valid, key):
    with pytest.raises(ValidationError) as raised:
        valid(**{key: None})
    missing = [error for error in raised.value.errors() if error["type"] == "missing"]
    assert [error["loc"] for error in missing] == [tuple(key.split("__"))]


@pytest.mark.parametrize("path", READY)
def test_the_ready_configs_are_valid(path):
    with open(path, encoding="utf-8") as stream:
        AuditConfig.model_validate(yaml.safe_load(stream))


def test_the_schema_is_a_json_schema_that_the_ready_configs_fit(config):
    published = AuditConfig.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(published)
    validator = jsonschema.Draft202012Validator(published)
    for path in READY:
        with open(path, encoding="utf-8") as stream:
            validator.validate(yaml.safe_load(stream))
    validator.validate(config())
    assert not validator.is_valid(config(explain__rows="many"))
    assert not validator.is_valid(config(explain__rowz=5))


# Blocks


def _blocks(kind: type[BaseModel] = AuditConfig) -> typing.Iterator[type[BaseModel]]:
    yield kind
    for field in kind.model_fields.values():
        stack = [field.annotation]
        while stack:
            part = stack.pop()
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _blocks(part)
            stack.extend(typing.get_args(part))


def test_every_block_refuses_what_it_does_not_know_and_is_never_changed():
    kinds = set(_blocks())
    assert len(kinds) == 19
    for kind in kinds:
        assert kind.model_config["frozen"] is True
        assert kind.model_config["extra"] == ("allow" if kind.__name__ == "Expectation" else "forbid")


def test_values_are_not_changed_after_loading(valid):
    with pytest.raises(ValidationError, match="frozen"):
        valid().explain.rows = 5


def test_every_number_of_the_schema_refuses_a_flag():
    """`rows: yes` must not read as 1: no field takes int or float bare."""
    for kind in set(_blocks()):
        for name, hint in typing.get_type_hints(kind, include_extras=True).items():
            stack, bare = [hint], []
            while stack:
                part = stack.pop()
                parts = typing.get_args(part)
                if typing.get_origin(part) is typing.Annotated:
                    if all(getattr(m, "func", None) is not blocks._no_flag for m in part.__metadata__):
                        stack.append(part.__origin__)
                elif bool in parts:  # any single value
                    stack.extend(set(parts) - {bool, int, float})
                elif part in (int, float):
                    bare.append(part)
                else:
                    stack.extend(parts)
            assert not bare, f"{kind.__name__}.{name}"


# Good values

GOOD: list[tuple[dict[str, Any], str, Any]] = [
    ({"name": "a"}, "name", "a"),
    ({"name": "A-1_b.C" + "x" * 73}, "name", "A-1_b.C" + "x" * 73),
    ({"model__version": 0}, "model.version", 0),
    ({"model__version": "7"}, "model.version", 7),
    ({"model__sha256": "0123456789abcdef" * 4}, "model.sha256", "0123456789abcdef" * 4),
    ({"model__classes": ["no", "yes"]}, "model.classes", ["no", "yes"]),
    ({"model__classes": [0, 1]}, "model.classes", [0, 1]),
    ({"model__classes": [False, True]}, "model.classes", [False, True]),
    ({"model__task": "multiclass", "model__classes": [1, "a", 2.5]}, "model.classes", [1, "a", 2.5]),
    ({"data__target__favorable": True}, "data.target.favorable", True),
    ({"data__target__favorable": 1}, "data.target.favorable", 1),
    ({"data__target__favorable": "1"}, "data.target.favorable", "1"),
    ({"data__target__favorable": 0.5}, "data.target.favorable", 0.5),
    ({"data__target__favorable": ["a", 2]}, "data.target.favorable", ["a", 2]),
    ({"explain__rows": "all"}, "explain.rows", "all"),
    ({"explain__rows": 1}, "explain.rows", 1),
    ({"explain__seed": 2**32 - 1}, "explain.seed", 2**32 - 1),
    ({"explain__techniques": {"shap": None, "lime": {"n": 5}}}, "explain.techniques", {"shap": {}, "lime": {"n": 5}}),
    ({"explain__techniques": {}}, "explain.techniques", {}),
    ({"explain__outputs": ["a", 1]}, "explain.outputs", ["a", 1]),
    ({"bias__decision__threshold": 0}, "bias.decision.threshold", 0.0),
    ({"bias__decision__threshold": 1.0}, "bias.decision.threshold", 1.0),
    ({"bias__resamples": 0}, "bias.resamples", 0),
    ({"policy": [{"metric": "accuracy", "min": "1e-3"}]}, "policy", [schema.PolicyCheck(metric="accuracy", min=0.001)]),
    ({"policy": [{"metric": "x", "min": 0, "max": 0}]}, "policy", [schema.PolicyCheck(metric="x", min=0, max=0)]),
    ({"schedule": {"cron": "0 6 * * 1"}}, "schedule.timezone", "UTC"),
    ({"schedule": {"cron": "@daily", "timezone": "Europe/Berlin"}}, "schedule.timezone", "Europe/Berlin"),
    ({"report__attestations": {"owner": {"name": "A"}, "done": True}}, "report.attestations.owner", {"name": "A"}),
    ({"run__workers": 1}, "run.workers", 1),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "key", "value"), GOOD)
def test_good_values(valid, changes, key, value):
    found: Any = valid(**changes)
    for part in key.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_deadline_may_be_none(config):
    values = config()
    values["run"] = {"deadline": None}
    assert AuditConfig.model_validate(values).run.deadline is None


# What the blocks say about themselves


def test_attributes_are_single_ones_first_then_the_crossings(valid):
    found = valid(**TWO, data__intersections=[["race", "sex"]])
    assert found.data.attributes == (("sex",), ("race",), ("race", "sex"))
    assert valid().data.attributes == ()


def test_a_policy_may_name_a_crossing(valid):
    policy = [{"metric": "impact_ratio", "min": 0.8, "attribute": "sex × race"}]
    assert valid(**TWO, data__intersections=[["sex", "race"]], policy=policy).policy[0].attribute == "sex × race"


@pytest.mark.parametrize(
    ("favorable", "positive", "expected"),
    [
        (None, None, ((), ())),
        ("a", None, (("a",), ("a",))),
        (["a", 1], None, (("a", "1"), ("a", "1"))),
        ("a", "b", (("a",), ("b",))),
        (None, ["b", 2], ((), ("b", "2"))),
        (0, 1, (("0",), ("1",))),
        (False, None, (("False",), ("False",))),
        ("", None, (("",), ("",))),
    ],
)
def test_favorable_and_positive_as_text(valid, favorable, positive, expected):
    found = valid(data__target__favorable=favorable, data__target__positive=positive)
    assert (found.favorable, found.positive) == expected


@pytest.mark.parametrize("key", ["favorable", "positive"])
@pytest.mark.parametrize("named", [1, "1", [0, "1"]])
def test_classes_are_named_by_value_or_by_text(valid, key, named):
    found = valid(**{"model__classes": [0, 1], f"data__target__{key}": named})
    assert set(getattr(found, key)) <= {"0", "1"}
    assert getattr(found, key)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">= 3.5", (">=", 3.5)),
        ("<2", ("<", 2.0)),
        ("  >  -1e3 ", (">", -1000.0)),
        ("<= +.5", ("<=", 0.5)),
        (">= 5.", (">=", 5.0)),
    ],
)
def test_a_comparison(valid, text, expected):
    found = valid(model__task="regression", bias__decision__favorable_when=text)
    assert found.bias.decision.comparison == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3.5",
        "= 3",
        "== 3",
        ">= x",
        ">= 1.2.3",
        ">= .",
        ">= 1e999",
        ">= nan",
        ">= 3 or 1",
        "=> 3",
        ">= 3\n\n4",
        "≥ 3",
    ],
)
def test_what_is_no_comparison(valid, text):
    with pytest.raises(ValidationError, match="is not a comparison such as"):
        valid(model__task="regression", bias__decision__favorable_when=text)


def test_no_comparison_where_none_is_given(valid):
    assert valid().bias.decision.comparison is None


def test_a_regression_may_be_compared_by_groups_without_a_favourable_outcome(valid):
    sensitive = {"sex": {"column": "sex"}}
    assert valid(model__task="regression", data__sensitive=sensitive).data.attributes == (("sex",),)


def test_an_expectation_keeps_its_own_arguments(valid):
    asked = {"type": "expect_column_values_to_be_between", "column": "age", "min_value": 17, "severity": "info"}
    found = valid(data__expectations=[asked]).data.expectations[0]
    assert found.arguments == {"column": "age", "min_value": 17}
    assert (found.type, found.severity) == ("expect_column_values_to_be_between", "info")


def test_every_block_of_ours_is_a_block():
    assert {kind.__name__ for kind in set(_blocks()) if not issubclass(kind, Block)} == {"Expectation"}


def test_every_pattern_of_the_schema_has_its_words():
    text = str(AuditConfig.model_json_schema())
    patterns = set(re.findall(r"'pattern': '((?:[^'\\]|\\.)*)'", text))
    assert {pattern.replace("\\\\", "\\") for pattern in patterns} == set(schema.PATTERNS)
