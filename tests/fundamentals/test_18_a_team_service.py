"""Share a service: programs that are public, jobs that are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow

from prefect_qiskit_runtime import (
    NotFoundError,
    RuntimeBackend,
    RuntimeServiceCredentials,
    attach_job,
    submit_program,
    upload_program,
)
from tests.team import TOKENS, TeamService, start_team


@pytest.fixture
def team(tmp_path: Path) -> Iterator[TeamService]:
    """The service that `prefect-qiskit-runtime serve --user alice:... --user bob:...` starts."""
    service = start_team(tmp_path / "home")
    yield service
    service.close()


def test_a_program_of_alice_runs_for_bob_and_his_job_is_his_own(team: TeamService) -> None:
    def backend_of(user: str) -> RuntimeBackend:
        credentials = RuntimeServiceCredentials(url=team.url, token=TOKENS[user])
        return RuntimeBackend(name="aer_simulator", service="team", credentials=credentials)

    @flow
    def shared() -> tuple[str, str]:
        alice, bob = backend_of("alice"), backend_of("bob")
        program_id = upload_program("programs/ground_energy.py", is_public=True, backend=alice)
        job = submit_program(program_id, {"field": 0.75}, backend=bob)
        return job.job_id, job.result()

    job_id, result = shared()
    assert result == {"energy": pytest.approx(-1.25)}
    assert attach_job(job_id, backend=backend_of("bob")).job_id == job_id
    with pytest.raises(NotFoundError, match=job_id):
        attach_job(job_id, backend=backend_of("alice"))
