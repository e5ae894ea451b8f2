"""Clusters of Dask and of Ray whose workers are other processes, in another folder."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.ports import free_port

FLOWS = Path(__file__).parents[2] / "flows"
BIN = Path(sys.executable).parent
START_SECONDS = 150.0

# Before Ray is imported, which reads them then. Without, it leaves a token in the user's home.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def environment() -> dict[str, str]:
    """The environment of workers: the home of the embedded service, no settings of Prefect."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the workers run."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="session")
def dask_runner(prefect_server: None, service_home: Path, elsewhere: Path) -> Iterator[Any]:
    from distributed import Client
    from prefect_dask import DaskTaskRunner

    address = f"tcp://127.0.0.1:{free_port()}"
    commands = (
        ("scheduler", "--host", address, "--no-dashboard"),
        ("worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard"),
    )
    with ExitStack() as stack:
        log = stack.enter_context((elsewhere / "dask.log").open("w"))
        for command in commands:
            process = subprocess.Popen(
                [BIN / "dask", *command],
                cwd=elsewhere,
                env={**environment(), "PYTHONPATH": str(FLOWS)},
                stdout=log,
                stderr=log,
            )
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
        with Client(address, timeout=START_SECONDS) as client:
            client.wait_for_workers(2, timeout=START_SECONDS)
        yield DaskTaskRunner(address=address)


@pytest.fixture(scope="session")
def ray_runner(
    prefect_server: None,
    service_home: Path,
    elsewhere: Path,
) -> Iterator[Any]:
    port = free_port()
    with ExitStack() as stack:
        start_ray(port, elsewhere, stack)
        from prefect_ray import RayTaskRunner

        yield RayTaskRunner(
            address=f"127.0.0.1:{port}",
            # Ray brings the code of a flow, and what lies beside it, to its workers.
            init_kwargs={"runtime_env": {"working_dir": str(FLOWS)}, "log_to_driver": False},
        )


def start_ray(port: int, folder: Path, stack: ExitStack) -> None:
    """Start a node of Ray that ends with the stack."""
    sockets = stack.enter_context(TemporaryDirectory(prefix="ray-"))  # their paths must be short
    command = (
        *(str(BIN / "ray"), "start", "--head", "--block", "--port", str(port), "--num-cpus", "2"),
        *("--include-dashboard", "false", "--disable-usage-stats", "--temp-dir", sockets),
    )
    # Ray gives its own processes 30 seconds to start, which a busy machine may need more of.
    for _ in range(3):
        process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        if any("Ray runtime started" in line for line in process.stdout):
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            return
        process.wait()
    raise AssertionError("Ray does not start.")


@pytest.fixture(params=["dask", "ray"])
def runner(request: pytest.FixtureRequest) -> Any:
    """A task runner of a cluster that is there before the flow."""
    return request.getfixturevalue(f"{request.param}_runner")
