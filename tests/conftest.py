"""Fixtures that several rooms share: a home of their own, a Prefect server, the service's API."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Before Prefect is imported, which reads it then: what one run keeps, the next does not find.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-home-")
atexit.register(shutil.rmtree, os.environ["PREFECT_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def service_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Home of one embedded service for all tests of this process; it is stopped at the end."""
    home = tmp_path_factory.mktemp("runtime-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_QISKIT_RUNTIME_HOME", str(home))
        yield home
        subprocess.run(
            [sys.executable, "-m", "prefect_qiskit_runtime.cli", "service", "stop", "--force"],
            check=True,
            capture_output=True,
            timeout=60,
        )


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server with a database of its own, for the tests that run flows."""
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    # The heartbeat thread is joined at the end of each sync flow, which costs a second.
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings(
            {
                PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
                PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore",  # tasks outside of flows
            }
        ),
    ):
        yield
