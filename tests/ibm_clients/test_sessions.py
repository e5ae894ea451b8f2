"""Sessions and batches of today's qiskit-ibm-runtime, unmodified, against a real service."""

from __future__ import annotations

from datetime import datetime

import pytest
from qiskit import QuantumCircuit, transpile
from qiskit_ibm_runtime import (
    Batch,
    IBMBackend,
    QiskitRuntimeService,
    RuntimeJobV2,
    SamplerV2,
    Session,
)
from qiskit_ibm_runtime.exceptions import IBMInputValueError, IBMRuntimeError

from prefect_qiskit_runtime.client import RuntimeClient
from tests.team import TOKENS, TeamService

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # V2 primitives since 0.50

PROGRAM = """
import os, time

def main(backend, user_messenger, gate):
    user_messenger.publish("runs")
    while not os.path.exists(gate):
        time.sleep(0.01)
"""


@pytest.fixture
def service(connect) -> QiskitRuntimeService:
    return connect()


@pytest.fixture
def backend(service: QiskitRuntimeService) -> IBMBackend:
    return service.backend("fake_manila")


@pytest.fixture(scope="module")
def circuit() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


def _isa(circuit: QuantumCircuit, backend: IBMBackend) -> QuantumCircuit:
    return transpile(circuit, backend, optimization_level=0)


def _ran(job: RuntimeJobV2) -> float:
    times = job.metrics()["timestamps"]
    began, ended = (datetime.fromisoformat(times[name]) for name in ("running", "finished"))
    return (ended - began).total_seconds()


def test_primitives_run_in_a_session(service, backend, circuit) -> None:
    isa = _isa(circuit, backend)
    with Session(backend=backend, max_time="2h 30m") as session:
        assert session.status() == "Pending"
        jobs = [SamplerV2(mode=session).run([isa], shots=10) for _ in range(2)]
        assert sum(jobs[1].result()[0].data.c.get_counts().values()) == 10
        assert session.status() == "In progress, accepting new jobs"
        details = session.details()
    assert {job.session_id for job in jobs} == {session.session_id}
    assert {job.job_id() for job in service.jobs(session_id=session.session_id)} == {
        job.job_id() for job in jobs
    }
    assert session.status() == "Closed"
    assert (details["id"], details["backend_name"]) == (session.session_id, "fake_manila")
    assert (details["max_time"], details["interactive_timeout"]) == (9000, 60)
    assert (details["mode"], details["state"], details["accepting_jobs"]) == (
        "dedicated",
        "active",
        True,
    )
    times = ("started_at", "activated_at", "last_job_started", "last_job_completed")
    assert all(details[time] for time in times)
    assert details["closed_at"] is None
    assert session.usage() >= details["usage_time"] > 0


def test_the_changes_of_a_session_have_their_times(service, backend, circuit) -> None:
    with Session(backend=backend) as session:
        SamplerV2(mode=session).run([_isa(circuit, backend)], shots=10).result()
        changes = session.details()["timestamps"]
    assert [change["status"] for change in changes] == ["open", "active"]


def test_a_closed_session_takes_no_jobs(service, backend, circuit) -> None:
    session = Session(backend=backend)
    other = Session.from_id(session.session_id, service)
    session.close()
    session.close()
    with pytest.raises(IBMRuntimeError, match="The session is closed"):
        SamplerV2(mode=session).run([_isa(circuit, backend)])
    # An object that does not know of it yet hears it from the service.
    with pytest.raises(IBMRuntimeError, match=rf"Session {session.session_id} is closed"):
        SamplerV2(mode=other).run([_isa(circuit, backend)])


def test_a_batch_groups_jobs(service, backend, circuit) -> None:
    with Batch(backend=backend, max_time=600) as batch:
        jobs = [SamplerV2(mode=batch).run([_isa(circuit, backend)], shots=1) for _ in range(2)]
    for job in jobs:
        assert sum(job.result()[0].data.c.get_counts().values()) == 1
    details = batch.details()
    assert (details["mode"], details["max_time"], details["state"]) == ("batch", 600, "closed")
    # From the start of each job's process to its end; the time that a job reports is shorter.
    assert batch.usage() == pytest.approx(sum(_ran(job) for job in jobs), abs=0.1)


async def test_cancel_ends_what_waits_in_a_session(
    team: TeamService, service, backend, circuit, tmp_path
) -> None:
    session = Session(backend=backend)
    gate = tmp_path / "gate"
    async with RuntimeClient(team.url, TOKENS["alice"]) as ours:
        program_id = await ours.upload_program(PROGRAM, {"name": "gate"})
        mine = await ours.session(session.session_id)
        running = await mine.run(program_id, {"gate": str(gate)})
        async for _ in running.stream():
            break  # it runs
        waiting = SamplerV2(mode=session).run([_isa(circuit, backend)])
        session.cancel()
        assert (waiting.status(), session.status()) == ("CANCELLED", "Closed")
        gate.touch()
        await running.result()


def test_a_session_is_found_by_its_id(connect, service, backend) -> None:
    session = Session(backend=backend)
    found = Session.from_id(session.session_id, service)
    assert (found.session_id, found.backend()) == (session.session_id, "fake_manila")
    assert found.service is service
    with pytest.raises(IBMInputValueError, match="instead of batch"):
        Batch.from_id(session.session_id, service)
    with pytest.raises(IBMInputValueError, match="Session not found"):
        Session.from_id("no-such-session", service)
    with pytest.raises(IBMInputValueError, match="Session not found"):
        Session.from_id(session.session_id, connect("bob"))
    session.close()
    with pytest.raises(IBMRuntimeError, match="The session is closed"):
        Session.from_id(session.session_id, service)._run("sampler", {})


def test_a_max_time_beyond_the_services_is_refused(backend) -> None:
    with pytest.raises(Exception, match="this service allows at most 28800 s"):
        Session(backend=backend, max_time="9h")
