"""A real browser, at the UI of what `make serve` serves: a Prefect server, blocks, deployments."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from prefect_qiskit_runtime.testing import OfflineService, offline_service
from tests.browser.ui import Ui
from tests.deployments.conftest import DEADLINE_SECONDS, ROOT
from tests.waiting import wait_until

COMMAND = str(Path(sys.executable).with_name("prefect-qiskit-runtime"))
NO_CHROMIUM = "No Chromium here: `make browser` installs it."


@dataclass
class Served:
    """A Prefect server that `make serve` has started.

    Attributes:
        url: Of the Prefect server and its UI.
        environment: The variables of its processes.
    """

    url: str
    environment: dict[str, str]

    def run(self, *arguments: str) -> str:
        """Run the command line of the package, and return what it prints."""
        return subprocess.run(
            [COMMAND, *arguments],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    def job_status(self, job_id: str) -> str:
        jobs = json.loads(self.run("jobs", "ls", "--json"))
        return next(job["status"] for job in jobs if job["job_id"] == job_id)


@pytest.fixture(scope="package")
def chromium() -> str:
    """The path of the system's Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    return pytest.skip(NO_CHROMIUM)


@pytest.fixture(scope="package")
def served(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`make serve`, with a separate database and embedded service."""
    home = tmp_path_factory.mktemp("browser")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": "",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_QISKIT_RUNTIME_HOME": str(home / "service"),
    }
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "flows" / "serve.py"), "--port", str(port)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: serves_blocks(url, process), "the Prefect server and its blocks")
        yield Served(url, environment)
    finally:
        # As Ctrl-C, but not ignored where the tests run in the background of a script.
        process.terminate()
        process.wait(DEADLINE_SECONDS)
        Served(url, environment).run("service", "stop", "--force")


def serves_blocks(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "flows/serve.py has ended"
    path = "api/block_types/slug/qiskit-runtime-backend/block_documents/name/embedded"
    try:
        return httpx.get(f"{url}/{path}", trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def ibm() -> Iterator[OfflineService]:
    """A simulated IBM Quantum."""
    with offline_service(imitate="ibm") as service:
        yield service


@pytest.fixture
def ui(chromium: str, served: Served, tmp_path: Path) -> Iterator[Ui]:
    """A page of the UI. With SCREENSHOTS, a folder, what tests show is kept there as pictures.

    The last state of the page is in the test's temporary folder, as `last.png`.
    """
    from playwright.sync_api import sync_playwright

    # For one test only: while it lasts, its loop is treated as running in this thread.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(base_url=served.url, viewport={"width": 1280, "height": 900})
        page.set_default_timeout(1000 * DEADLINE_SECONDS)
        pictures = os.environ.get("SCREENSHOTS")
        yield Ui(page, served.url, Path(pictures) if pictures else None)
        page.screenshot(path=tmp_path / "last.png")
        browser.close()
