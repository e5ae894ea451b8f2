"""A service is killed with -9 and started again: the flows that wait for its jobs continue."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from prefect_qiskit_runtime import (
    RuntimeBackend,
    RuntimeServiceCredentials,
    list_jobs,
    run_program,
    submit_program,
    upload_program,
)
from tests.team import TOKENS, TeamService, start_team

PROGRAM = """
import os, random, time

def main(backend, user_messenger, gate=None):
    for number in range(3):
        user_messenger.publish(number)
    while gate is not None and not os.path.exists(gate):
        time.sleep(0.02)
    return random.random()
"""


class Restarted:
    """A service at one address, run by successive processes."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._home = home
        self._service = self._start()

    def kill(self) -> None:
        self._service.close()

    def start_again(self) -> None:
        self._service = self._start()

    def _start(self) -> TeamService:
        one_job = {"PREFECT_QISKIT_RUNTIME_MAX_CONCURRENT_JOBS": "1"}
        return start_team(self._home, "--port", str(self._port), **one_job)

    def backend(self) -> RuntimeBackend:
        credentials = RuntimeServiceCredentials.model_validate(
            {"url": self._service.url, "token": TOKENS["alice"]}
        )
        return RuntimeBackend(service="team", credentials=credentials, retry_delay_seconds=0.1)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Restarted]:
    service = Restarted(tmp_path / "home")
    yield service
    service.kill()


@pytest.fixture
def waiting() -> Iterator[Callable[..., Future[Any]]]:
    """Call a function in a thread that the test waits for at its end."""
    with ThreadPoolExecutor(2) as pool:
        yield pool.submit


def test_a_job_that_streams_is_sent_again_and_its_flow_goes_on(
    service: Restarted, waiting: Callable[..., Future[Any]], tmp_path: Path
) -> None:
    backend, gate = service.backend(), tmp_path / "gate"
    program = upload_program.fn(PROGRAM, name="gated", backend=backend)
    heard: list[tuple[str, int]] = []
    streams = threading.Event()

    def hear(job_id: str, interim: int) -> None:
        heard.append((job_id, interim))
        if interim == 2:
            streams.set()

    inputs = {"gate": str(gate)}
    result = waiting(run_program.fn, program, inputs, backend=backend, callback=hear)
    assert streams.wait(60)
    service.kill()
    gate.touch()
    service.start_again()
    assert 0 < result.result(100) < 1
    first, second = sorted(list_jobs.fn(backend=backend), key=lambda job: job.created)
    assert [interim for job_id, interim in heard if job_id == first.id] == [0, 1, 2]
    assert [interim for job_id, interim in heard if job_id == second.id] == [0, 1, 2]
    assert (first.state.reason_code, second.state.status.value) == (1500, "Completed")


@pytest.mark.slow
def test_a_queued_job_runs_then_and_its_flow_goes_on(
    service: Restarted, waiting: Callable[..., Future[Any]], tmp_path: Path
) -> None:
    backend, gate = service.backend(), tmp_path / "gate"
    program = upload_program.fn(PROGRAM, name="gated", backend=backend)
    first = submit_program.fn(program, {"gate": str(gate)}, backend=backend)
    next(first.stream())
    queued = submit_program.fn(program, {}, backend=backend)
    result = waiting(queued.result)
    service.kill()
    service.start_again()
    assert 0 < result.result(100) < 1
    assert len(list_jobs.fn(backend=backend)) == 2


@pytest.mark.slow
def test_a_submission_waits_for_a_service_that_has_answered_before(
    service: Restarted, waiting: Callable[..., Future[Any]]
) -> None:
    backend = service.backend()
    program = upload_program.fn(PROGRAM, name="gated", backend=backend)
    service.kill()
    result = waiting(run_program.fn, program, {}, backend=backend)
    with pytest.raises(TimeoutError):
        result.result(8)  # longer than the retries for a service that has never answered
    service.start_again()
    assert 0 < result.result(100) < 1
    assert len(list_jobs.fn(backend=backend)) == 1
