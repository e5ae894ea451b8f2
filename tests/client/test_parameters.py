"""A program's inputs as attributes, and its text form. No service is needed."""

from __future__ import annotations

import copy
from datetime import UTC, datetime

import numpy as np
import pytest

from prefect_qiskit_runtime.client import (
    ParameterNamespace,
    RuntimeClientProgram,
    format_programs,
    read_inputs,
)
from prefect_qiskit_runtime.errors import EncodingError, InvalidInputError
from prefect_qiskit_runtime.models import ProgramSpec

SCHEMA = {
    "type": "object",
    "properties": {
        "iterations": {"type": "integer", "minimum": 0, "description": "How often."},
        "maxShots": {"type": "integer"},
        "anything": True,
    },
    "required": ["iterations"],
    "additionalProperties": False,
}
MADE = datetime(2021, 10, 26, 14, 41, 57, 123456, tzinfo=UTC)


def program(**fields: object) -> RuntimeClientProgram:
    return RuntimeClientProgram.model_validate(
        {
            "id": "hello-world-a1b2c3d4",
            "name": "hello-world",
            "description": "A sample runtime program.",
            "creation_date": MADE,
            "update_date": MADE,
            "cost": 300,
            **fields,
        }
    )


def test_only_what_was_assigned_is_an_input() -> None:
    params = ParameterNamespace(SCHEMA)
    assert params.iterations is None
    params.iterations = 3
    params.anything = None
    assert read_inputs(params) == {"iterations": 3, "anything": None}
    assert vars(params) == {"iterations": 3, "anything": None}


def test_each_namespace_of_a_program_is_a_new_one() -> None:
    spec = ProgramSpec(parameters=SCHEMA)
    first, second = program(spec=spec).parameters(), program(spec=spec).parameters()
    first.iterations = 1
    assert second.iterations is None


def test_a_required_parameter_without_a_value_is_named() -> None:
    with pytest.raises(InvalidInputError) as caught:
        ParameterNamespace(SCHEMA).validate()
    assert (caught.value.path, caught.value.rule) == ("$", 'required: ["iterations"]')


def test_values_are_checked_as_the_service_checks_them() -> None:
    params = ParameterNamespace(SCHEMA)
    params.iterations = np.int64(-1)  # as it is on the wire: a number
    with pytest.raises(InvalidInputError) as caught:
        params.validate()
    assert (caught.value.path, caught.value.rule) == ("$.iterations", "minimum: 0")
    params.iterations = object()
    with pytest.raises(EncodingError, match="iterations"):
        params.validate()


def test_a_parameter_that_the_schema_does_not_have_is_left_to_the_schema() -> None:
    params = ParameterNamespace(SCHEMA)
    params.iterations = 1
    params.extra = 2
    with pytest.raises(InvalidInputError, match="not in the schema: extra"):
        params.validate()
    del params.extra
    params.validate()
    without_schema = ParameterNamespace()
    without_schema.whatever = object()
    without_schema.validate()


def test_reading_what_is_not_there_names_what_is() -> None:
    with pytest.raises(AttributeError, match="It has iterations, maxShots, anything"):
        _ = ParameterNamespace(SCHEMA).iteration


def test_a_name_of_the_namespace_itself_cannot_be_assigned() -> None:
    with pytest.raises(AttributeError, match="'validate' is an attribute of every"):
        ParameterNamespace(SCHEMA).validate = 1


def test_completion_offers_the_parameters() -> None:
    assert {"iterations", "maxShots", "validate"} <= set(dir(ParameterNamespace(SCHEMA)))


def test_a_namespace_can_be_copied() -> None:
    params = ParameterNamespace(SCHEMA)
    params.iterations = 1
    copied = copy.deepcopy(params)
    copied.iterations = 2
    assert (params.iterations, copied.metadata) == (1, SCHEMA)


def test_definitions_are_given_by_name() -> None:
    params = ParameterNamespace(SCHEMA)
    assert params.to_dict() == SCHEMA["properties"]
    assert params.metadata == SCHEMA


def test_printing_a_namespace_shows_values_types_and_what_is_required() -> None:
    params = ParameterNamespace(SCHEMA)
    params.iterations = 3
    assert str(params).splitlines() == [
        "ParameterNamespace (Values):",
        "| Name       | Value        | Type         | Required |     Description |",
        "-" * 73,
        "| iterations | 3            | integer      | True     |      How often. |",
        "| maxShots   | None         | integer      | False    |            None |",
        "| anything   | None         | None         | False    |            None |",
    ]


def test_printing_a_program_has_the_layout_of_the_qiskit_runtime_clients() -> None:
    spec = {
        "backend_requirements": {"min_num_qubits": 5, "basis_gates": ["cx"]},
        "parameters": {"description": "Inputs.", **SCHEMA},
        "return_values": {"description": "The end.", "type": "string"},
    }
    assert str(program(spec=spec)).splitlines() == [
        "hello-world-a1b2c3d4:",
        "  Name: hello-world",
        "  Description: A sample runtime program.",
        "  Creation date: 2021-10-26T14:41:57Z",
        "  Update date: 2021-10-26T14:41:57Z",
        "  Max execution time: 300",
        "  Backend requirements:",
        "    Minimum number of qubits: 5",
        "    Basis gates: ['cx']",
        "  Input parameters:",
        "    Description: Inputs.",
        "    Type: object",
        "    Properties:",
        "        - iterations:",
        "            Type: integer",
        "            Minimum: 0",
        "            Description: How often.",
        "            Required: True",
        "        - maxShots:",
        "            Type: integer",
        "            Required: False",
        "        - anything:",
        "            Required: False",
        "  Interim results:",
        "    none",
        "  Returns:",
        "    Description: The end.",
        "    Type: string",
    ]


def test_a_listing_has_a_line_before_each_program() -> None:
    assert format_programs([program(), program(id="other")]).splitlines() == [
        "=" * 50,
        "hello-world-a1b2c3d4:",
        "  Name: hello-world",
        "  Description: A sample runtime program.",
        "=" * 50,
        "other:",
        "  Name: hello-world",
        "  Description: A sample runtime program.",
    ]


def test_a_program_has_the_fields_of_the_qiskit_runtime_clients() -> None:
    spec = {"parameters": SCHEMA, "backend_requirements": {"min_num_qubits": 5}}
    shown = program(spec=spec, is_public=True, data="source")
    assert shown.to_dict() == {
        "program_id": "hello-world-a1b2c3d4",
        "name": "hello-world",
        "description": "A sample runtime program.",
        "max_execution_time": 300,
        "backend_requirements": {"min_num_qubits": 5},
        "parameters": SCHEMA,
        "return_values": {},
        "interim_results": {},
        "is_public": True,
    }
    assert (shown.data, shown.creation_date, shown.update_date) == ("source", MADE, MADE)
    assert repr(shown) == "RuntimeClientProgram('hello-world-a1b2c3d4')"
