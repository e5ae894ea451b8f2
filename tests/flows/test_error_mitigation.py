"""Error mitigation on a noisy backend: at most half of the raw error, with honest error bars."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect.flows import Flow
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator
from scipy.stats import chi2

from tests.flows.examples import example_flow
from tests.flows.shown import artifact


@pytest.fixture(scope="module")
def mitigation() -> Flow[..., Any]:
    return example_flow("error_mitigation")


@pytest.fixture(scope="module")
def names(mitigation: Flow[..., Any]) -> dict[str, Any]:
    return mitigation.fn.__globals__


@pytest.fixture(scope="module")
def summary(mitigation: Flow[..., Any], prefect_server: None, service_home: Path) -> dict[str, Any]:
    return asyncio.run(mitigation(repetitions=10, shots=2000))


@pytest.mark.slow
def test_the_rms_error_is_at_most_half_of_the_raw_one_error_bars_included(
    summary: dict[str, Any],
) -> None:
    raw, mitigated = summary["raw"], summary["zero_noise"]
    least = raw["rms_error"] - 2 * raw["rms_error_uncertainty"]
    most = mitigated["rms_error"] + 2 * mitigated["rms_error_uncertainty"]
    assert len(raw["values"]) == 10
    assert most <= least / 2
    assert summary["readout"]["rms_error"] < raw["rms_error"]


@pytest.mark.slow
def test_the_error_bars_are_as_large_as_the_values_vary(summary: dict[str, Any]) -> None:
    for method in ("raw", "readout", "zero_noise"):
        ratio = np.std(summary[method]["values"], ddof=1) / np.mean(
            summary[method]["standard_errors"]
        )
        # Of ten values: between the 0.1% and the 99.9% quantile of chi-square with nine degrees.
        assert 0.35 < ratio < 1.76


@pytest.mark.slow
def test_values_and_errors_are_shown(summary: dict[str, Any]) -> None:
    assert "](data:image/png;base64,iVBOR" in artifact("error-mitigation-values").data
    assert (
        f"{summary['zero_noise']['rms_error']:.4f} ±" in artifact("error-mitigation-summary").data
    )


@pytest.mark.usefixtures("prefect_server", "service_home")
def test_a_small_run_is_nearer_to_the_exact_value_with_mitigation(
    mitigation: Flow[..., Any],
) -> None:
    small = asyncio.run(mitigation(num_qubits=3, repetitions=2, shots=1000))
    assert small["zero_noise"]["rms_error"] < small["raw"]["rms_error"] < 0.3


def test_folding_repeats_the_gates_of_two_qubits_and_changes_nothing_else(
    names: dict[str, Any],
) -> None:
    circuit = names["chain"](3, 1).decompose("rzz")
    folded = names["fold"](circuit, 3)
    before, after = circuit.count_ops(), folded.count_ops()
    assert after["cx"] == 3 * before["cx"] > 0
    assert {**after, "cx": 0} == {**before, "cx": 0}
    assert Operator(folded).equiv(circuit)


def test_folding_refuses_a_gate_that_is_not_its_own_inverse(names: dict[str, Any]) -> None:
    circuit = QuantumCircuit(2)
    circuit.iswap(0, 1)
    with pytest.raises(ValueError, match="iswap is not its own inverse"):
        names["fold"](circuit, 3)


def test_readout_mitigation_inverts_readout_errors(names: dict[str, Any]) -> None:
    wrong_zeros, right_ones = np.array([0.1, 0.02]), np.array([0.8, 0.95])
    weights = names["readout_weights"](wrong_zeros, right_ones)
    for read_one, expected in ((wrong_zeros, 1), (right_ones, -1)):
        means = (1 - read_one) * weights[:, 0] + read_one * weights[:, 1]
        assert means == pytest.approx([expected, expected])


def test_the_error_bars_include_the_shot_noise_of_the_calibration(names: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    wrong, right = np.array([0.1, 0.02, 0.05, 0.2]), np.array([0.8, 0.95, 0.9, 0.7])
    shots, seeds = 500, 1000
    prepared = np.array([0.1, 0.2, 0.05, 0.1])  # how often each spin is down, independently
    spins = 1 - 2 * prepared
    exact = np.mean(spins[:-1] * spins[1:])

    def read(down: np.ndarray) -> np.ndarray:
        return rng.random((shots, 4)) < np.where(rng.random((shots, 4)) < down, right, wrong)

    distances: dict[str, list[float]] = {"readout": [], "zero_noise": []}
    for _ in range(seeds):
        found = names["mitigate"](
            [read(down) for down in (0 * prepared, 0 * prepared + 1)]
            + [read(prepared) for _ in range(3)]
        )
        for method, of_method in distances.items():
            value, error = found[method]
            of_method.append((value - exact) / error)
    # 1000 times the square has a chi-square distribution: outside in 1 of 5000 cases each.
    low, high = np.sqrt(chi2.ppf([1e-4, 1 - 1e-4], seeds) / seeds)
    for method, of_method in distances.items():
        assert low < np.sqrt(np.mean(np.square(of_method))) < high, method


def test_a_line_is_extrapolated_to_where_there_is_no_noise(names: dict[str, Any]) -> None:
    value, error = names["extrapolate"]([(0.9 - 0.1 * factor, 0.01) for factor in (1, 3, 5)])
    assert value == pytest.approx(0.9)
    # The variance of the intercept of a line: 1/3 + 3**2/8.
    assert error == pytest.approx(0.01 * np.sqrt(1 / 3 + 9 / 8))
