"""Values from the forms of Prefect's UI are understood: that of a block, that of a deployment."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from prefect_qiskit_runtime import IBMQuantumCredentials, RuntimeBackend, RuntimeProgram

# Of a schema, the form of a deployment has its values validated with these (Prefect 3.8.8).
KNOWN_TO_THE_UI = {
    "$ref", "allOf", "anyOf", "block_type_slug", "const", "default", "definitions", "description",
    "enum", "example", "format", "items", "maxItems", "minItems", "position", "prefixItems",
    "properties", "required", "title", "type",
}  # fmt: skip


@pytest.mark.parametrize("field", ["credentials", "hardware_credentials"])
def test_where_no_credentials_were_chosen_there_are_none(field: str) -> None:
    saved = RuntimeBackend.model_validate({"name": "fake_manila", field: {}})
    assert saved == RuntimeBackend(name="fake_manila")


@pytest.mark.parametrize("block", [IBMQuantumCredentials, RuntimeBackend, RuntimeProgram])
def test_a_saved_block_can_be_picked(block: type[Block]) -> None:
    def flow(given: Any) -> None: ...

    flow.__annotations__["given"] = block
    schema: Any = parameter_schema(flow).model_dump_for_openapi()
    for definition in schema["definitions"].values():
        for keyword in definition.keys() - KNOWN_TO_THE_UI:
            del definition[keyword]
    picked = {"$ref": {"block_document_id": "7d5f3c1e-4f1d-4c39-9c0c-2b9f6a0f8f11"}}
    assert validate({"given": picked}, schema) == []
    assert validate({"given": 5}, schema) != []


def test_the_form_of_a_backend_has_a_group_for_the_simulation() -> None:
    schema = RuntimeBackend.model_json_schema()
    group = schema["definitions" if "definitions" in schema else "$defs"]["Simulation"]

    assert schema["properties"]["simulation"]["$ref"].endswith("/Simulation")
    assert group["title"] == "Simulation"
    assert {name: field["title"] for name, field in group["properties"].items()} == {
        "method": "Method",
        "bond_dimension": "Largest bond dimension",
        "truncation": "Truncation",
        "max_memory_mb": "Memory limit (MiB)",
        "device": "Processor of the simulator",
    }
    assert all(field["description"].endswith(".") for field in group["properties"].values())
    filled = {"method": "matrix_product_state", "bond_dimension": 64, "truncation": None}
    saved = RuntimeBackend.model_validate({"simulation": filled})
    assert saved.named_simulation() == {"method": "matrix_product_state", "bond_dimension": 64}
    assert RuntimeBackend.model_validate({"simulation": {}}) == RuntimeBackend()
