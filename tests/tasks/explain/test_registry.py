"""The registry and the settings: whatever a config may say of techniques."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tasks.explain
from configs.schema import AuditConfig
from tasks.errors import ConfigError
from tasks.explain import TECHNIQUES, check_techniques, planned, settings_of, technique_of

TABLE = [
    "permutation",
    "shap",
    "lime",
    "integrated_gradients",
    "smooth_grad",
    "partial_dependence",
    "ale",
    "interactions",
]
IMAGE = [
    "gradcam", "gradcam_plus_plus", "hirescam", "layercam", "shap", "lime", "integrated_gradients", "smooth_grad",
    "occlusion",
]  # fmt: skip


def config_of(techniques: dict[str, Any] | None, **model: Any) -> AuditConfig:
    return AuditConfig.model_validate(
        {
            "name": "x",
            "model": {"path": "m.keras", "task": "binary", **model},
            "data": {"path": "d.parquet", "target": {"column": "y"}},
            "explain": {"techniques": techniques},
        }
    )


def test_every_technique_file_is_in_the_registry() -> None:
    folder = Path(tasks.explain.__file__).parent
    with_technique = [
        path.stem for path in folder.glob("*.py") if "\nTECHNIQUE = Technique(" in path.read_text("utf-8")
    ]
    assert sorted(with_technique) == sorted(t.prepare.__module__.rpartition(".")[2] for t in TECHNIQUES)


def test_a_name_and_a_modality_mean_one_technique() -> None:
    keys = [(technique.name, technique.modality) for technique in TECHNIQUES]
    assert len(set(keys)) == len(keys)
    for technique in TECHNIQUES:
        assert technique_of(technique.name, technique.modality) is technique
        assert technique.title
        assert technique.source
        assert technique.settings()  # every setting has a default
    assert technique_of("permutation", "image") is None


def test_nothing_heavy_is_imported_to_check_a_config() -> None:
    code = (
        "import sys, tasks.explain\n"
        "print([m for m in ('tensorflow', 'keras', 'shap', 'lime', 'eli5', 'sklearn', 'numba', 'scipy', 'pandas',"
        " 'matplotlib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("techniques", "modality", "expected"),
    [
        (None, "table", TABLE),
        (None, "image", IMAGE),
        ({"lime": {}, "permutation": {}}, "table", ["permutation", "lime"]),
        ({"gradcam": {}, "shap": {}}, "table", ["shap", "gradcam"]),
        ({"permutation": {}, "lime": {}, "gradcam": {}}, "image", ["gradcam", "lime", "permutation"]),
        ({}, "table", []),
    ],
)
def test_planned(techniques: dict[str, Any] | None, modality: Any, expected: list[str]) -> None:
    assert planned(config_of(techniques), modality) == expected


@pytest.mark.parametrize(
    ("techniques", "message"),
    [
        (
            {"shapp": {}},
            "explain.techniques: unknown technique shapp; available: permutation, shap, .*mean shap?",
        ),
        (
            {"shap": {"estimater": "auto"}},
            "explain.techniques.shap: unknown key estimater; available: estimator.*mean estimator?",
        ),
        ({"lime": {"sample": 3}}, "explain.techniques.lime: unknown key sample; .*mean samples?"),
        ({"shap": {"estimator": "kernal"}}, "explain.techniques.shap.estimator: .*'kernel'.*not 'kernal'"),
        (
            {"permutation": {"repeats": 0}},
            "explain.techniques.permutation.repeats: .*greater than or equal to 1, not 0",
        ),
        ({"permutation": {"repeats": "many"}}, "explain.techniques.permutation.repeats: .*integer.*not 'many'"),
        ({"lime": {"kernel_width": -1}}, "explain.techniques.lime.kernel_width: .*greater than 0"),
        ({"lime": {"kernel_width": float("nan")}}, "explain.techniques.lime.kernel_width: .*"),
        ({"lime": {"samples": 10**9}}, "explain.techniques.lime.samples: .*less than or equal to 1000000"),
        ({"lime": {"discretize": "entropy"}}, "explain.techniques.lime.discretize: .*'quartile', 'decile' or 'none'"),
        ({"shap": {"coalitions": 3, "wrong": 1}}, "unknown key wrong"),  # an unknown key is said first
        ({"gradcam": {"layer": 3}}, "explain.techniques.gradcam.layer: .*string"),
        ({"hirescam": {"layr": "x"}}, "explain.techniques.hirescam: unknown key layr; .*mean layer?"),
        ({"integrated_gradients": {"steps": 0}}, "integrated_gradients.steps: .*greater than or equal to 1"),
        ({"smooth_grad": {"samples": 5}}, "explain.techniques.smooth_grad.samples: .*multiple of 2"),
        ({"occlusion": {"baseline": "blur"}}, "explain.techniques.occlusion.baseline: .*'white', not 'blur'"),
        ({"permutation": {"score": "r2"}}, "explain.techniques.permutation: the score r2 is not one of a binary model"),
    ],
)
def test_what_a_config_says_wrongly(techniques: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        check_techniques(config_of(techniques))
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("techniques", "model"),
    [
        (None, {}),
        ({"shap": None, "lime": None, "permutation": None, "gradcam": None}, {}),
        ({"shap": {"estimator": "kernel", "coalitions": 500}}, {}),
        ({"shap": {"estimator": "shap.partition"}}, {"inputs": "image"}),
        ({"lime": {"kernel_width": 0.25, "samples": 100}}, {"inputs": "image"}),
    ],
)
def test_what_a_config_may_say(techniques: dict[str, Any] | None, model: dict[str, Any]) -> None:
    check_techniques(config_of(techniques, **model))


def test_the_settings_of_the_other_modality_are_wrong() -> None:
    with pytest.raises(ConfigError, match=r"shap.estimator"):
        check_techniques(config_of({"shap": {"estimator": "shap.partition"}}, inputs="matrix"))


def test_settings_are_the_configs_and_the_defaults() -> None:
    technique = technique_of("lime", "table")
    assert technique is not None
    values = settings_of(config_of({"lime": {"samples": 77}}), technique).model_dump()
    assert (values["samples"], values["discretize"]) == (77, "quartile")
    assert settings_of(config_of(None), technique).model_dump()["samples"] == 5000
