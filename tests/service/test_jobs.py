"""Jobs as a client meets them, on a real service with real job processes."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest


def test_a_job_runs_and_brings_its_result(api, counting) -> None:
    job_id = api.submit(counting, params={"n": 3, "result": {"x": [1, 2.5]}})
    assert api.finish(job_id) == {"status": "Completed"}
    assert json.loads(api.http.get(f"/jobs/{job_id}/results").text) == {"x": [1, 2.5]}
    interim = api.http.get(f"/jobs/{job_id}/interim_results").json()
    assert [json.loads(text) for text in interim] == [{"i": 0}, {"i": 1}, {"i": 2}]


def test_ten_thousand_interim_results_arrive_once_each_and_in_order(api, counting) -> None:
    job_id = api.submit(counting, params={"n": 10_000})
    events = [event for event in api.events(job_id) if event["type"] == "interim"]
    assert [event["seq"] for event in events] == list(range(10_000))
    assert [json.loads(event["data"])["i"] for event in events] == list(range(10_000))


def test_large_inputs_reach_the_program_unchanged(api) -> None:
    source = "def main(backend, user_messenger, text):\n    return len(text)\n"
    spec = {"parameters": {"properties": {"text": {"type": "string"}}}}
    program_id = api.upload(source, name="length", spec=spec)
    job_id = api.submit(program_id, params={"text": "x" * 20_000_000})
    assert api.finish(job_id) == {"status": "Completed"}
    assert api.http.get(f"/jobs/{job_id}/results").text == "20000000"
    assert len(api.http.get(f"/jobs/{job_id}").json()["params"]["text"]) == 20_000_000


def test_a_program_that_raises_leaves_its_traceback(api) -> None:
    program_id = api.upload("def main(backend, user_messenger):\n    1 / 0\n", name="raises")
    job_id = api.submit(program_id)
    state = api.finish(job_id)
    assert state["status"] == "Failed" and state["reasonCode"] == 90001
    text = api.http.get(f"/jobs/{job_id}/results").text
    assert "line 2, in main" in text and "ZeroDivisionError" in text


def test_a_segfault_ends_one_job_and_no_more(api, counting) -> None:
    source = "import ctypes\ndef main(backend, user_messenger):\n    ctypes.string_at(0)\n"
    crashed = api.submit(api.upload(source, name="crashes"))
    assert api.finish(crashed)["reasonCode"] == 90003
    assert api.finish(api.submit(counting)) == {"status": "Completed"}


def test_a_job_that_runs_too_long_is_ended_with_its_children(api, tmp_path: Path) -> None:
    source = """
import subprocess, time
def main(backend, user_messenger, pid_file):
    child = subprocess.Popen(["sleep", "1000"])
    open(pid_file, "w").write(str(child.pid))
    time.sleep(1000)
"""
    pid_file = tmp_path / "pid"
    job_id = api.submit(api.upload(source, name="long"), params={"pid_file": str(pid_file)}, cost=2)
    assert api.finish(job_id) == {
        "status": "Cancelled",
        "reason": "Ran too long",
        "reasonCode": 1305,
    }
    ps = ["ps", "-o", "stat=", "-p", pid_file.read_text()]
    found = subprocess.run(ps, capture_output=True, text=True, check=False)
    assert found.stdout.strip() in ("", "Z")


def test_the_log_can_be_read_while_the_job_runs(api, counting, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job_id = api.submit(counting, params={"n": 1, "wait_for": str(gate)})
    api.wait_for_state(job_id, "Running")
    while "waiting" not in api.http.get(f"/jobs/{job_id}/logs").text:
        assert api.state(job_id)["status"] == "Running"
    gate.touch()
    assert api.finish(job_id) == {"status": "Completed"}
    assert "waiting" in api.http.get(f"/jobs/{job_id}/logs").text


def test_a_running_job_is_cancelled(api, counting, tmp_path: Path) -> None:
    job_id = api.submit(counting, params={"n": 2, "wait_at": 1, "wait_for": str(tmp_path / "no")})
    next(event for event in api.events(job_id) if event["type"] == "interim")
    assert api.http.post(f"/jobs/{job_id}/cancel").status_code == 204
    assert api.state(job_id)["status"] == "Cancelled"
    assert api.http.get(f"/jobs/{job_id}/interim_results").json() == ['{"i": 0}']


def test_a_deleted_job_is_gone_with_its_log(service, api, counting) -> None:
    job_id = api.submit(counting)
    api.finish(job_id)
    log = service.home.job_logs_dir / f"{job_id}.log"
    assert api.http.delete(f"/jobs/{job_id}").status_code == 204
    for path in ("", "/results", "/interim_results", "/logs", "/metrics", "/stream"):
        assert api.http.get(f"/jobs/{job_id}{path}").status_code == 404
    assert not log.exists()


def test_a_running_job_is_cancelled_when_it_is_deleted(service, api, tmp_path: Path) -> None:
    source = """
import os, time

def main(backend, user_messenger, pid_file):
    open(pid_file, "w").write(str(os.getpid()))
    user_messenger.publish("started")
    time.sleep(1000)
"""
    pid_file = tmp_path / "pid"
    job_id = api.submit(api.upload(source, name="long"), params={"pid_file": str(pid_file)})
    next(event for event in api.events(job_id) if event["type"] == "interim")
    assert api.http.delete(f"/jobs/{job_id}").status_code == 204
    assert api.http.get(f"/jobs/{job_id}").status_code == 404
    assert api.http.delete(f"/jobs/{job_id}").status_code == 404
    assert not (service.home.job_logs_dir / f"{job_id}.log").exists()
    ps = ["ps", "-o", "stat=", "-p", pid_file.read_text()]
    found = subprocess.run(ps, capture_output=True, text=True, check=False)
    assert found.stdout.strip() in ("", "Z")


async def test_a_queued_job_is_cancelled_when_it_is_deleted(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        jobs = [await local.job(client, program_id) for _ in range(20)]
        states = [(await client.get(f"/jobs/{job_id}")).json()["state"] for job_id in jobs]
        assert states[-1] == {"status": "Queued"}
        assert (await client.delete(f"/jobs/{jobs[-1]}")).status_code == 204
        assert (await client.get(f"/jobs/{jobs[-1]}")).status_code == 404


def test_the_image_of_a_job_is_the_interpreter_that_runs_it(api) -> None:
    source = "import sys\ndef main(backend, user_messenger):\n    return sys.executable\n"
    job_id = api.submit(api.upload(source, name="where"), runtime=f"python:{sys.executable}")
    api.finish(job_id)
    assert json.loads(api.http.get(f"/jobs/{job_id}/results").text) == sys.executable


async def test_tags_are_replaced(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client), tags=["a"])
        answer = await client.put(f"/jobs/{job_id}/tags", content='{"tags": ["c", "b"]}')
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await client.get(f"/jobs/{job_id}")).json()["tags"] == ["c", "b"]
        wrong = await client.put(f"/jobs/{job_id}/tags", content='{"tags": "c"}')
    assert wrong.status_code == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [5, 4, 3, 2, 1, 0]),
        ({"sort": "ASC"}, [0, 1, 2, 3, 4, 5]),
        ({"limit": 2, "offset": 1}, [4, 3]),
        ({"tags": "even"}, [4, 2, 0]),
        ({"tags": ["even", "three"]}, [0]),
        ({"tags": "no such"}, []),
        ({"backend": "fake_manila"}, [5, 3, 1]),
        ({"pending": True}, [5, 4, 3, 2, 1]),
        ({"pending": False}, [0]),
        ({"provider": "ibm-q/open/main"}, [5, 4, 3, 2, 1, 0]),
        ({"provider": "ibm-q/open/other"}, []),
        ({"provider": "anything"}, []),
        ({"program": "no such"}, []),
        ({"created_after": "2000-01-01T00:00:00Z"}, [5, 4, 3, 2, 1, 0]),
        ({"created_before": "2000-01-01T00:00:00"}, []),
    ],
)
async def test_jobs_are_listed_by_filters(local, query, expected) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        jobs = []
        for index in range(6):
            tags = ["even"] * (index % 2 == 0) + ["three"] * (index % 3 == 0)
            backend = "fake_manila" if index % 2 else "aer_simulator"
            jobs.append(await local.job(client, program_id, tags=tags, backend=backend))
        await client.post(f"/jobs/{jobs[0]}/cancel")
        listing = (await client.get("/jobs", params=query)).json()
    assert [jobs.index(job["id"]) for job in listing["jobs"]] == expected
    paged = "limit" in query
    assert listing["count"] == (6 if paged else len(expected))


async def test_jobs_are_found_by_the_time_of_their_creation(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        before = await local.job(client, program_id)
        between = datetime.now(UTC).isoformat()
        after = await local.job(client, program_id)
        for name, expected in (("created_before", before), ("created_after", after)):
            listing = (await client.get("/jobs", params={name: between})).json()
            assert [job["id"] for job in listing["jobs"]] == [expected]


async def test_jobs_of_others_do_not_exist(local) -> None:
    async with local.client("alice") as alice, local.client("bob") as bob:
        job_id = await local.job(alice, await local.program(alice))
        for path in ("", "/results", "/interim_results", "/logs", "/metrics", "/stream"):
            assert (await bob.get(f"/jobs/{job_id}{path}")).status_code == 404
        assert (await bob.post(f"/jobs/{job_id}/cancel")).status_code == 404
        assert (await bob.delete(f"/jobs/{job_id}")).status_code == 404
        assert (await bob.put(f"/jobs/{job_id}/tags", json={"tags": []})).status_code == 404
        assert (await bob.get("/jobs")).json() == {"jobs": [], "count": 0}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=many",
        "offset=-1",
        f"offset={10**30}",
        "pending=perhaps",
        "sort=UP",
        "created_after=yesterday",
    ],
)
async def test_a_wrong_query_is_refused_by_name(local, query) -> None:
    async with local.client() as client:
        answer = await client.get(f"/jobs?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["path"] == f"$.{query.partition('=')[0]}"


async def test_the_answer_to_a_submission_says_what_the_job_is(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        request = {"program_id": program_id, "tags": ["a"], "start_session": True}
        first = await client.post("/jobs", json=request, headers={"Idempotency-Key": "k"})
        again = await client.post("/jobs", json=request, headers={"Idempotency-Key": "k"})
        job = (await client.get(f"/jobs/{first.json()['id']}")).json()
    facts = ("id", "backend", "created", "tags", "runtime", "session_id")
    assert first.json() == again.json() == {fact: job[fact] for fact in facts}
