"""A team service over TLS for clients in separate environments.

Standard library and pytest only. The service runs with the interpreter that `SERVICE_PYTHON` names.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TOKENS = {"alice": "token-of-alice", "bob": "token-of-bob"}
SIMULATORS = {
    "aer_simulator",
    # Retired names for it, which only the older clients see.
    "ibmq_qasm_simulator",
    *("simulator_statevector", "simulator_mps", "simulator_qasm3"),
    *("simulator_stabilizer", "simulator_extended_stabilizer"),
}
SECONDS = 60


@contextmanager
def team_service(home: Path, *options: str) -> Iterator[str]:
    """Start the service, give its address, and see that it ends as it should."""
    command = [os.environ["SERVICE_PYTHON"], "-m", "prefect_qiskit_runtime.cli", "serve"]
    users = [f"--user={name}:{token}" for name, token in TOKENS.items()]
    place = ["--home", str(home), "--port", "0", *options]
    log = home / "service.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*command, *users, *place], stdout=subprocess.PIPE, stderr=output, text=True
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready "), log.read_text()
        yield line.split()[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    assert "Traceback" not in log.read_text()


@contextmanager
def trusted_service(home: Path, *options: str) -> Iterator[str]:
    """Run the service over TLS, with a certificate that the client's libraries trust."""
    with (
        team_service(home, "--tls", "self-signed", *options) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        # Its two libraries look for trusted certificates in different places.
        for name in ("REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"):
            patch.setenv(name, str(certificate(home)))
        patch.setenv("NO_PROXY", "*")
        yield url


def certificate(home: Path) -> Path:
    """Return the certificate of a service with `--tls self-signed`."""
    return home / "tls" / "cert.pem"
