"""The primitives in the form of clients before 2024: what their lists and settings mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.noise import NoiseModel, ReadoutError

from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.program._exact_sampling import exact_probabilities
from prefect_qiskit_runtime.program.legacy import primitives
from prefect_qiskit_runtime.program.legacy.primitives import (
    run_legacy_estimator,
    run_legacy_sampler,
)


def rotation(*, measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("angle"), 0)
    if measured:
        circuit.measure_all()
    return circuit


def settings(**groups: Any) -> dict[str, Any]:
    """The options that clients send by default, and more."""
    given = {
        "run_options": {"shots": 4000, "init_qubits": True, "noise_model": None},
        "resilience_settings": {"noise_factors": [1, 3, 5], "level": 0},
        "transpilation_settings": {"skip_transpilation": False, "initial_layout": None},
    }
    return {name: {**fields, **groups.get(name, {})} for name, fields in given.items()}


def exactly() -> dict[str, Any]:
    return settings(run_options={"shots": None})


def test_equal_circuits_run_together_and_results_keep_their_order(ideal):
    circuits = [rotation(), QuantumCircuit(1, 1), rotation(), rotation()]
    values = [[0.0], [], [math.pi], [math.pi / 2]]

    result = run_legacy_sampler(
        ideal, {"circuits": circuits, "parameter_values": values, **exactly()}
    )

    assert result["quasi_dists"][:3] == [{"0": 1.0}, {"0": 1.0}, pytest.approx({"1": 1.0})]
    assert result["quasi_dists"][3] == pytest.approx({"0": 0.5, "1": 0.5})
    assert ideal.usage.circuits == 4


def test_indices_choose_from_the_lists(ideal):
    inputs = {
        "circuits": [rotation(measured=False)],
        "circuit_indices": [0, 0],
        "observables": [SparsePauliOp("X"), SparsePauliOp("Z")],
        "observable_indices": [1, 0],
        "parameter_values": [[0.4], [0.4]],
    }

    values = run_legacy_estimator(ideal, {**inputs, **exactly()})["values"]

    assert values == pytest.approx([math.cos(0.4), math.sin(0.4)])


def test_the_variance_is_that_of_one_shot(ideal):
    inputs = {
        "circuits": [rotation(measured=False)] * 300,
        "observables": [SparsePauliOp("Z")] * 300,
        "parameter_values": [[0.8]] * 300,
    }
    asked = settings(run_options={"shots": 100, "seed_simulator": 5})

    result = run_legacy_estimator(ideal, {**inputs, **asked})

    errors = [math.sqrt(each["variance"] / each["shots"]) for each in result["metadata"]]
    assert np.mean(errors) == pytest.approx(math.sin(0.8) / 10, rel=0.02)
    assert np.std(result["values"]) == pytest.approx(math.sin(0.8) / 10, rel=0.15)
    assert np.mean(result["values"]) == pytest.approx(math.cos(0.8), abs=0.02)


def test_exact_distributions_are_those_of_many_shots(ideal):
    circuit = efficient_su2(4, reps=1).assign_parameters(np.linspace(0.1, 2, 16))
    measured = QuantumCircuit(4, 5)
    measured.compose(circuit, inplace=True)
    measured.measure([3, 0, 1], [0, 4, 2])
    shots = 200_000
    asked = settings(run_options={"shots": shots, "seed_simulator": 2})

    exact = run_legacy_sampler(ideal, {"circuits": [measured], **exactly()})["quasi_dists"][0]
    sampled = run_legacy_sampler(ideal, {"circuits": [measured], **asked})["quasi_dists"][0]

    assert sum(exact.values()) == pytest.approx(1)
    assert set(sampled) <= set(exact)
    for outcome, probability in exact.items():
        error = math.sqrt(probability * (1 - probability) / shots)
        assert abs(sampled.get(outcome, 0) - probability) < 5 * error + 1 / shots


def test_registers_stand_side_by_side(ideal):
    circuit = QuantumCircuit(2)
    circuit.x(0)
    circuit.measure_all()
    circuit.add_register(*QuantumCircuit(2, 2).cregs)

    for asked in (exactly(), settings(run_options={"shots": 10})):
        result = run_legacy_sampler(ideal, {"circuits": [circuit], **asked})
        assert result["quasi_dists"] == [{"0001": 1.0}]


def test_a_circuit_that_branches_has_no_exact_distribution(ideal):
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    circuit.x(0)

    with pytest.raises(InvalidInputError, match=r"circuits\[0\].*name shots"):
        run_legacy_sampler(ideal, {"circuits": [circuit], **exactly()})


def test_a_noise_model_of_the_request_replaces_that_of_the_backend(ideal):
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[0, 1], [1, 0]]))
    asked = settings(run_options={"shots": None, "noise_model": noise.to_dict()})

    result = run_legacy_sampler(
        ideal, {"circuits": [rotation()], "parameter_values": [[0.0]], **asked}
    )

    assert result["quasi_dists"] == [{"1": 1.0}]
    assert result["metadata"][0]["path"] == "sampled"


def test_settings_that_change_nothing_here_are_recorded_or_refused(ideal, caplog):
    asked = settings(
        run_options={"shots": 10, "init_qubits": False},
        resilience_settings={"level": 2, "extrapolator": "LinearExtrapolator"},
        transpilation_settings={"layout_method": "noise_adaptive", "routing_method": "stochastic"},
    )
    inputs = {"circuits": [rotation()], "parameter_values": [[0.0]], **asked, "unheard_of": 1}
    ignored = {
        "run_options.init_qubits": False,
        "resilience_settings.level": 2,
        "resilience_settings.noise_factors": [1, 3, 5],
        "resilience_settings.extrapolator": "LinearExtrapolator",
        "transpilation_settings.layout_method": "noise_adaptive",
        "transpilation_settings.routing_method": "stochastic",
        "unheard_of": 1,
    }

    result = run_legacy_sampler(ideal, inputs)

    assert result["metadata"][0]["unsupported_options"] == ignored
    assert "resilience_settings.level=2" in caplog.text
    with pytest.raises(InvalidInputError, match="unheard_of"):
        run_legacy_sampler(ideal, inputs, unsupported_options="refuse")


def test_what_clients_send_unasked_is_no_unsupported_option(ideal):
    inputs = {"circuits": [rotation()], "parameter_values": [[0.0]], **settings()}
    assert "unsupported_options" not in run_legacy_sampler(ideal, inputs)["metadata"][0]


def test_equal_circuits_are_transpiled_once(noisy, monkeypatch):
    calls = []
    transpiled = primitives.PubTranspiler.transpiled
    monkeypatch.setattr(
        primitives.PubTranspiler,
        "transpiled",
        lambda self, pub: calls.append(pub) or transpiled(self, pub),
    )
    inputs = {
        "circuits": [rotation(measured=False) for _ in range(5)],
        "observables": [SparsePauliOp("Z")] * 5,
        "parameter_values": [[0.0]] * 5,
    }
    same = inputs["circuits"][0]
    inputs["circuits"] = [same.copy() for _ in range(5)]

    run_legacy_estimator(noisy, {**inputs, **settings(run_options={"shots": 100})})

    assert len(calls) == 1


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"circuits": [rotation()]}, r"circuits\[0\]: parameter_values\[0\] has 0 numbers"),
        (
            {"circuits": [rotation()], "parameter_values": [[0], [1]]},
            "circuits has 1, parameter_values has 2",
        ),
        ({"circuits": ["a text"]}, r"circuits\[0\]: it is not a circuit, but str"),
        ({"circuits": [QuantumCircuit(1)]}, r"circuits\[0\].*no classical register"),
        ({"circuits": [], "circuit_indices": [3]}, "circuit_indices points outside"),
        ({"circuits": [], "run_options": {"shots": 0}}, "run_options.shots"),
        ({"circuits": [], "run_options": [1]}, "run_options must be an object"),
    ],
)
def test_what_does_not_fit_is_named(ideal, inputs, message):
    with pytest.raises(InvalidInputError, match=message):
        run_legacy_sampler(ideal, inputs)


def test_exact_distributions_of_many_rows(ideal):
    circuit = rotation()
    angles = np.linspace(0, 3, 7)

    rows = exact_probabilities(ideal, circuit, angles[:, None])

    assert [row.get("0", 0) for row in rows] == pytest.approx(np.cos(angles / 2) ** 2)
