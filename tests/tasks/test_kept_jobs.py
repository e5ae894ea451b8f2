"""Jobs as results that are kept, and on their way to other processes: without their login."""

from __future__ import annotations

import pickle

import pytest

from prefect_qiskit_runtime import (
    ConfigurationError,
    RuntimeBackend,
    RuntimeJob,
    RuntimeServiceCredentials,
)

TOKEN = "very-secret-token"


def team_backend() -> RuntimeBackend:
    login = {"url": "http://127.0.0.1:9", "token": TOKEN}
    credentials = RuntimeServiceCredentials.model_validate(login)
    return RuntimeBackend(name="fake_lima", service="team", credentials=credentials, tags=["mine"])


def test_a_login_that_is_saved_nowhere_stays_behind() -> None:
    kept = pickle.dumps(RuntimeJob("j1", team_backend()))
    assert TOKEN.encode() not in kept
    job = pickle.loads(kept)
    assert job.job_id == "j1"
    with pytest.raises(ConfigurationError, match="not in a saved block"):
        _ = job.backend
    assert TOKEN.encode() not in pickle.dumps(job)


def test_a_job_of_the_embedded_service_needs_none() -> None:
    job = pickle.loads(pickle.dumps(RuntimeJob("j1", RuntimeBackend(name="fake_lima"))))
    assert job.backend == RuntimeBackend(name="fake_lima")


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("saved", ["the backend", "the login"])
def test_a_login_that_is_saved_is_loaded_again(saved: str) -> None:
    backend = team_backend()
    if saved == "the backend":
        backend.save("kept", overwrite=True)
    else:
        assert backend.credentials is not None
        backend.credentials.save("kept-login", overwrite=True)
    kept = pickle.dumps(RuntimeJob("j1", backend))
    assert TOKEN.encode() not in kept
    again = pickle.loads(kept).backend
    assert (again.name, again.tags) == ("fake_lima", ["mine"])
    assert again.credentials.token.get_secret_value() == TOKEN
