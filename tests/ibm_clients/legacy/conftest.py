"""A team service over TLS for IBM's clients of 2022 and 2023.

Standard library and pytest only: these tests run in an environment with the client in it. The
service has the interpreter that `OLD_IMAGE` names as an image.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import qiskit_ibm_runtime
from qiskit_ibm_runtime import (
    ParameterNamespace,
    QiskitRuntimeService,
    RuntimeJob,
    RuntimeProgram,
    Session,
)
from serving import TOKENS, trusted_service
from surface import Surface

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/account:instance::"

SURFACE = Surface(
    *(QiskitRuntimeService, RuntimeJob, RuntimeProgram, ParameterNamespace, Session),
    *([qiskit_ibm_runtime.Batch] if hasattr(qiskit_ibm_runtime, "Batch") else []),
    cannot={},
)


def pytest_sessionfinish(session: pytest.Session) -> None:
    SURFACE.report(session)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home of the service."""
    return tmp_path_factory.mktemp("team")


@pytest.fixture(scope="session")
def url(home: Path) -> Iterator[str]:
    """Where the service is; the client's libraries trust its certificate."""
    image = [f"--image=qiskit:0.45={os.environ['OLD_IMAGE']}"] if "OLD_IMAGE" in os.environ else []
    with trusted_service(home, *image) as url:
        yield url


@pytest.fixture(scope="session", params=["ibm_cloud", "ibm_quantum"])
def connect(
    request: pytest.FixtureRequest, url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], QiskitRuntimeService]]:
    """Log a user in through each channel."""

    def connect(token: str) -> QiskitRuntimeService:
        if request.param == "ibm_cloud":
            return QiskitRuntimeService(
                channel="ibm_cloud", token=token, url=f"{url}/experimental", instance=CRN
            )
        return QiskitRuntimeService(channel="ibm_quantum", token=token, url=f"{url}/api")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield connect


@pytest.fixture(scope="session")
def service(connect: Callable[[str], QiskitRuntimeService]) -> QiskitRuntimeService:
    return connect(TOKENS["alice"])


@pytest.fixture(scope="session")
def bob(connect: Callable[[str], QiskitRuntimeService]) -> QiskitRuntimeService:
    return connect(TOKENS["bob"])
