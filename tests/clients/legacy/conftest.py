"""A team service over TLS for IBM's clients of 2022 and 2023.

Standard library and pytest only: these tests run in an environment with the client in it. The
service runs with the interpreter that `SERVICE_PYTHON` names.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest
from qiskit_ibm_runtime import QiskitRuntimeService

TOKENS = {"alice": "token-of-alice", "bob": "token-of-bob"}
CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/account:instance::"
SECONDS = 60


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the service is; the client's libraries trust its certificate."""
    home = tmp_path_factory.mktemp("team")
    command = [os.environ["SERVICE_PYTHON"], "-m", "prefect_qiskit_runtime.cli", "serve"]
    users = [f"--user={name}:{token}" for name, token in TOKENS.items()]
    options = ["--home", str(home), "--port", "0", "--tls", "self-signed"]
    with (
        (home / "service.log").open("w") as log,
        subprocess.Popen(
            [*command, *users, *options], stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
        pytest.MonkeyPatch.context() as patch,
    ):
        line = process.stdout.readline()
        assert line.startswith("ready "), (home / "service.log").read_text()
        # The two libraries of the client look for trusted certificates in different places.
        for name in ("REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"):
            patch.setenv(name, str(home / "tls" / "cert.pem"))
        patch.setenv("NO_PROXY", "*")
        yield line.split()[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    assert "Traceback" not in (home / "service.log").read_text()


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
