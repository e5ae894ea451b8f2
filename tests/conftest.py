"""Fixtures that several rooms share: an embedded home, a Prefect server, services and a proxy."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from prefect_qiskit_runtime.testing import OfflineService
    from tests.proxy import Proxy
    from tests.team import TeamService

COUNTING = '''
"""Count, publishing each number; wait for a file to appear before the last one."""

import os
import time


def main(backend, user_messenger, *, upto, wait_for=None):
    for number in range(upto):
        user_messenger.publish({"number": number})
    while wait_for is not None and not os.path.exists(wait_for):
        time.sleep(0.01)
    return {"upto": upto, "backend": backend.name}
'''


def _forget_ignored_signals() -> None:
    """Let the processes that the tests start have the default handlers.

    A shell without job control starts background commands (`make test &`) with SIGINT ignored,
    `nohup` ignores SIGHUP, and processes inherit that. A handler is not inherited.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            is_child = number == signal.SIGCHLD
            signal.signal(number, signal.SIG_DFL if is_child else lambda *_: None)
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


_forget_ignored_signals()

# Before Prefect is imported, which reads it then: what one run keeps, the next does not find.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-home-")
atexit.register(shutil.rmtree, os.environ["PREFECT_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def service_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Home of one embedded service for all tests of this process; it is stopped at the end."""
    from tests.embedded import embedded_home

    with embedded_home(tmp_path_factory.mktemp("runtime-home")) as home:
        yield home


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server with a separate database, for the tests that run flows."""
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    # The heartbeat thread is joined at the end of each sync flow, which costs a second.
    with (
        prefect_test_harness(server_startup_timeout=180),
        temporary_settings(
            {
                PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
                PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore",  # tasks outside of flows
            }
        ),
    ):
        yield


@pytest.fixture(scope="session")
def counting(service_home: object) -> str:
    """Id of a program of the embedded service that counts; it can be held until a file exists."""
    from prefect_qiskit_runtime import upload_program

    # No page of the documentation uploads a program of this name.
    return upload_program.fn(COUNTING, name="counting-until")


# --- services in separate processes --------------------------------------------------------------


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamService]:
    """A team service of alice and bob."""
    from tests.team import running_team

    with running_team(tmp_path_factory.mktemp("team") / "home") as service:
        yield service


@pytest.fixture
def proxy(team: TeamService) -> Iterator[Proxy]:
    """A proxy to the team service, which can break requests."""
    from tests.proxy import Proxy

    proxy = Proxy(team.url)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def running_offline() -> Iterator[OfflineService]:
    """The process behind `offline`. Starting it takes seconds."""
    from prefect_qiskit_runtime.testing import offline_service

    with offline_service() as service:
        yield service


@pytest.fixture
def offline(running_offline: OfflineService) -> Iterator[OfflineService]:
    """A service with its fault mode; the faults of a test end with it."""
    running_offline.clear()
    yield running_offline
    running_offline.clear()


@pytest.fixture(scope="module")
def running_cloud() -> Iterator[OfflineService]:
    """The process behind `cloud`. Starting it takes seconds."""
    from prefect_qiskit_runtime.testing import offline_service

    with offline_service(imitate="ibm") as service:
        yield service


@pytest.fixture
def cloud(running_cloud: OfflineService) -> Iterator[OfflineService]:
    """A service that imitates IBM's cloud, without its limits; each test logs in by itself."""
    from prefect_qiskit_runtime.client.ibm import _login

    _login._logins.cache_clear()
    running_cloud.clear()
    yield running_cloud
    running_cloud.clear()
