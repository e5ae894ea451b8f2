"""Each construct of circuits runs and gives the right values, or is refused for a reason."""

from __future__ import annotations

import time

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import (
    ClassicalRegister,
    Gate,
    IfElseOp,
    Parameter,
    ParameterVector,
    QuantumRegister,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import CUGate, RYGate, get_standard_gate_name_mapping
from qiskit.quantum_info import Statevector
from qiskit_aer import AerSimulator

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program import ProgramBackend
from prefect_qiskit_runtime.program._compile import BINDABLE_GATES, is_same
from prefect_qiskit_runtime.program._genuine import is_genuine
from prefect_qiskit_runtime.program.primitives import Request, run_estimator, run_sampler

from .constructs import (
    CONSTRUCTS,
    PAGE,
    REFUSED_BY_ALL,
    REFUSED_BY_DEVICES,
    circuit_of,
    execute,
    named,
    page,
)

A = Parameter("a")


def exact(backend: ProgramBackend, circuit: QuantumCircuit, label: str) -> float:
    return float(backend.estimator().run([(circuit, label)]).result()[0].data.evs)


def branching(gate: str) -> QuantumCircuit:
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        getattr(circuit, gate)(A, 0, 1)
    return circuit


# --- what runs where -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh_page() -> str:
    return page()


def test_the_page_of_constructs_is_up_to_date(fresh_page):
    # `python -m tests.program.constructs` writes it.
    assert fresh_page == PAGE.read_text()


def test_all_constructs_run_but_those_that_are_refused_on_purpose(fresh_page):
    refused = {}
    for line in fresh_page.splitlines():
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if name in CONSTRUCTS:
            refused[name] = [cell != "runs" for cell in cells]
    assert refused.keys() == CONSTRUCTS.keys()
    for name, (sampled, from_shots, _, *on_device) in refused.items():
        assert sampled is from_shots is (name in REFUSED_BY_ALL), name
        assert on_device == [name in REFUSED_BY_ALL | REFUSED_BY_DEVICES] * 2, name


@pytest.mark.parametrize("name", sorted(CONSTRUCTS.keys() - REFUSED_BY_ALL))
def test_quantum_programs_run_what_the_sampler_runs(ideal, name):
    from .constructs import SHOTS, circuit_of

    result = execute(ideal, circuit_of(name))

    assert result["c0"].shape == (1, SHOTS, 2)


# --- parameters ----------------------------------------------------------------------------


def test_the_gates_whose_binding_is_left_to_the_simulator_are_those_that_it_binds_right():
    simulator = AerSimulator()
    right = {
        name
        for name, gate in get_standard_gate_name_mapping().items()
        if gate.params and name in simulator.operation_names and name != "delay"
        if all(binds_right(simulator, gate, place) for place in range(len(gate.params)))
    }
    assert right == BINDABLE_GATES


def binds_right(simulator: AerSimulator, gate: Gate, place: int) -> bool:
    angles: list = [0.3, 1.1, -0.7, 0.9][: len(gate.params)]
    angles[place] = A
    circuit = QuantumCircuit(gate.num_qubits)
    for qubit in circuit.qubits:
        circuit.ry(0.4 + circuit.find_bit(qubit).index, qubit)
    circuit.append(gate.base_class(*angles), circuit.qubits)
    for qubit in circuit.qubits:
        circuit.ry(0.7, qubit)
    expected = circuit.copy()
    circuit.save_statevector()  # not in a copy, which would hide that Aer changes the circuit
    rows = [0.0, 0.5, 2.2]
    result = simulator.run(circuit, parameter_binds=[{A: rows}]).result()
    if len(result.results) != len(rows):
        return False
    states = [np.asarray(result.data(row)["statevector"]) for row in range(len(rows))]
    wanted = [Statevector(expected.assign_parameters([value])).data for value in rows]
    return all(np.isclose(abs(np.vdot(*pair)), 1) for pair in zip(states, wanted, strict=True))


@pytest.mark.parametrize("gate", ["crx", "cry", "crz", "cp"])
def test_a_parameter_in_a_block_is_bound_for_each_row(ideal, gate):
    circuit = branching(gate)
    circuit.h(1) if gate in ("crz", "cp") else None
    values = [[0.0], [np.pi / 2], [np.pi]]
    rotated = gate in ("crx", "cry")
    expected = [1, 0, -1] if rotated else [0, 0, 0]

    pub = (circuit, "ZI", values)
    evs = ideal.estimator(shots=4000, seed=1).run([pub]).result()[0].data.evs

    assert evs == pytest.approx(expected, abs=0.1)


def test_backend_run_binds_parameters_in_blocks(ideal):
    circuit = branching("crx")
    circuit.measure(1, 0)

    result = ideal.run(circuit, shots=10, parameter_binds=[{A: [0.0, np.pi]}]).result()

    assert result.get_counts() == [{"0": 10}, {"1": 10}]


@pytest.mark.parametrize("place", range(4))
def test_a_controlled_u_is_bound_and_the_given_circuit_keeps_its_parameter(ideal, place):
    angles: list = [0.3, 1.1, -0.7, 0.9]
    angles[place] = A
    circuit = QuantumCircuit(2)
    circuit.append(RYGate(A), [1])
    circuit.h(0)
    circuit.append(CUGate(*angles), [0, 1])
    circuit.h([0, 1])
    expected = circuit.copy()
    circuit.measure_all()  # in place: Aer changes only circuits that are not copies
    values = np.array([[0.4], [2.5]])

    sampled = ideal.sampler(shots=4000, seed=1).run([(circuit, values)]).result()[0].data.meas
    job = ideal.run(circuit, parameter_binds=[{A: [0.4, 2.5]}], shots=4000, seed_simulator=2)

    for row, value in enumerate(values):
        weights = Statevector(expected.assign_parameters(value)).probabilities_dict()
        for counts in (sampled[row].get_counts(), job.result().get_counts(row)):
            for key, weight in weights.items():
                assert counts.get(key, 0) / 4000 == pytest.approx(weight, abs=0.045)
    assert circuit.data[2].operation.params == angles


def test_parameter_binds_without_values_are_refused(ideal):
    circuit = branching("crx")

    with pytest.raises(InvalidInputError, match="has no values for a of circuit"):
        ideal.run(circuit, shots=10, parameter_binds=[{Parameter("b"): [0.0]}])
    with pytest.raises(InvalidInputError, match="2 entries for 1 circuits"):
        ideal.run(circuit, shots=10, parameter_binds=[{A: [0.0]}, {A: [0.0]}])


def test_a_gate_of_a_user_in_a_block_is_bound_again_by_the_next_call(ideal):
    # `assign_parameters` of Qiskit 2.6 changes such gates in the circuit that it is called on.
    turn = QuantumCircuit(1, name="turn")
    turn.rx(A, 0)
    circuit = QuantumCircuit(1, 1)
    with circuit.box():
        circuit.append(turn.to_gate(), [0])
    circuit.measure(0, 0)

    sampler = ideal.sampler(shots=10)
    (once,) = sampler.run([(circuit, [0.0])]).result()
    (both,) = sampler.run([(circuit, [[np.pi], [0.0]])]).result()

    assert once.data.c.get_counts() == {"0": 10}
    assert [both.data.c.get_counts(row) for row in range(2)] == [{"1": 10}, {"0": 10}]


# --- gates by their definition -------------------------------------------------------------


def bell_named(name: str) -> QuantumCircuit:
    inner = QuantumCircuit(2, name=name)
    inner.h(0)
    inner.cx(0, 1)
    circuit = QuantumCircuit(2)
    circuit.append(inner.to_gate(), [0, 1])
    return circuit


@pytest.mark.parametrize("name", ["cx", "diagonal", "unitary", "mcx", "cx_o0", "measure", "bell"])
def test_a_gate_is_its_definition_whatever_its_name(ideal, name):
    assert exact(ideal, bell_named(name), "XX") == pytest.approx(1)


def test_a_gate_is_its_definition_in_a_block_and_in_a_gate(ideal):
    outer = QuantumCircuit(2, name="h")
    outer.append(bell_named("cx").data[0].operation, [0, 1])
    circuit = QuantumCircuit(2)
    with circuit.for_loop(range(1)):
        circuit.append(outer.to_gate(), [0, 1])

    assert exact(ideal, circuit, "XX") == pytest.approx(1)


def test_transpiling_for_a_device_goes_by_definitions(noisy):
    pub = (bell_named("cx"), ["XX", "ZZ"])
    inputs = {"pubs": [pub], "transpile": True, "options": {"default_shots": 4000}}
    request = Request.read(inputs, unsupported_options="refuse")

    (result,) = run_estimator(noisy, request)

    assert result.data.evs == pytest.approx([1, 1], abs=0.2)


def test_a_device_refuses_a_gate_that_only_has_the_name_of_one_of_its_own(noisy):
    circuit = bell_named("cx")

    with pytest.raises(InvalidInputError, match=r"its 'cx' on qubits \(0, 1\) is a gate of that"):
        noisy.run(circuit)


def test_an_opaque_gate_is_refused_by_name(ideal):
    circuit = QuantumCircuit(2)
    circuit.append(Gate("cx", 2, []), [0, 1])

    with pytest.raises(InvalidInputError, match="'cx' without a definition"):
        exact(ideal, circuit, "ZZ")


def test_every_gate_of_the_standard_library_is_genuine():
    assert [n for n, gate in get_standard_gate_name_mapping().items() if not is_genuine(gate)] == []


# --- valid input ---------------------------------------------------------------------------


def test_the_estimator_takes_a_register_of_any_name(ideal):
    circuit = QuantumCircuit(QuantumRegister(1), *(ClassicalRegister(1, f"c{n}") for n in range(9)))
    circuit.add_register(ClassicalRegister(1, "observed0"))
    circuit.x(0)
    circuit.measure(0, 0)

    evs = ideal.estimator(shots=10).run([(circuit, "Z")]).result()[0].data.evs

    assert evs == -1


def test_primitives_take_empty_arrays_of_values(ideal):
    circuit = QuantumCircuit(1)
    circuit.rx(A, 0)
    circuit.measure_all()

    (result,) = ideal.sampler(shots=10).run([(circuit, np.zeros((0, 1)))]).result()

    assert result.data.meas.shape == (0,)
    assert (result.data.meas.num_shots, result.data.meas.num_bits) == (10, 1)
    circuit.remove_final_measurements()
    for shots in (None, 10):
        pub = (circuit, "Z", np.zeros((0, 1)))
        assert ideal.estimator(shots=shots).run([pub]).result()[0].data.evs.shape == (0,)


def test_the_sampler_takes_values_by_a_tuple_of_names(ideal):
    b = Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.rx(A, 0)
    circuit.rx(b, 1)
    circuit.measure_all()
    inputs = {"pubs": [(circuit, {("b", "a"): [[np.pi, 0.0], [0.0, np.pi]]}, 10)]}

    (result,) = run_sampler(ideal, Request.read(inputs, unsupported_options="refuse"))

    counts = [result.data.meas.get_counts(row) for row in range(2)]
    assert counts == [{"10": 10}, {"01": 10}]


def test_a_register_into_which_nothing_is_measured_reads_0(ideal):
    circuit = QuantumCircuit(1, 2)
    circuit.x(0)

    (result,) = ideal.sampler(shots=10).run([circuit]).result()

    assert result.data.c.get_counts() == {"00": 10}


def test_variables_leave_outcomes_as_wide_as_the_circuit(ideal):
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, "c"))
    number = circuit.add_var("number", expr.lift(2, types.Uint(3)))
    circuit.store(number, expr.bit_xor(number, 1))
    with circuit.if_test(expr.equal(number, 3)):
        circuit.x(0)
    circuit.measure(0, 0)

    result = ideal.run([circuit, circuit], shots=10).result()

    assert result.get_counts() == [{"1": 10}, {"1": 10}]


def test_a_register_that_only_a_box_has_is_not_among_the_outcomes(noisy):
    circuit = circuit_of("box with bits that only it has, and a branch on their register")
    circuit.measure([0, 1], [0, 1])
    inputs = {"pubs": [(circuit, None, 10)], "transpile": True}

    (result,) = run_sampler(noisy, Request.read(inputs, unsupported_options="refuse"))

    assert list(result.data) == ["c0"]


def test_expressions_that_the_simulator_lacks_are_refused_by_name(ideal):
    circuit = QuantumCircuit(1, 1)
    number = circuit.add_var("number", expr.lift(2, types.Uint(3)))
    circuit.store(number, expr.add(number, 1))

    with pytest.raises(InvalidInputError, match="computes with ADD"):
        ideal.run(circuit)


def test_a_block_changed_in_place_is_translated_again(ideal):
    circuit = QuantumCircuit(1, 1)
    with circuit.box():
        circuit.id(0)
    circuit.measure(0, 0)
    assert ideal.run(circuit, shots=10).result().get_counts() == {"0": 10}

    flipped = QuantumCircuit(1)
    flipped.x(0)
    box = circuit.data[0].operation.replace_blocks([flipped])
    circuit.data[0] = circuit.data[0].replace(operation=box)

    assert ideal.run(circuit, shots=10).result().get_counts() == {"1": 10}


def test_circuits_that_differ_in_a_block_or_a_label_are_not_the_same():
    qubits, bits = QuantumRegister(1, "q"), ClassicalRegister(1, "c")

    def with_block(gate: str, label: str) -> QuantumCircuit:
        body = QuantumCircuit(qubits, bits)
        getattr(body, gate)(0)
        circuit = QuantumCircuit(qubits, bits, name="one")
        circuit.append(IfElseOp((bits, 1), body), [0], [0])
        circuit.append(Gate("own", 1, [], label=label), [0])
        return circuit

    assert is_same(with_block("x", "l"), with_block("x", "l"))
    assert not is_same(with_block("x", "l"), with_block("y", "l"))
    assert not is_same(with_block("x", "l"), with_block("x", "m"))


def test_circuits_that_differ_in_a_global_phase_are_not_the_same():
    def turned(phase: object) -> QuantumCircuit:
        return QuantumCircuit(1, name="one", global_phase=phase)

    assert is_same(turned(A + 0.25), turned(A + 0.25))
    assert not is_same(turned(A + 0.25), turned(A + 0.26))
    assert not is_same(turned(A + 0.25), turned(Parameter("a") + 0.25))
    assert not is_same(turned(A + 0.25), turned(0.25))


def test_a_global_phase_of_hundreds_of_parameters_costs_a_loop_no_time(ideal):
    # Qiskit expands expressions to compare them: 8 s in each evaluation.
    angles = ParameterVector("angle", 200)
    circuit = QuantumCircuit(2, global_phase=sum(angles, 0) / 2)
    for angle in angles:
        circuit.cry(angle, 0, 1)
    compiled = ideal.compiler.compiled(circuit)

    began = time.process_time()
    assert ideal.compiler.compiled(circuit) is compiled
    assert time.process_time() - began < 1

    # Rebuilt circuits often get the memory address, hence the id, of those before them.
    for _ in range(5):
        del circuit
        circuit = QuantumCircuit(2, global_phase=sum(angles, 0) / 2)
        ideal.compiler.compiled(circuit)
    assert time.process_time() - began < 3


def test_names_of_gates_do_not_end_the_process(ideal):
    # Aer runs a gate called "diagonal" by its name, without the parameters that it reads then.
    circuit = QuantumCircuit(2)
    circuit.append(named("diagonal"), [0, 1])
    circuit.measure_all()

    assert sum(ideal.run(circuit, shots=10).result().get_counts().values()) == 10


def test_a_parameter_in_a_loop_that_never_runs_still_gives_a_result_for_each_value(ideal):
    circuit = QuantumCircuit(1, 1)
    angle = Parameter("angle")
    with circuit.for_loop(range(0)):
        circuit.rx(angle, 0)
    circuit.x(0)
    circuit.measure(0, 0)

    result = ideal.run(circuit, shots=10, parameter_binds=[{angle: [0.1, 0.2]}]).result()

    assert [result.get_counts(row) for row in range(2)] == [{"1": 10}] * 2


@pytest.mark.parametrize("values", [np.array([0.3 + 0.5j]), [0.3 + 0.5j], {A: 0.5j}, {"a": [1j]}])
def test_complex_parameter_values_are_refused_instead_of_cut_to_their_real_part(ideal, values):
    circuit = QuantumCircuit(1)
    circuit.rx(A, 0)
    measured = circuit.measure_all(inplace=False)
    message = r"A parameter value is .*j.*\. Parameter values are real numbers\."

    with pytest.raises(InvalidInputError, match=message):
        ideal.sampler().run([(measured, values)])
    with pytest.raises(InvalidInputError, match=message):
        ideal.estimator().run([(circuit, "Z", values)])
    with pytest.raises(InvalidInputError, match=r"pubs\[0\]: " + message):
        run_sampler(ideal, Request([(measured, values)], {}, "refuse", False, {}))
    with pytest.raises(InvalidInputError, match=r"pubs\[0\]: " + message):
        run_estimator(ideal, Request([(circuit, "Z", values)], {}, "refuse", False, {}))


def test_backend_run_refuses_complex_binds(ideal):
    circuit = QuantumCircuit(1)
    circuit.rx(A, 0)
    circuit.measure_all()

    with pytest.raises(InvalidInputError, match="A parameter value is"):
        ideal.run(circuit, parameter_binds=[{A: np.array([0.3 + 0.5j])}])


@pytest.mark.parametrize("shots", [None, 100])
def test_the_estimator_takes_a_circuit_without_qubits(ideal, shots):
    empty = QuantumCircuit(global_phase=A)

    result = ideal.estimator(shots=shots).run([(empty, {"": 2.5}, [[0.1], [0.2]])]).result()

    assert result[0].data.evs.tolist() == [2.5, 2.5]
