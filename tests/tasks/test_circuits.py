"""Circuits with every construct, through the real embedded service: run as written, or refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Duration, Parameter, QuantumRegister
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import AndGate, HalfAdderGate, PauliEvolutionGate, StatePreparation
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector
from qiskit.synthesis import LieTrotter, MatrixExponential
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime import QuantumProgram
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from scipy.linalg import expm

from prefect_qiskit_runtime import (
    EncodingError,
    InvalidInputError,
    SyncRuntimeClient,
    primitives as tasks,
    run_program,
    upload_program,
)
from prefect_qiskit_runtime.codec.circuit_walk import walk

pytestmark = pytest.mark.usefixtures("service_home")

IDEAL, NOISY = "aer_simulator", "fake_manila"
SHOTS = 20_000
run_sampler = tasks.run_sampler.fn
run_estimator = tasks.run_estimator.fn
run_executor = tasks.run_executor.fn


def decaying(duration: Any = 160, unit: str = "us") -> QuantumCircuit:
    """Return a circuit that measures how much of an excitation is left after a delay."""
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.delay(duration, 0, unit)
    circuit.measure_all()
    return circuit


@pytest.fixture(scope="module")
def reference() -> float:
    """Return the fraction of ones that Aer gives for 160 us on the device."""
    simulator = AerSimulator.from_backend(FakeManilaV2())
    counts = simulator.run(decaying(), shots=SHOTS, seed_simulator=11).result().get_counts()
    fraction = counts["1"] / SHOTS
    assert 0.29 < fraction < 0.33  # far from the 0.967 that is left after 160 dt
    return fraction


def ones(result: Any) -> float:
    return result[0].data.meas.get_counts()["1"] / SHOTS


# Five standard deviations of the difference of two fractions of 20,000 shots.
TOLERANCE = 5 * np.sqrt(2 * 0.31 * 0.69 / SHOTS)


@pytest.mark.parametrize(
    ("duration", "unit"), [(160, "us"), (160_000, "ns"), (0.16, "ms"), (1.6e-4, "s")]
)
def test_a_delay_in_real_time_decays_in_the_sampler_as_in_aer(duration, unit, reference):
    result = run_sampler([decaying(duration, unit)], backend=NOISY, shots=SHOTS, seed=1)

    assert abs(ones(result) - reference) < TOLERANCE


def test_a_delay_in_real_time_decays_in_the_estimator(reference):
    circuit = decaying().remove_final_measurements(inplace=False)

    result = run_estimator([(circuit, "Z")], backend=NOISY, shots=SHOTS, seed=1)

    assert abs((1 - float(result[0].data.evs)) / 2 - reference) < 1.5 * TOLERANCE


def test_a_delay_in_real_time_decays_in_the_executor(reference):
    program = QuantumProgram(shots=SHOTS)
    program.append_circuit_item(decaying())

    result = run_executor(program, backend=NOISY, seed=1)

    assert abs(result[0]["meas"].mean() - reference) < TOLERANCE


ECHO = """
def main(backend, user_messenger, circuit):
    user_messenger.publish(circuit)
    return circuit
"""


def test_delays_come_back_from_a_program_with_their_units():
    program_id = upload_program.fn(ECHO, name="echo-of-a-circuit")
    circuit = QuantumCircuit(1, 1)
    circuit.delay(160, 0, "us")
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.delay(1.5, 0, "ns")
    circuit.delay(Parameter("time"), 0, "ms")
    interim: list[Any] = []

    result = run_program.fn(
        program_id, {"circuit": circuit}, backend=IDEAL, callback=lambda _, one: interim.append(one)
    )

    for arrived in (result, *interim):
        assert arrived == circuit
    assert len(interim) == 1
    found = [visit.operation for visit in walk(result) if visit.name == "delay"]
    assert [each.unit for each in found] == ["us", "ns", "ms"]


@pytest.mark.parametrize(
    "gate", [AndGate(2), HalfAdderGate(1), StatePreparation([0.6, 0.8]).inverse()]
)
def test_gates_of_the_library_run_that_could_not_be_read(gate):
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.x(0)
    circuit.append(gate, circuit.qubits)
    expected = run_sampler_by_qiskit(circuit)
    circuit.measure_all()

    counts = run_sampler([circuit], backend=IDEAL, shots=SHOTS, seed=1)[0].data.meas.get_counts()

    for outcome, probability in expected.items():
        assert counts.get(outcome, 0) / SHOTS == pytest.approx(probability, abs=0.02)


def run_sampler_by_qiskit(circuit: QuantumCircuit) -> dict[str, float]:
    return Statevector(circuit).probabilities_dict()


@pytest.mark.parametrize("transpile", [False, True])
def test_a_delay_of_a_parameter_takes_its_value_from_the_pub(transpile, reference):
    pub = (decaying(Parameter("time")), [[0.0], [160.5], [160.0]])

    result = run_sampler([pub], backend=NOISY, shots=SHOTS, seed=1, transpile=transpile)

    fractions = [result[0].data.meas.get_counts(row)["1"] / SHOTS for row in range(3)]
    assert fractions[0] > 0.9
    if not transpile:  # else it is on another qubit
        assert abs(fractions[2] - reference) < TOLERANCE
    assert abs(fractions[1] - fractions[2]) < TOLERANCE < fractions[0] - fractions[2]


def test_a_delay_of_a_constant_expression_has_its_value(reference):
    circuit = QuantumCircuit(1)
    circuit.x(0)
    half = expr.lift(Duration.us(80))
    circuit.delay(expr.add(half, expr.mul(half, expr.lift(1.0))), 0)
    circuit.measure_all()

    result = run_sampler([circuit], backend=NOISY, shots=SHOTS, seed=1)

    assert abs(ones(result) - reference) < TOLERANCE


@pytest.mark.parametrize(
    ("duration", "unit"), [(50, "us"), (1500, "ns"), (0.05, "ms"), (225_001, "dt"), (160, "us")]
)
def test_a_delay_of_any_length_is_transpiled_for_a_simulated_device(duration, unit):
    circuit = decaying(duration, unit)

    written = run_sampler([circuit], backend=NOISY, shots=SHOTS, seed=1)
    transpiled = run_sampler([circuit], backend=NOISY, shots=SHOTS, seed=1, transpile=True)

    assert abs(ones(written) - ones(transpiled)) < TOLERANCE


# --- refused by name, before a job -----------------------------------------------------------


def stretched() -> QuantumCircuit:
    circuit = QuantumCircuit(1, name="echo")
    circuit.delay(circuit.add_stretch("wide"), 0)
    circuit.measure_all()
    return circuit


def with_input_variable() -> QuantumCircuit:
    circuit = QuantumCircuit(1, name="asked")
    with circuit.if_test(circuit.add_input("answer", types.Bool())):
        circuit.x(0)
    circuit.measure_all()
    return circuit


def with_float_variable() -> QuantumCircuit:
    circuit = QuantumCircuit(1, name="counted")
    with circuit.for_loop(range(2)):
        circuit.add_var("share", expr.lift(0.5))
        circuit.x(0)
    circuit.measure_all()
    return circuit


def mixing_units() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.delay(expr.add(expr.lift(Duration.us(1)), expr.lift(Duration.dt(1))), 0)
    circuit.measure_all()
    return circuit


def saving() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.save_statevector()
    circuit.measure_all()
    return circuit


def named(name: str) -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, name), name="read")
    circuit.measure(0, 0)
    return circuit


def num_jobs() -> int:
    with SyncRuntimeClient() as client:
        return len(client.jobs(limit=None))


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (stretched(), r"^pubs\[1\]: Circuit 'echo' has the stretch 'wide', .* give the delay a"),
        (with_input_variable(), r"^pubs\[1\]: Circuit 'asked' has the input variable 'answer', .*"),
        (
            with_float_variable(),
            r"^pubs\[1\]: Circuit 'counted' has the variable 'share' of type",
        ),
        (mixing_units(), r"^pubs\[1\]: The duration of a delay cannot be computed .* to dt"),
        (saving(), r"\$\.pubs\[1\]\[0\]: .* instruction 1 \('save_statevector'\), .* Aer"),
        *(
            (named(name), rf"^pubs\[1\]: .* 'read' has a classical register named '{name}'\. .* Re")
            for name in ("keys", "values", "items", "size", "shape", "ndim", "self", "_FIELDS")
        ),
    ],
    ids=lambda value: value.name if isinstance(value, QuantumCircuit) else "",
)
def test_a_circuit_that_cannot_run_is_refused_before_a_job(circuit, message):
    before = num_jobs()

    with pytest.raises(InvalidInputError, match=message) as caught:
        run_sampler([decaying(), circuit], backend=IDEAL)

    assert caught.value.path.startswith("$.pubs[1]")
    assert num_jobs() == before


def test_a_quantum_program_with_a_stretch_is_refused_before_a_job():
    program, before = QuantumProgram(shots=10), num_jobs()
    program.append_circuit_item(decaying())
    program.append_circuit_item(stretched())

    with pytest.raises(InvalidInputError, match=r"^items\[1\]: Circuit 'echo' has the stretch"):
        run_executor(program, backend=IDEAL)

    assert num_jobs() == before


def setting() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.set_statevector(np.array([0, 1]))
    circuit.measure_all()
    return circuit


def test_every_instruction_of_the_simulator_is_refused_before_a_job():
    before = num_jobs()

    with pytest.raises(EncodingError, match=r"\('set_statevector'\), .* of the simulator Aer"):
        run_sampler([setting()], backend=IDEAL)

    assert num_jobs() == before


def measuring() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1, name="read")
    circuit.measure(0, 0)
    return circuit


def resetting_in_a_gate() -> QuantumCircuit:
    inner = QuantumCircuit(1, name="cleared")
    inner.reset(0)
    circuit = QuantumCircuit(1, name="outer")
    with circuit.box():
        circuit.append(inner.to_instruction(), [0])
    return circuit


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (measuring(), r"^pubs\[1\]: Circuit 'read' has the instruction 'measure' .* no exact"),
        (
            resetting_in_a_gate(),
            r"^pubs\[1\]: Circuit 'outer' has the instruction 'reset' .*cleared",
        ),
    ],
    ids=["measuring", "resetting"],
)
def test_a_circuit_without_an_exact_value_is_refused_before_a_job(circuit, message):
    before = num_jobs()

    for call in ({}, {"precision": 0}, {"options": {"default_precision": 0}}):
        with pytest.raises(InvalidInputError, match=message):
            run_estimator([(QuantumCircuit(1), "Z"), (circuit, "Z")], backend=IDEAL, **call)

    assert num_jobs() == before
    assert run_estimator([(circuit, "Z")], backend=IDEAL, shots=10)[0].data.evs == 1.0
    assert run_estimator([(circuit, "Z", None, 0.5)], backend=IDEAL)[0].data.evs == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0.1], [math.nan]], r"^pubs\[0\]: The value of parameter 'a' in row \[1\] is nan"),
        ({"a": math.inf}, r"^pubs\[0\]: The value of parameter 'a' is inf\. "),
        (np.ma.masked_array([[0.1], [0.2]], [[0], [1]]), r"^pubs\[0\]: .* masked array"),
        ({"a": np.ma.masked_array([0.1, 0.2], [0, 1])}, r"^pubs\[0\]: .* masked array"),
    ],
    ids=["nan", "inf", "masked", "masked by name"],
)
def test_parameter_values_that_are_not_numbers_are_refused_before_a_job(values, message):
    circuit, before = QuantumCircuit(1), num_jobs()
    circuit.rx(Parameter("a"), 0)
    measured = circuit.copy()
    measured.measure_all()

    with pytest.raises(InvalidInputError, match=message):
        run_sampler([(measured, values)], backend=IDEAL)
    with pytest.raises(InvalidInputError, match=message):
        run_estimator([(circuit, "Z", values)], backend=IDEAL)

    assert num_jobs() == before


def test_arguments_of_a_quantum_program_that_are_not_numbers_are_refused_before_a_job():
    circuit, before = QuantumCircuit(1), num_jobs()
    circuit.rx(Parameter("a"), 0)
    circuit.measure_all()
    program, empty = QuantumProgram(shots=10), QuantumProgram(shots=0)
    program.append_circuit_item(circuit, circuit_arguments=[[0.1], [math.nan]])
    empty.append_circuit_item(decaying())

    with pytest.raises(
        InvalidInputError, match=r"^items\[0\]: The value of parameter 'a' in row \[1\]"
    ):
        run_executor(program, backend=IDEAL)
    with pytest.raises(InvalidInputError, match=r"cannot be written: shots: [^\n]*equal to 1\.$"):
        run_executor(empty, backend=IDEAL)

    assert num_jobs() == before


def test_more_shots_than_a_simulator_can_return_are_refused_before_a_job():
    before = num_jobs()

    for call in (
        {"pubs": [decaying()], "shots": 10**9 + 1},
        {"pubs": [(decaying(), None, 10**19)]},
        {"pubs": [decaying()], "options": {"default_shots": 2**31}},
    ):
        with pytest.raises(InvalidInputError, match="must be at most 1,000,000,000 on a simulator"):
            run_sampler(**call, backend=IDEAL)

    assert num_jobs() == before


def test_a_box_with_a_duration_is_refused_on_a_simulated_device():
    circuit = QuantumCircuit(1, name="timed")
    with circuit.box(duration=160, unit="us"):
        circuit.x(0)
    circuit.measure_all()
    program = QuantumProgram(shots=10)
    program.append_circuit_item(circuit)

    with pytest.raises(
        InvalidInputError, match=r"^pubs\[0\]: Circuit 'timed' has a box with a dur"
    ):
        run_sampler([circuit], backend=NOISY)
    with pytest.raises(
        InvalidInputError, match=r"^items\[0\]: Circuit 'timed' has a box with a du"
    ):
        run_executor(program, backend=NOISY)

    assert run_sampler([circuit], backend=IDEAL, shots=10)[0].data.meas.get_counts() == {"1": 10}


@pytest.mark.parametrize("precision", [math.inf, math.nan, 1e-200, 2, -1, 1.0000001, "high", True])
def test_a_precision_that_no_number_of_shots_has_is_refused_before_a_job(precision):
    circuit, before = QuantumCircuit(1), num_jobs()

    for call in (
        {"pubs": [(circuit, "Z")], "precision": precision},
        {"pubs": [(circuit, "Z", None, precision)]},
        {"pubs": [(circuit, "Z")], "options": {"default_precision": precision}},
    ):
        with pytest.raises(InvalidInputError, match="precision"):
            run_estimator(**call, backend=IDEAL)

    assert num_jobs() == before


def test_the_bounds_of_the_precision_are_in_the_message():
    with pytest.raises(
        InvalidInputError, match=r"from 1e-09 to 1, .* 1/precision\*\*2 shots, or 0"
    ):
        run_estimator([(QuantumCircuit(1), "Z")], precision=2, backend=IDEAL)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shots", r"no input 'shots': its value belongs in each PUB, .*'default_shots': 1000"),
        ("seed", r"no input 'seed': its value belongs in options"),
        ("shot", r"no input 'shot'\. Their inputs are options, pubs, "),
    ],
)
def test_an_input_that_a_primitive_does_not_have_is_refused_before_a_job(name, message):
    before = num_jobs()

    with SyncRuntimeClient() as client, pytest.raises(InvalidInputError, match=message) as caught:
        client.run("sampler", {"pubs": [decaying()], name: 10}, backend=IDEAL)

    assert caught.value.path == f"$.{name}"
    assert num_jobs() == before


def test_an_exact_value_of_an_evolution_is_that_of_its_product_formula():
    terms = SparsePauliOp(["XX", "ZI", "IZ"], [0.7, 0.5, -0.3])
    values = {}
    for name, synthesis in (("product", None), ("exponential", MatrixExponential())):
        circuit = QuantumCircuit(2)
        circuit.h(0)
        circuit.append(PauliEvolutionGate(terms, 1.0, synthesis=synthesis), [0, 1])
        result = run_estimator([(circuit, "ZI")], backend=IDEAL)
        assert result[0].metadata["path"] == "exact"
        values[name] = float(result[0].data.evs)

    start = Statevector.from_label("0+")
    trotter = LieTrotter().synthesize(PauliEvolutionGate(terms, 1.0))
    z = SparsePauliOp("ZI")
    assert values["product"] == pytest.approx(start.evolve(trotter).expectation_value(z).real)
    exact = Operator(expm(-1j * terms.to_matrix()))
    assert values["exponential"] == pytest.approx(start.evolve(exact).expectation_value(z).real)
    assert abs(values["product"] - values["exponential"]) > 0.01
