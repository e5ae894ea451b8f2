"""Programs: upload, versions, paging, visibility, and what is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

SOURCE = "def main(backend, user_messenger):\n    return 1\n"
OTHER = "def main(backend, user_messenger):\n    return 2\n"


def body(source: str = SOURCE, **fields: Any) -> str:
    return json.dumps({"name": "p", "data": base64.b64encode(source.encode()).decode(), **fields})


async def test_an_uploaded_program_is_shown_to_its_owner_with_its_source(local) -> None:
    spec = {"parameters": {"type": "object"}, "backend_requirements": {"min_num_qubits": 5}}
    async with local.client() as client:
        answer = await client.post(
            "/programs", content=body(name="My VQE!", description="d", cost=600, spec=spec)
        )
        assert answer.status_code == 201
        program_id = answer.json()["id"]
        assert answer.json() == {"id": program_id, "version": 1, "outcome": "created"}
        assert program_id.startswith("my-vqe-") and len(program_id) == len("my-vqe-") + 8
        program = (await client.get(f"/programs/{program_id}")).json()
    assert program["data"] == SOURCE
    assert program["spec"] == spec
    shown = {name: program[name] for name in ("name", "description", "cost", "is_public")}
    assert shown == {"name": "My VQE!", "description": "d", "cost": 600, "is_public": False}


async def test_uploading_a_name_again_makes_another_program_as_ibm_does(local) -> None:
    async with local.client() as client:
        first, second = [
            (await client.post("/programs", content=body())).json()["id"] for _ in range(2)
        ]
    assert first != second


@pytest.mark.parametrize(
    ("change", "outcome", "version"),
    [
        ({}, "unchanged", 1),
        ({"source": OTHER}, "updated", 2),
        ({"description": "new"}, "updated", 2),
        ({"cost": 10}, "updated", 2),
        ({"spec": {"parameters": {"type": "object"}}}, "updated", 2),
    ],
)
async def test_update_makes_a_version_only_of_what_is_new(local, change, outcome, version) -> None:
    async with local.client() as client:
        program_id = (await client.post("/programs", content=body())).json()["id"]
        answer = await client.post("/programs", content=body(if_exists="update", **change))
        assert answer.status_code == 200
        assert answer.json() == {"id": program_id, "version": version, "outcome": outcome}
        assert (await client.get(f"/programs/{program_id}")).json()["version"] == version


async def test_error_refuses_a_name_that_exists(local) -> None:
    async with local.client() as client:
        program_id = (await client.post("/programs", content=body())).json()["id"]
        answer = await client.post("/programs", content=body(OTHER, if_exists="error"))
    assert answer.status_code == 409
    assert program_id in answer.json()["error"]["message"]


async def test_a_service_may_refuse_a_second_program_of_a_name(locally) -> None:
    async with locally(duplicate_program_names="refuse") as service, service.client() as client:
        program_id = (await client.post("/programs", content=body())).json()["id"]
        for if_exists in ({}, {"if_exists": "new"}, {"if_exists": "error"}):
            answer = await client.post("/programs", content=body(**if_exists))
            assert answer.status_code == 409
            assert program_id in answer.json()["error"]["message"]
            assert answer.json()["error"]["message"].endswith("upload with if_exists 'update'.")
        answer = await client.post("/programs", content=body(OTHER, if_exists="update"))
        assert answer.json() == {"id": program_id, "version": 2, "outcome": "updated"}
        other = (await client.post("/programs", content=body(name="q"))).json()["id"]
        renamed = await client.patch(f"/programs/{other}", content=json.dumps({"name": "p"}))
        assert renamed.status_code == 409
        async with service.client("bob") as bob:
            assert (await bob.post("/programs", content=body())).status_code == 201


async def test_update_takes_the_newest_program_of_the_name(local) -> None:
    async with local.client() as client:
        await client.post("/programs", content=body())
        newest = (await client.post("/programs", content=body())).json()["id"]
        updated = await client.post("/programs", content=body(OTHER, if_exists="update"))
    assert updated.json()["id"] == newest


async def test_a_byte_order_mark_is_no_part_of_a_source(local) -> None:
    async with local.client() as client:
        answer = await client.post("/programs", content=body("\ufeff" + OTHER))
        assert answer.status_code in (200, 201), answer.text
        data = (await client.get(f"/programs/{answer.json()['id']}")).json()["data"]
    assert data == OTHER


async def test_a_schema_that_goes_round_in_circles_refuses_the_job(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client, spec={"parameters": {"$ref": "#"}})
        answer = await client.post("/jobs", json={"program_id": program_id, "params": {}})
    assert answer.status_code == 400
    assert "refers to itself endlessly" in answer.json()["error"]["message"]


async def test_every_version_keeps_its_source(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client, name="p")
        first = (await client.get(f"/programs/{program_id}")).json()["data"]
        data = base64.b64encode(OTHER.encode())
        assert (await client.put(f"/programs/{program_id}/data", content=data)).status_code == 204
        assert (await client.get(f"/programs/{program_id}/versions/1")).text == first
        assert (await client.get(f"/programs/{program_id}/versions/2")).text == OTHER
        assert (await client.get(f"/programs/{program_id}/versions/3")).status_code == 404


async def test_a_change_of_metadata_keeps_the_rest(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client, name="p", description="old", cost=5)
        change = json.dumps({"name": "q", "description": "new"})
        assert (await client.patch(f"/programs/{program_id}", content=change)).status_code == 204
        program = (await client.get(f"/programs/{program_id}")).json()
    assert (program["name"], program["description"], program["cost"]) == ("q", "new", 5)
    assert program["version"] == 2


async def test_a_new_name_makes_no_version(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client, name="p")
        await client.patch(f"/programs/{program_id}", content='{"name": "q"}')
        assert (await client.get(f"/programs/{program_id}")).json()["version"] == 1


async def test_programs_come_in_pages_the_newest_first(local) -> None:
    async with local.client() as client:
        ids = [await local.program(client, name=f"p{index}") for index in range(5)]
        pages = []
        for offset in (0, 2, 4):
            page = (await client.get("/programs", params={"limit": 2, "offset": offset})).json()
            assert page["count"] == 5
            pages += [program["id"] for program in page["programs"]]
        assert pages == ids[::-1]
        named = (await client.get("/programs", params={"name": "p3"})).json()
    assert [program["id"] for program in named["programs"]] == [ids[3]]
    assert "data" not in named["programs"][0]


async def test_a_private_program_does_not_exist_for_others(local) -> None:
    async with local.client("alice") as alice, local.client("bob") as bob:
        program_id = await local.program(alice, name="p")
        assert (await bob.get(f"/programs/{program_id}")).status_code == 404
        assert (await bob.get("/programs")).json() == {"programs": [], "count": 0}
        answer = await bob.post("/jobs", json={"program_id": program_id})
        assert answer.status_code == 404
        assert (await bob.delete(f"/programs/{program_id}")).status_code == 404


async def test_a_public_program_is_there_for_others_to_run_but_not_to_read_or_change(local) -> None:
    async with local.client("alice") as alice, local.client("bob") as bob:
        program_id = await local.program(alice, name="p")
        assert (await alice.put(f"/programs/{program_id}/public")).status_code == 204
        shown = (await bob.get(f"/programs/{program_id}")).json()
        assert "data" not in shown and shown["owner"] == "alice" and shown["is_public"]
        assert (await bob.post("/jobs", json={"program_id": program_id})).status_code == 200
        assert (await bob.delete(f"/programs/{program_id}")).status_code == 403
        assert (await bob.patch(f"/programs/{program_id}", json={"cost": 1})).status_code == 403
        assert (await bob.get(f"/programs/{program_id}/versions/1")).status_code == 404
        assert (await alice.put(f"/programs/{program_id}/private")).status_code == 204
        assert (await bob.get(f"/programs/{program_id}")).status_code == 404


async def test_a_deleted_program_is_gone_but_the_source_of_its_jobs_stays(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client, name="p")
        job_id = await local.job(client, program_id)
        assert (await client.delete(f"/programs/{program_id}")).status_code == 204
        assert (await client.get(f"/programs/{program_id}")).status_code == 404
        assert (await client.get("/programs")).json()["count"] == 0
        assert (await client.get(f"/programs/{program_id}/versions/1")).status_code == 200
        assert (await client.get(f"/jobs/{job_id}")).json()["program"]["id"] == program_id
        assert (await client.post("/jobs", json={"program_id": program_id})).status_code == 404


@pytest.mark.parametrize(
    "source",
    [
        "def main(backend, user_messenger): pass",
        "from somewhere import main",
        "from somewhere import *",
        "import somewhere as main",
        "main = lambda *args, **kwargs: None",
        "try:\n    import fast\nexcept ImportError:\n    def main(b, m): pass",
        "if True:\n    def main(b, m): pass",
    ],
)
async def test_a_main_may_come_about_in_several_ways(local, source) -> None:
    async with local.client() as client:
        assert (await client.post("/programs", content=body(source))).status_code == 201


@pytest.mark.parametrize(
    ("source", "path", "words"),
    [
        ("x = 1\n", "$.data", "defines no `main(backend, user_messenger, **kwargs)`"),
        ("def f():\n    def main(): pass\n", "$.data", "defines no `main"),
        ("async def main(b, m): pass\n", "$.data", "must be a plain function"),
        ("x = 1\ndef main(:\n", "$.data", "line 2"),
        ("main\0", "$.data", "null bytes"),
    ],
)
async def test_a_source_that_cannot_run_is_refused(local, source, path, words) -> None:
    async with local.client() as client:
        answer = await client.post("/programs", content=body(source))
    assert answer.status_code == 400
    assert answer.json()["error"]["path"] == path
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": ""}, "$.name"),
        ({"name": None}, "$.name"),
        ({"data": "not base64!"}, "$.data"),
        ({"data": base64.b64encode(b"\xff\xfe").decode()}, "$.data"),
        ({"cost": -1}, "$.cost"),
        ({"cost": "long"}, "$.cost"),
        ({"cost": 10**30}, "$.cost"),
        ({"name": "\ud800"}, "$.name"),
        ({"spec": {"parameters": {"type": "nonsense"}}}, "$.spec.parameters.type"),
        ({"spec": {"parameters": ["list"]}}, "$.spec.parameters"),
        (
            {"spec": {"backend_requirements": {"min_num_qubits": "5"}}},
            "$.spec.backend_requirements.min_num_qubits",
        ),
        ({"if_exists": "maybe"}, "$.if_exists"),
    ],
)
async def test_metadata_that_is_wrong_is_refused_by_its_path(local, fields, path) -> None:
    async with local.client() as client:
        answer = await client.post("/programs", content=body(**fields))
    assert answer.status_code == 400
    assert answer.json()["error"]["path"] == path


async def test_an_upload_needs_no_json_content_type(local) -> None:
    async with local.client() as client:
        headers = {"Content-Type": "application/octet-stream"}
        answer = await client.post("/programs", content=body(), headers=headers)
    assert answer.status_code == 201
