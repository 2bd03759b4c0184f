"""What an audit's config may say. One pydantic model a block, in the order of the YAML file.

Only what can be judged without opening the model or the data is judged here; the rest is the data gate's and the
loader's. Unknown keys are errors everywhere but where a block says otherwise.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from configs.blocks import Block, Real, Scalar, Whole
from configs.reasons import ReasonsConfig, with_reasons
from configs.running import PATTERNS as RUNNING_PATTERNS
from configs.running import RunConfig, ScheduleConfig

#: joins the keys of a crossing, as in a policy on `sex × race`
CROSSING = " × "

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$"
_DIGEST = r"^[0-9a-f]{64}$"
_EXPECTATION = r"^expect_[a-z0-9_]+$"
#: what a pattern asks for; an error says this
PATTERNS = {
    _NAME: "up to 80 letters, digits, dots, dashes and underscores, with a letter or digit first",
    _DIGEST: "64 hex digits in lower case",
    _EXPECTATION: "a Great Expectations type such as expect_column_values_to_be_between",
    **RUNNING_PATTERNS,
}


#: one class of the target, or several
Classes = Scalar | Annotated[list[Scalar], Field(min_length=1)]
Probability = Annotated[Real, Field(ge=0, le=1)]
Digest = Annotated[str, StringConstraints(pattern=_DIGEST)]
#: a folder under reports/: nothing that a file system or a link could read in another way
Name = Annotated[str, StringConstraints(pattern=_NAME)]


class ImageConfig(Block):
    scale: Real = Field(default=1.0, gt=0, description="Pixels come as 0–255 float32 times this.")


class ModelConfig(Block):
    path: str = Field(min_length=1, description="A model file, or a folder of version folders (1/, 2/, …).")
    version: Literal["latest"] | Annotated[Whole, Field(ge=0)] = Field(
        default="latest", description="latest, or a number."
    )
    sha256: Digest | None = Field(default=None, description="Pin: a model file with another digest is refused.")
    task: Literal["binary", "multiclass", "regression"]
    classes: list[Scalar] | None = Field(
        default=None, description="Of the outputs, in order; binary with one output: [negative, positive]."
    )
    preprocessor: str | None = Field(
        default=None, description="module:function or a skops file; default: preprocessor.skops beside the model."
    )
    trusted_types: list[str] = Field(default=[], description="skops types beyond the standard ones that may be loaded.")
    inputs: Literal["auto", "matrix", "named", "image"] = "auto"
    image: ImageConfig = ImageConfig()

    @model_validator(mode="after")
    def _classes_fit_task(self) -> ModelConfig:
        if self.classes is None:
            return self
        if self.task == "regression":
            raise ValueError("classes: a regression has none; remove the key")
        texts = [str(name) for name in self.classes]
        if len(set(texts)) != len(texts):
            raise ValueError("classes: every class may be named once only")
        if len(texts) < 2 or (self.task == "binary" and len(texts) != 2):
            raise ValueError(f"classes: {self.task} needs {'two' if self.task == 'binary' else 'at least two'}")
        return self


class TargetConfig(Block):
    column: str = Field(min_length=1)
    favorable: Classes | None = Field(
        default=None, description="The outcome that people want; selection rate and impact ratio count it."
    )
    positive: Classes | None = Field(
        default=None, description="What TPR, FPR and precision count as positive; default: the favourable outcome."
    )


class GroupsConfig(Block):
    """A column whose values, or bins, part the rows."""

    column: str = Field(min_length=1)
    bins: list[Real] | None = Field(default=None, min_length=1, description="Inner edges; bins are closed on the left.")

    @model_validator(mode="after")
    def _edges_rise(self) -> GroupsConfig:
        if self.bins and any(b <= a for a, b in zip(self.bins, self.bins[1:], strict=False)):
            raise ValueError("bins: edges must rise")
        return self


class SensitiveConfig(GroupsConfig):
    reference: Scalar | None = Field(
        default=None,
        description="Whom the other groups are held against: best_off (the highest selection rate, the default),"
        " largest, or a group's name.",
    )
    unknown: list[Scalar] = Field(
        default=[], description="Values that say that the group is not known; null always does."
    )


class Expectation(BaseModel):
    """One Great Expectations expectation: its type, its severity, and its own keyword arguments."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(pattern=_EXPECTATION)
    severity: Literal["critical", "warning", "info"] = "critical"

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class DataConfig(Block):
    path: str = Field(min_length=1, description="Parquet, CSV or Arrow; a path or any fsspec URL.")
    reference: str | None = Field(
        default=None, min_length=1, description="Training data: background rows, drift baseline."
    )
    target: TargetConfig
    id: str | None = None
    features: list[str] | None = Field(default=None, min_length=1)
    image: str | None = Field(default=None, description="Column of encoded images or of paths, for image models.")
    sensitive: dict[str, SensitiveConfig] = {}
    intersections: list[Annotated[list[str], Field(min_length=2)]] = []
    weight: str | None = None
    expectations: list[Expectation] = []

    @model_validator(mode="after")
    def _names_fit(self) -> DataConfig:
        for key in self.sensitive:
            if not key.strip() or CROSSING in key:
                raise ValueError(f"sensitive: {key!r} cannot name an attribute")
        for crossing in self.intersections:
            unknown = [key for key in crossing if key not in self.sensitive]
            if unknown:
                known = ", ".join(self.sensitive) or "none"
                raise ValueError(f"intersections: {', '.join(unknown)} is not under sensitive; available: {known}")
            if len(set(crossing)) != len(crossing):
                raise ValueError(f"intersections: {CROSSING.join(crossing)} names an attribute twice")
            if self.intersections.count(crossing) > 1:
                raise ValueError(f"intersections: {CROSSING.join(crossing)} is given twice")
        if self.features and len(set(self.features)) != len(self.features):
            raise ValueError("features: a column is named twice")
        return self

    @property
    def attributes(self) -> tuple[tuple[str, ...], ...]:
        """Every attribute to compare groups by, as tuples of keys: single ones first, then the crossings."""
        return tuple((key,) for key in self.sensitive) + tuple(tuple(keys) for keys in self.intersections)


class ExplainConfig(Block):
    rows: Literal["all"] | Annotated[Whole, Field(gt=0)] = 1000
    background: Annotated[Whole, Field(gt=0, le=10_000)] = 100
    output: Literal["probability", "margin"] = "probability"
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    techniques: dict[str, dict[str, Any]] | None = Field(
        default=None, description="Technique → its settings; absent: all that fit the model."
    )
    outputs: Literal["auto", "all"] | Annotated[list[Scalar], Field(min_length=1)] = "auto"
    feature_groups: dict[str, Annotated[list[str], Field(min_length=2)]] = Field(
        default={}, description="Name → columns that are explained as one (correlated, or one fact in several columns)."
    )

    @model_validator(mode="after")
    def _groups_are_apart(self) -> ExplainConfig:
        taken: dict[str, str] = {}
        for group, columns in self.feature_groups.items():
            if not group.strip():
                raise ValueError("feature_groups: a group needs a name")
            for column in columns:
                if column in taken:
                    told = " twice" if taken[column] == group else f", and so does {taken[column]}"
                    raise ValueError(f"feature_groups: {group} names {column}{told}")
                taken[column] = group
        return self

    @model_validator(mode="before")
    @classmethod
    def _empty_settings(cls, data: Any) -> Any:
        # `shap:` with nothing behind it reads as null in YAML and means "with its defaults".
        if isinstance(data, dict) and isinstance(data.get("techniques"), dict):
            data = {**data, "techniques": {k: {} if v is None else v for k, v in data["techniques"].items()}}
        return data


_COMPARISON = re.compile(r"\s*(>=|<=|>|<)\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*")


class DecisionConfig(Block):
    """How scores become decisions: a threshold (binary), the top k, or a column that recorded them."""

    threshold: Probability | None = None
    top_k: Annotated[Whole, Field(gt=0)] | None = None
    column: str | None = None
    favorable_when: str | None = Field(
        default=None, description='Regression only: which values are favourable, as ">= 3.5".'
    )

    @model_validator(mode="after")
    def _one_rule(self) -> DecisionConfig:
        given = [k for k in ("threshold", "top_k", "column", "favorable_when") if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of threshold, top_k, column, favorable_when, not {' and '.join(given)}")
        if self.favorable_when is not None and not (self.comparison and math.isfinite(self.comparison[1])):
            raise ValueError(f'favorable_when: {self.favorable_when!r} is not a comparison such as ">= 3.5"')
        return self

    @property
    def comparison(self) -> tuple[str, float] | None:
        """favorable_when as (operator, number)."""
        match = _COMPARISON.fullmatch(self.favorable_when or "")
        return (match[1], float(match[2])) if match else None


class BiasConfig(Block):
    decision: DecisionConfig = DecisionConfig()
    confidence: Annotated[Real, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[Whole, Field(ge=0, le=1_000_000)] = 2000
    min_group_size: Annotated[Whole, Field(ge=1)] = 30
    strata: GroupsConfig | None = Field(
        default=None, description="What conditional demographic disparity is conditional on: a column, or bins of it."
    )


class PolicyCheck(Block):
    """A threshold declared before the run. On an attribute it holds for its worst group."""

    # Whoever reads the published schema need not name what kind reasons is called.
    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required"))

    kind: Literal["metric", "reasons"] = Field(
        default="metric", description="reasons: how often the principal reasons name a protected attribute."
    )
    metric: str = Field(min_length=1, description="Of kind metric, where it is needed.")
    attribute: str | None = None
    group: str | None = None
    min: Real | None = None
    max: Real | None = None
    severity: Literal["critical", "warning", "info"] = "critical"
    confidence: Literal["point", "interval"] = "point"
    technique: str | None = Field(default=None, description="Of attribution_gap and the like; absent: the worst.")
    feature: str | None = Field(default=None, description="Of attribution_gap; absent: the worst.")
    max_protected: Annotated[Whole, Field(ge=0)] | None = Field(
        default=None, description="Of kind reasons: adverse decisions that may name a protected attribute."
    )
    include_proxies: bool = Field(default=False, description="Of kind reasons: strong proxies count too.")

    @model_validator(mode="before")
    @classmethod
    def _kind_fits(cls, data: Any) -> Any:
        return with_reasons(data)

    @model_validator(mode="after")
    def _has_limits(self) -> PolicyCheck:
        if self.kind == "metric" and (self.max_protected is not None or self.include_proxies):
            raise ValueError("max_protected and include_proxies are for kind reasons")
        if self.min is None and self.max is None:
            raise ValueError("a check needs min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        if self.group is not None and self.attribute is None:
            raise ValueError("group: name its attribute too")
        return self


class RowsShown(Block):
    """What a report may print of single persons."""

    show: Annotated[Whole, Field(ge=0, le=50)] = 3
    redact: list[str] = Field(default=[], description="Columns of which no value is printed in any form.")
    ids: Literal["hashed", "plain"] = Field(
        default="hashed", description="How values of data.id are printed; hashed: under a key that the report lacks."
    )


class ReportConfig(Block):
    regulations: list[str] = Field(
        default=[], description="Packs by name, or of one's own: a .yaml or .py file, or module:NAME."
    )
    settings: dict[str, dict[str, Any]] = Field(default={}, description="Regulation → what its pack leaves open.")
    formats: list[Literal["html", "pdf", "json", "markdown", "cyclonedx", "model_card"]] = [
        "html", "pdf", "json", "markdown", "cyclonedx", "model_card",
    ]  # fmt: skip
    rows: RowsShown = RowsShown()
    attestations: dict[str, Any] = Field(default={}, description="What only a person can state: owner, intended use, …")

    @property
    def packs(self) -> tuple[str, ...]:
        """Regulations that are packs of the user's own: files that are in no run."""
        return tuple(name for name in self.regulations if name.endswith((".yaml", ".yml", ".py")) or ":" in name)


class AuditConfig(Block):
    """One audit: subject, what to explain, which groups to compare, and the policy it is held to."""

    name: Name
    title: str | None = Field(default=None, max_length=300)
    model: ModelConfig
    data: DataConfig
    explain: ExplainConfig = ExplainConfig()
    reasons: ReasonsConfig = ReasonsConfig()
    bias: BiasConfig = BiasConfig()
    policy: list[PolicyCheck] = []
    report: ReportConfig = ReportConfig()
    schedule: ScheduleConfig | None = None
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _blocks_agree(self) -> AuditConfig:
        task, decision = self.model.task, self.bias.decision
        if task == "multiclass" and decision.threshold is not None:
            raise ValueError("bias.decision.threshold: a multiclass decision is the argmax; remove the threshold")
        if task == "regression" and decision.threshold is not None:
            raise ValueError('bias.decision.threshold: a regression has none; use favorable_when: ">= x"')
        if task != "regression" and decision.favorable_when is not None:
            raise ValueError("bias.decision.favorable_when: for regression only")
        if self.data.sensitive and task != "regression" and self.data.target.favorable is None:
            raise ValueError("data.target.favorable: needed while data.sensitive is set: name the outcome people want")
        classes = self.model.classes
        if classes is not None:
            texts = {str(name) for name in classes}
            for key in ("favorable", "positive"):
                named = getattr(self.data.target, key)
                named = named if isinstance(named, list) else [] if named is None else [named]
                unknown = [str(n) for n in named if str(n) not in texts]
                if unknown:
                    raise ValueError(
                        f"data.target.{key}: {', '.join(unknown)} is not a class; available: {', '.join(sorted(texts))}"
                    )
        known = {CROSSING.join(keys) for keys in self.data.attributes}
        for number, check in enumerate(self.policy):
            if check.kind == "reasons" and not self.data.sensitive:
                raise ValueError(f"policy.{number}.kind: reasons needs data.sensitive, which names what is protected")
            if check.attribute is not None and check.attribute not in known:
                raise ValueError(
                    f"policy.{number}.attribute: {check.attribute} is not declared under data;"
                    f" available: {', '.join(sorted(known)) or 'none'}"
                )
        return self

    @property
    def favorable(self) -> tuple[str, ...]:
        """The favourable outcomes, as text; empty where none is named."""
        named = self.data.target.favorable
        return tuple(str(n) for n in (named if isinstance(named, list) else [] if named is None else [named]))

    @property
    def positive(self) -> tuple[str, ...]:
        """The positive outcomes, as text: the favourable ones unless named."""
        named = self.data.target.positive
        if named is None:
            return self.favorable
        return tuple(str(n) for n in (named if isinstance(named, list) else [named]))
