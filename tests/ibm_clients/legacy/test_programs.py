"""Programs of qiskit-ibm-runtime 0.11 and 0.15: every field, every way to give and to show them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from qiskit_ibm_runtime import QiskitRuntimeService, RuntimeProgram
from qiskit_ibm_runtime.exceptions import IBMInputValueError, IBMRuntimeError

SOURCE = "def main(backend, user_messenger, **inputs):\n    return inputs\n"
SPEC = {
    "backend_requirements": {"min_num_qubits": 5},
    "parameters": {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "properties": {
            "iterations": {"description": "How often.", "type": "integer", "minimum": 1},
            "label": {"description": "A name for it.", "type": "string"},
        },
        "required": ["iterations"],
    },
    "return_values": {"type": "object", "description": "The inputs."},
    "interim_results": {"type": "string", "description": "None."},
}
METADATA = {
    "name": "all-fields",
    "description": "Has every field.",
    "max_execution_time": 300,
    "is_public": False,
    "spec": SPEC,
}


@pytest.fixture
def program(service: QiskitRuntimeService):
    program_id = service.upload_program(data=SOURCE, metadata=METADATA)
    yield service.program(program_id)
    service.delete_program(program_id)


def test_every_field_comes_back(program: RuntimeProgram) -> None:
    assert program.program_id.startswith("all-fields-")
    assert (program.name, program.description) == ("all-fields", "Has every field.")
    assert (program.max_execution_time, program.is_public) == (300, False)
    assert program.backend_requirements == SPEC["backend_requirements"]
    assert program.return_values == SPEC["return_values"]
    assert program.interim_results == SPEC["interim_results"]
    assert program.creation_date == program.update_date != ""
    assert program.data == SOURCE
    assert program.to_dict()["description"] == "Has every field."


def test_metadata_may_be_a_file(service: QiskitRuntimeService, tmp_path: Path) -> None:
    (tmp_path / "program.json").write_text(json.dumps(METADATA))
    program_id = service.upload_program(data=SOURCE, metadata=str(tmp_path / "program.json"))
    assert service.program(program_id).return_values == SPEC["return_values"]
    service.delete_program(program_id)


def test_one_name_may_be_used_again(service: QiskitRuntimeService, program: RuntimeProgram) -> None:
    another = service.upload_program(data=SOURCE, metadata=METADATA)
    assert another != program.program_id
    service.delete_program(another)


def test_the_namespace_of_parameters_validates_and_runs(
    service: QiskitRuntimeService, program: RuntimeProgram
) -> None:
    inputs = program.parameters()
    assert inputs.metadata == SPEC["parameters"]
    assert inputs.to_dict() == SPEC["parameters"]["properties"]
    with pytest.raises(IBMInputValueError, match="iterations"):
        inputs.validate()
    inputs.iterations = 3
    inputs.validate()
    assert "iterations" in str(inputs)
    inputs.label = "mine"
    job = service.run(program.program_id, inputs=inputs, options={"backend": "fake_manila"})
    # The namespace's own attributes are sent as well.
    assert {"iterations": 3, "label": "mine"}.items() <= job.result(timeout=60).items()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "renamed"}, "name"),
        ({"description": "Other words."}, "description"),
        ({"max_execution_time": 120}, "max_execution_time"),
    ],
)
def test_single_fields_are_updated(
    service: QiskitRuntimeService, program: RuntimeProgram, change: dict, field: str
) -> None:
    service.update_program(program.program_id, **change)
    assert getattr(service.program(program.program_id, refresh=True), field) == change[field]
    assert service.program(program.program_id).backend_requirements == SPEC["backend_requirements"]


def test_the_spec_and_metadata_are_updated_and_keywords_win(
    service: QiskitRuntimeService, program: RuntimeProgram
) -> None:
    service.update_program(program.program_id, spec={"return_values": {"type": "integer"}})
    service.update_program(program.program_id, metadata={"name": "lost"}, name="kept")
    changed = service.program(program.program_id, refresh=True)
    assert (changed.name, changed.return_values) == ("kept", {"type": "integer"})


def test_programs_are_printed_in_full(
    service: QiskitRuntimeService, program: RuntimeProgram, capsys: pytest.CaptureFixture[str]
) -> None:
    service.pprint_programs(refresh=True, detailed=True, limit=None)
    printed = capsys.readouterr().out
    assert f"{program.program_id}:\n  Name: all-fields\n  Description: Has every field." in printed
    assert "        - iterations:\n            Description: How often." in printed
    assert "            Required: True" in printed


def test_programs_are_listed_in_pages(
    service: QiskitRuntimeService, program: RuntimeProgram
) -> None:
    others = [service.upload_program(data=SOURCE, metadata=METADATA) for _ in range(21)]
    known = {found.program_id for found in service.programs(refresh=True, limit=None)}
    assert {program.program_id, *others} <= known
    assert len(service.programs(refresh=True)) == 20
    two = service.programs(refresh=True, limit=2, skip=1)
    assert two[0].program_id == service.programs(refresh=True, limit=2)[1].program_id
    for other in others:
        service.delete_program(other)


def test_visibility_is_changed_and_changed_back(
    service: QiskitRuntimeService, bob: QiskitRuntimeService, program: RuntimeProgram
) -> None:
    service.set_program_visibility(program.program_id, public=True)
    assert program.program_id in {each.program_id for each in bob.programs(True, limit=None)}
    with pytest.raises(IBMRuntimeError):
        bob.set_program_visibility(program.program_id, public=False)
    with pytest.raises(IBMRuntimeError):
        bob.update_program(program.program_id, name="stolen")
    service.set_program_visibility(program.program_id, public=False)
    assert not service.program(program.program_id, refresh=True).is_public


@pytest.mark.parametrize("call", ["program", "delete_program", "update", "visibility"])
def test_a_program_that_is_not_there_is_reported_as_such(
    service: QiskitRuntimeService, call: str
) -> None:
    from qiskit_ibm_runtime.exceptions import RuntimeJobNotFound, RuntimeProgramNotFound

    calls: dict[str, Callable[[], object]] = {
        "program": lambda: service.program("nothing"),
        "delete_program": lambda: service.delete_program("nothing"),
        "update": lambda: service.update_program("nothing", name="other"),
        "visibility": lambda: service.set_program_visibility("nothing", public=True),
    }
    with pytest.raises((RuntimeProgramNotFound, RuntimeJobNotFound)):
        calls[call]()


def test_what_is_no_program_is_refused(service: QiskitRuntimeService) -> None:
    with pytest.raises(IBMRuntimeError, match="not valid Python"):
        service.upload_program(data="def main(: pass", metadata=METADATA)
    with pytest.raises(IBMInputValueError, match="max_execution_time"):
        service.upload_program(data=SOURCE, metadata={"name": "short"})
