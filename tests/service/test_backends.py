"""Backends as the service describes them to each generation of IBM's clients."""

from __future__ import annotations

import pytest

from prefect_qiskit_runtime.program import ProgramBackend

LEGACY = {"X-Qx-Client-Application": "qiskit-ibm-runtime/0.15.1"}


def test_a_listing_has_the_number_of_qubits_under_both_names(api) -> None:
    devices = api.http.get("/backends").json()["devices"]
    assert {device["name"]: device["physical_qubits"] for device in devices}["fake_manila"] == 5
    assert all(device["physical_qubits"] == device["qubits"] for device in devices)


def test_the_ideal_simulator_has_the_qubits_of_the_backend_of_a_program(api) -> None:
    published = api.http.get("/backends/aer_simulator/configuration").json()["n_qubits"]
    assert published == ProgramBackend.from_name("aer_simulator").num_qubits


@pytest.mark.parametrize("name", ["aer_simulator", "ibmq_qasm_simulator"])
def test_older_clients_get_every_basis_gate_of_a_simulator(api, name) -> None:
    path = f"/backends/{name}/configuration"
    legacy = api.http.get(path, headers=LEGACY).json()

    gates = {gate["name"]: gate for gate in legacy["gates"]}
    assert set(gates) == {*legacy["basis_gates"], "delay"}
    assert len(gates["delay"]["coupling_map"]) == legacy["n_qubits"]
    assert [gate["name"] for gate in api.http.get(path).json()["gates"]] == ["delay"]


def test_older_clients_get_the_gates_of_a_device_as_they_are(api) -> None:
    path = "/backends/fake_manila/configuration"
    assert api.http.get(path, headers=LEGACY).json() == api.http.get(path).json()


def test_older_clients_get_delays_and_no_measure_among_the_gates_of_a_calibration(api) -> None:
    path = "/backends/fake_boston/properties"
    legacy, today = (api.http.get(path, headers=headers).json() for headers in (LEGACY, {}))

    delays = [gate for gate in legacy["gates"] if gate["gate"] == "delay"]
    assert [gate["qubits"] for gate in delays] == [[qubit] for qubit in range(156)]
    others = [gate for gate in legacy["gates"] if gate["gate"] != "delay"]
    assert others == [gate for gate in today["gates"] if gate["gate"] != "measure"]
    assert any(gate["gate"] == "measure" for gate in today["gates"])


def test_older_clients_get_a_frequency_for_each_qubit(api) -> None:
    path = "/backends/fake_fez/properties"
    legacy, today = (api.http.get(path, headers=headers).json() for headers in (LEGACY, {}))

    frequency = {
        "name": "frequency",
        "value": 0.0,
        "unit": "GHz",
        "date": legacy["last_update_date"],
    }
    assert legacy["qubits"] == [[*values, frequency] for values in today["qubits"]]
    measured = "/backends/fake_manila/properties"
    qubits = [api.http.get(measured, headers=headers).json()["qubits"] for headers in (LEGACY, {})]
    assert qubits[0] == qubits[1]
