"""Classify flowers with a quantum kernel: the overlaps of states that encode the data, in one job.

    python flows/quantum_kernel.py

This needs scikit-learn (the dependency group `examples`), which includes the data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from pydantic import Field
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from seeds import measurement_seed
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from prefect_qiskit_runtime import RuntimeBackend, run_estimator
from prefect_qiskit_runtime.artifacts import markdown_table, render_figure

NUM_FEATURES = 4

EIGENVALUE_TOLERANCE = 1e-9
DIAGONAL_TOLERANCE = 1e-7
MAX_PROJECTIONS = 1000


@dataclass(frozen=True)
class Data:
    """Flowers for training and testing: features (flower, feature), and their classes."""

    train: np.ndarray
    train_classes: np.ndarray
    test: np.ndarray
    test_classes: np.ndarray


@flow
def quantum_kernel(
    *,
    train_size: Annotated[int, Field(ge=15, le=100)] = 45,
    test_size: Annotated[int, Field(ge=15, le=50)] = 50,
    bandwidth: Annotated[float, Field(gt=0, le=2)] = 0.7,
    shots: Annotated[int, Field(ge=1)] | None = 1024,
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1,
    backend: RuntimeBackend | str = "aer_simulator",
) -> dict[str, Any]:
    """Train a support vector machine with a quantum kernel, and one with a classical kernel.

    Args:
        train_size: Number of flowers for training.
        test_size: Number of other flowers for testing.
        bandwidth: How far a feature rotates its qubits, in radians per standard deviation.
        shots: Shots for each element of the kernel; if empty, exact on aer_simulator, and the
            backend's default on one with noise.
        seed: Chooses the flowers, and makes simulator measurements reproducible.
        backend: A saved backend, or the name of a backend of the embedded service.

    Returns:
        The accuracy of both classifiers, both kernel matrices, and the measured matrix of the
        training flowers, which differs if noise made it indefinite: learning uses the nearest
        kernel matrix, and `kernel_projection` describes the change.
    """
    data = read_data(train_size, test_size, seed)
    upper = np.triu_indices(train_size, k=1)
    pairs = np.concatenate(
        [
            np.hstack([data.train[upper[0]], data.train[upper[1]]]),
            np.hstack([np.repeat(data.test, train_size, 0), np.tile(data.train, (test_size, 1))]),
        ]
    )
    overlaps = measure_overlaps(bandwidth * pairs, shots=shots, seed=seed, backend=backend)
    # A state overlaps fully with itself and the kernel is symmetric: neither is measured.
    measured = np.eye(train_size)
    measured[upper] = overlaps[: len(upper[0])]
    measured.T[upper] = measured[upper]
    train_kernel = nearest_kernel(measured)
    projection = describe_projection(measured, train_kernel)
    get_run_logger().info("Kernel matrix of the training flowers: %s", projection)
    test_kernel = overlaps[len(upper[0]) :].reshape(test_size, train_size)
    quantum = SVC(kernel="precomputed").fit(train_kernel, data.train_classes)
    classical = SVC(kernel="rbf").fit(data.train, data.train_classes)
    summary = {
        "accuracy": float(quantum.score(test_kernel, data.test_classes)),
        "rbf_accuracy": float(classical.score(data.test, data.test_classes)),
        "train_size": train_size,
        "test_size": test_size,
        "pairs_measured": len(pairs),
        "lowest_measured_eigenvalue": float(np.linalg.eigvalsh(measured)[0]),
        "kernel_projection": projection,
        "shots": shots,
        "seed": seed,
    }
    publish(train_kernel, data.train_classes, summary)
    return {
        **summary,
        "train_kernel": train_kernel,
        "measured_train_kernel": measured,
        "test_kernel": test_kernel,
    }


def read_data(train_size: int, test_size: int, seed: int) -> Data:
    """Choose flowers of the iris data set, equally by class; features have variance 1."""
    features, classes = load_iris(return_X_y=True)
    parts: Any = train_test_split(
        features,
        classes,
        train_size=train_size,
        test_size=test_size,
        random_state=seed,
        stratify=classes,
    )
    train, test, train_classes, test_classes = parts
    scaler = StandardScaler().fit(train)
    scaled, scaled_test = (np.asarray(scaler.transform(part)) for part in (train, test))
    return Data(scaled, train_classes, scaled_test, test_classes)


def measure_overlaps(
    angles: np.ndarray, *, shots: int | None, seed: int, backend: RuntimeBackend | str
) -> np.ndarray:
    """Measure the overlaps of pairs of states, in one PUB of one job.

    Args:
        angles: 2D array; each row has the angles of one state and then those of the other.
        shots: Shots for each overlap; None is exact on the ideal backend.
        seed: Makes the result reproducible.
        backend: The backend that the job runs on.

    Returns:
        1D array, one overlap for each row.
    """
    circuit = encoding("x").compose(encoding("y").inverse())
    result: Any = run_estimator(
        [(circuit, all_zero(), angles)],
        backend=backend,
        shots=shots,
        seed=measurement_seed(seed, backend),
        transpile=True,
    )
    return np.asarray(result[0].data.evs)


def nearest_kernel(measured: np.ndarray) -> np.ndarray:
    """Return the nearest positive semidefinite matrix with ones on the diagonal.

    Noise can make a measured kernel indefinite, so that it is the kernel of no states and learning
    from it is not a convex problem. The method is that of Higham, IMA Journal 22, 329
    (2002): alternating projections with Dykstra's correction.

    Args:
        measured: A symmetric matrix with ones on the diagonal.

    Returns:
        The same matrix if it is positive semidefinite.
    """
    if np.linalg.eigvalsh(measured)[0] >= -EIGENVALUE_TOLERANCE:
        return measured
    current = positive = measured
    correction = np.zeros_like(measured)
    for _ in range(MAX_PROJECTIONS):
        corrected = current - correction
        values, vectors = np.linalg.eigh(corrected)
        positive = (vectors * np.maximum(values, 0)) @ vectors.T
        if np.max(np.abs(np.diag(positive) - 1)) < DIAGONAL_TOLERANCE:
            break
        correction = positive - corrected
        current = positive.copy()
        np.fill_diagonal(current, 1)
    # The rest of the difference is scaled away, which keeps the matrix semidefinite.
    scale = np.sqrt(np.diag(positive))
    positive = (positive + positive.T) / (2 * np.outer(scale, scale))
    np.fill_diagonal(positive, 1)
    return positive


def describe_projection(measured: np.ndarray, projected: np.ndarray) -> str:
    """State whether and how far a measured kernel was changed."""
    lowest = np.linalg.eigvalsh(measured)[0]
    if projected is measured:
        return "positive semidefinite as measured"
    return (
        f"projected: the lowest measured eigenvalue is {lowest:.4f}, the projection moved the "
        f"matrix by {np.linalg.norm(projected - measured):.4f} (Frobenius norm)"
    )


def encoding(name: str) -> QuantumCircuit:
    """Return the circuit that encodes four angles in a state of four qubits."""
    angles = ParameterVector(name, NUM_FEATURES)
    circuit = QuantumCircuit(NUM_FEATURES)
    for qubit, angle in enumerate(angles):
        circuit.ry(angle, qubit)
    for qubit in range(NUM_FEATURES - 1):
        circuit.cx(qubit, qubit + 1)
    for qubit, angle in enumerate(angles):
        circuit.rz(angle, qubit)
        circuit.ry(angle, qubit)
    return circuit


def all_zero() -> SparsePauliOp:
    """Return the projector on the state of zeros: a sum of all products of I and Z."""
    one = SparsePauliOp(["I", "Z"], np.array([0.5, 0.5]))
    projector = one
    for _ in range(NUM_FEATURES - 1):
        projector = projector.tensor(one)
    return projector


def publish(kernel: np.ndarray, classes: np.ndarray, summary: dict[str, Any]) -> None:
    """Create the picture of the kernel and the accuracies as artifacts of the flow run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    by_class = np.argsort(classes, kind="stable")
    image = axes.imshow(kernel[np.ix_(by_class, by_class)], vmin=0, vmax=1)
    axes.set(title="overlaps of the training flowers, by class")
    figure.colorbar(image)
    create_markdown_artifact(
        render_figure(figure, "Kernel matrix"),
        key="quantum-kernel-matrix",
        description="Overlaps of the training flowers",
    )
    rows = {
        "Accuracy with the quantum kernel": f"{summary['accuracy']:.1%}",
        "Accuracy with the classical kernel (RBF)": f"{summary['rbf_accuracy']:.1%}",
        "Flowers for training, for testing": f"{summary['train_size']}, {summary['test_size']}",
        "Overlaps measured": summary["pairs_measured"],
        "Kernel matrix": summary["kernel_projection"],
        "Shots for each": summary["shots"] or "none (the backend's default)",
    }
    create_markdown_artifact(
        markdown_table(rows, header=("Quantity", "Value")),
        key="quantum-kernel-summary",
        description="Accuracy of the classifiers",
    )


if __name__ == "__main__":
    outcome = quantum_kernel()
    print(f"quantum {outcome['accuracy']:.1%}, RBF {outcome['rbf_accuracy']:.1%}")
