"""A team service for prefect-qiskit, a client of IBM Quantum that IBM did not write for us.

pytest and what the client brings only: these tests run in an environment with the client in it.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from prefect_qiskit.runtime import QuantumRuntime
from prefect_qiskit.vendors.ibm_quantum import IBMQuantumCredentials
from prefect_qiskit.vendors.ibm_quantum.client import IBMQuantumPlatformClient
from serving import TOKENS, team_service
from surface import Surface

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/account:instance::"

SURFACE = Surface(
    IBMQuantumPlatformClient,
    cannot={},
)


def pytest_sessionfinish(session: pytest.Session) -> None:
    SURFACE.report(session)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        team_service(tmp_path_factory.mktemp("team"), "--fault-mode") as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("NO_PROXY", "*")
        yield url


@pytest.fixture(scope="session", autouse=True)
def prefect_server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def credentials(url: str) -> IBMQuantumCredentials:
    return IBMQuantumCredentials(
        api_key=TOKENS["alice"], crn=CRN, auth_url=url, runtime_url=f"{url}/experimental/api/v1/"
    )


@pytest.fixture
def api(url: str) -> Iterator[httpx.Client]:
    """The service without the client, to make it fail and to see what it was sent."""
    headers = {"Authorization": f"Bearer {TOKENS['alice']}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as api:
        yield api


@pytest.fixture
def client(credentials: IBMQuantumCredentials) -> IBMQuantumPlatformClient:
    return credentials.get_client()


@pytest.fixture
def runtime(credentials: IBMQuantumCredentials) -> QuantumRuntime:
    return QuantumRuntime(
        resource_name="fake_manila", credentials=credentials, max_retry=0, retry_delay=0
    )
