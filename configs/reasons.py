"""What a config may say about the reasons for adverse decisions, and about the policy that is held against them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from configs.blocks import Block, Real, Scalar, Whole

#: what a policy check of kind `reasons` is called where others have a metric
REASONS_METRIC = "reasons"


class ChangeableConfig(Block):
    """A feature that a person can change, and how far."""

    direction: Literal["up", "down", "any"] = Field(
        default="any", description="Which way the value may move; of a category, up is later in values."
    )
    min: Real | None = Field(default=None, description="No value below it is proposed.")
    max: Real | None = Field(default=None, description="No value above it is proposed.")
    step: Annotated[Real, Field(gt=0)] | None = Field(
        default=None, description="A number changes by multiples of it; default: 1 for integers, else none."
    )
    values: list[Scalar] | None = Field(
        default=None, min_length=1, description="The only values that are proposed; of a category in their order."
    )

    @model_validator(mode="after")
    def _limits_fit(self) -> ChangeableConfig:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        if self.values is not None and (self.step is not None or self.min is not None or self.max is not None):
            raise ValueError("values: give them without min, max and step")
        if self.values is not None and len({str(value) for value in self.values}) < len(self.values):
            raise ValueError("values: a value is given twice")
        return self


class ReasonsConfig(Block):
    """How adverse decisions are explained to those whom they are about."""

    language: str | None = Field(
        default=None, min_length=1, description="A YAML file of codes, texts and the letter; absent: plain names."
    )
    background: Literal["approved", "applicants"] = Field(
        default="approved",
        description="Whom a declined applicant is compared with: the approved ones just above the cut-off, or all.",
    )
    rows: Literal["all"] | Annotated[Whole, Field(gt=0)] = Field(
        default="all", description="Adverse decisions whose reasons are stated; of more, a random sample."
    )
    most: Annotated[Whole, Field(ge=1, le=100)] = Field(
        default=4, description="Principal reasons of a decision at most; more than four are not likely to help."
    )
    changeable: dict[str, ChangeableConfig] = Field(
        default={}, description="Feature → how it may change, to tell what change would alter the result."
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_limits(cls, data: Any) -> Any:
        # `debt:` with nothing behind it reads as null in YAML and means "any way, as far as observed".
        if isinstance(data, dict) and isinstance(data.get("changeable"), dict):
            limits = {name: {} if own is None else own for name, own in data["changeable"].items()}
            data = {**data, "changeable": limits}
        return data


def with_reasons(data: Any) -> Any:
    """A policy check of kind `reasons` as one on a number: decisions that name a protected attribute, at most so many.

    Raises:
        ValueError: it has no limit, or keys that are for metrics.
    """
    if not isinstance(data, dict) or data.get("kind") != "reasons":
        return data
    most = data.get("max_protected")
    if most is None:
        raise ValueError("kind reasons needs max_protected")
    for key, meant in (("metric", REASONS_METRIC), ("max", most)):
        if data.get(key) not in (None, "", meant):
            raise ValueError(f"{key}: not for kind reasons; give max_protected")
    apart = ("attribute", "group", "min", "technique", "feature")
    given = [key for key in apart if data.get(key) is not None]
    if given:
        raise ValueError(f"{given[0]}: not for kind reasons")
    if data.get("confidence", "point") != "point":
        raise ValueError("confidence: a count has no interval")
    return {**data, "metric": REASONS_METRIC, "max": most}
