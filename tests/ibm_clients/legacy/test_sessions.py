"""Sessions of qiskit-ibm-runtime 0.11 and 0.15: the first job starts them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import qiskit_ibm_runtime
from qiskit_ibm_runtime import QiskitRuntimeService, Session
from qiskit_ibm_runtime.exceptions import IBMRuntimeError

PROGRAM = """
import os, time

def main(backend, user_messenger, gate=None):
    while gate is not None and not os.path.exists(gate):
        time.sleep(0.01)
    return {"backend": backend.name}
"""
METADATA = {"name": "in-session", "description": "Waits for a file.", "max_execution_time": 600}
HAS_DETAILS = hasattr(Session, "details")  # since 0.13, as is the new meaning of `close`
KINDS = [Session, qiskit_ibm_runtime.Batch] if HAS_DETAILS else [Session]


@pytest.fixture(scope="module")
def program_id(service: QiskitRuntimeService) -> Iterator[str]:
    program_id = service.upload_program(data=PROGRAM, metadata=METADATA)
    yield program_id
    service.delete_program(program_id)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that jobs wait for; none does for longer than its test."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


def test_jobs_run_in_a_session(service: QiskitRuntimeService, program_id: str) -> None:
    with Session(service=service, backend="fake_manila", max_time="2h") as session:
        first = session.run(program_id, {})
        assert session.session_id == first.job_id()
        second = session.run(program_id, {})
        assert second.result() == {"backend": "fake_manila"}
        assert first.session_id == second.session_id == session.session_id
        if HAS_DETAILS:
            details = session.details()
            assert details["id"] == first.job_id()
            assert (details["max_time"], details["backend_name"]) == (7200, "fake_manila")
            assert session.status() == "In progress, accepting new jobs"
    found = service.jobs(session_id=session.session_id, limit=None)
    assert [job.job_id() for job in found] == [second.job_id(), first.job_id()]
    if HAS_DETAILS:  # leaving the block closes it since then
        assert session.status() == "Closed"
        with pytest.raises(RuntimeError, match="The session is closed"):
            session.run(program_id, {})
    session.close()  # it holds a slot of the service otherwise


def test_a_session_starts_with_its_first_job(
    service: QiskitRuntimeService, program_id: str
) -> None:
    session = Session(service=service, backend="fake_manila")
    assert (session.service, session.backend(), session.session_id) == (
        service,
        "fake_manila",
        None,
    )
    job = session.run(program_id, {})
    assert session.session_id == job.job_id()
    assert job.result() == {"backend": "fake_manila"}
    session.close()


@pytest.mark.skipif(not HAS_DETAILS, reason="since 0.13")
@pytest.mark.parametrize("kind", KINDS)
def test_what_waits_in_a_closed_session_still_runs(
    service: QiskitRuntimeService, program_id: str, gate: Path, kind: type[Session]
) -> None:
    opened = kind(service=service, backend="fake_manila")
    jobs = [opened.run(program_id, {"gate": str(gate)}) for _ in range(2)]
    session = kind.from_id(opened.session_id, service, backend="fake_manila")
    session.close()
    with pytest.raises(IBMRuntimeError, match="accepts no more jobs"):
        opened.run(program_id, {})
    gate.touch()
    assert [job.result() for job in jobs] == [{"backend": "fake_manila"}] * 2
    assert session.status() == "Closed"


def test_the_call_of_the_client_that_ends_a_session_cancels_what_waits(
    service: QiskitRuntimeService, program_id: str, gate: Path
) -> None:
    session = Session(service=service, backend="fake_manila")
    running = session.run(program_id, {"gate": str(gate)})
    while running.status().name != "RUNNING":
        pass
    waiting = session.run(program_id, {})
    session.cancel() if HAS_DETAILS else session.close()
    assert waiting.status().name == "CANCELLED"
    gate.touch()
    assert running.result() == {"backend": "fake_manila"}
    with pytest.raises(IBMRuntimeError, match="is closed"):
        service.run(
            program_id,
            inputs={},
            options={"backend": "fake_manila"},
            session_id=session.session_id,
        )


def test_the_session_of_another_user_is_not_found(
    service: QiskitRuntimeService, bob: QiskitRuntimeService, program_id: str
) -> None:
    session = Session(service=service, backend="fake_manila")
    session.run(program_id, {}).result()
    with pytest.raises(Exception, match=r"no session|Not Found|404"):
        bob._api_client.close_session(session.session_id)
        if HAS_DETAILS:  # its `close` takes "not found" for closed
            bob._api_client.cancel_session(session.session_id)
    session.cancel() if HAS_DETAILS else session.close()
