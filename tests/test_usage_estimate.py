"""The estimate of QPU time, against figures worked out by hand from IBM's documentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import RZGate, SXGate
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.transpiler import InstructionProperties, Target
from qiskit_ibm_runtime import QuantumProgram

from prefect_qiskit_runtime.devices.usage_estimate import (
    UsageEstimate,
    estimate_program_usage,
    estimate_usage,
)

NO_MITIGATION = {"resilience_level": 0}
TYPICAL = 100e-6


@pytest.fixture
def target() -> Target:
    """Two qubits: 50 ns for sx, 500 ns for cz, 1.5 us for a measurement."""
    from qiskit.circuit import Measure
    from qiskit.circuit.library import CZGate

    made = Target(num_qubits=2)
    places = [(0,), (1,)]
    made.add_instruction(SXGate(), {at: InstructionProperties(duration=50e-9) for at in places})
    made.add_instruction(
        RZGate(Parameter("angle")), {at: InstructionProperties(duration=0.0) for at in places}
    )
    made.add_instruction(CZGate(), {(0, 1): InstructionProperties(duration=500e-9)})
    made.add_instruction(Measure(), {at: InstructionProperties(duration=1.5e-6) for at in places})
    return made


def circuit(*, measured: bool = True) -> QuantumCircuit:
    """2 sx in a row, a cz: 600 ns; measured 2.1 us."""
    made = QuantumCircuit(2)
    made.sx(0)
    made.rz(Parameter("angle"), 0)
    made.sx(0)
    made.cz(0, 1)
    if measured:
        made.measure_all()
    return made


def sampler_pub(points: int = 1, shots: int | None = None) -> SamplerPub:
    pub: Any = (circuit(), np.zeros((points, 1)), shots)
    return SamplerPub.coerce(pub)


def estimator_pub(
    observables: Any, points: int = 1, precision: float | None = None
) -> EstimatorPub:
    pub: Any = (circuit(measured=False), observables, np.zeros((points, 1)), precision)
    return EstimatorPub.coerce(pub)


def only(estimate: UsageEstimate) -> tuple[int, int, float]:
    """Circuits, shots and length of the only PUB."""
    (usage,) = estimate.pubs
    return usage.circuits, usage.shots, usage.circuit_seconds


def test_without_a_target_it_is_ibms_quick_formula() -> None:
    # 2+0.00035*<num executions>
    estimate = estimate_usage("sampler", [sampler_pub(points=3, shots=10_000)])
    assert estimate.executions == 30_000
    assert estimate.seconds == pytest.approx(2 + 0.00035 * 30_000)
    assert any("unknown" in said and "100 us" in said for said in estimate.assumptions)


def test_a_job_that_executes_nothing_takes_the_overhead() -> None:
    assert estimate_usage("sampler", []).seconds == 2


def test_with_a_target_circuits_take_what_their_instructions_take(target: Target) -> None:
    estimate = estimate_usage("sampler", [sampler_pub(shots=1000)], target=target)
    assert only(estimate) == (1, 1000, pytest.approx(2.1e-6))
    assert estimate.seconds == pytest.approx(2 + (250e-6 + 2.1e-6) * 1000)


def test_the_repetition_delay_is_that_of_the_options_then_of_the_device() -> None:
    pubs = [sampler_pub(shots=1000)]
    slow = estimate_usage("sampler", pubs, default_rep_delay_seconds=1e-3)
    asked = {"execution": {"rep_delay": 50e-6}}
    fast = estimate_usage("sampler", pubs, asked, default_rep_delay_seconds=1e-3)
    assert slow.seconds == pytest.approx(2 + 1.1)
    assert fast.seconds == pytest.approx(2 + 0.15)
    assert (slow.rep_delay_seconds, fast.rep_delay_seconds) == (1e-3, 50e-6)


@pytest.mark.parametrize(
    ("own", "options", "expected"),
    [(None, {}, 4096), (None, {"default_shots": 7}, 7), (9, {"default_shots": 7}, 9)],
)
def test_shots_are_those_of_the_pub_then_of_the_options(
    own: int | None, options: dict[str, Any], expected: int
) -> None:
    assert estimate_usage("sampler", [sampler_pub(shots=own)], options).executions == expected


@pytest.mark.parametrize(
    ("own", "options", "expected"),
    [
        (None, {}, 4096),
        (None, {"default_precision": 0.1}, 100),
        (None, {"default_precision": 0.1, "default_shots": 50}, 50),
        (0.3, {"default_precision": 0.1, "default_shots": 50}, 12),
    ],
)
def test_a_precision_means_shots_for_each_group(
    own: float | None, options: dict[str, Any], expected: int
) -> None:
    pubs = [estimator_pub("ZZ", precision=own)]
    assert estimate_usage("estimator", pubs, NO_MITIGATION | options).executions == expected


def test_observables_that_commute_qubit_by_qubit_are_measured_together(target: Target) -> None:
    # {ZZ, ZI} and {XX, IX} for each of 3 sets of parameter values.
    pub = estimator_pub([["ZZ"], ["ZI"], ["XX"], ["IX"]], points=3)
    options = NO_MITIGATION | {"default_shots": 100}
    estimate = estimate_usage("estimator", [pub], options, target=target)
    assert only(estimate) == (6, 100, pytest.approx(0.6e-6 + 1.5e-6))


def test_noise_factors_multiply_the_circuits_and_fold_their_gates(target: Target) -> None:
    options = NO_MITIGATION | {"default_shots": 100, "resilience": {"zne_mitigation": True}}
    folded = estimate_usage("estimator", [estimator_pub("ZZ")], options, target=target)
    # (1 + 3 + 5) / 3 = 3 times the gates on average
    assert only(folded) == (3, 100, pytest.approx(3 * 0.6e-6 + 1.5e-6))
    two: dict[str, Any] = {**options, "resilience": {"zne_mitigation": True}}
    two["resilience"]["zne"] = {"noise_factors": (1, 2), "amplifier": "gate_folding_back"}
    assert estimate_usage("estimator", [estimator_pub("ZZ")], two).executions == 200


@pytest.mark.parametrize(
    ("twirling", "expected"),
    [
        ({}, (32, 313)),  # both by themselves: max(64, ceil(10000 / 32)) shots each
        ({"num_randomizations": 100}, (100, 100)),
        ({"shots_per_randomization": 3000}, (4, 3000)),
        ({"num_randomizations": 2, "shots_per_randomization": 10}, (2, 10)),
    ],
)
def test_twirling_divides_the_shots_over_randomizations(
    twirling: dict[str, Any], expected: tuple[int, int]
) -> None:
    options = {"default_shots": 10_000, "twirling": {"enable_gates": True, **twirling}}
    assert only(estimate_usage("sampler", [sampler_pub()], options))[:2] == expected


def test_shots_of_a_pub_are_obeyed_by_twirling() -> None:
    twirling = {"enable_gates": True, "num_randomizations": 2, "shots_per_randomization": 10}
    estimate = estimate_usage("sampler", [sampler_pub(shots=100)], {"twirling": twirling})
    assert only(estimate)[:2] == (10, 10)


def test_the_estimator_mitigates_measurements_by_default() -> None:
    estimate = estimate_usage("estimator", [estimator_pub("ZZ")])
    assert [(part.circuits, part.shots) for part in estimate.pubs] == [(32, 128)]
    assert [(part.circuits, part.shots) for part in estimate.learning] == [(32, 128)]
    assert estimate.seconds == pytest.approx(2 + 0.00035 * 2 * 4096)
    off = {"resilience": {"measure_mitigation": False}}
    assert estimate_usage("estimator", [estimator_pub("ZZ")], off).learning == ()


def test_learning_layers_is_counted_for_pea() -> None:
    options = NO_MITIGATION | {
        "resilience": {
            "zne_mitigation": True,
            "zne": {"amplifier": "pea"},
            "layer_noise_learning": {"max_layers_to_learn": 2},
        }
    }
    estimate = estimate_usage("estimator", [estimator_pub("ZZ")], options)
    # 2 layers, 9 bases, 6 depths, 32 randomizations of 128 shots
    assert [(p.circuits, p.shots) for p in estimate.learning] == [(2 * 9 * 6 * 32, 128)]
    assert "The noise of 2 layers of gates is learned." in estimate.assumptions


def test_what_pec_will_need_is_said_to_be_unknown() -> None:
    options = NO_MITIGATION | {"resilience": {"pec_mitigation": True}}
    estimate = estimate_usage("estimator", [estimator_pub("ZZ")], options)
    assert only(estimate)[:2] == (64, 64)
    assert any(said.startswith("PEC") and "not counted" in said for said in estimate.assumptions)


def test_a_circuit_whose_length_is_unknown_takes_the_typical_one(target: Target) -> None:
    dynamic = QuantumCircuit(1, 1)
    with dynamic.if_test((0, 1)):
        dynamic.sx(0)
    estimate = estimate_usage("sampler", [SamplerPub(dynamic, shots=1)], target=target)
    assert estimate.pubs[0].circuit_seconds == TYPICAL
    assert sum(dynamic.name in said for said in estimate.assumptions) == 1


def test_items_of_a_quantum_program_are_executed_for_each_element(target: Target) -> None:
    program = QuantumProgram(shots=50)
    program.append_circuit_item(circuit(), circuit_arguments=np.zeros((4, 5, 1)))
    estimate = estimate_program_usage(program, {"execution": {"rep_delay": 1e-4}}, target=target)
    assert only(estimate) == (20, 50, pytest.approx(2.1e-6))
    assert estimate.seconds == pytest.approx(2 + 102.1e-6 * 1000)
