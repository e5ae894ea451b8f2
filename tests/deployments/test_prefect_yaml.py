"""The deployments of `prefect.yaml`: deployed to a work pool, served, and started by schedules."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate

from tests.deployments.conftest import ROOT
from tests.flow_processes import flow_environment
from tests.ports import free_port
from tests.waiting import wait_until

DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
PREFECT = Path(sys.executable).with_name("prefect")
SCHEDULED = ROOT / "flows" / "cancel_abandoned_jobs.py"


def environment(**variables: str) -> dict[str, str]:
    return flow_environment(PREFECT_RUNNER_POLL_FREQUENCY="1", **variables)


def deploy(folder: Path) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="local", type="process"), overwrite=True)
    done = subprocess.run(
        [PREFECT, "--no-prompt", "deploy", "--all"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def deployed(prefect_server: None) -> dict[str, Any]:
    """The deployments as the server has them, by the file of their flow."""
    deploy(ROOT)
    with get_client(sync_client=True) as client:
        saved = client.read_deployments(limit=100)
    return {one.entrypoint: one for one in saved if one.work_pool_name == "local"}


def test_every_flow_has_a_deployment(deployed: dict[str, Any]) -> None:
    files = {path.stem for path in (ROOT / "flows").glob("*.py")}
    assert {Path(entrypoint.split(":")[0]).stem for entrypoint in deployed} == files - NO_FLOWS


NO_FLOWS = {"generate_molecules", "seeds", "shots", "serve"}


@pytest.mark.parametrize("entrypoint", [one["entrypoint"] for one in DEPLOYMENTS])
def test_a_deployment_has_a_form_tags_and_a_limit(
    deployed: dict[str, Any], entrypoint: str
) -> None:
    deployment = deployed[entrypoint]
    assert deployment.description
    assert "qiskit-runtime" in deployment.tags
    assert deployment.global_concurrency_limit.limit >= 1
    properties = deployment.parameter_openapi_schema["properties"]
    assert [name for name, form in properties.items() if not form.get("description")] == []
    if "backend" in properties:
        offered = str(deployment.parameter_openapi_schema)
        assert "qiskit-runtime-backend" in offered


def test_the_scheduled_ones_are_scheduled(deployed: dict[str, Any]) -> None:
    scheduled = {entrypoint: one.schedules for entrypoint, one in deployed.items() if one.schedules}
    assert {entrypoint.split(":")[1] for entrypoint in scheduled} == SCHEDULED_FLOWS
    assert all(schedules[0].active for schedules in scheduled.values())


SCHEDULED_FLOWS = {"backend_health", "cancel_abandoned_jobs"}


@pytest.fixture
def often(tmp_path: Path) -> Path:
    """A `prefect.yaml` whose deployment runs every three seconds."""
    deployment = {
        "name": "often",
        "entrypoint": f"{SCHEDULED}:cancel_abandoned_jobs",
        "schedules": [{"interval": 3}],
        "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
        "work_pool": {"name": "local"},
    }
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump({"deployments": [deployment]}))
    return tmp_path


@contextmanager
def running(
    command: list[str], folder: Path, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    except BaseException:
        print((folder / "log").read_text())
        raise
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def own_database(folder: Path) -> dict[str, str]:
    """Settings of a Prefect server that does not share the database of the tests."""
    database = folder / "home" / "prefect.db"
    return {
        "PREFECT_HOME": str(database.parent),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
    }


def run_of_the_schedule(url: str) -> dict[str, Any] | None:
    """The first flow run that a schedule has made and that has completed."""
    try:
        found = httpx.post(f"{url}/flow_runs/filter", json={}, trust_env=False).json()
    except httpx.TransportError:
        return None
    completed = [run for run in found if run["auto_scheduled"] and run["state_type"] == "COMPLETED"]
    return completed[0] if completed else None


@pytest.mark.slow
@pytest.mark.usefixtures("service_home")
def test_what_make_serve_starts_runs_by_its_schedule_and_ends_with_ctrl_c(often: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    script = str(ROOT / "flows" / "serve.py")
    command = [sys.executable, script, "--port", str(port), "--file", str(often / "prefect.yaml")]
    with running(command, often, **own_database(often), PREFECT_API_URL="") as process:
        run = wait_until(lambda: run_of_the_schedule(url), "a run")
        assert run["work_pool_name"] is None
        block = httpx.get(
            f"{url}/block_types/slug/qiskit-runtime-backend/block_documents/name/embedded",
            trust_env=False,
        )
        assert block.json()["data"]["name"] == "aer_simulator"
    assert process.returncode == 0
    assert (often / "log").read_text().endswith("Ended.\n")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/health", trust_env=False)


@pytest.mark.slow
@pytest.mark.usefixtures("service_home")
def test_a_worker_of_a_process_pool_runs_it_by_its_schedule(often: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    server = [str(PREFECT), "server", "start", "--port", str(port)]
    mine = {**own_database(often), "PREFECT_API_URL": url}
    with running(server, often, **{**mine, "PREFECT_API_URL": ""}):
        wait_until(lambda: answers(url), "the Prefect server")
        for arguments in (
            # Prefect's client asks again where its server was busy, and the pool may be there then.
            ["work-pool", "create", "--overwrite", "--type", "process", "local"],
            ["deploy", "--all"],
        ):
            subprocess.run(
                [PREFECT, "--no-prompt", *arguments], cwd=often, env=environment(**mine), check=True
            )
        with running([str(PREFECT), "worker", "start", "--pool", "local"], often, **mine) as worker:
            run = wait_until(lambda: run_of_the_schedule(url), "a run")
        assert run["work_pool_name"] == "local"
        assert run["infrastructure_pid"] is not None  # of a process that the worker has started
        assert worker.returncode == 0


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False
