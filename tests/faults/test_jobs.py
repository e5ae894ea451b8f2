"""Faults of jobs and accounts that a test can cause."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from prefect_qiskit_runtime.models import ReasonCode


def test_a_job_stays_queued_until_its_time_is_over(service, caller) -> None:
    service.add("hold_job", seconds=3 * 3600, when={"tag": "slow"})
    job_id = caller.job(tags=["slow"])
    assert caller.end(caller.job())["status"] == "Completed"
    assert caller.state(job_id)["status"] == "Queued"
    service.advance(3 * 3600 + 1)
    assert caller.end(job_id)["status"] == "Completed"


def test_a_held_job_starts_when_the_scenario_is_removed(service, caller) -> None:
    scenario = service.add("hold_job", when={"times": None})
    job_id = caller.job()
    service.remove(scenario)
    assert caller.end(job_id)["status"] == "Completed"


def test_a_held_job_can_be_cancelled(service, caller) -> None:
    service.add("hold_job")
    job_id = caller.job()
    assert caller.http.post(f"/jobs/{job_id}/cancel").status_code == 204
    assert caller.state(job_id)["status"] == "Cancelled"


@pytest.mark.parametrize(
    ("code", "status", "solution"),
    [
        (1010, "Failed", "Submit the job again."),
        (3253, "Failed", "Fetch the result again."),
        (1004, "Failed", "Use another backend."),
        (4001, "Failed", "Open a new session and submit the job again."),
        (1305, "Cancelled", "Make the job smaller."),
        (2411, "Failed", "Correct the job, or what the account may do."),
        (7777777, "Failed", None),
    ],
)
def test_a_job_ends_with_each_reason_code(service, caller, code, status, solution) -> None:
    service.add("end_job", reason_code=code)
    state = caller.end(caller.job())
    assert (state["status"], state["reasonCode"]) == (status, code)
    assert state.get("reason_solution") == solution


def test_a_job_ends_while_it_runs(service, caller) -> None:
    service.add(
        "end_job",
        when={"program": f"{caller.program_id}*"},
        moment="running",
        seconds=60,
        reason_code=ReasonCode.INTERRUPTED,
        reason="The device was lost.",
    )
    job_id = caller.job(params={"wait": 120})
    with caller.http.stream("GET", f"/jobs/{job_id}/stream") as stream:
        for line in stream.iter_lines():
            if "interim" in line:
                service.advance(61)
                break
    state = caller.end(job_id)
    assert (state["status"], state["reason"]) == ("Failed", "The device was lost.")
    assert caller.http.get(f"/jobs/{job_id}/results").text == "The device was lost."


def test_a_job_is_found_by_its_tag_only_after_a_while(service, caller) -> None:
    service.add("late_tags", seconds=60, tag="late-*")
    job_id = caller.job(tags=["late-1", "punctual"])
    assert caller.found(tags="late-1") == []
    assert caller.found(tags="punctual") == [job_id]
    assert caller.found(limit=1) == [job_id]
    service.advance(61)
    assert caller.found(tags="late-1") == [job_id]


def test_submissions_beyond_a_rate_are_refused(service, caller, error) -> None:
    service.add("submission_limit", submissions=2, seconds=60)
    statuses = [caller.submit().status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = caller.submit()
    assert error(refused)["code"] == 1202
    assert 55 <= int(refused.headers["Retry-After"]) <= 60
    service.advance(60)
    assert caller.submit().status_code == 200


def test_submissions_beyond_the_pending_jobs_are_refused(service, caller, error) -> None:
    caller.cancel_all()
    service.add("pending_limit", jobs=1)
    hold = service.add("hold_job")
    job_id = caller.job()
    refused = caller.submit()
    assert (refused.status_code, error(refused)["code"]) == (400, 1012)
    service.remove(hold)
    caller.end(job_id)
    assert caller.submit().status_code == 200


def test_of_submissions_at_once_no_more_are_taken_than_may_be_pending(service, caller) -> None:
    caller.cancel_all()
    service.add("pending_limit", jobs=2)
    service.add("hold_job", when={"times": None})
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: caller.submit().status_code, range(8)))
    assert sorted(answers) == [200] * 2 + [400] * 6
    caller.cancel_all()


def test_a_used_up_instance_says_so_and_takes_no_jobs(service, caller, error) -> None:
    service.add("usage_limit", seconds=600)
    assert caller.http.get("/instances/usage").json() == {
        "usage_consumed_seconds": 600,
        "usage_limit_seconds": 600,
        "usage_limit_reached": True,
    }
    refused = caller.submit()
    assert (refused.status_code, error(refused)["code"]) == (409, 4317)


def test_a_backend_is_offline(service, caller) -> None:
    scenario = service.add("backend_offline", backend="fake_manila*")
    devices = caller.http.get("/backends").json()["devices"]
    offline = [device["name"] for device in devices if device["status"]["name"] != "online"]
    assert "fake_manila" in offline and "aer_simulator" not in offline
    assert caller.http.get("/backends/fake_manila/status").json()["state"] is False
    assert caller.http.get("/backends/aer_simulator/status").json()["state"] is True
    job_id = caller.job(backend="fake_manila")
    assert caller.end(caller.job())["status"] == "Completed"
    assert caller.state(job_id)["status"] == "Queued"
    service.remove(scenario)
    assert caller.end(job_id)["status"] == "Completed"
