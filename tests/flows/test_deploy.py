"""Deployments to a work pool: `keras-audit deploy` and prefect.yaml, and a worker that runs one; the image's recipe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.deployments import Deployment, deploy_audits
from flows.form import DATA_ROOTS
from flows.preflight import checked_config
from tasks.errors import ConfigError, UsageError

FOLDER = Path("flows/deploy")


def _ask(path, **body):
    import httpx
    from prefect.settings import PREFECT_API_URL

    address = f"{PREFECT_API_URL.value()}/{path}"
    answer = httpx.post(address, json=body, timeout=60) if body else httpx.get(address, timeout=60)
    return answer.raise_for_status().json()


def _prefect(*arguments, **environment):
    """Prefect's command line against the tests' server."""
    from prefect.settings import get_current_settings

    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    done = subprocess.run(
        command, env={**os.environ, **settings, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def pool(prefect_server):
    _prefect("work-pool", "create", "audits", "--type", "process", "--overwrite")
    return "audits"


def test_a_worker_of_a_process_pool_runs_what_was_deployed(pool, subject, tmp_path):
    path = subject.write(tmp_path, {"name": "pooled", "schedule": {"cron": "0 6 * * 1"}})
    deploy_audits([path], tmp_path / "reports", pool, None)
    found = _ask("deployments/name/audit/pooled")
    assert found["work_pool_name"] == pool
    assert found["pull_steps"] in (None, [])
    assert found["entrypoint"] == "flows.audit.audit"
    assert found["path"] is None
    assert str(Path.cwd()) in found["job_variables"]["env"][DATA_ROOTS]
    assert found["schedules"][0]["schedule"]["cron"] == "0 6 * * 1"
    # The folders that the worker's environment gives hold for its runs.
    where = {"KERAS_AUDIT_REPORT_ROOTS": str(tmp_path), DATA_ROOTS: str(tmp_path)}
    order = {"parameters": {"rows": 5}, "job_variables": {"env": where}}
    run = _ask(f"deployments/{found['id']}/create_flow_run", **order)
    _prefect("worker", "start", "--pool", pool, "--run-once", "--name", "the-tests", KERAS_AUDIT_SITE_URL="")
    state = _ask(f"flow_runs/{run['id']}")["state"]
    assert state["name"] == "Completed: policy not satisfied", state
    assert (tmp_path / "reports" / "pooled" / "latest" / "report.html").is_file()


def test_prefect_yaml_registers_the_bundled_audits_with_prefects_own_command(pool):
    _prefect("deploy", "--all", "--prefect-file", str(FOLDER / "prefect.yaml"), KERAS_AUDIT_POOL=pool)
    given = yaml.safe_load((FOLDER / "prefect.yaml").read_text())
    assert given["pull"] == []
    configs = {path.stem.replace("_", "-"): path for path in Path("configs").glob("*.yaml")}
    assert {one["name"] for one in given["deployments"]} == set(configs)
    for name, path in configs.items():
        config = checked_config(str(path))
        found = _ask(f"deployments/name/audit/{name}")
        assert name == config.name
        assert found["work_pool_name"] == pool
        assert found["pull_steps"] in (None, [])
        assert found["parameters"]["config"] == str(path)
        assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        schedules = [(one["schedule"]["cron"], one["schedule"]["timezone"]) for one in found["schedules"]]
        assert schedules == ([(config.schedule.cron, config.schedule.timezone)] if config.schedule else [])


def test_a_container_is_given_its_image_and_no_folder_of_this_machine(monkeypatch):
    monkeypatch.delenv(DATA_ROOTS, raising=False)
    path = "configs/adult_income.yaml"
    wanted = Deployment(checked_config(path), path, (path,), "reports", pool="docker", image="audits:1").wanted()
    assert wanted["job_variables"] == {"image": "audits:1", "env": {}}
    assert wanted["pull_steps"] == []
    monkeypatch.setenv(DATA_ROOTS, "/srv/data")
    wanted = Deployment(checked_config(path), path, (path,), "reports", pool="docker", image="audits:1").wanted()
    assert wanted["job_variables"]["env"] == {DATA_ROOTS: "/srv/data"}


def test_a_docker_pool_takes_the_deployment(prefect_server, subject, tmp_path):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    # The variables of Prefect's own docker type that a deployment sets.
    template = {"variables": {"properties": {"image": {"type": "string"}, "env": {"type": "object"}}}}
    template["job_configuration"] = {"image": "{{ image }}", "env": "{{ env }}"}
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="docker", type="docker", base_job_template=template))
    path = subject.write(tmp_path, {"name": "contained"})
    deploy_audits([path], Path("reports"), "docker", "audits:1")
    assert _ask("deployments/name/audit/contained")["job_variables"]["image"] == "audits:1"


def test_what_cannot_be_deployed_is_told_before_anything_is_registered(pool, subject, tmp_path):
    good = subject.write(tmp_path, {"name": "first"})
    with pytest.raises(UsageError, match=r"no work pool nowhere; available: .*audits"):
        deploy_audits([good], Path("reports"), "nowhere", None)
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        deploy_audits([good, bad], Path("reports"), pool, None)
    (tmp_path / "too").mkdir()
    never = subject.write(tmp_path / "too", {"name": "never", "schedule": {"cron": "99 6 * * 1"}})
    with pytest.raises(ConfigError, match=r"schedule\.cron"):
        deploy_audits([good, never], Path("reports"), pool, None)
    with pytest.raises(UsageError, match="taken"):
        deploy_audits([good, good], Path("reports"), pool, None)
    assert not _ask("deployments/filter", deployments={"name": {"any_": ["first", "never"]}})


def test_a_pool_needs_an_api(subject, tmp_path):
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_PROFILES_PATH": str(tmp_path / "p.toml")}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "flows.cli", "deploy", "configs/adult_income.yaml", "--pool", "audits"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "PREFECT_API_URL" in done.stderr


def test_the_image_is_that_of_the_lock_and_its_user_is_nobody_special():
    """Its statements alone: where these tests run there is no Docker."""
    text = re.sub(r"\\\n", " ", (FOLDER / "Dockerfile").read_text())
    steps = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    words = [word for word, _ in steps]
    assert words[0] == "FROM"
    assert set(words) <= {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "CMD"}
    installs = [rest for word, rest in steps if word == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "-r requirements.lock" in installs[0]
    assert {"--no-deps", "--no-index", "--no-build-isolation"} <= set(installs[1].split())  # nothing is fetched
    locked = Path("requirements.lock").read_text()
    for tool in ("setuptools", "wheel"):
        assert re.search(rf"^{tool}==", locked, re.MULTILINE), tool
    for word, rest in steps:
        if word == "COPY":
            for source in rest.split()[:-1]:
                assert Path(source).exists(), source
    user = [rest for word, rest in steps if word == "USER"]
    assert user == ["audit"]
    assert words.index("USER") > max(place for place, word in enumerate(words) if word == "RUN")
    assert "ARG" not in words  # and so no secret is left in a layer
