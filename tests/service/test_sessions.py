"""Sessions and batches: their slots, their time and their ends, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefect_qiskit_runtime.errors import ServiceUnavailableError
from prefect_qiskit_runtime.models import ReasonCode
from prefect_qiskit_runtime.service.execution import session_rules, session_timers
from prefect_qiskit_runtime.service.execution.executor import Exited, Result
from prefect_qiskit_runtime.service.retention import forget_old_jobs

DAY_SECONDS = 86_400


async def _open(client, **fields: Any) -> str:
    answer = await client.post("/sessions", json={"backend": "aer_simulator", **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def _details(client, session_id: str) -> dict[str, Any]:
    return (await client.get(f"/sessions/{session_id}")).json()


async def _state(client, session_id: str) -> str:
    return (await _details(client, session_id))["state"]


async def _job_state(client, job_id: str) -> dict[str, Any]:
    return (await client.get(f"/jobs/{job_id}")).json()["state"]


async def _settle(local) -> None:
    """Let what is due happen, and the queue be looked at."""
    for _ in range(3):  # writes are done in their order: those of the queue before these
        await local.context.scheduler.sessions.settle()
        await local.context.store.write(lambda connection: None)


async def _pass(local, seconds: float) -> None:
    await _settle(local)
    local.context.clock.advance(seconds)
    await _settle(local)


async def _finish(local, execution) -> None:
    execution.send(Result("1"), Exited(0, None, False))
    await local.ended(execution.launch.job_id)
    while execution.launch.job_id in _running(local):
        await asyncio.sleep(0)
    await _settle(local)


def _running(local) -> set[str]:
    return set(local.context.scheduler._runs)


async def _next_id(local) -> str:
    return (await local.executor.next()).launch.job_id


async def test_the_same_request_with_the_same_key_gives_the_same_session(local) -> None:
    async with local.client() as client:

        async def opened(key: str, **fields: Any) -> str:
            body = {"backend": "aer_simulator", **fields}
            answer = await client.post("/sessions", json=body, headers={"Idempotency-Key": key})
            return answer.json()["id"]

        first = await opened("one")
        assert await opened("one") == first
        others = [await opened("two"), await opened("one", mode="batch"), await _open(client)]
        assert len({first, *others}) == 4
        assert (await client.get("/sessions")).json()["count"] == 4


async def test_a_session_has_all_that_ibms_clients_read(local) -> None:
    async with local.client() as client:
        session_id = await _open(client, max_ttl=7200, instance="crn:ignored")
        details = await _details(client, session_id)
    assert details.pop("created_at") == details["timestamps"][0]["timestamp"]
    assert details.pop("timestamps")[0]["status"] == "open"
    assert details == {
        "id": session_id,
        "backend_name": "aer_simulator",
        "mode": "dedicated",
        "state": "open",
        "accepting_jobs": True,
        "max_ttl": 7200,
        "active_ttl": 7200,
        "interactive_ttl": 60,
        "started_at": None,
        "activated_at": None,
        "closed_at": None,
        "last_job_started": None,
        "last_job_completed": None,
        "elapsed_time": 0.0,
    }


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"max_ttl": 28_801}, 400, "this service allows at most 28800 s"),
        ({"max_ttl": 0}, 400, "$.max_ttl"),
        ({"mode": "other"}, 400, "$.mode"),
        ({"backend": "no_such"}, 404, "no backend 'no_such'"),
    ],
)
async def test_what_is_no_session_is_refused(local, fields, status, message) -> None:
    async with local.client() as client:
        answer = await client.post("/sessions", json=fields)
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


async def test_an_active_session_keeps_its_slot_for_its_own_jobs(local) -> None:
    async with local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        first = await local.job(client, program_id, session_id=session_id)
        in_session = await local.executor.next()
        assert in_session.launch.job_id == first
        others = [await local.job(client, program_id) for _ in range(2)]
        beside = await local.executor.next()
        assert beside.launch.job_id == others[0]

        await _finish(local, in_session)
        assert _running(local) == {others[0]}  # the session holds the other slot
        second = await local.job(client, program_id, session_id=session_id)

        assert await _next_id(local) == second
        await _finish(local, beside)
        assert await _next_id(local) == others[1]


async def test_jobs_of_a_session_go_before_the_queue_one_after_the_other(local) -> None:
    async with local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        await local.job(client, program_id, session_id=session_id)
        running = await local.executor.next()
        await local.job(client, program_id)
        await local.executor.next()
        waiting = await local.job(client, program_id)
        mine = [await local.job(client, program_id, session_id=session_id) for _ in range(2)]
        for expected in mine:
            await _finish(local, running)
            running = await local.executor.next()
            assert running.launch.job_id == expected
        assert (await _job_state(client, waiting))["status"] == "Queued"


async def test_the_first_job_of_a_session_waits_like_all_others(local) -> None:
    async with local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        queue = [await local.job(client, program_id) for _ in range(3)]
        mine = await local.job(client, program_id, session_id=session_id)
        running = [await local.executor.next() for _ in range(2)]
        assert await _state(client, session_id) == "open"
        await _finish(local, running[0])
        assert await _next_id(local) == queue[2]
        await _finish(local, running[1])
        assert await _next_id(local) == mine
        assert await _state(client, session_id) == "active"


async def test_a_batch_runs_its_jobs_side_by_side_and_holds_no_slot(local) -> None:
    async with local.client() as client:
        program_id, batch_id = await local.program(client), await _open(client, mode="batch")
        mine = [await local.job(client, program_id, session_id=batch_id) for _ in range(2)]
        running = [await local.executor.next() for _ in mine]
        assert [execution.launch.job_id for execution in running] == mine
        other = await local.job(client, program_id)
        for execution in running:
            local.context.clock.advance(10)
            await _finish(local, execution)
        assert await _next_id(local) == other
        details = await _details(client, batch_id)
    assert (details["state"], details["mode"]) == ("active", "batch")
    assert details["elapsed_time"] == pytest.approx(10 + 20, abs=2)


async def test_a_session_without_a_job_gives_its_slot_back_and_takes_it_up_again(locally) -> None:
    async with locally(max_concurrent_jobs=1) as local, local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        await local.job(client, program_id, session_id=session_id)
        await _finish(local, await local.executor.next())
        other = await local.job(client, program_id)
        await _pass(local, 58)
        assert (await _state(client, session_id), _running(local)) == ("active", set())
        await _pass(local, 3)
        assert await _next_id(local) == other
        assert await _state(client, session_id) == "inactive"

        again = await local.job(client, program_id, session_id=session_id)
        assert await _state(client, session_id) == "inactive"
        await local.context.scheduler.cancel(other)
        assert await _next_id(local) == again
        changes = (await _details(client, session_id))["timestamps"]
    assert [change["status"] for change in changes] == ["open", "active", "inactive", "active"]


async def test_a_session_with_a_job_stays_active(local) -> None:
    async with local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        await local.job(client, program_id, session_id=session_id, cost=5000)
        await local.executor.next()
        await _pass(local, 3600)
        assert await _state(client, session_id) == "active"


async def test_at_its_max_time_a_session_closes_and_what_waits_in_it_fails(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        session_id = await _open(client, max_ttl=300)
        running = await local.job(client, program_id, session_id=session_id)
        waiting = await local.job(client, program_id, session_id=session_id)
        execution = await local.executor.next()
        await _pass(local, 301)
        assert await _job_state(client, waiting) == {
            "status": "Failed",
            "reason": f"The session {session_id} closed before the job could start: its max"
            " time of 300 s was over.",
            "reasonCode": ReasonCode.SESSION_CLOSED,
        }
        assert (await _job_state(client, running))["status"] == "Running"
        local.context.clock.advance(99)
        await _finish(local, execution)
        assert (await _job_state(client, running))["status"] == "Completed"
        details = await _details(client, session_id)
    assert (details["state"], details["accepting_jobs"]) == ("closed", False)
    assert details["elapsed_time"] == pytest.approx(400, abs=3)


async def test_the_max_time_goes_on_while_a_session_is_inactive(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        session_id = await _open(client, max_ttl=300)
        await local.job(client, program_id, session_id=session_id)
        await _finish(local, await local.executor.next())
        await _pass(local, 200)
        assert await _state(client, session_id) == "inactive"
        await _pass(local, 101)
        details = await _details(client, session_id)
    assert details["state"] == "closed"
    assert details["elapsed_time"] == pytest.approx(200, abs=3)  # it held its slot so long


async def test_a_session_that_never_had_a_job_closes_after_half_an_hour(local) -> None:
    async with local.client() as client:
        session_id = await _open(client)
        await _pass(local, 1799)
        assert await _state(client, session_id) == "open"
        await _pass(local, 2)
        assert await _state(client, session_id) == "closed"


async def test_a_session_that_accepts_no_more_jobs_finishes_those_it_has(local) -> None:
    async with local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        jobs = [await local.job(client, program_id, session_id=session_id) for _ in range(2)]
        answer = await client.patch(f"/sessions/{session_id}", json={"accepting_jobs": False})
        assert (answer.status_code, answer.content) == (204, b"")
        refused = await client.post(
            "/jobs", json={"program_id": program_id, "session_id": session_id}
        )
        for _ in jobs:
            details = await _details(client, session_id)
            assert (details["state"], details["accepting_jobs"]) in [
                ("open", False),
                ("active", False),
            ]
            await _finish(local, await local.executor.next())
        details = await _details(client, session_id)
    assert refused.status_code == 409
    assert refused.json()["error"] == {
        "code": 409,
        "message": f"Session {session_id} accepts no more jobs. Open another one.",
        "kind": "session",
        "identifier": session_id,
    }
    assert details["state"] == "closed"
    assert details["closed_at"] == details["last_job_completed"]


async def test_a_session_without_jobs_closes_at_once(local) -> None:
    async with local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        for _ in range(2):  # the second time changes nothing and is not an error
            answer = await client.patch(f"/sessions/{session_id}", json={"accepting_jobs": False})
            assert answer.status_code == 204
        assert await _state(client, session_id) == "closed"
        refused = await client.post(
            "/jobs", json={"program_id": program_id, "session_id": session_id}
        )
        assert (await client.get("/jobs")).json()["count"] == 0
        wrong = await client.patch(f"/sessions/{session_id}", json={"accepting_jobs": True})
    assert refused.status_code == 409
    assert f"Session {session_id} is closed." in refused.json()["error"]["message"]
    assert wrong.status_code == 400


async def test_cancelling_a_session_cancels_what_waits_and_leaves_what_runs(local) -> None:
    async with local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        running, waiting = [
            await local.job(client, program_id, session_id=session_id) for _ in range(2)
        ]
        execution = await local.executor.next()
        for _ in range(2):
            assert (await client.delete(f"/sessions/{session_id}/close")).status_code == 204
        assert await _state(client, session_id) == "closed"
        assert await _job_state(client, waiting) == {
            "status": "Cancelled",
            "reason": "Cancelled with its session",
        }
        await _finish(local, execution)
        assert (await _job_state(client, running))["status"] == "Completed"


async def test_a_stream_hears_that_its_job_ended_with_its_session(local) -> None:
    async with local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        await local.job(client, program_id, session_id=session_id)
        waiting = await local.job(client, program_id, session_id=session_id)
        await local.executor.next()
        hearing = asyncio.create_task(local.ended(waiting))
        await client.delete(f"/sessions/{session_id}/close")
        await hearing


async def test_a_slot_is_free_again_when_its_session_is_cancelled(locally) -> None:
    async with locally(max_concurrent_jobs=1) as local, local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        await local.job(client, program_id, session_id=session_id)
        await _finish(local, await local.executor.next())
        other = await local.job(client, program_id)
        await _settle(local)
        assert _running(local) == set()
        await client.delete(f"/sessions/{session_id}/close")
        assert await _next_id(local) == other


async def test_a_job_has_the_backend_of_its_session(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        session_id = await _open(client, backend="fake_manila")
        job_id = await local.job(client, program_id, session_id=session_id)
        job = (await client.get(f"/jobs/{job_id}")).json()
        refused = await client.post(
            "/jobs",
            json={"program_id": program_id, "session_id": session_id, "backend": "fake_vigo"},
        )
        listed = (await client.get("/jobs", params={"session_id": session_id})).json()
        nothing = (await client.get("/jobs", params={"session_id": "another"})).json()
    assert (job["backend"], job["session_id"]) == ("fake_manila", session_id)
    assert refused.status_code == 400
    assert "is on backend fake_manila" in refused.json()["error"]["message"]
    assert ([job["id"] for job in listed["jobs"]], nothing["count"]) == ([job_id], 0)


async def test_the_session_of_another_user_is_not_found(local) -> None:
    async with local.client() as client, local.client("bob") as bob:
        program_id = await local.program(client, is_public=True)
        session_id = await _open(client)
        job = {"program_id": program_id, "session_id": session_id}
        answers = [
            await bob.get(f"/sessions/{session_id}"),
            await bob.patch(f"/sessions/{session_id}", json={"accepting_jobs": False}),
            await bob.delete(f"/sessions/{session_id}/close"),
            await bob.post("/jobs", json=job),
        ]
        assert (await bob.get("/sessions")).json() == {"sessions": [], "count": 0}
        assert await _state(client, session_id) == "open"
    assert [answer.status_code for answer in answers] == [404] * 4
    assert {answer.json()["error"]["kind"] for answer in answers} == {"session"}


async def test_sessions_are_listed_the_newest_first(local) -> None:
    async with local.client() as client:
        ids = [await _open(client) for _ in range(3)]
        await client.delete(f"/sessions/{ids[1]}/close")

        async def listed(**query: Any) -> tuple[list[str], int]:
            body = (await client.get("/sessions", params=query)).json()
            return [session["id"] for session in body["sessions"]], body["count"]

        assert await listed() == ([ids[2], ids[1], ids[0]], 3)
        assert await listed(open=True) == ([ids[2], ids[0]], 2)
        assert await listed(open=False) == ([ids[1]], 1)
        assert await listed(limit=1, offset=1) == ([ids[1]], 3)


async def test_the_first_job_of_an_old_clients_session_names_it(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        job_id = await local.job(
            client, program_id, start_session=True, session_time=600, backend="fake_manila"
        )
        assert (await client.get(f"/jobs/{job_id}")).json()["session_id"] == job_id
        details = await _details(client, job_id)
        assert (details["id"], details["mode"], details["max_ttl"]) == (job_id, "dedicated", 600)
        assert details["backend_name"] == "fake_manila"
        later = await local.job(client, program_id, session_id=job_id)
        await _finish(local, await local.executor.next())
        assert await _next_id(local) == later
        both = {"program_id": program_id, "session_id": job_id, "start_session": True}
        assert (await client.post("/jobs", json=both)).status_code == 400


async def test_a_submission_sent_twice_is_found_though_its_session_is_closed(local) -> None:
    async with local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        body = {"program_id": program_id, "session_id": session_id}
        key = {"Idempotency-Key": "k"}
        first = await client.post("/jobs", json=body, headers=key)
        await client.delete(f"/sessions/{session_id}/close")
        again = await client.post("/jobs", json=body, headers=key)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])


async def test_a_job_cancelled_while_it_waits_lets_its_session_close(local) -> None:
    async with local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        others = [await local.job(client, program_id) for _ in range(2)]
        waiting = await local.job(client, program_id, session_id=session_id)
        await client.patch(f"/sessions/{session_id}", json={"accepting_jobs": False})
        assert await _state(client, session_id) == "open"
        await client.post(f"/jobs/{waiting}/cancel")
        details = await _details(client, session_id)
        assert (details["state"], details["started_at"]) == ("closed", None)
        assert [await _next_id(local) for _ in others] == others


async def test_sessions_survive_a_restart_with_their_slots_and_their_time(locally) -> None:
    async with locally(max_concurrent_jobs=1) as local, local.client() as client:
        program_id, session_id = await local.program(client), await _open(client, max_ttl=300)
        interrupted = await local.job(client, program_id, session_id=session_id)
        await local.executor.next()
        waiting = await local.job(client, program_id)
    async with locally(max_concurrent_jobs=1) as local, local.client() as client:
        state = await _job_state(client, interrupted)
        assert state["reasonCode"] == ReasonCode.INTERRUPTED
        assert await _state(client, session_id) == "active"
        await _settle(local)
        assert _running(local) == set()
        mine = await local.job(client, program_id, session_id=session_id)
        await _finish(local, await local.executor.next())
        assert (await _job_state(client, mine))["status"] == "Completed"
        await _pass(local, 61)
        assert await _next_id(local) == waiting
        assert await _state(client, session_id) == "inactive"
        await _pass(local, 300)
        assert await _state(client, session_id) == "closed"


async def test_what_became_due_while_the_service_was_down_happens_at_its_start(locally) -> None:
    async with locally() as local, local.client() as client:
        session_id = await _open(client)
    async with locally() as local, local.client() as client:
        # As if it had been down for so long: the clock is moved before anything looked at it.
        local.context.clock.advance(DAY_SECONDS)
        await _settle(local)
        assert await _state(client, session_id) == "closed"


async def test_a_full_disk_delays_the_time_of_a_session(local, monkeypatch) -> None:
    monkeypatch.setattr(session_timers, "_RETRY_SECONDS", 5.0)
    store = local.context.store
    write = store.write

    async def failing(operation, *args: Any, **kwargs: Any) -> Any:
        if operation is session_rules.progress:
            raise ServiceUnavailableError("database or disk is full")
        return await write(operation, *args, **kwargs)

    async with local.client() as client:
        session_id = await _open(client)
        await _settle(local)
        monkeypatch.setattr(store, "write", failing)
        await _pass(local, 1801)
        assert await _state(client, session_id) == "open"
        monkeypatch.setattr(store, "write", write)
        await _pass(local, 6)
        assert await _state(client, session_id) == "closed"


async def test_closed_sessions_go_with_their_last_old_job(local) -> None:
    context = local.context

    async def forget(max_days: float) -> None:
        await forget_old_jobs(
            context.store, context.job_logs_dir, context.clock, max_days=max_days, max_bytes=10**9
        )

    async with local.client() as client:
        program_id, session_id = await local.program(client), await _open(client)
        still_open = await _open(client)
        await local.job(client, program_id, session_id=session_id)
        await _finish(local, await local.executor.next())
        await client.delete(f"/sessions/{session_id}/close")
        await forget(max_days=1)
        assert (await client.get(f"/sessions/{session_id}")).status_code == 200
        await forget(max_days=0)
        assert (await client.get(f"/sessions/{session_id}")).status_code == 404
        assert (await client.get(f"/sessions/{still_open}")).status_code == 200
