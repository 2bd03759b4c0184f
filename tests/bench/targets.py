"""What the benchmarks are held against: one line a target, each a ratio of times, errors or bytes of one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NAMES = {"adult": "Adult", "mlp": "20-64-64-1", "cnn": "CNN 96×96×3", "digits": "digit scenes"}
JOBS = {"lime": "LIME", "gradient": "gradient SHAP", "kernel": "kernel SHAP"}


@dataclass(frozen=True)
class Target:
    """A figure's bound.

    Attributes:
        id: of the figure that a bench file leaves.
        part: what is fast.
        text: what is measured.
        on: the model, or the technique.
        sign, bound: the figure is to be at least, or at most, so much.
        unit: of the figure, after the number.
    """

    id: str
    part: str
    text: str
    on: str
    sign: Literal["≥", "≤"]
    bound: float
    unit: str = ""

    def met(self, value: float) -> bool:
        return value >= self.bound if self.sign == "≥" else value <= self.bound


#: figure (or the beginning of its name) → what is to be said where its target is missed
WHY = {
    "kernel.plain_error": (
        "probably since random weights of 20 columns make many small interactions of every order, hard to tell apart"
        " from so few of 2^20 coalitions; without its selection of features shap pairs its coalitions too"
    ),
    "permutation.": (
        "of 2,000 rows; the bare model would take 0.5 to 0.75 of the processor's time that this takes, and each"
        " shuffled row must still be written for the model, encoded, checked and scored. Running the network from its"
        " first layer's sums does not pay at this size: compiling that takes 0.1 s, longer than all evaluations at the"
        " floor, and for 20-64-64-1 it then takes as long as the whole network: 64 sums a row are read, not 20 columns"
    ),
    "predictor.matrix.": (
        "a matrix in memory is read where it is; what there is beside the model is the hand-over of each batch, its"
        " check, and the copy of the rows around the batches that begin at a multiple of 64 bytes"
    ),
}


def _each(
    pattern: str, part: str, text: str, keys: str, sign: Literal["≥", "≤"], bound: float, unit: str = ""
) -> list[Target]:
    names = NAMES | JOBS
    return [Target(pattern.format(key), part, text, names[key], sign, bound, unit) for key in keys.split()]


TARGETS: tuple[Target, ...] = (
    *_each("predictor.matrix.{}", "predictor", "ready matrix: share of the floor", "adult mlp cnn", "≥", 0.9),
    *_each("predictor.encoded.{}", "predictor", "raw rows, encoding included: share of the floor", "adult", "≥", 0.5),
    *_each("kernel.overhead.{}", "kernel SHAP", "overhead", "mlp", "≤", 1.0),
    *_each("kernel.overhead.{}", "kernel SHAP", "overhead", "adult", "≤", 0.5),
    *_each("kernel.fast.{}", "kernel SHAP", "as fast as shap with our predictor", "adult mlp", "≥", 2.5, " ×"),
    *_each("kernel.documented.{}", "kernel SHAP", "as fast as shap as documented", "adult mlp", "≥", 100, " ×"),
    *_each("kernel.error512.{}", "kernel SHAP", "error over documented shap's, 512 drawn", "adult mlp", "≤", 1 / 3),
    *_each("kernel.error2048.{}", "kernel SHAP", "error over documented shap's, 2048 drawn", "adult mlp", "≤", 1 / 3),
    *_each(
        "kernel.plain_error512.{}", "kernel SHAP", "error over shap's with l1_reg=0, 512 drawn",
        "adult mlp", "≤", 1 / 3,
    ),
    *_each(
        "kernel.plain_error2048.{}", "kernel SHAP", "error over shap's with l1_reg=0, 2048 drawn",
        "adult mlp", "≤", 1 / 3,
    ),
    *_each("gradient.{}", "gradient SHAP", "as fast as shap.GradientExplainer", "adult mlp", "≥", 40, " ×"),
    Target("lime.row", "LIME", "a row after the first, 5000 neighbours, 20 columns", NAMES["mlp"], "≤", 0.5, " ms"),
    *_each("lime.fast.{}", "LIME", "as fast as lime with our predictor", "adult mlp", "≥", 100, " ×"),
    *_each("lime.documented.{}", "LIME", "as fast as lime as documented", "adult mlp", "≥", 1000, " ×"),
    *_each("permutation.{}", "permutation", "overhead", "adult mlp", "≤", 1.2),
    *_each("gradcam.overhead.{}", "Grad-CAM", "of a forward pass of the batch, one class", "cnn digits", "≤", 1.15),
    *_each("gradcam.batched.{}", "Grad-CAM", "as fast as tf-keras-vis in a batch", "cnn digits", "≥", 5, " ×"),
    *_each(
        "rows.linear.{}", "all rows", "a further row at the largest size, over one at a tenth",
        "lime gradient kernel", "≤", 1.1,
    ),
    *_each(
        "rows.memory.{}", "all rows", "peak memory over that at a tenth of the rows", "lime gradient kernel", "≤", 1.5,
    ),
    Target("flow.unchanged", "flow", "unchanged audit: over an empty flow", NAMES["adult"], "≤", 3, " s"),
    Target("flow.threshold", "flow", "one threshold changed: over an empty flow", NAMES["adult"], "≤", 8, " s"),
    Target("flow.whole", "flow", "whole audit: over its stages as plain functions", NAMES["adult"], "≤", 1.3),
    Target("bias.stage", "bias", "the stage, 10 million rows, 7 attributes, 2,000 resamples", "people", "≤", 60, " s"),
    Target("bias.memory", "bias", "peak memory of that", "people", "≤", 4, " GiB"),
    Target("bias.bootstrap", "bias", "a resample of 100,000 rows, as fast as MetricFrame", "people", "≥", 1000, " ×"),
)  # fmt: skip
