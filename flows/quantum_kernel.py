"""Classify flowers with a quantum kernel: the overlaps of states that encode the data, in one job.

    python flows/quantum_kernel.py

This needs scikit-learn (the dependency group `examples`), which includes the data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from prefect import flow
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
        The accuracy of both classifiers, and both kernel matrices.
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
    train_kernel = np.eye(train_size)
    train_kernel[upper] = overlaps[: len(upper[0])]
    train_kernel = np.maximum(train_kernel, train_kernel.T)
    test_kernel = overlaps[len(upper[0]) :].reshape(test_size, train_size)
    quantum = SVC(kernel="precomputed").fit(train_kernel, data.train_classes)
    classical = SVC(kernel="rbf").fit(data.train, data.train_classes)
    summary = {
        "accuracy": float(quantum.score(test_kernel, data.test_classes)),
        "rbf_accuracy": float(classical.score(data.test, data.test_classes)),
        "train_size": train_size,
        "test_size": test_size,
        "pairs_measured": len(pairs),
        "shots": shots,
        "seed": seed,
    }
    publish(train_kernel, data.train_classes, summary)
    return {**summary, "train_kernel": train_kernel, "test_kernel": test_kernel}


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
