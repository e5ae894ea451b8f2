"""Values of parameters in every form that `BindingsArray` takes, through the real service."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.quantum_info import Pauli
from qiskit_ibm_runtime import QuantumProgram, RuntimeDecoder

from prefect_qiskit_runtime import (
    EncodingError,
    InvalidInputError,
    RuntimeClient,
    SyncRuntimeClient,
    primitives as tasks,
    run_program,
    upload_program,
)
from prefect_qiskit_runtime.codec import decode, encode, encode_inputs, fingerprint

pytestmark = pytest.mark.usefixtures("service_home")

IDEAL = "aer_simulator"
A, B = Parameter("a"), Parameter("b")
V = ParameterVector("v", 2)
# Rows of (a, b, v[0], v[1]); each is the angle of one qubit, so that no two can be confused.
ANGLES = np.pi * np.array([[1, 0, 0, 1], [0, 1, 1, 1], [0, 0, 1, 0]], dtype=float)
FORMS: dict[str, Callable[[], dict[Any, Any]]] = {
    "names": lambda: {("a", "b", "v[0]", "v[1]"): ANGLES},
    "names in another order": lambda: {
        ("v[1]", "b"): ANGLES[:, [3, 1]],
        ("v[0]", "a"): ANGLES[:, [2, 0]],
    },
    "parameters": lambda: {(A, B, V[0], V[1]): ANGLES},
    "single parameters": lambda: {A: ANGLES[:, 0], B: ANGLES[:, 1], V: ANGLES[:, 2:]},
    "a vector and names": lambda: {
        V: ANGLES[:, 2:].tolist(),
        ("b", "a"): ANGLES[:, [1, 0]].tolist(),
    },
    "names and parameters": lambda: {("a", B, *V): ANGLES},
    "an array of bindings": lambda: BindingsArray({("a", "b"): ANGLES[:, :2], V: ANGLES[:, 2:]}),
}
all_forms = pytest.mark.parametrize("form", FORMS)


def rotated(*, measured: bool) -> QuantumCircuit:
    circuit = QuantumCircuit(4)
    for qubit, angle in enumerate((A, B, *V)):
        circuit.ry(angle, qubit)
    if measured:
        circuit.measure_all()
    return circuit


def assert_rows(result: Any) -> None:
    bits = result[0].data.meas.to_bool_array(order="little")
    assert bits.shape == (3, 50, 4)
    assert np.array_equal(bits, np.broadcast_to((ANGLES > 0)[:, None, :], bits.shape))


def assert_signs(result: Any) -> None:
    assert result[0].data.evs == pytest.approx(np.cos(ANGLES).T, abs=1e-12)


OBSERVABLES = [
    [{"".join("Z" if q == qubit else "I" for q in (3, 2, 1, 0)): 1.0}] for qubit in range(4)
]


@all_forms
def test_sampler_and_estimator_take_values_by_any_key(form: str) -> None:
    values = FORMS[form]()
    assert_rows(tasks.run_sampler.fn([(rotated(measured=True), values)], backend=IDEAL, shots=50))
    assert_signs(
        tasks.run_estimator.fn([(rotated(measured=False), OBSERVABLES, values)], backend=IDEAL)
    )


@all_forms
def test_pubs_as_inputs_of_a_client_take_values_by_any_key(form: str) -> None:
    values = FORMS[form]()
    with SyncRuntimeClient() as client:
        sampled = client.run(
            "sampler", {"pubs": [(rotated(measured=True), values, 50)]}, backend=IDEAL
        )
        assert_rows(sampled.result())
        estimated = client.run(
            "estimator", {"pubs": [(rotated(measured=False), OBSERVABLES, values)]}, backend=IDEAL
        )
        assert_signs(estimated.result())


async def test_pubs_as_inputs_of_an_async_client_take_values_by_a_tuple_of_names() -> None:
    async with RuntimeClient() as client:
        job = await client.run(
            "sampler", {"pubs": [(rotated(measured=True), FORMS["names"](), 50)]}, backend=IDEAL
        )
        assert_rows(await job.result())


def test_the_executor_takes_the_array_of_bindings() -> None:
    circuit = rotated(measured=True)
    program = QuantumProgram(shots=50)
    values = BindingsArray({("v[1]", "b"): ANGLES[:, [3, 1]], (V[0], A): ANGLES[:, [2, 0]]})
    program.append_circuit_item(circuit, values.as_array(circuit.parameters))

    bits = tasks.run_executor.fn(program, backend=IDEAL)[0]["meas"]

    assert np.array_equal(bits, np.broadcast_to((ANGLES > 0)[:, None, :], (3, 50, 4)))


RETURNS_ITS_PUB = """
def main(backend, user_messenger, pub, keys):
    user_messenger.publish(keys)
    result = backend.sampler(shots=50).run([pub]).result()
    return {"keys": keys, ("result", "1"): result}
"""


def test_a_program_receives_and_returns_dicts_with_such_keys() -> None:
    program_id = upload_program.fn(RETURNS_ITS_PUB, metadata={"name": "pub-values"}, backend=IDEAL)
    keys = {("a", "b"): 1, A: 2, (V[1], "a"): {Pauli("XZ"): [4]}, "c": 5}
    received = []

    result = run_program.fn(
        program_id,
        {"pub": (rotated(measured=True), FORMS["names and parameters"]()), "keys": keys},
        backend=IDEAL,
        callback=lambda _, interim: received.append(interim),
    )

    assert received == [keys]
    assert result["keys"] == keys
    assert_rows(result["result", "1"])


@all_forms
def test_values_by_any_key_arrive_as_they_are(form: str) -> None:
    values = FORMS[form]()
    arrived = BindingsArray.coerce(decode(encode([values]))[0])
    parameters = rotated(measured=False).parameters
    assert np.array_equal(arrived.as_array(parameters), ANGLES)


def test_the_order_of_keys_does_not_change_a_fingerprint() -> None:
    first = {("a", "b"): 1, ("c", "d"): 2, "e": 3}
    assert fingerprint(first) == fingerprint(dict(reversed(first.items())))
    assert fingerprint(first) != fingerprint({("b", "a"): 1, ("c", "d"): 2, "e": 3})
    # A parameter is known by its name, as in circuits.
    assert fingerprint({(Parameter("a"), B): 1}) == fingerprint({(A, B): 1})


def test_ibm_receives_values_in_the_form_of_its_own_clients() -> None:

    text = encode_inputs({"pubs": [(rotated(measured=True), FORMS["names"]())]}, is_for_ibm=True)

    ((_, values),) = json.loads(text, cls=RuntimeDecoder)["pubs"]
    assert isinstance(values, BindingsArray)
    assert np.array_equal(values.as_array(["a", "b", "v[0]", "v[1]"]), ANGLES)


def test_keys_that_would_not_arrive_are_refused() -> None:
    with pytest.raises(
        EncodingError, match="Make the keys text; the values of a PUB can also have par"
    ):
        encode({"values": {("a", frozenset("b")): 1}})


def test_complex_values_are_refused_before_a_job() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4 + 1j])

    with pytest.raises(InvalidInputError, match=r"pubs\[0\]: A parameter value is \(0\.4\+1j\)"):
        tasks.run_sampler.fn([(rotated(measured=True), values)], backend=IDEAL, dry_run=True)
