"""Explaining: one file a technique, each a line in TECHNIQUES. See `base.py` for what a technique is."""

from tasks.explain import (
    accumulated_local_effects,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    integrated_gradients,
    integrated_gradients_image,
    interactions,
    layer_cam,
    lime_image_superpixels,
    lime_tabular,
    occlusion,
    partial_dependence,
    permutation,
    shapley,
    shapley_image,
    smooth_grad,
    smooth_grad_image,
)
from tasks.explain.base import Modality, Player, Problem, Technique

#: every technique, in the order of tables and reports; a name may stand for a technique of each modality
TECHNIQUES: tuple[Technique, ...] = (
    permutation.TECHNIQUE,
    shapley.TECHNIQUE,
    lime_tabular.TECHNIQUE,
    integrated_gradients.TECHNIQUE,
    smooth_grad.TECHNIQUE,
    partial_dependence.TECHNIQUE,
    accumulated_local_effects.TECHNIQUE,
    interactions.TECHNIQUE,
    grad_cam.TECHNIQUE,
    grad_cam_plus_plus.TECHNIQUE,
    hires_cam.TECHNIQUE,
    layer_cam.TECHNIQUE,
    shapley_image.TECHNIQUE,
    lime_image_superpixels.TECHNIQUE,
    integrated_gradients_image.TECHNIQUE,
    smooth_grad_image.TECHNIQUE,
    occlusion.TECHNIQUE,
)


def technique_of(name: str, modality: Modality) -> Technique | None:
    """The technique that a name stands for where the model takes tables, or images; None where there is none."""
    return next((t for t in TECHNIQUES if t.name == name and t.modality == modality), None)


from tasks.explain.again import Again, explained_again, why_not_again  # noqa: E402
from tasks.explain.contributions import Contributions, contributions  # noqa: E402
from tasks.explain.problem import problem_of  # noqa: E402
from tasks.explain.shards import Shareable, explain_shard, to_share  # noqa: E402
from tasks.explain.stage import (  # noqa: E402 - the stage works on the table above
    check_techniques,
    drop_parts,
    explain,
    join_importance,
    planned,
    settings_of,
)

__all__ = [
    "TECHNIQUES",
    "Again",
    "Contributions",
    "Player",
    "Problem",
    "Shareable",
    "Technique",
    "check_techniques",
    "contributions",
    "drop_parts",
    "explain",
    "explain_shard",
    "explained_again",
    "join_importance",
    "planned",
    "problem_of",
    "settings_of",
    "technique_of",
    "to_share",
    "why_not_again",
]
