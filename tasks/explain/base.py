"""What a technique is given, and what it gives back.

A technique is one file with a `TECHNIQUE = Technique(...)`. Its `prepare` does everything that no single row needs
(background, coalitions, neighbourhood), and returns a `Prepared` with a function of a batch of rows; so rows can be
streamed, sharded and resumed without the technique knowing. Sampling, batching, files and tables are `stage.py`'s.

"Feature", "row" and "background" mean what the modality says: columns of a coded matrix for a table, pixels for an
image. See `tasks.load.encoding` for the coded matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.load import Feature, Predictor

Modality = Literal["table", "image"]
OutputKind = Literal["probability", "margin"]
Task = Literal["binary", "multiclass", "regression"]


class Settings(BaseModel):
    """A technique's block under explain.techniques. Subclass it; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Player:
    """What is explained as one: a feature, or features that the user binds together (`explain.feature_groups`).

    Attributes:
        name: the feature's, or the group's.
        columns: of the coded matrix, rising.
    """

    name: str
    columns: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is explained: rows, model, output and background, the same for every technique of an audit.

    Shapes: n rows, k model outputs, m explained outputs a row, d features, b background rows, g players.

    Attributes:
        predictor: rows → outputs, compiled, thread-safe.
        kind: which output is explained; techniques that need the margin (Grad-CAM) say so and use it anyway.
        rows: table: (n, d) float64 codes; image: (n, h, w, c) float32, 0–255.
        background: table: (b, d); image: (b, h, w, c). Stands for "feature absent".
        reference: table: (r, d) codes of the training distribution; image: same as background.
        explained: (n, m) int64, for each row the indices of the outputs to explain.
        target: (n,) int64 class index, -1 where the label is missing; regression: float64, NaN where missing.
        weight: (n,) float64 or None.
        features: d features; None for images.
        groups: name → the features (columns) that are explained as one.
        boxes: (n, 4) float64 left, top, right, bottom in pixels of the model's own input, or None.
        seed: every random draw derives from it and the technique's name.
        positions: (n,) int64, where the rows stand in the data as read, rising.
        threshold: a binary score at or above it decides for classes[1].
        decided_by: what decides on a row: its own score, its rank among all rows, or a record of the past.
        limitations: sentences about rows and background that every local technique must print.
    """

    modality: Modality
    task: Task
    predictor: Predictor
    kind: OutputKind
    rows: np.ndarray
    background: np.ndarray
    reference: np.ndarray
    explained: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None = None
    features: tuple[Feature, ...] | None = None
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    boxes: np.ndarray | None = None
    seed: int = 0
    positions: np.ndarray | None = None
    threshold: float = 0.5
    decided_by: Literal["score", "rank", "record"] = "score"
    limitations: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the k model outputs."""
        return self.predictor.outputs

    @cached_property
    def players(self) -> tuple[Player, ...]:
        """What is explained as one, in the order of the (first) columns; none for images."""
        bound = {column for columns in self.groups.values() for column in columns}
        alone = [Player(f.name, (j,)) for j, f in enumerate(self.features or ()) if j not in bound]
        together = [Player(name, tuple(sorted(columns))) for name, columns in self.groups.items()]
        return tuple(sorted([*alone, *together], key=lambda player: player.columns))

    @cached_property
    def membership(self) -> np.ndarray:
        """(g, d) bool: which columns a player has; each column has one player."""
        members = np.zeros((len(self.players), len(self.features or ())), bool)
        for place, player in enumerate(self.players):
            members[place, list(player.columns)] = True
        return members

    def by_player(self, values: np.ndarray) -> np.ndarray:
        """(…, d) values of features, added up to (…, g) of players; as they are where no features are bound."""
        if not self.groups:
            return values
        return np.stack([values[..., list(player.columns)].sum(axis=-1) for player in self.players], axis=-1)

    def generator(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose, the same from run to run."""
        return np.random.default_rng([self.seed, *purpose.encode()])


@dataclass(frozen=True)
class Attribution:
    """A technique's answer for a batch of n rows of a table.

    Attributes:
        values: (n, m, g) float64, in units of the explained output; `problem.by_player` adds up features' own.
        base: (n, m) what the attributions start from (mean over the background; LIME's intercept).
        std_error: (n, m, g), or None where the method has none.
        quality: measure name → (n, m), such as LIME's local R²; NaN where a row has none.
        evaluations: rows that went through the model for this batch.
        notes: sentence about how a row was explained otherwise than asked → (n,) bool, the rows it holds for; the
            report prints it as a limitation with their number.
    """

    values: np.ndarray
    base: np.ndarray
    std_error: np.ndarray | None = None
    quality: Mapping[str, np.ndarray] = field(default_factory=dict)
    evaluations: int = 0
    notes: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Saliency:
    """A technique's answer for a batch of n images.

    Attributes:
        maps: (n, m, height, width) float32; the resolution is the technique's own.
        layer: the layer it was taken from, or None.
        signed: whether negative values mean evidence against.
        quality: measure name → (n, m), such as LIME's local R².
        notes: sentence about how an image was explained otherwise than asked → (n,) bool, the images it holds for;
            the report prints it as a limitation with their number.
        evaluations: rows that went through the model for this batch, forwards or backwards.
        segments: (n, height, width) int64, the superpixels that a map's values are of, or None.
    """

    maps: np.ndarray
    layer: str | None = None
    signed: bool = False
    quality: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: Mapping[str, np.ndarray] = field(default_factory=dict)
    evaluations: int = 0
    segments: np.ndarray | None = None


@dataclass(frozen=True)
class Importance:
    """A global technique's answer: one number a feature and output.

    Attributes:
        outputs: names, one an entry of the first axis; (None,) where importance is of the model as a whole.
        values, std_error: (len(outputs), g).
        ci_low, ci_high: (len(outputs), g).
        n_rows: (len(outputs),) int64, rows that it rests on.
        score: what was measured, in words (`accuracy`, `log loss`, …).
        facts, limitations, evaluations: as for Prepared.
    """

    outputs: tuple[str | None, ...]
    values: np.ndarray
    std_error: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray
    n_rows: np.ndarray
    score: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    limitations: tuple[str, ...] = ()
    evaluations: int = 0


@dataclass(frozen=True)
class Effects:
    """The answer of a technique of global shape: how an output moves with one feature, or with two together.

    Attributes:
        table: rows of `effects` (tasks/contracts.py), without a row_id where no curve is of a single row.
        facts, limitations, evaluations: as for Prepared.
    """

    table: pa.Table
    facts: Mapping[str, Any] = field(default_factory=dict)
    limitations: tuple[str, ...] = ()
    evaluations: int = 0


#: `code` of an OutputError whose `values` are positions in the batch: the stage tells the rows' ids in their place
OF_BATCH = "model_output_of_batch"

#: rows (batch, …), explained (batch, m) → their explanation. The stage counts finished rows; within a long batch the
#: explainer calls `watch.advance(0)` now and then, so that a user who stops the audit is heard.
LocalExplainer = Callable[[np.ndarray, np.ndarray], Attribution | Saliency]


@dataclass(frozen=True)
class Prepared:
    """A local technique, ready for rows.

    Attributes:
        explain: a batch of rows and their explained outputs → Attribution or Saliency.
        facts: JSON values for the report: the estimator taken, the samples drawn, …; no times, no paths.
        limitations: sentences that the report must print.
        evaluations: rows that went through the model while preparing.
    """

    explain: LocalExplainer
    facts: Mapping[str, Any] = field(default_factory=dict)
    limitations: tuple[str, ...] = ()
    evaluations: int = 0


@dataclass(frozen=True)
class Technique:
    """An entry of the registry.

    Attributes:
        name: key in the config and in file names.
        title: for people.
        modality: what it explains.
        scope: local (a row at a time: `prepare` returns Prepared), whole (`prepare` returns Importance) or shape
            (`prepare` returns Effects).
        settings: its block's schema.
        prepare: (problem, settings, watch) → Prepared, Importance or Effects.
        batch: rows a call of the local explainer is given.
        unfit: (problem, settings) → why it does not fit this model, or None. Cheap: nothing is evaluated.
        misfit: (task, settings) → which setting is wrong for every model of this task, or None.
        source: paper or library of the method.
    """

    name: str
    title: str
    modality: Modality
    scope: Literal["local", "whole", "shape"]
    settings: type[Settings]
    prepare: Callable[[Problem, Any, Watch], Prepared | Importance | Effects]
    source: str
    batch: int = 256
    unfit: Callable[[Problem, Any], str | None] = lambda problem, settings: None
    misfit: Callable[[Task, Any], str | None] = lambda task, settings: None
