"""Sources and metadata of the example programs fit each other; hello-world says hello."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import jsonschema
import pytest

from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.models import ProgramMetadata

PROGRAMS = Path(__file__).parents[2] / "flows" / "programs"
NAMES = ["hello_world", "vqe"]
STANDALONE = {
    "__future__",
    "collections",
    "dataclasses",
    "numpy",
    "qiskit",
    "scipy",
    "typing",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["parameters", "interim_results", "return_values"])
def test_the_schemas_are_schemas(metadata, name, part):
    jsonschema.Draft202012Validator.check_schema(metadata(name)["spec"][part])


@pytest.mark.parametrize("name", NAMES)
def test_metadata_has_no_unknown_fields(metadata, name):
    assert ProgramMetadata(**metadata(name)).model_dump(exclude_unset=True) == metadata(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_names_the_arguments_of_main(request, metadata, name):
    arguments = inspect.signature(request.getfixturevalue(name).main).parameters
    schema = metadata(name)["spec"]["parameters"]

    assert set(schema["properties"]) == {*arguments} - {"backend", "user_messenger"}
    for argument, described in schema["properties"].items():
        default = arguments[argument].default
        if default is inspect.Parameter.empty:
            assert argument in schema["required"]
        else:
            assert described["default"] == default
        assert described["description"]


@pytest.mark.parametrize("name", NAMES)
def test_the_source_needs_qiskit_numpy_scipy_and_our_room_for_programs_only(name):
    tree = ast.parse((PROGRAMS / f"{name}.py").read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)

    others = {module for module in imported if module.split(".")[0] not in STANDALONE}
    assert all(module.startswith("prefect_qiskit_runtime.program.") for module in others), others


def test_what_the_vqe_takes_and_gives_fits_its_schemas(vqe, ideal, messenger, metadata, inputs_for):
    spec = metadata("vqe")["spec"]
    inputs = inputs_for("h2_0.735", optimizer="SLSQP", maxiter=3, shots=None, seed=1)

    result = vqe.main(ideal, messenger, **inputs)

    jsonschema.validate(json.loads(encode_inputs(inputs)), spec["parameters"])
    jsonschema.validate(result, spec["return_values"])
    for message in messenger.messages:
        jsonschema.validate(message, spec["interim_results"])


def test_encoded_operators_circuits_and_arrays_fit_the_schema(metadata):
    import numpy as np
    from qiskit.circuit.library import efficient_su2
    from qiskit.quantum_info import SparsePauliOp

    circuit = efficient_su2(2, reps=1)
    inputs = {
        "hamiltonian": SparsePauliOp(["XX", "ZI"], [0.5, 1.0]),
        "ansatz": circuit,
        "initial_point": np.zeros(circuit.num_parameters),
    }

    jsonschema.validate(json.loads(encode_inputs(inputs)), metadata("vqe")["spec"]["parameters"])


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"maxiter": 0}, "$.maxiter"),
        ({"optimizer": "Adam"}, "$.optimizer"),
        ({"hamiltonian": [["XQ", 1.0]]}, "$.hamiltonian"),
        ({"ansatz": {"hartree_fock_bitstring": "01"}}, "$.ansatz"),
        ({"shots": 1.5}, "$.shots"),
        ({"iterations": 5}, "$"),
    ],
)
def test_wrong_inputs_of_the_vqe_break_the_schema_where_they_are(metadata, inputs_for, wrong, path):
    validator = jsonschema.Draft202012Validator(metadata("vqe")["spec"]["parameters"])

    errors = list(validator.iter_errors({**inputs_for("h2_0.735"), **wrong}))

    assert [error.json_path for error in errors] == [path]


def test_hello_world_publishes_counts_and_returns_a_greeting(
    hello_world, ideal, messenger, metadata
):
    result = hello_world.main(ideal, messenger, iterations=3, shots=100, seed=1)

    assert result == "Hello, World!"
    assert [message["iteration"] for message in messenger.messages] == [0, 1, 2]
    for message in messenger.messages:
        assert sum(message["counts"].values()) == 100
        assert {len(bits) for bits in message["counts"]} == {5}
        jsonschema.validate(message, metadata("hello_world")["spec"]["interim_results"])
    jsonschema.validate(result, metadata("hello_world")["spec"]["return_values"])


def test_hello_world_repeats_itself_with_a_seed(hello_world, noisy, messenger):
    hello_world.main(noisy, messenger, iterations=1, shots=100, seed=1)
    hello_world.main(noisy, messenger, iterations=1, shots=100, seed=1)

    first, second = messenger.messages
    assert first == second
