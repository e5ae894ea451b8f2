"""The scripts of `blocks/`, run as a user runs them, against a real Prefect server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import get_current_settings

from prefect_qiskit_runtime import IBMQuantumCredentials, RuntimeBackend, RuntimeServiceCredentials

BLOCKS = Path(__file__).parents[2] / "blocks"
TEAM = {"RUNTIME_SERVICE_URL": "https://runtime.example.org:8400", "RUNTIME_SERVICE_TOKEN": "t0"}
IBM = {"QISKIT_IBM_TOKEN": "k0", "IBM_QUANTUM_BACKEND": "ibm_fez", "QISKIT_IBM_INSTANCE": "open"}

pytestmark = pytest.mark.usefixtures("prefect_server")


def run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("QISKIT_")}
    return subprocess.run(
        [sys.executable, BLOCKS / f"{script}.py"],
        env={**ours, **settings, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_embedded_saves_a_backend_and_replaces_it() -> None:
    first = run("embedded")
    assert (first.returncode, first.stdout) == (0, "saved qiskit-runtime-backend/embedded\n")
    before = RuntimeBackend.load("embedded")
    run("embedded", RUNTIME_BACKEND="fake_manila").check_returncode()
    after = RuntimeBackend.load("embedded")
    assert (before.name, after.name) == ("aer_simulator", "fake_manila")
    assert before._block_document_id == after._block_document_id


def test_team_service_saves_a_login_and_a_backend_that_refers_to_it() -> None:
    run("team_service", **TEAM).check_returncode()
    # A new token in the login is the backend's, too.
    RuntimeServiceCredentials.model_validate(
        {"url": TEAM["RUNTIME_SERVICE_URL"], "token": "t1"}
    ).save("team", overwrite=True)
    loaded: Any = RuntimeBackend.load("team")
    assert (loaded.name, loaded.service) == ("aer_simulator", "team")
    assert loaded.credentials.token.get_secret_value() == "t1"


def test_ibm_quantum_saves_a_key_and_a_backend() -> None:
    run("ibm_quantum", **IBM).check_returncode()
    loaded = RuntimeBackend.load("ibm-quantum")
    assert (loaded.name, loaded.service) == ("ibm_fez", "ibm")
    assert isinstance(loaded.credentials, IBMQuantumCredentials)
    assert loaded.credentials == IBMQuantumCredentials.load("ibm-quantum")
    assert loaded.credentials.instance == "open"


@pytest.mark.parametrize(
    ("script", "name", "variables"),
    [("team_service", "team", TEAM), ("ibm_quantum", "ibm-quantum", IBM)],
)
def test_a_script_that_runs_again_replaces_its_blocks(
    script: str, name: str, variables: dict[str, str]
) -> None:
    saved = []
    for _ in range(2):
        run(script, **variables).check_returncode()
        loaded: Any = RuntimeBackend.load(name)
        saved.append((loaded._block_document_id, loaded.credentials._block_document_id))
    assert saved[0] == saved[1]
    assert None not in saved[0]


@pytest.mark.parametrize(
    ("script", "given", "missing"),
    [
        ("team_service", "RUNTIME_SERVICE_URL", "RUNTIME_SERVICE_TOKEN"),
        ("ibm_quantum", "QISKIT_IBM_TOKEN", "IBM_QUANTUM_BACKEND"),
    ],
)
def test_a_missing_variable_is_named_and_nothing_else_shows(
    script: str, given: str, missing: str
) -> None:
    ended = run(script, **{given: "https://very-secret", missing: ""})
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"Set these environment variables:\n  {missing}  ")
    assert "Traceback" not in ended.stderr
    assert "very-secret" not in ended.stderr + ended.stdout
