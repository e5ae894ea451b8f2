"""A call of a task keeps its key over releases: the durable key of a job is made from this.

If a test fails after a change on purpose, calls that run again after the upgrade submit a second
job: say so in the changelog, and write the new fingerprint here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import AndGate
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import QuantumProgram

from prefect_qiskit_runtime import RuntimeBackend, RuntimeOptions, RuntimeServiceCredentials
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.pubs.executor_inputs import ExecutorCall
from prefect_qiskit_runtime.pubs.primitive_inputs import PrimitiveCall
from prefect_qiskit_runtime.pubs.requests import program_requests, pub_requests

_spec = importlib.util.spec_from_file_location(
    "golden_values", Path(__file__).parent / "codec" / "golden_values.py"
)
assert _spec is not None and _spec.loader is not None
golden_values = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden_values)

TEAM = RuntimeBackend(
    name="fake_manila",
    service="team",
    credentials=RuntimeServiceCredentials(url="https://runtime.example", token="secret"),
)
EMBEDDED = RuntimeBackend(name="aer_simulator")


async def sampler() -> Request:
    circuit = golden_values.parametrised()
    values = np.linspace(0, 1, 2 * circuit.num_parameters).reshape(2, -1)
    call = PrimitiveCall("sampler", [(circuit, values)], None, 100, None, 7, None)
    [request] = await pub_requests(call, EMBEDDED, None, None)
    return request


async def sampler_in_real_time() -> Request:
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.delay(160, 0, "us")
    circuit.measure_all()
    call = PrimitiveCall("sampler", [circuit], {"default_shots": 50}, None, None, None, True)
    [request] = await pub_requests(call, TEAM, None, None)
    return request


async def estimator() -> Request:
    circuit = golden_values.without_measurements(golden_values.parametrised())
    values = np.linspace(0, 1, circuit.num_parameters)
    observables = [SparsePauliOp(["ZZ", "XI"], [0.5, -2.0]), SparsePauliOp("IY")]
    call = PrimitiveCall(
        "estimator", [(circuit, observables, values)], None, None, 0.01, None, None
    )
    [request] = await pub_requests(call, TEAM, None, None)
    return request


async def executor() -> Request:
    circuit = golden_values.parametrised()
    program = QuantumProgram(shots=20)
    values = np.linspace(0, 1, 3 * circuit.num_parameters).reshape(3, -1)
    program.append_circuit_item(circuit, circuit_arguments=values)
    program.append_circuit_item(golden_values.controlled_flow())
    [request] = await program_requests(ExecutorCall(program, None, 5), EMBEDDED, None, None)
    return request


async def program() -> Request:
    inputs = {"circuit": golden_values.custom_gates(), **golden_values.arrays()}
    return Request("energy-abc", inputs, TEAM, RuntimeOptions(image="python-3.11"))


GOLDEN = {
    sampler: "fde585cbc7b993ceeeb7cefaffac63e09a7d94eff09e5466450f026d8cd10e4b",
    sampler_in_real_time: "f52ea0d764672de06fe7c5ded3c00ab6177c1a42371a6b4cf4c8664946650309",
    estimator: "6e8e9f4120d0c71bf0b2f366b810b04dd3309a2337976efb3104be8cf36b9494",
    executor: "e2b2eac4321ab29858d1a6026123643d97ba5e08e9020f3ebe5a63a0c84b7ae5",
    program: "a051907a6673929cc6ae32b2d741f42d79eaef4a34c4aa52ff99a7727aaa91e0",
}


@pytest.mark.parametrize("build", GOLDEN, ids=lambda build: build.__name__)
async def test_a_request_has_the_fingerprint_that_it_had_in_each_release(build):
    request = await build()

    assert request.fingerprint() == GOLDEN[build]


async def test_a_quantum_program_is_named_by_its_circuits_as_written():
    circuit = QuantumCircuit(3)
    circuit.append(AndGate(2), range(3))
    circuit.measure_all()
    unrolled = circuit.decompose("and")
    keys = []
    for each in (circuit, unrolled):
        program = QuantumProgram(shots=20)
        program.append_circuit_item(each)
        [request] = await program_requests(ExecutorCall(program, None, 5), EMBEDDED, None, None)
        keys.append(request.fingerprint())

    assert keys[0] != keys[1]


BLOCK_OF_STATES = RuntimeBackend(
    simulation={"method": "matrix_product_state", "bond_dimension": 32}  # type: ignore[arg-type]
)


async def sampled_by(backend: RuntimeBackend, simulator: dict[str, Any] | None) -> str:
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    options = None if simulator is None else {"simulator": simulator}
    call = PrimitiveCall("sampler", [circuit], options, 100, None, None, None)
    [request] = await pub_requests(call, backend, None, None)
    return request.fingerprint()


async def test_calls_that_differ_in_the_simulation_method_are_different_calls():
    plain = await sampled_by(EMBEDDED, None)
    settings: list[dict[str, Any]] = [
        {"method": "matrix_product_state"},
        {"method": "matrix_product_state", "bond_dimension": 32},
        {"method": "statevector"},
        {"max_memory_mb": 1000},
        {"truncation": 1e-6},
        {"device": "GPU"},
    ]

    keys = [await sampled_by(EMBEDDED, simulator) for simulator in settings]

    assert len({plain, *keys}) == len(settings) + 1
    for same in ({"method": "automatic"}, {"device": "CPU"}, {"bond_dimension": None}):
        assert await sampled_by(EMBEDDED, same) == plain
    # The block's settings are those of its calls; a method of the call replaces its limits too.
    assert await sampled_by(BLOCK_OF_STATES, None) == keys[1]
    assert await sampled_by(BLOCK_OF_STATES, {"method": "statevector"}) == keys[2]
    assert await sampled_by(BLOCK_OF_STATES, {"method": "automatic"}) == plain


async def test_quantum_programs_that_differ_in_the_simulation_method_are_different_calls():
    program = QuantumProgram(shots=20)
    program.append_circuit_item(QuantumCircuit(1, 1))
    keys = []
    for backend, options in (
        (EMBEDDED, None),
        (EMBEDDED, {"simulator": {"method": "automatic"}}),
        (BLOCK_OF_STATES, None),
        (EMBEDDED, {"simulator": {"method": "matrix_product_state", "bond_dimension": 32}}),
    ):
        call = ExecutorCall(program, options, 5)
        [request] = await program_requests(call, backend, None, None)
        keys.append(request.fingerprint())

    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_jobs_of_programs_that_differ_in_the_simulation_are_different_calls():
    def key(backend: RuntimeBackend, options: Any = None) -> str:
        return Request("energy-abc", {}, backend, backend.program_options(options)).fingerprint()

    plain = key(EMBEDDED)

    assert key(EMBEDDED, {"simulation": {"method": "automatic"}}) == plain
    assert key(EMBEDDED, {"simulation": {"method": "statevector"}}) != plain
    assert key(BLOCK_OF_STATES) != plain
    assert key(BLOCK_OF_STATES, {"simulation": {"method": "automatic"}}) == plain
