"""Explaining: one file a technique, each a line in TECHNIQUES. See `base.py` for what a technique is."""

from tasks.explain import grad_cam, lime_image_superpixels, lime_tabular, permutation, shapley, shapley_image
from tasks.explain.base import Modality, Technique

#: every technique, in the order of tables and reports; a name may stand for a technique of each modality
TECHNIQUES: tuple[Technique, ...] = (
    permutation.TECHNIQUE,
    shapley.TECHNIQUE,
    lime_tabular.TECHNIQUE,
    grad_cam.TECHNIQUE,
    shapley_image.TECHNIQUE,
    lime_image_superpixels.TECHNIQUE,
)


def technique_of(name: str, modality: Modality) -> Technique | None:
    """The technique that a name stands for where the model takes tables, or images; None where there is none."""
    return next((t for t in TECHNIQUES if t.name == name and t.modality == modality), None)


from tasks.explain.contributions import contributions  # noqa: E402
from tasks.explain.problem import problem_of  # noqa: E402
from tasks.explain.stage import (  # noqa: E402 - the stage works on the table above
    check_techniques,
    explain,
    join_importance,
    planned,
    settings_of,
)

__all__ = [
    "TECHNIQUES",
    "check_techniques",
    "contributions",
    "explain",
    "join_importance",
    "planned",
    "problem_of",
    "settings_of",
    "technique_of",
]
