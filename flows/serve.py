"""Start a Prefect server, save the blocks, and serve the deployments of `prefect.yaml`.

    python flows/serve.py --port 4200

The script stays in the foreground; Ctrl-C ends the server, the served flows and the script. It
saves the blocks of `blocks/`: the embedded service always, the others if their variables are set.
"""

from __future__ import annotations

import argparse
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import yaml

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

ROOT = Path(__file__).parent.parent
BLOCKS = ROOT / "blocks"
HOST = "127.0.0.1"
START_SECONDS = 120.0
END_SECONDS = 20.0


@contextmanager
def prefect_server(port: int) -> Iterator[None]:
    """Run a Prefect server in a separate process, and use it in this one.

    Raises:
        SystemExit: It does not start.
    """
    # Prefect reads this when it is imported, so it must not be imported earlier.
    os.environ["PREFECT_API_URL"] = f"http://{HOST}:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST]
    # In a new session: Ctrl-C is for this script, which ends the server after its flows.
    server = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait_until_healthy(server, os.environ["PREFECT_API_URL"])
        yield
    finally:
        server.terminate()
        try:
            server.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_healthy(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    ended = "" if server.poll() is None else f"; it ended with {server.poll()}, see above"
    sys.exit(f"No Prefect server answers at {url}{ended}. Is the port free? See --port.")


def save_blocks() -> None:
    """Register the block types, and run the scripts of `blocks/` whose variables are set."""
    from prefect_qiskit_runtime import (
        IBMQuantumCredentials,
        RuntimeBackend,
        RuntimeProgram,
        RuntimeServiceCredentials,
    )

    for block in (
        IBMQuantumCredentials,
        RuntimeBackend,
        RuntimeProgram,
        RuntimeServiceCredentials,
    ):
        block.register_type_and_schema()
    sys.path.insert(0, str(BLOCKS))
    missing = import_module("variables").MissingVariablesError
    for script in ("embedded", "team_service", "ibm_quantum"):
        try:
            saved = runpy.run_path(str(BLOCKS / f"{script}.py"))["save"]()
        except missing:
            print(f"Skipped blocks/{script}.py: its environment variables are not set.")
        else:
            print(f"Saved {', '.join(saved)}")


def read_deployments(file: Path) -> list[RunnerDeployment]:
    """Read the deployments of a `prefect.yaml`; its work pools are ignored."""
    return [_deployment(config) for config in yaml.safe_load(file.read_text())["deployments"]]


def _deployment(config: dict[str, Any]) -> RunnerDeployment:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig
    from prefect.flows import load_flow_from_entrypoint
    from prefect.schedules import Cron, Interval, Schedule

    def schedule(given: dict[str, Any]) -> Schedule:
        others = dict(given)
        if "cron" in others:
            return Cron(others.pop("cron"), **others)
        return Interval(others.pop("interval"), **others)

    limit = config.get("concurrency_limit")
    deployment = load_flow_from_entrypoint(config["entrypoint"]).to_deployment(
        config["name"],
        tags=config.get("tags"),
        parameters=config.get("parameters"),
        schedules=[schedule(given) for given in config.get("schedules", ())],
        concurrency_limit=ConcurrencyLimitConfig(**limit) if isinstance(limit, dict) else limit,
    )
    return cast("RunnerDeployment", deployment)


def main() -> None:
    """Start everything, and run it until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Serve the example flows next to a Prefect server")
    parser.add_argument("--port", type=int, default=4200, help="port of the Prefect server")
    parser.add_argument("--file", type=Path, default=ROOT / "prefect.yaml", help="file to serve")
    given = parser.parse_args()
    # Entrypoints are relative to the file that contains them.
    os.chdir(given.file.resolve().parent)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with prefect_server(given.port):
            from prefect import serve

            save_blocks()
            deployments = read_deployments(Path(given.file.name))
            print(f"Prefect's UI: http://{HOST}:{given.port}  (Ctrl-C ends everything)", flush=True)
            serve(*deployments)
    except KeyboardInterrupt:
        pass
    print("Ended.")


if __name__ == "__main__":
    main()
