"""ProgramBackend is a backend wherever Qiskit takes one."""

from __future__ import annotations

import numpy as np
import pytest
import qiskit_aer.primitives
import qiskit_ibm_runtime
from qiskit import QuantumCircuit, generate_preset_pass_manager, transpile
from qiskit.circuit import Parameter
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2
from qiskit.providers import BackendV2
from qiskit.quantum_info import SparsePauliOp

from prefect_qiskit_runtime.errors import InvalidInputError, NotFoundError
from prefect_qiskit_runtime.program import ProgramBackend
from tests.circuits import bell

NAMES = ["aer_simulator", "fake_manila"]


@pytest.fixture(params=NAMES)
def backend(request) -> ProgramBackend:
    return ProgramBackend.from_name(request.param)


def test_it_is_a_backend_with_a_name_and_qubits():
    ideal, noisy = map(ProgramBackend.from_name, NAMES)

    assert isinstance(ideal, BackendV2)
    assert (ideal.name, ideal.is_ideal, ideal.max_circuits) == ("aer_simulator", True, None)
    assert (noisy.name, noisy.is_ideal, noisy.num_qubits) == ("fake_manila", False, 5)
    assert ideal.num_qubits == ideal.target.num_qubits == 2000
    assert ideal.coupling_map.size() >= 20
    assert ideal.coupling_map.distance(0, ideal.coupling_map.size() - 1) == 1


@pytest.mark.parametrize("name", ["fake_nowhere", "ibm_torino", "FakeManilaV2"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(NotFoundError, match=name) as caught:
        ProgramBackend.from_name(name)
    assert (caught.value.kind, caught.value.identifier) == ("backend", name)


def test_transpiled_circuits_run(backend):
    circuit = transpile(bell(measured=True), backend)

    counts = backend.run(circuit, shots=500, seed_simulator=1).result().get_counts()

    assert sum(counts.values()) == 500
    assert counts["00"] + counts["11"] > 400


def test_run_takes_several_circuits_and_a_seed(backend):
    circuits = generate_preset_pass_manager(1, backend=backend).run(
        [bell(measured=True), bell(measured=True)]
    )

    first = backend.run(circuits, seed_simulator=7).result().get_counts()
    again = backend.run(circuits, seed_simulator=7).result().get_counts()

    assert first == again
    assert first[0] != first[1]
    assert [sum(counts.values()) for counts in first] == [1024, 1024]


def test_options_set_on_the_backend_hold_for_its_runs(backend):
    backend.set_options(shots=50, seed_simulator=3)
    circuit = transpile(bell(measured=True), backend)

    first = backend.run(circuit).result().get_counts()

    assert sum(first.values()) == 50
    assert backend.run(circuit).result().get_counts() == first


def test_no_circuit_is_an_error(backend):
    with pytest.raises(InvalidInputError, match="no circuit"):
        backend.run([])


def test_the_primitives_of_qiskit_take_it(backend):
    pass_manager = generate_preset_pass_manager(1, backend=backend)
    sampled = (
        BackendSamplerV2(backend=backend).run([pass_manager.run(bell(measured=True))]).result()
    )
    bare = pass_manager.run(bell())
    observable = SparsePauliOp("ZZ").apply_layout(bare.layout)
    estimated = BackendEstimatorV2(backend=backend).run([(bare, observable)]).result()

    assert sampled[0].data.meas.num_shots == 1024
    assert estimated[0].data.evs > 0.7


@pytest.mark.filterwarnings("ignore:The (Sampler|Estimator)V2 class is deprecated")
def test_the_primitives_of_qiskit_ibm_runtime_take_it_as_mode(backend):
    pass_manager = generate_preset_pass_manager(1, backend=backend)
    sampler = qiskit_ibm_runtime.SamplerV2(mode=backend)
    sampled = sampler.run([pass_manager.run(bell(measured=True))], shots=64).result()
    bare = pass_manager.run(bell())
    observable = SparsePauliOp("ZZ").apply_layout(bare.layout)
    estimator = qiskit_ibm_runtime.EstimatorV2(mode=backend)
    estimated = estimator.run([(bare, observable)], precision=0.1).result()

    assert sampled[0].data.meas.num_shots == 64
    assert estimated[0].data.evs > 0.5


@pytest.mark.filterwarnings("ignore:Qiskit backend .* has no QubitProperties")
def test_the_primitives_of_aer_take_it(backend):
    pass_manager = generate_preset_pass_manager(1, backend=backend)
    sampler = qiskit_aer.primitives.SamplerV2.from_backend(backend)
    sampled = sampler.run([pass_manager.run(bell(measured=True))], shots=64).result()
    bare = pass_manager.run(bell())
    observable = SparsePauliOp("ZZ").apply_layout(bare.layout)
    estimator = qiskit_aer.primitives.EstimatorV2.from_backend(backend)
    estimated = estimator.run([(bare, observable)]).result()

    assert sampled[0].data.meas.num_shots == 64
    assert estimated[0].data.evs > 0.7


def test_a_device_has_its_noise():
    backend = ProgramBackend.from_name("fake_manila")
    circuit = transpile(bell(measured=True), backend)

    counts = backend.run(circuit, shots=4000, seed_simulator=1).result().get_counts()

    assert 0 < counts["01"] + counts["10"] < 800


def test_a_device_refuses_circuits_outside_its_instruction_set():
    backend = ProgramBackend.from_name("fake_manila")

    with pytest.raises(InvalidInputError, match=r"no 'h' on qubits \(0,\)\. Transpile it first"):
        backend.run(bell(measured=True))
    unconnected = QuantumCircuit(5)
    unconnected.cx(0, 4)
    with pytest.raises(InvalidInputError, match=r"no 'cx' on qubits \(0, 4\)"):
        backend.run(unconnected)
    with pytest.raises(InvalidInputError, match="it has 6 qubits, the backend 5"):
        backend.run(QuantumCircuit(6))


def test_a_device_looks_into_branches():
    backend = ProgramBackend.from_name("fake_manila")
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.h(1)

    with pytest.raises(InvalidInputError, match=r"no 'h' on qubits \(1,\)"):
        backend.run(circuit)


def test_the_ideal_backend_takes_any_circuit():
    backend = ProgramBackend.from_name("aer_simulator")
    circuit = QuantumCircuit(2)
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XX", "YY"]), np.pi / 4), [0, 1])
    circuit.measure_all()

    assert backend.run(circuit, shots=10).result().get_counts() == {"00": 10}


def test_the_ideal_backend_keeps_wide_gates():
    circuit = QuantumCircuit(4)
    circuit.ccx(0, 1, 2)
    circuit.mcx([0, 1, 2], 3)

    isa = transpile(circuit, ProgramBackend.from_name("aer_simulator"))

    assert isa.count_ops() == {"ccx": 1, "mcx": 1}


def test_parameters_of_controlled_gates_are_bound():
    # Aer itself runs crx with a parameter as if nothing had been given.
    p = Parameter("p")
    circuit = QuantumCircuit(2)
    circuit.x(0)
    circuit.crx(p, 0, 1)
    circuit.measure_all()
    backend = ProgramBackend.from_name("aer_simulator")

    result = backend.run(circuit, shots=10, parameter_binds=[{p: [0.0, np.pi]}]).result()

    assert result.get_counts() == [{"01": 10}, {"11": 10}]


def test_a_circuit_changed_in_place_is_translated_again():
    backend = ProgramBackend.from_name("aer_simulator")
    circuit = QuantumCircuit(1, 1)
    circuit.append(PauliEvolutionGate(SparsePauliOp("X"), np.pi), [0])
    circuit.measure(0, 0)
    assert backend.run(circuit, shots=10).result().get_counts() == {"0": 10}

    circuit.data[0] = circuit.data[0].replace(
        operation=PauliEvolutionGate(SparsePauliOp("X"), np.pi / 2)
    )

    assert backend.run(circuit, shots=10).result().get_counts() == {"1": 10}


def test_usage_counts_circuits_and_shots():
    backend = ProgramBackend.from_name("aer_simulator")
    p = Parameter("p")
    circuit = QuantumCircuit(1)
    circuit.rx(p, 0)
    circuit.measure_all()

    backend.run([bell(measured=True), bell(measured=True)], shots=100).result()
    backend.run(circuit, shots=10, parameter_binds=[{p: [0.1, 0.2, 0.3]}]).result()
    backend.estimator().run([(bell(), "ZZ")]).result()

    usage = backend.usage
    assert (usage.circuits, usage.shots, usage.quantum_seconds) == (6, 230, 0.0)


def test_old_programs_find_configuration_and_properties(backend):
    assert backend.configuration().n_qubits == backend.num_qubits
    assert (backend.properties() is None) is backend.is_ideal


def test_building_a_backend_builds_no_noise():
    backend = ProgramBackend.from_name("fake_sherbrooke")
    assert backend.num_qubits == 127
    assert "_simulator" not in vars(backend)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # 70 noise models, up to 2 s each
@pytest.mark.filterwarnings("ignore:Properties of fake_nighthawk")
def test_every_snapshot_runs_a_circuit():
    from qiskit_ibm_runtime import fake_provider

    names = {
        cls.backend_name
        for cls in vars(fake_provider).values()
        if isinstance(cls, type) and getattr(cls, "backend_name", None)
    }
    assert len(names) > 50
    for name in sorted(names):
        backend = ProgramBackend.from_name(name)
        circuit = QuantumCircuit(1)
        circuit.x(0)
        circuit.measure_all()
        counts = backend.run(transpile(circuit, backend), shots=100).result().get_counts()
        assert counts.get("1", 0) > 50, name


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_it_transpiles_at_every_level(backend, level):
    circuit = transpile(bell(measured=True), backend, optimization_level=level)

    assert sum(backend.run(circuit, shots=100).result().get_counts().values()) == 100


def test_old_programs_call_the_name_and_the_status(backend):
    assert backend.name() == backend.name
    status = backend.status()
    assert (status.backend_name, status.operational, status.pending_jobs) == (backend.name, True, 0)


def test_old_programs_find_the_fields_of_a_configuration(backend):
    configuration = backend.configuration()

    assert configuration.backend_name == backend.name
    assert configuration.simulator is backend.is_ideal
    assert configuration.max_experiments >= 75
    assert {"cx", "rz", "x", "measure"} <= set(configuration.supported_instructions)
    assert {"cx", "rz", "x"} <= set(configuration.basis_gates)
    assert (configuration.coupling_map is None) is backend.is_ideal


def test_old_programs_refresh_properties_and_have_no_pulses(backend):
    properties = backend.properties(refresh=True)

    assert properties is None or properties.backend_name == backend.name
    assert backend.defaults(refresh=True) is None
