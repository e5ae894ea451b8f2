"""Loops that end when their jobs have used a given time on a device."""

from __future__ import annotations

import pytest

from prefect_qiskit_runtime import ConfigurationError, LoopResult, minimize
from prefect_qiskit_runtime.testing import OfflineService
from tests.loops.flows import objective

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def service(offline: OfflineService) -> OfflineService:
    """A service on which each job has taken ten seconds."""
    offline.add("job_usage", seconds=10)
    return offline


def minimised(service: OfflineService, max_qpu_seconds: float) -> LoopResult:
    return minimize.fn(
        objective("h2_0.735", shots=50),
        [0.0, 0.0, 0.0],
        backend=service.backend(),
        method="SPSA",
        max_qpu_seconds=max_qpu_seconds,
        durable_key="qpu-budget",
    )


def test_a_loop_ends_when_its_jobs_have_taken_what_they_may(service: OfflineService) -> None:
    result = minimised(service, 25)
    assert (result.reason, len(result.history)) == ("max_qpu_seconds", 3)
    assert [step.qpu_seconds for step in result.history] == [10, 10, 10]
    assert (result.jobs, result.qpu_seconds) == (4, 40)  # with the last measurement


def test_it_ends_there_again_from_its_records_and_goes_on_with_more(
    service: OfflineService,
) -> None:
    first = minimised(service, 25)
    jobs = len(service.requests("POST", "/jobs"))
    again = minimised(service, 25)
    assert (again.value, again.reason) == (first.value, first.reason)
    assert len(service.requests("POST", "/jobs")) == jobs
    longer = minimised(service, 35)
    assert [step.replayed for step in longer.history] == [True, True, True, False]


def test_without_a_backend_no_usage_can_be_requested() -> None:
    with pytest.raises(ConfigurationError, match="max_qpu_seconds need one"):
        minimize.fn(lambda _: 0.0, [0.0], max_qpu_seconds=5)
