"""A team service over TLS for qiskit-ibmq-provider, IBM's client of 2021 and 2022.

Standard library and pytest only: these tests run in an environment with the client in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from qiskit.providers.ibmq import AccountProvider, IBMQFactory
from qiskit.providers.ibmq.runtime import IBMRuntimeService, RuntimeJob, RuntimeProgram
from qiskit.providers.ibmq.runtime.runtime_program import ParameterNamespace
from serving import TOKENS, trusted_service
from surface import Surface

SURFACE = Surface(
    *(IBMQFactory, AccountProvider, IBMRuntimeService),
    *(RuntimeJob, RuntimeProgram, ParameterNamespace),
    cannot={
        "AccountProvider.backends": "Each instance has an attribute of that name: that is called."
    },
)


def pytest_sessionfinish(session: pytest.Session) -> None:
    SURFACE.report(session)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home of the service."""
    return tmp_path_factory.mktemp("team")


@pytest.fixture(scope="session")
def url(home: Path) -> Iterator[str]:
    """Where a user of the client logs in; the client's libraries trust the certificate."""
    with trusted_service(home) as url:
        yield f"{url}/api"


@pytest.fixture(scope="session")
def provider(url: str) -> AccountProvider:
    return IBMQFactory().enable_account(TOKENS["alice"], url)


@pytest.fixture(scope="session")
def service(provider: AccountProvider) -> IBMRuntimeService:
    return provider.runtime


@pytest.fixture(scope="session")
def bob(url: str) -> IBMRuntimeService:
    return IBMQFactory().enable_account(TOKENS["bob"], url).runtime
