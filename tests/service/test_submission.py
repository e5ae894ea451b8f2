"""Submitting: one request becomes one job, and what is wrong is refused by path and rule."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from prefect_qiskit_runtime.service.execution.executor import Exited, Result

SCHEMA = {
    "type": "object",
    "properties": {
        "maxiter": {"type": "integer", "minimum": 1},
        "hamiltonian": {
            "type": "object",
            "properties": {"paulis": {"type": "array", "items": {"type": "string"}}},
        },
    },
    "required": ["maxiter"],
    "additionalProperties": False,
}


async def test_the_same_key_gives_the_same_job(local) -> None:
    async with local.client() as client:
        request = {"program_id": await local.program(client), "params": {"n": 1}}
        headers = {"Idempotency-Key": "k"}
        first = await client.post("/jobs", json=request, headers=headers)
        second = await client.post("/jobs", json=request, headers=headers)
        assert first.json() == second.json()
        assert "Idempotent-Replayed" not in first.headers
        assert second.headers["Idempotent-Replayed"] == "true"
        assert (await client.get("/jobs")).json()["count"] == 1


async def test_twenty_requests_at_once_with_one_key_make_one_job(local) -> None:
    async with local.client() as client:
        request = {"program_id": await local.program(client)}
        headers = {"Idempotency-Key": "k"}
        answers = await asyncio.gather(
            *(client.post("/jobs", json=request, headers=headers) for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
        assert (await client.get("/jobs")).json()["count"] == 1


async def test_a_key_with_another_body_is_refused(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        headers = {"Idempotency-Key": "k"}
        for params, status in (({"n": 1}, 200), ({"n": 2}, 422)):
            request = {"program_id": program_id, "params": params}
            answer = await client.post("/jobs", json=request, headers=headers)
            assert answer.status_code == status


async def _ended_job(local, client, request: dict[str, object], key: str) -> str:
    answer = await client.post("/jobs", json=request, headers={"Idempotency-Key": key})
    (await local.executor.next()).send(Result("1"), Exited(0, None, False))
    await local.ended(answer.json()["id"])
    return answer.json()["id"]


async def test_the_key_of_a_deleted_job_makes_no_other_job(local) -> None:
    async with local.client() as client:
        request = {"program_id": await local.program(client)}
        job_id = await _ended_job(local, client, request, "k")
        assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
        answer = await client.post("/jobs", json=request, headers={"Idempotency-Key": "k"})
        error = answer.json()["error"]
        assert answer.status_code == 410
        assert (error["code"], error["kind"]) == (410, "deleted_job")
        assert (error["job_id"], error["identifier"]) == (job_id, job_id)
        assert f"became job {job_id}, which was deleted at " in error["message"]
        assert (await client.get("/jobs")).json()["count"] == 0


async def test_the_key_of_a_deleted_job_with_another_body_is_refused(local) -> None:
    async with local.client() as client:
        request = {"program_id": await local.program(client)}
        job_id = await _ended_job(local, client, request, "k")
        await client.delete(f"/jobs/{job_id}")
        other = {**request, "params": {"n": 2}}
        answer = await client.post("/jobs", json=other, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 422


async def test_the_key_of_a_deleted_job_is_free_for_other_users(local) -> None:
    async with local.client() as client, local.client("bob") as bob:
        request = {"program_id": await local.program(client)}
        job_id = await _ended_job(local, client, request, "k")
        await client.delete(f"/jobs/{job_id}")
        own = {"program_id": await local.program(bob)}
        answer = await bob.post("/jobs", json=own, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 200
        missing = (await bob.get(f"/jobs/{job_id}")).json()["error"]
        assert (missing["kind"], missing["message"]) == ("job", f"There is no job '{job_id}'.")


async def test_questions_about_a_deleted_job_are_answered_with_its_deletion(local) -> None:
    async with local.client() as client:
        request = {"program_id": await local.program(client)}
        job_id = await _ended_job(local, client, request, "k")
        await client.delete(f"/jobs/{job_id}")
        for path in ("", "/results", "/stream", "/interim_results"):
            answer = await client.get(f"/jobs/{job_id}{path}")
            error = answer.json()["error"]
            assert (answer.status_code, error["kind"]) == (404, "deleted_job")
            assert error["message"].startswith(f"Job {job_id} was deleted at ")


async def test_a_fingerprint_says_in_place_of_the_body_what_is_the_same(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        jobs = []
        for params, mark, status in (
            ({"n": 1}, "a", 200),
            ({"n": 2}, "a", 200),
            ({"n": 1}, "b", 422),
        ):
            headers = {"Idempotency-Key": "k", "Idempotency-Fingerprint": mark * 64}
            request = {"program_id": program_id, "params": params}
            answer = await client.post("/jobs", json=request, headers=headers)
            assert answer.status_code == status
            jobs.append(answer.json().get("id"))
    assert jobs[0] == jobs[1]


@pytest.mark.parametrize("mark", ["short", "x" * 129])
async def test_a_fingerprint_has_a_length(local, mark: str) -> None:
    async with local.client() as client:
        request = {"program_id": await local.program(client)}
        headers = {"Idempotency-Key": "k", "Idempotency-Fingerprint": mark}
        answer = await client.post("/jobs", json=request, headers=headers)
    assert answer.status_code in (400, 422)


async def test_keys_of_two_users_are_two_keys(local) -> None:
    async with local.client("alice") as alice, local.client("bob") as bob:
        jobs = set()
        for client in (alice, bob):
            request = {"program_id": await local.program(client)}
            answer = await client.post("/jobs", json=request, headers={"Idempotency-Key": "k"})
            assert "Idempotent-Replayed" not in answer.headers
            jobs.add(answer.json()["id"])
    assert len(jobs) == 2


async def test_a_key_is_answered_also_when_the_program_is_gone(local) -> None:
    async with local.client() as client:
        request = {"program_id": await local.program(client)}
        headers = {"Idempotency-Key": "k"}
        first = await client.post("/jobs", json=request, headers=headers)
        await client.delete(f"/programs/{request['program_id']}")
        again = await client.post("/jobs", json=request, headers=headers)
    assert again.json()["id"] == first.json()["id"]


async def test_a_job_runs_the_version_that_it_was_submitted_with(local) -> None:
    source_2 = "def main(backend, user_messenger): return 2"
    async with local.client() as client:
        program_id = await local.program(client)
        blockers = [await local.job(client, program_id) for _ in range(2)]
        running = [await local.executor.next() for _ in blockers]
        job_id = await local.job(client, program_id)
        await local.program(client, if_exists="update", description="another version")
        assert (await client.get(f"/programs/{program_id}")).json()["version"] == 2
        running[0].exit()
        execution = await local.executor.next()
        assert execution.launch.job_id == job_id
        assert execution.launch.source != source_2
        shown = (await client.get(f"/jobs/{job_id}")).json()["program"]
        assert shown == {"id": program_id, "version": 1}


async def test_inputs_are_kept_and_shown_exactly_as_they_were_sent(local) -> None:
    params = '{ "b":1.0e2, "a" : [NaN, "\\u00e9", "é"],\n"a": {"x": 1E400} }'
    async with local.client() as client:
        program_id = await local.program(client)
        body = f'{{"tags": [], "params": {params} , "program_id": "{program_id}"}}'
        job_id = (await client.post("/jobs", content=body)).json()["id"]
        execution = await local.executor.next()
        assert execution.launch.inputs == params.encode()
        assert params in (await client.get(f"/jobs/{job_id}")).text
        without = await client.get(f"/jobs/{job_id}", params={"exclude_params": True})
        assert "params" not in without.json()


@pytest.mark.parametrize("application", ["qiskit-ibmq-provider,qiskit-terra/0.20.2", "qiskit/0.46"])
async def test_only_the_ibmq_provider_gets_inputs_in_a_listing_and_shorter_pages(
    local, application
) -> None:
    large = f'{{ "a":"{"x" * 3 * 1024**2}" }}'
    async with local.client() as client:
        body = '{"program_id": "%s", "params": %s}'
        program_id = await local.program(client)
        for _ in range(4):
            await client.post("/jobs", content=body % (program_id, large))
        await local.job(client, program_id, params={"secret": 1}, private=True)
        for other in ({}, {"X-Qx-Client-Application": "ibmqiskitruntime/0.15.1"}):
            listed = (await client.get("/jobs", headers=other)).json()["jobs"]
            assert [job.get("params") for job in listed] == [None] * 5
        headers = {"X-Qx-Client-Application": application}
        pages = [
            await client.get("/jobs", params={"offset": offset}, headers=headers)
            for offset in (0, 4)
        ]
    assert [page.json()["count"] for page in pages] == [5, 5]
    assert [len(page.json()["jobs"]) for page in pages] == [4, 1]
    assert "params" not in pages[0].json()["jobs"][0]
    assert [page.text.count(f'"params": {large}') for page in pages] == [3, 1]


async def test_the_inputs_of_a_private_job_are_not_shown(local) -> None:
    async with local.client() as client:
        job_id = await local.job(
            client, await local.program(client), params={"secret": 1}, private=True
        )
        job = (await client.get(f"/jobs/{job_id}")).json()
    assert job["private"] is True
    assert "params" not in job


@pytest.mark.parametrize(
    ("params", "path", "rule"),
    [
        ({"maxiter": 0}, "$.maxiter", "minimum: 1"),
        ({"maxiter": "many"}, "$.maxiter", 'type: "integer"'),
        ({}, "$", 'required: ["maxiter"]'),
        (
            {"maxiter": 1, "hamiltonian": {"paulis": ["X", 3]}},
            "$.hamiltonian.paulis[1]",
            'type: "string"',
        ),
        (
            {"maxiter": 1, "maxitre": 2},
            "$",
            "additionalProperties: false (not in the schema: maxitre)",
        ),
    ],
)
async def test_inputs_that_break_the_schema_are_refused(local, params, path, rule) -> None:
    async with local.client() as client:
        program_id = await local.program(client, spec={"parameters": SCHEMA})
        for _ in range(2):  # the second time with the compiled schema
            request = {"program_id": program_id, "params": params}
            answer = await client.post("/jobs", json=request)
            assert answer.status_code == 400
            error = answer.json()["error"]
            assert (error["path"], error["rule"]) == (path, rule)
        assert (await client.get("/jobs")).json()["count"] == 0


async def test_a_refusal_does_not_repeat_the_values(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client, spec={"parameters": SCHEMA})
        request = {"program_id": program_id, "params": {"maxiter": "a secret"}}
        answer = await client.post("/jobs", json=request)
    assert "a secret" not in answer.text


async def test_a_schema_cannot_make_the_service_fetch_another(local) -> None:
    spec = {"parameters": {"$ref": "http://127.0.0.1:9/schema.json"}}
    async with local.client() as client:
        program_id = await local.program(client, spec=spec)
        answer = await client.post("/jobs", json={"program_id": program_id})
    assert answer.status_code == 400
    assert "http://127.0.0.1:9/schema.json" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("requirements", "backend", "status", "words"),
    [
        ({"min_num_qubits": 5}, "fake_manila", 200, None),
        ({"min_num_qubits": 6}, "fake_manila", 400, "min_num_qubits: 6 (it has 5)"),
        ({"simulator": True}, "fake_manila", 400, "simulator: true"),
        ({"simulator": True}, "aer_simulator", 200, None),
        ({"basis_gates": ["cx", "toffoli"]}, "fake_manila", 400, "basis_gates: toffoli"),
        ({"min_num_qubits": 10_000}, None, 400, "No backend"),
    ],
)
async def test_the_backend_must_meet_the_requirements(
    local, requirements, backend, status, words
) -> None:
    async with local.client() as client:
        program_id = await local.program(client, spec={"backend_requirements": requirements})
        answer = await client.post("/jobs", json={"program_id": program_id, "backend": backend})
    assert answer.status_code == status
    if words is not None:
        assert words in answer.json()["error"]["message"]


async def test_a_backend_is_chosen_when_none_is_named(local) -> None:
    async with local.client() as client:
        simple = await client.post("/jobs", json={"program_id": await local.program(client)})
        device = await local.program(
            client, spec={"backend_requirements": {"simulator": False, "min_num_qubits": 100}}
        )
        large = await client.post("/jobs", json={"program_id": device})
    assert simple.json()["backend"] == "aer_simulator"
    assert large.json()["backend"].startswith("fake_")


async def test_a_requirement_that_is_not_understood_is_said_to_be(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client, spec={"backend_requirements": {"color": "red"}})
        answer = await client.post("/jobs", json={"program_id": program_id})
    assert answer.json()["messages"] == [{"data": "Backend requirement 'color' is not checked."}]


async def test_an_unknown_backend_is_refused_with_close_names(local) -> None:
    async with local.client() as client:
        request = {"program_id": await local.program(client), "backend": "fake_manilla"}
        answer = await client.post("/jobs", json=request)
    assert answer.status_code == 404
    assert "fake_manila" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("asked", "program", "highest", "limit", "warned"),
    [
        (None, None, 100, 100, False),
        (10, None, 100, 10, False),
        (None, 20, 100, 20, False),
        (30, 20, 100, 20, False),
        (0, 20, 100, 20, False),
        (None, 36_000, 100, 100, True),
    ],
)
async def test_the_smallest_limit_counts(locally, asked, program, highest, limit, warned) -> None:
    async with locally(max_execution_seconds=highest) as local, local.client() as client:
        program_id = await local.program(client, cost=program)
        answer = await client.post("/jobs", json={"program_id": program_id, "cost": asked})
        assert (await client.get(f"/jobs/{answer.json()['id']}")).json()["cost"] == limit
        assert ("messages" in answer.json()) is warned


async def test_a_limit_above_the_services_is_refused_with_both_numbers(locally) -> None:
    async with locally(max_execution_seconds=100) as local, local.client() as client:
        body = {"program_id": await local.program(client), "cost": 101}
        answer = await client.post("/jobs", json=body)
        assert answer.status_code == 400
        message = "max_execution_time is 101 s; this service allows 1 to 100 s."
        assert answer.json()["error"]["message"] == message


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"params": [1]}, "$.params"),
        ({"params": "text"}, "$.params"),
        ({"tags": ["ok", 3]}, "$.tags[1]"),
        ({"tags": ["x" * 201]}, "$.tags[0]"),
        ({"log_level": "LOUD"}, "$.log_level"),
        ({"cost": -1}, "$.cost"),
        ({"cost": 28_801}, "$.cost"),
        ({"attempt": 0}, "$.attempt"),
        ({"attempt": 10**30}, "$.attempt"),
        ({"tags": ["\ud800"]}, "$.tags[0]"),
        ({"program_id": 3}, "$.program_id"),
        ({"runtime": "docker:image"}, "$.runtime"),
        ({"runtime": "python:relative/python"}, "$.runtime"),
        ({"runtime": "python:/no/such/python"}, "$.runtime"),
        ({"runtime": "python:/etc"}, "$.runtime"),
    ],
)
async def test_a_wrong_field_is_refused_by_its_path(local, fields, path) -> None:
    async with local.client() as client:
        request = {"program_id": await local.program(client), **fields}
        answer = await client.post("/jobs", content=json.dumps(request))
    assert answer.status_code == 400
    assert answer.json()["error"]["path"] == path


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"nonsense",
        b'{"program_id" "x"}',
        b'{"program_id": "x"} and more',
        b'{"program_id": "x",}',
        b'{"a": \xff}',
        b'{"params": ' + b"[" * 100_000,
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(local, body) -> None:
    async with local.client() as client:
        answer = await client.post("/jobs", content=body)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) >= {"message", "code"}


async def test_an_unknown_program_is_not_found(local) -> None:
    async with local.client() as client:
        answer = await client.post("/jobs", json={"program_id": "no-such"})
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == (
        "There is no program 'no-such'. Use the id that the upload of the program returned."
    )


async def test_what_was_submitted_is_what_is_launched(local) -> None:
    async with local.client() as client:
        job_id = await local.job(
            client,
            await local.program(client),
            params={"n": 2},
            backend="fake_manila",
            log_level="debug",
            cost=33,
            runtime=f"python:{sys.executable}",
            tags=["a", "b", "a"],
            attempt=2,
        )
        launch = (await local.executor.next()).launch
        job = (await client.get(f"/jobs/{job_id}")).json()
    assert (launch.job_id, launch.backend, launch.log_level) == (job_id, "fake_manila", "DEBUG")
    assert (launch.max_execution_seconds, json.loads(launch.inputs)) == (33, {"n": 2})
    assert (job["tags"], job["attempt"], job["session_id"]) == (["a", "b"], 2, None)
