"""The form of Prefect's UI: what it offers, what it changes in a config, and what it lets nobody change."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.schema import AuditConfig
from flows.form import CONFIGS, DATA_ROOTS, REPORT_ROOTS, changes, check_bounds, form_schema, is_below
from flows.preflight import checked_config
from tasks.errors import ConfigError, UsageError
from tasks.explain import TECHNIQUES
from tasks.report import REGULATIONS

CONFIG = "configs/adult_income.yaml"


def _form():
    from flows.audit import audit

    plain = audit.parameters.model_dump()
    return plain, form_schema(plain, [CONFIG, "b.yaml"], CONFIG, "reports", {DATA_ROOTS: ["/d"], REPORT_ROOTS: ["/r"]})


def test_every_field_has_words_a_place_and_a_default():
    fields = _form()[1]["properties"]
    assert [name for name, _ in sorted(fields.items(), key=lambda field: field[1]["position"])] == [
        "config", "model_version", "data", "rows", "techniques", "regulations", "reports", "settings",
    ]  # fmt: skip
    for name, field in fields.items():
        assert field["description"].endswith("."), name
        assert field["title"] != name, name
        assert "default" in field, name
        assert "anyOf" not in field, name  # renders badly


def test_the_form_offers_what_there_is():
    fields = _form()[1]["properties"]
    assert fields["config"]["enum"] == [CONFIG, "b.yaml"]
    assert set(fields["techniques"]["items"]["enum"]) == {technique.name for technique in TECHNIQUES}
    assert len(fields["techniques"]["items"]["enum"]) == len(set(fields["techniques"]["items"]["enum"]))
    assert fields["regulations"]["items"]["enum"] == list(REGULATIONS)
    assert "`/d`" in fields["data"]["description"]
    assert "`/r`" in fields["reports"]["description"]


def test_what_prefect_made_of_the_flow_is_left_as_it_was():
    plain, form = _form()
    assert "enum" not in plain["properties"]["config"]
    assert form["required"] == plain["required"] == ["config"]


def test_an_empty_form_changes_nothing():
    assert changes(CONFIG, []) == []
    assert checked_config(CONFIG, changes(CONFIG, [])) == checked_config(CONFIG)


def test_the_form_changes_what_it_says():
    settings = changes(
        CONFIG, ["explain.rows=7"], model_version="2", data='a "b": c.parquet', rows=50,
        techniques=["lime", "ale", "shap"], regulations=["nyc_ll144"],
    )  # fmt: skip
    config = checked_config(CONFIG, settings)
    assert config.model.version == 2
    assert config.data.path == 'a "b": c.parquet'
    assert config.explain.rows == 7  # other settings come last
    # Those that the config has keep their settings.
    assert config.explain.techniques == {"lime": {"samples": 5000}, "ale": {}, "shap": {"estimator": "auto"}}
    assert config.report.regulations == ["nyc_ll144"]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"rows": -3}, "--set explain.rows=-3"),
        ({"model_version": "newest"}, "--set model.version=newest"),
        ({"techniques": ["lame"]}, "lame"),
        ({"regulations": ["nyc"]}, "nyc_ll144"),
    ],
)
def test_a_wrong_value_is_told_as_on_the_command_line(field, said):
    with pytest.raises(ConfigError) as error:
        checked_config(CONFIG, changes(CONFIG, [], **field))
    assert said in str(error.value)


@pytest.fixture
def roots(tmp_path, monkeypatch):
    """Folders that the operator configured, and one beside them."""
    for name in ("data", "reports", "data-too"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "out").symlink_to(tmp_path / "data-too")
    monkeypatch.setenv(DATA_ROOTS, f"{tmp_path / 'data'}, s3://bucket/audits")
    monkeypatch.setenv(REPORT_ROOTS, str(tmp_path / "reports"))
    monkeypatch.delenv(CONFIGS, raising=False)
    return tmp_path


@pytest.mark.parametrize("data", ["data/x.parquet", "data/a/../x.parquet", "s3://bucket/audits/2026/x.parquet"])
def test_paths_below_the_folders_are_taken(roots, data):
    value = data if "://" in data else str(roots / data)
    check_bounds(CONFIG, changes(CONFIG, [], data=value), str(roots / "reports" / "mine"))


@pytest.mark.parametrize(
    "data",
    [
        "/etc/passwd", "data/../secret.parquet", "data-too/x.parquet", "data/out/x.parquet", "x.parquet",
        "s3://bucket/other/x.parquet", "s3://bucket/audits/../other/x.parquet", "s3://bucket/auditsother/x.parquet",
        "s3://bucket/audits/%2e%2e/other/x", "file:///etc/passwd", "simplecache::s3://bucket/audits/x",
        "http://169.254.169.254/latest", "\0",
    ],
)  # fmt: skip
def test_paths_outside_the_folders_are_refused(roots, data):
    value = str(roots / data) if data.startswith("data") else data
    with pytest.raises((UsageError, ConfigError)) as error:
        check_bounds(CONFIG, [*changes(CONFIG, [], data=value)], str(roots / "reports"))
    assert "outside the folders" in str(error.value) or "null character" in str(error.value)


def test_the_reference_and_the_output_are_bounded_too(roots):
    with pytest.raises(UsageError, match=r"data\.reference"):
        check_bounds(CONFIG, ["data.reference=/etc/passwd"], str(roots / "reports"))
    with pytest.raises(UsageError, match=REPORT_ROOTS):
        check_bounds(CONFIG, [], str(roots / "data"))


def test_the_configs_own_paths_are_the_operators(roots):
    check_bounds(CONFIG, changes(CONFIG, [], data="data/adult/test.parquet"), str(roots / "reports"))


@pytest.mark.parametrize(
    "setting",
    [
        "model.path=/tmp/model", "model.preprocessor=os:system", "model.trusted_types=[os.system]", "name=../../x",
        "data.image=path", "run.dask.address=tcp://10.0.0.1:1", "schedule.cron=* * * * *", "explainx=1", " name = x",
    ],
)  # fmt: skip
def test_keys_that_open_files_or_run_code_are_the_operators(roots, setting):
    with pytest.raises(UsageError, match="cannot be changed from Prefect's UI"):
        check_bounds(CONFIG, [setting], str(roots / "reports"))


def test_keys_that_may_be_changed_are_keys_of_a_config():
    from flows.form import _OPEN_KEYS

    for key in _OPEN_KEYS:
        model = AuditConfig
        for part in key.split("."):
            assert part in model.model_fields, key
            inside = model.model_fields[part].annotation
            model = inside if hasattr(inside, "model_fields") else model


def test_a_config_that_is_not_served_is_refused(roots, monkeypatch):
    monkeypatch.setenv(CONFIGS, "configs/digit_scenes.yaml")
    with pytest.raises(UsageError, match="digit_scenes"):
        check_bounds(CONFIG, [], str(roots / "reports"))


def test_without_folders_the_current_one_bounds(tmp_path, monkeypatch):
    from flows.form import roots_of

    monkeypatch.delenv(DATA_ROOTS, raising=False)
    monkeypatch.chdir(tmp_path)
    assert roots_of(DATA_ROOTS) == (str(tmp_path),)
    assert is_below("x/y.parquet", roots_of(DATA_ROOTS))
    assert not is_below("../y.parquet", roots_of(DATA_ROOTS))


def test_the_api_refuses_what_the_form_does_not_offer(prefect_server, subject, tmp_path):
    import asyncio

    import httpx
    from prefect.settings import PREFECT_API_URL

    from flows.deployments import Deployment

    path = subject.write(tmp_path, {"name": "form"})
    deployment = Deployment(checked_config(str(path)), str(path), (str(path),), str(tmp_path / "reports"))
    found = asyncio.run(deployment.aapply())
    start = f"{PREFECT_API_URL.value()}/deployments/{found}/create_flow_run"
    for wrong, said in (
        ({"config": "/etc/passwd"}, "/etc/passwd"), ({"rows": -1}, "-1"), ({"rows": "many"}, "many"),
        ({"techniques": ["lame"]}, "lame"), ({"model_version": "newest"}, "newest"), ({"unknown": 1}, "unknown"),
    ):  # fmt: skip
        answer = httpx.post(start, json={"parameters": wrong}, timeout=60)
        assert answer.status_code in {409, 422}, (wrong, answer.text)
        assert said in answer.text
    right = {"rows": 5, "techniques": ["lime"], "model_version": "1", "settings": ["explain.seed=1"]}
    assert httpx.post(start, json={"parameters": right}, timeout=60).status_code in {200, 201}


def test_the_flow_itself_takes_the_form(audit, subject, tmp_path):
    from flows.audit import audit as flow

    path = subject.write(tmp_path, {})
    state = flow(
        config=str(path), rows=6, techniques=["permutation"], reports=str(tmp_path / "reports"), return_state=True
    )
    folder = Path(state.result(raise_on_failure=False).folder)
    kept = checked_config(str(folder / "config.yaml"))
    assert kept.explain.rows == 6
    assert kept.explain.techniques == {"permutation": {"repeats": 2}}
    assert (folder / "artifacts" / "importance.parquet").is_file()
    assert not (folder / "artifacts" / "attributions").exists()
