"""A quantum kernel: equal to that of the states within shot noise, and as good as a classical."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect.flows import Flow
from qiskit.quantum_info import Statevector

from tests.flows.examples import example_flow
from tests.flows.shown import artifact

SHOTS = 1024
BANDWIDTH = 0.7


@pytest.fixture(scope="module")
def kernel_flow() -> Flow[..., Any]:
    pytest.importorskip("sklearn", reason="needs the dependency group examples")
    return example_flow("quantum_kernel")


@pytest.fixture(scope="module")
def outcome(
    kernel_flow: Flow[..., Any], prefect_server: None, service_home: Path
) -> dict[str, Any]:
    return kernel_flow()


@pytest.fixture(scope="module")
def exact(kernel_flow: Flow[..., Any], outcome: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Both matrices of the default run, from the state vectors of the flowers."""
    return exact_kernels(kernel_flow.fn.__globals__, seed=1)[:2]


def exact_kernels(names: dict[str, Any], seed: int) -> tuple[np.ndarray, np.ndarray, Any]:
    data = names["read_data"](45, 50, seed)
    circuit = names["encoding"]("x")

    def states(features: np.ndarray) -> np.ndarray:
        return np.array(
            [Statevector(circuit.assign_parameters(BANDWIDTH * row)).data for row in features]
        )

    train, test = states(data.train), states(data.test)
    return np.abs(train.conj() @ train.T) ** 2, np.abs(test.conj() @ train.T) ** 2, data


def test_the_kernel_is_that_of_the_states_within_shot_noise(
    outcome: dict[str, Any], exact: tuple[np.ndarray, np.ndarray]
) -> None:
    upper = np.triu_indices(45, k=1)
    measured = np.concatenate(
        [outcome["measured_train_kernel"][upper], outcome["test_kernel"].ravel()]
    )
    expected = np.concatenate([exact[0][upper], exact[1].ravel()])
    distances = (measured - expected) / np.sqrt(expected * (1 - expected) / SHOTS)
    # 3240 distances of a standard normal distribution: not larger, and not smaller either.
    assert np.max(np.abs(distances)) < 6
    assert np.mean(distances) == pytest.approx(0, abs=0.1)
    assert np.mean(distances**2) == pytest.approx(1, abs=0.15)


def test_the_kernel_to_learn_from_is_symmetric_with_ones(outcome: dict[str, Any]) -> None:
    kernel = outcome["train_kernel"]
    assert np.array_equal(kernel, kernel.T)
    assert np.diag(kernel).tolist() == [1] * 45


def test_a_kernel_that_noise_made_indefinite_is_projected_and_the_run_says_so(
    outcome: dict[str, Any],
) -> None:
    lowest = np.linalg.eigvalsh(outcome["measured_train_kernel"])[0]
    assert lowest < -0.01
    assert outcome["lowest_measured_eigenvalue"] == pytest.approx(lowest)
    assert np.linalg.eigvalsh(outcome["train_kernel"])[0] > -1e-9
    moved = np.linalg.norm(outcome["train_kernel"] - outcome["measured_train_kernel"])
    note = (
        f"projected: the lowest measured eigenvalue is {lowest:.4f}, "
        f"the projection moved the matrix by {moved:.4f} (Frobenius norm)"
    )
    assert outcome["kernel_projection"] == note
    assert note in artifact("quantum-kernel-summary").data


def test_the_projection_is_the_nearest_matrix_known_from_the_literature(
    kernel_flow: Flow[..., Any],
) -> None:
    # Higham, IMA Journal 22, 329 (2002), section 4: the nearest correlation matrix.
    matrix = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    projected = kernel_flow.fn.__globals__["nearest_kernel"](matrix)
    nearest = [[1, 0.7607, 0.1573], [0.7607, 1, 0.7607], [0.1573, 0.7607, 1]]
    assert projected == pytest.approx(np.array(nearest), abs=5e-5)


def test_a_positive_semidefinite_kernel_is_left_as_it_is(
    kernel_flow: Flow[..., Any], exact: tuple[np.ndarray, np.ndarray]
) -> None:
    assert kernel_flow.fn.__globals__["nearest_kernel"](exact[0]) is exact[0]


def test_it_classifies_as_well_as_an_rbf_kernel(outcome: dict[str, Any]) -> None:
    assert outcome["rbf_accuracy"] > 0.85
    assert outcome["accuracy"] >= outcome["rbf_accuracy"] - 0.03


def test_the_exact_kernel_is_as_good_over_many_choices_of_flowers(
    kernel_flow: Flow[..., Any],
) -> None:
    names = kernel_flow.fn.__globals__
    differences = []
    for seed in range(1, 11):
        train, test, data = exact_kernels(names, seed)
        quantum = names["SVC"](kernel="precomputed").fit(train, data.train_classes)
        classical = names["SVC"]().fit(data.train, data.train_classes)
        differences.append(
            quantum.score(test, data.test_classes) - classical.score(data.test, data.test_classes)
        )
    assert np.mean(differences) >= -0.03


def test_the_accuracies_and_the_matrix_are_shown(outcome: dict[str, Any]) -> None:
    assert f"{outcome['accuracy']:.1%}" in artifact("quantum-kernel-summary").data
    assert "](data:image/png;base64,iVBOR" in artifact("quantum-kernel-matrix").data
