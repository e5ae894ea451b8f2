"""Backends of qiskit-ibm-runtime 0.11 and 0.15: filters, calibration, targets."""

from __future__ import annotations

from datetime import datetime

import pytest
from circuits import bell
from qiskit import transpile
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime import IBMBackend, QiskitRuntimeService, __version__
from serving import SIMULATORS


def width(backend: IBMBackend) -> int:
    return backend.num_qubits


def test_backends_are_filtered(service: QiskitRuntimeService) -> None:
    names = {backend.name for backend in service.backends()}
    assert {"aer_simulator", "fake_manila", "fake_sherbrooke"} <= names
    (only,) = service.backends(name="fake_manila")
    assert only.name == "fake_manila"
    large = service.backends(min_num_qubits=100, filters=lambda backend: width(backend) < 130)
    assert {width(backend) for backend in large} == {120, 127}
    assert {backend.name for backend in service.backends(simulator=True)} == SIMULATORS
    assert {width(backend) for backend in service.backends(n_qubits=5)} == {5}
    assert service.backends(operational=False) == []


def test_one_backend_is_named(service: QiskitRuntimeService) -> None:
    assert service.get_backend("fake_manila").name == "fake_manila"
    with pytest.raises(QiskitBackendNotFoundError):
        service.backend("nowhere")


def test_the_least_busy_is_one_of_those_asked_for(service: QiskitRuntimeService) -> None:
    chosen = service.least_busy(min_num_qubits=20, filters=lambda backend: width(backend) < 30)
    assert 20 <= width(chosen) < 30


def test_a_backend_tells_all_that_it_is(service: QiskitRuntimeService) -> None:
    backend = service.backend("fake_manila")
    assert backend.configuration().backend_name == "fake_manila"
    assert len(backend.properties().qubits) == 5
    assert backend.defaults().qubit_freq_est == []
    assert backend.status().pending_jobs == 0
    assert backend.target.instruction_supported("cx", (0, 1))
    assert (0, 1) in set(backend.coupling_map)
    assert backend.service is service


@pytest.mark.skipif(__version__.startswith("0.11"), reason="0.11 refuses it by itself")
def test_calibrations_of_another_day_are_asked_for(service: QiskitRuntimeService) -> None:
    backend = service.backend("fake_manila")
    assert len(backend.properties(datetime=datetime(2030, 1, 1)).qubits) == 5
    assert backend.properties(datetime=datetime(2001, 1, 1)) is None


@pytest.mark.parametrize("name", ["aer_simulator", "ibmq_qasm_simulator", "fake_manila"])
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_circuits_are_transpiled_for_it(
    service: QiskitRuntimeService, name: str, level: int
) -> None:
    backend = service.backend(name)
    circuit = bell(measured=True)
    circuit.delay(160, 0)
    circuit = transpile(circuit, backend, optimization_level=level)
    assert circuit.count_ops()["measure"] == 2
    assert {"cx", "delay", "measure", "rz", "sx"} <= set(backend.target.operation_names)


def test_every_device_has_a_target(service: QiskitRuntimeService) -> None:
    for backend in service.backends(simulator=False):
        target = backend.target
        assert target.num_qubits == backend.num_qubits == width(backend)
        assert {"delay", "measure"} <= set(target.operation_names), backend.name


def test_a_device_without_frequencies_works_like_the_others(service: QiskitRuntimeService) -> None:
    backend = service.backend("fake_fez")
    assert (backend.num_qubits, backend.properties().frequency(0)) == (156, 0)
    assert backend.target.qubit_properties[0].t1 > 0


def test_the_ideal_simulator_has_no_calibration(service: QiskitRuntimeService) -> None:
    backend = service.backend("aer_simulator")
    assert backend.configuration().simulator
    assert backend.properties() is None
