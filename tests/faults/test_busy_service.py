"""A service that takes no job now: it is waited for, and one job is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefect_qiskit_runtime import (
    ConflictError,
    InvalidInputError,
    RuntimeBackend,
    list_jobs,
    run_sampler,
    submit_sampler,
)
from prefect_qiskit_runtime.testing import OfflineService
from tests.circuits import flip


@pytest.fixture
def backend(at_ibm: Callable[..., RuntimeBackend]) -> RuntimeBackend:
    return at_ibm()


def count(backend: RuntimeBackend) -> dict[str, int]:
    (result,) = run_sampler.fn([flip()], backend=backend, shots=5)
    return result.data.meas.get_counts()


def posts(cloud: OfflineService) -> list[int]:
    return [request["status"] for request in cloud.requests("POST", "/jobs")]


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 429, "retry_after_seconds": 2},
        {"status": 423, "code": 1233},
        {"status": 423},
        {"status": 400, "code": 3458},
        {"status": 409, "code": 1012, "retry_after_seconds": 2},
    ],
    ids=str,
)
def test_a_refusal_that_passes_is_waited_out(
    cloud: OfflineService, backend: RuntimeBackend, refusal: dict[str, Any]
) -> None:
    cloud.add("refuse", when={"method": "POST", "path": "/jobs"}, **refusal)
    before = len(list_jobs.fn(backend=backend, limit=None))
    assert count(backend) == {"1": 5}
    assert posts(cloud) == [refusal["status"], 200]
    assert len(list_jobs.fn(backend=backend, limit=None)) == before + 1
    # It is clear that the refused one made no job: none is looked for.
    assert not [one for one in cloud.requests("GET", "/jobs") if "tags=" in one["query"]]


def test_the_limit_of_submissions_is_waited_out(
    cloud: OfflineService, backend: RuntimeBackend
) -> None:
    cloud.add("submission_limit", submissions=1, seconds=2)
    assert [count(backend), count(backend)] == [{"1": 5}] * 2
    assert posts(cloud)[0] == 200
    assert set(posts(cloud)[1:-1]) <= {429}
    assert posts(cloud)[-1] == 200


def test_the_limit_of_pending_jobs_is_waited_out(
    cloud: OfflineService, backend: RuntimeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.add("hold_job", seconds=1)
    submit_sampler.fn([flip()], backend=backend, shots=5)
    cloud.add("pending_limit", jobs=1)
    assert count(backend) == {"1": 5}
    assert posts(cloud)[0] == 200
    assert posts(cloud).count(200) == 2
    assert "reached its limit of pending jobs" in caplog.text  # asked, or known from a job before
    assert posts(cloud)[-1] == 200


def test_and_not_for_ever(cloud: OfflineService, backend: RuntimeBackend) -> None:
    cloud.add("refuse", when={"method": "POST", "path": "/jobs"}, status=400, code=1012)
    impatient = backend.model_copy(update={"retry_deadline_seconds": 0})
    with pytest.raises(InvalidInputError) as caught:
        count(impatient)
    assert (caught.value.code, caught.value.transient) == (1012, True)


def test_a_limit_that_does_not_pass_is_reported_at_once(
    cloud: OfflineService, backend: RuntimeBackend
) -> None:
    cloud.add("usage_limit")
    with pytest.raises(ConflictError) as caught:
        count(backend)
    assert (caught.value.code, caught.value.transient, posts(cloud)) == (4317, False, [409])


def test_a_code_does_not_make_an_unclear_outcome_clear(
    cloud: OfflineService, backend: RuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS", "2")
    when = {"method": "POST", "path": "/jobs"}
    cloud.add("refuse", when=when, status=503, code=1999, after_effect=True)
    assert count(backend) == {"1": 5}
    assert posts(cloud) == [503]
