"""Faults of sessions that a test can cause."""

from __future__ import annotations

import pytest

from prefect_qiskit_runtime.models import ReasonCode


def opened(caller, **fields) -> str:
    return caller.http.post("/sessions", json=fields).json()["id"]


def state_of(caller, session_id: str) -> str:
    return caller.http.get(f"/sessions/{session_id}").json()["state"]


@pytest.mark.parametrize("mode", ["dedicated", "batch"])
def test_a_session_closes_before_its_job_can_start(service, caller, mode) -> None:
    service.add("close_session")
    session_id = opened(caller, mode=mode)
    job_id = caller.job(session_id=session_id)
    state = caller.end(job_id)
    assert (state["status"], state["reasonCode"]) == ("Failed", ReasonCode.SESSION_CLOSED)
    assert state["reason_solution"] == "Open a new session and submit the job again."
    assert session_id in state["reason"]
    assert state_of(caller, session_id) == "closed"


def test_a_closed_session_takes_no_more_jobs(service, caller, error) -> None:
    service.add("close_session")
    session_id = opened(caller)
    caller.end(caller.job(session_id=session_id))
    refused = caller.submit(session_id=session_id)
    assert (refused.status_code, error(refused)["kind"]) == (409, "session")


def test_a_session_closes_under_a_job_that_runs_and_that_goes_on(service, caller) -> None:
    service.add("close_session", moment="running", seconds=60)
    session_id = opened(caller)
    running = caller.job(session_id=session_id, params={"wait": 60})
    waiting = caller.job(session_id=session_id)
    with caller.http.stream("GET", f"/jobs/{running}/stream") as stream:
        next(line for line in stream.iter_lines() if "interim" in line)
        service.advance(60)
    assert caller.end(waiting)["reasonCode"] == ReasonCode.SESSION_CLOSED
    assert state_of(caller, session_id) == "closed"
    assert caller.state(running)["status"] == "Running"
    caller.cancel_all()


def test_jobs_without_a_session_do_not_count(service, caller) -> None:
    scenario = service.add("close_session")
    assert caller.end(caller.job())["status"] == "Completed"
    (entry,) = service.scenarios()
    assert (entry["id"], entry["seen"], entry["used"]) == (scenario, 0, 0)


def test_the_session_of_an_older_clients_first_job_closes(service, caller) -> None:
    service.add("close_session", reason_code=4001)
    job_id = caller.job(start_session=True)
    assert caller.end(job_id)["reasonCode"] == 4001
    assert state_of(caller, job_id) == "closed"


def test_a_held_job_of_a_session_does_not_hold_up_the_others(service, caller) -> None:
    session_id = opened(caller)
    service.add("hold_job", when={"tag": "slow"})
    held = caller.job(session_id=session_id, tags=["slow"])
    assert caller.end(caller.job(session_id=session_id))["status"] == "Completed"
    assert caller.end(caller.job(session_id=session_id))["status"] == "Completed"
    assert caller.state(held)["status"] == "Queued"
    caller.http.delete(f"/sessions/{session_id}/close")
    assert caller.state(held)["status"] == "Cancelled"


def test_a_session_ends_when_the_clock_is_beyond_its_max_time(service, caller) -> None:
    session_id = opened(caller, max_ttl=600)
    caller.end(caller.job(session_id=session_id))
    service.add("hold_job")
    late = caller.job(session_id=session_id)
    service.advance(601)
    assert caller.end(late)["reasonCode"] == ReasonCode.SESSION_CLOSED
    assert state_of(caller, session_id) == "closed"
