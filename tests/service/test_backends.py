"""Backends as the service describes them to each generation of IBM's clients."""

from __future__ import annotations

from datetime import datetime, timedelta

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
    today = api.http.get(path).json()
    legacy = api.http.get(path, headers=LEGACY).json()
    assert legacy == {**today, "input_allowed": ["runtime"]}


@pytest.mark.parametrize(("name", "volume"), [("fake_fez", 0), ("fake_manila", 32)])
def test_older_clients_can_filter_devices_by_input_and_quantum_volume(api, name, volume) -> None:
    path = f"/backends/{name}/configuration"
    legacy = api.http.get(path, headers=LEGACY).json()
    assert (legacy["input_allowed"], legacy["quantum_volume"]) == (["runtime"], volume)
    assert api.http.get(path).json()["quantum_volume"] == (volume or None)


@pytest.mark.parametrize("headers", [LEGACY, {}], ids=["legacy", "today"])
def test_a_calibration_is_the_last_before_the_time_given(api, headers) -> None:
    def updated(**query: str) -> str | None:
        path = "/backends/fake_manila/properties"
        answer = api.http.get(path, headers=headers, params=query)
        return answer.json().get("last_update_date")

    date = updated()
    assert date is not None
    moment = datetime.fromisoformat(date)
    later, earlier = ((moment + timedelta(seconds=s)).isoformat() for s in (1, -1))
    assert updated(updated_before=later) == date
    assert updated(updated_before=earlier) is None
    assert updated(updated_before=date) is None
    assert updated(updated_before="2100-01-01T00:00:00") == date
    assert updated(updated_before="2000-01-01T00:00:00") is None


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
