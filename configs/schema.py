"""What an audit's config may say. One pydantic model a block, in the order of the YAML file.

Only what can be judged without opening the model or the data is judged here; the rest is the data gate's and the
loader's. Unknown keys are errors everywhere but where a block says otherwise.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

#: joins the keys of a crossing, as in a policy on `sex × race`
CROSSING = " × "

#: a value as it may stand in a data column
Scalar = bool | int | float | str
Probability = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
#: a folder under reports/: nothing that a file system or a link could read in another way
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]


class Block(BaseModel):
    """A mapping in the config: unknown keys are errors, values are never changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class ImageConfig(Block):
    scale: float = Field(1.0, gt=0, description="Pixels come as 0–255 float32 times this.")


class ModelConfig(Block):
    path: str = Field(min_length=1, description="A model file, or a folder of version folders (1/, 2/, …).")
    version: Literal["latest"] | Annotated[int, Field(ge=0)] = Field("latest", description="latest, or a number.")
    sha256: Digest | None = Field(None, description="Pin: a model file with another digest is refused.")
    task: Literal["binary", "multiclass", "regression"]
    classes: list[Scalar] | None = Field(
        None, description="Of the outputs, in order; binary with one output: [negative, positive]."
    )
    preprocessor: str | None = Field(
        None, description="module:function or a skops file; default: preprocessor.skops beside the model."
    )
    trusted_types: list[str] = Field([], description="skops types beyond the standard ones that may be loaded.")
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
    favorable: Scalar | list[Scalar] | None = Field(
        None, description="The outcome that people want; selection rate and impact ratio count it."
    )
    positive: Scalar | list[Scalar] | None = Field(
        None, description="What TPR, FPR and precision count as positive; default: the favourable outcome."
    )


class SensitiveConfig(Block):
    column: str = Field(min_length=1)
    bins: list[float] | None = Field(None, min_length=1, description="Inner edges; bins are closed on the left.")

    @model_validator(mode="after")
    def _edges_rise(self) -> SensitiveConfig:
        if self.bins and any(b <= a for a, b in zip(self.bins, self.bins[1:], strict=False)):
            raise ValueError("bins: edges must rise")
        return self


class Expectation(BaseModel):
    """One Great Expectations expectation: its type, its severity, and its own keyword arguments."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(pattern=r"^expect_[a-z0-9_]+$")
    severity: Literal["critical", "warning", "info"] = "critical"

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class DataConfig(Block):
    path: str = Field(min_length=1, description="Parquet, CSV or Arrow; a path or any fsspec URL.")
    reference: str | None = Field(None, min_length=1, description="Training data: background rows, drift baseline.")
    target: TargetConfig
    id: str | None = None
    features: list[str] | None = Field(None, min_length=1)
    image: str | None = Field(None, description="Column of encoded images or of paths, for image models.")
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
        for label, names in (("features", self.features or []),):
            if len(set(names)) != len(names):
                raise ValueError(f"{label}: a column is named twice")
        return self

    @property
    def attributes(self) -> tuple[tuple[str, ...], ...]:
        """Every attribute to compare groups by, as tuples of keys: single ones first, then the crossings."""
        return tuple((key,) for key in self.sensitive) + tuple(tuple(keys) for keys in self.intersections)


class ExplainConfig(Block):
    rows: Literal["all"] | Annotated[int, Field(gt=0)] = 1000
    background: Annotated[int, Field(gt=0, le=10_000)] = 100
    output: Literal["probability", "margin"] = "probability"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    techniques: dict[str, dict[str, Any]] | None = Field(
        None, description="Technique → its settings; absent: all that fit the model."
    )
    outputs: Literal["auto", "all"] | list[Scalar] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _empty_settings(cls, data: Any) -> Any:
        # `shap:` with nothing behind it reads as null in YAML and means "with its defaults".
        if isinstance(data, dict) and isinstance(data.get("techniques"), dict):
            data = {**data, "techniques": {k: {} if v is None else v for k, v in data["techniques"].items()}}
        return data


_COMPARISON = re.compile(r"^\s*(>=|<=|>|<)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*$")


class DecisionConfig(Block):
    """How scores become decisions: a threshold (binary), the top k, or a column that recorded them."""

    threshold: Probability | None = None
    top_k: Annotated[int, Field(gt=0)] | None = None
    column: str | None = None
    favorable_when: str | None = Field(None, description='Regression only: which values are favourable, as ">= 3.5".')

    @model_validator(mode="after")
    def _one_rule(self) -> DecisionConfig:
        given = [k for k in ("threshold", "top_k", "column", "favorable_when") if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of threshold, top_k, column, favorable_when, not {' and '.join(given)}")
        if self.favorable_when is not None and not _COMPARISON.match(self.favorable_when):
            raise ValueError(f'favorable_when: {self.favorable_when!r} is not a comparison such as ">= 3.5"')
        return self

    @property
    def comparison(self) -> tuple[str, float] | None:
        """favorable_when as (operator, number)."""
        match = _COMPARISON.match(self.favorable_when or "")
        return (match[1], float(match[2])) if match else None


class BiasConfig(Block):
    decision: DecisionConfig = DecisionConfig()
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=0, le=1_000_000)] = 2000
    min_group_size: Annotated[int, Field(ge=1)] = 30


class PolicyCheck(Block):
    """A threshold declared before the run. On an attribute it holds for its worst group."""

    metric: str = Field(min_length=1)
    attribute: str | None = None
    group: str | None = None
    min: float | None = None
    max: float | None = None
    severity: Literal["critical", "warning", "info"] = "critical"
    confidence: Literal["point", "interval"] = "point"

    @model_validator(mode="after")
    def _has_limits(self) -> PolicyCheck:
        if self.min is None and self.max is None:
            raise ValueError("a check needs min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        if self.group is not None and self.attribute is None:
            raise ValueError("group: name its attribute too")
        return self


class RowsShown(Block):
    show: Annotated[int, Field(ge=0, le=50)] = 3
    redact: list[str] = []


class ReportConfig(Block):
    regulations: list[str] = []
    formats: list[Literal["html", "pdf", "json", "markdown"]] = ["html", "pdf", "json", "markdown"]
    rows: RowsShown = RowsShown()
    attestations: dict[str, Any] = Field({}, description="What only a person can state: owner, intended use, …")


class ScheduleConfig(Block):
    cron: str = Field(min_length=1)
    timezone: str = "UTC"


class RunConfig(Block):
    task_runner: Literal["threads", "dask"] = "threads"
    workers: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="Tasks at a time; default: 4.")
    deadline: Annotated[float, Field(gt=0)] | None = Field(3600.0, description="Seconds a task may take.")


class AuditConfig(Block):
    """One audit: subject, what to explain, which groups to compare, and the policy it is held to."""

    name: Name
    title: str | None = Field(None, max_length=300)
    model: ModelConfig
    data: DataConfig
    explain: ExplainConfig = ExplainConfig()
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
