"""Programs as `RuntimeClient` handles them, against the real service."""

from __future__ import annotations

import uuid
from collections import namedtuple
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from prefect_qiskit_runtime.client import RuntimeClient
from prefect_qiskit_runtime.errors import ConfigurationError, InvalidInputError, NotFoundError

SOURCE = "def main(backend, user_messenger, n=1, word=''):\n    return n\n"
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0}, "word": {"type": "string"}},
    "required": ["n"],
}
OldParameter = namedtuple("OldParameter", "name description type required")


@pytest.fixture
async def client(service_home: Path) -> AsyncIterator[RuntimeClient]:
    async with RuntimeClient() as client:
        yield client


@pytest.fixture
def name() -> str:
    return f"own-{uuid.uuid4().hex[:8]}"


async def test_an_id_is_the_name_and_a_random_ending(client: RuntimeClient, name: str) -> None:
    ids = {await client.upload_program(SOURCE, name=name, if_exists="new") for _ in range(2)}
    assert len(ids) == 2
    assert all(program_id.removeprefix(f"{name}-").isalnum() for program_id in ids)


@pytest.mark.parametrize("form", ["path", "text of a path", "text", "bytes"])
async def test_a_source_is_a_path_or_text_or_bytes(
    client: RuntimeClient, name: str, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "program.py"
    path.write_text(SOURCE)
    forms = {"path": path, "text of a path": str(path), "text": SOURCE, "bytes": SOURCE.encode()}
    program_id = await client.upload_program(data=forms[form], metadata={"name": name})
    assert (await client.program(program_id)).data == SOURCE


async def test_the_fields_of_the_oldest_clients_are_understood(
    client: RuntimeClient, name: str
) -> None:
    program_id = await client.upload_program(
        data=SOURCE,
        metadata={"name": name, "version": 2.0, "return_values": [{"name": "-", "type": "int"}]},
        version=1.0,
        backend_requirements={"min_num_qubits": 3},
        parameters=[OldParameter("n", "How many", "int", True), {"name": "word"}],
        interim_results={"type": "object"},
    )
    program = await client.program(program_id)
    assert (program.version, program.description) == (1, "")
    assert program.backend_requirements == {"min_num_qubits": 3}
    assert program.interim_results == {"type": "object"}
    assert program.return_values["properties"] == {"-": {"description": " (int)"}}
    assert program.parameters().metadata == {
        "type": "object",
        "properties": {
            "n": {"description": "How many (int)"},
            "word": {"description": " (None)"},
        },
        "required": ["n"],
    }


async def test_an_entry_of_a_list_of_parameters_needs_a_name(client: RuntimeClient) -> None:
    with pytest.raises(InvalidInputError, match="Entry 1 of parameters has no name") as caught:
        await client.upload_program(SOURCE, name="p", parameters=[{"name": "a"}, {"type": "int"}])
    assert caught.value.path == "$.parameters[1]"


async def test_a_spec_that_is_no_object_is_refused(client: RuntimeClient) -> None:
    with pytest.raises(InvalidInputError, match="spec must be an object"):
        await client.upload_program(SOURCE, {"name": "p", "spec": "none"}, parameters=[])
    with pytest.raises(InvalidInputError, match=r"\$\.spec"):
        await client.upload_program(SOURCE, {"name": "p", "spec": ["none"]})


async def test_metadata_may_make_a_program_public_and_a_keyword_wins(
    client: RuntimeClient, name: str
) -> None:
    metadata = {"name": name, "is_public": True}
    program_id = await client.upload_program(SOURCE, metadata)
    assert (await client.program(program_id)).is_public
    assert await client.upload_program(SOURCE, metadata, is_public=False) == program_id
    assert not (await client.program(program_id)).is_public


async def test_uploading_again_leaves_a_public_program_public(
    client: RuntimeClient, name: str
) -> None:
    program_id = await client.upload_program(SOURCE, name=name)
    await client.set_program_visibility(program_id, True)
    await client.upload_program(SOURCE + "#\n", name=name)
    assert (await client.program(program_id)).is_public


async def test_programs_are_remembered_until_asked_to_look_again(
    client: RuntimeClient, name: str
) -> None:
    program_id = await client.upload_program(SOURCE, name=name)
    first = await client.program(program_id)
    listed = await client.programs(limit=None)
    async with RuntimeClient() as other:
        await other.update_program(program_id, description="Changed elsewhere.")
        await other.upload_program(SOURCE, name=f"{name}-2")
    assert await client.program(program_id) is first
    assert await client.programs(limit=None) == listed
    assert (await client.program(program_id, refresh=True)).description == "Changed elsewhere."
    assert len(await client.programs(refresh=True, limit=None)) == len(listed) + 1


async def test_a_client_sees_its_own_changes_without_asking_to(
    client: RuntimeClient, name: str
) -> None:
    program_id = await client.upload_program(SOURCE, name=name)
    assert (await client.programs(limit=1))[0].program_id == program_id
    assert not (await client.program(program_id)).is_public
    await client.set_program_visibility(program_id, True)
    assert (await client.program(program_id)).is_public
    await client.update_program(program_id, None, None, f"{name}-new")
    assert (await client.programs(limit=1))[0].name == f"{name}-new"
    await client.delete_program(program_id)
    assert program_id not in {found.program_id for found in await client.programs(limit=None)}
    with pytest.raises(NotFoundError):
        await client.program(program_id)


async def test_a_listing_is_cut_by_limit_and_skip(client: RuntimeClient, name: str) -> None:
    ids = [await client.upload_program(SOURCE, name=f"{name}-{number}") for number in range(3)]
    assert [found.program_id for found in await client.programs(limit=2, skip=1)] == ids[1::-1]


async def test_printing_programs_shows_twenty_at_a_time(
    client: RuntimeClient, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(21):
        await client.upload_program(SOURCE, name=f"{name}-{number}")
    await client.pprint_programs()
    assert capsys.readouterr().out.count("=" * 50 + "\n") == 20
    await client.pprint_programs(limit=1, skip=20, detailed=True)
    oldest = capsys.readouterr().out
    assert f"  Name: {name}-0\n" in oldest
    assert oldest.endswith("  Returns:\n    none\n")
    with pytest.raises(ConfigurationError, match="at most 20"):
        await client.pprint_programs(limit=21)


async def test_a_parameter_namespace_is_taken_as_inputs(client: RuntimeClient, name: str) -> None:
    program_id = await client.upload_program(SOURCE, name=name, parameters=SCHEMA)
    params = (await client.program(program_id)).parameters()
    params.n = 4
    job = await client.run(program_id, params)
    assert await job.result() == 4
    assert await job.inputs() == {"n": 4}


async def test_a_namespace_that_breaks_the_schema_costs_no_request(
    client: RuntimeClient, name: str
) -> None:
    program_id = await client.upload_program(SOURCE, name=name, parameters=SCHEMA)
    params = (await client.program(program_id)).parameters()
    with pytest.raises(InvalidInputError, match="The inputs of the program break the rule"):
        await client.run(program_id, params)
    assert await client.jobs(program_id=program_id) == []
