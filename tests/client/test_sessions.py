"""Sessions of `RuntimeClient` and its twin, against the real service and a misbehaving one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from prefect_qiskit_runtime.client import RuntimeApi, RuntimeClient, SyncRuntimeClient
from prefect_qiskit_runtime.errors import ConflictError, SessionClosedError
from prefect_qiskit_runtime.models import JobStatus, SessionState

from .conftest import Seen, Wire, answer, cut, refuse

PROGRAM = """
def main(backend, user_messenger, value=1):
    return value
"""
BACKEND = "aer_simulator"
SESSION = {
    "id": "s1",
    "backend_name": BACKEND,
    "mode": "dedicated",
    "state": "open",
    "accepting_jobs": True,
}


@pytest.fixture
async def client(service_home: object) -> AsyncIterator[RuntimeClient]:
    async with RuntimeClient() as client:
        yield client


async def test_a_session_runs_programs_and_closes(client: RuntimeClient) -> None:
    program_id = await client.upload_program(PROGRAM, {"name": "in-session"})
    async with await client.open_session(BACKEND, max_time="1h") as session:
        job = await session.run(program_id, {"value": 7})
        assert await job.result() == 7
        assert await session.status() is SessionState.ACTIVE
    details = await session.details()
    assert (details.state, details.mode, details.max_ttl) == (
        SessionState.CLOSED,
        "dedicated",
        3600,
    )
    assert await session.usage() == details.elapsed_time
    (found,) = await client.jobs(session_id=session.session_id)
    assert found.job_id == job.job_id
    assert (await client.session(session.session_id)).backend == BACKEND
    assert [each.session_id for each in await client.sessions(limit=1)] == [session.session_id]
    still_open = await client.sessions(limit=None, is_open=True)
    assert session.session_id not in {each.session_id for each in still_open}
    with pytest.raises(SessionClosedError):
        await client.run(program_id, backend=BACKEND, session_id=session.session_id)


async def test_a_session_that_is_left_by_an_exception_is_cancelled(client: RuntimeClient) -> None:
    with pytest.raises(ValueError, match="mine"):
        async with await client.open_session(BACKEND, mode="batch") as batch:
            raise ValueError("mine")
    assert await batch.status() is SessionState.CLOSED


async def test_the_first_job_may_start_the_session(client: RuntimeClient) -> None:
    program_id = await client.upload_program(PROGRAM, {"name": "in-session"})
    options = {"session_time": 300, "backend_name": BACKEND}
    job = await client.run(program_id, options=options, start_session=True)
    session = await client.session(job.job_id)
    assert (await session.details()).max_ttl == 300
    await session.cancel()
    assert await job.wait_for_final_state() in (JobStatus.COMPLETED, JobStatus.CANCELLED)


def test_the_blocking_twin_runs_programs_and_closes(service_home: object) -> None:
    with SyncRuntimeClient() as client:
        program_id = client.upload_program(PROGRAM, {"name": "in-session"})
        with client.open_session(BACKEND) as session:
            assert session.run(program_id).result() == 1
        assert (session.backend, session.mode) == (BACKEND, "dedicated")
        assert client.session(session.session_id).status() is SessionState.CLOSED
        (listed,) = client.sessions(limit=1)
        assert repr(listed) == repr(session)


async def test_a_caller_cancelled_while_it_opens_a_session_leaves_none(
    wire: Wire, api: RuntimeApi
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(seen: Seen, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await go_on.wait()
        await answer(SESSION, 201)(seen, writer)

    wire.on("POST /sessions", slowly)
    wire.on("DELETE /sessions/s1/close", answer(status=204))
    opening = asyncio.create_task(api.create_session(BACKEND))
    await asked.wait()
    opening.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert len(wire.calls("DELETE /sessions/s1/close")) == 1


async def test_opening_and_closing_are_asked_again(wire: Wire, api: RuntimeApi) -> None:
    wire.on("POST /sessions", cut, answer(SESSION, 201))
    wire.on("PATCH /sessions/s1", cut, answer(status=204))
    wire.on("DELETE /sessions/s1/close", refuse(503, "busy"), answer(status=204))
    assert (await api.create_session(BACKEND)).id == "s1"
    await api.close_session("s1")
    await api.cancel_session("s1")
    counts = {f"{seen.method} {seen.path}" for seen in wire.seen}, len(wire.seen)
    assert counts == ({"POST /sessions", "PATCH /sessions/s1", "DELETE /sessions/s1/close"}, 6)
    first, second = wire.calls("POST /sessions")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


async def test_a_conflict_that_is_not_about_a_session_is_another_error(
    wire: Wire, api: RuntimeApi
) -> None:
    wire.on("POST /jobs", refuse(409, "usage exceeds the limit"))
    with pytest.raises(ConflictError) as caught:
        await api.submit_job("p", "{}")
    assert not isinstance(caught.value, SessionClosedError)


async def test_closing_that_fails_does_not_hide_what_went_wrong(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.on("POST /sessions", answer(SESSION, 201))
    wire.on("DELETE /sessions/s1/close", refuse(403, "not yours"))
    async with RuntimeClient(wire.url, "token") as client:
        with pytest.raises(ValueError, match="mine"):
            async with await client.open_session(BACKEND):
                raise ValueError("mine")
    assert "Session s1 may still be open" in caplog.text
