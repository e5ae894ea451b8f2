"""One observable on a noisy backend: raw, readout mitigated, and extrapolated to zero noise.

    python flows/error_mitigation.py

The correlation of neighbouring spins after a few steps of an Ising chain, measured several times
with different seeds and compared with the exact value.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import numpy as np
from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from pydantic import Field
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import Target, generate_preset_pass_manager
from seeds import measurement_seed

from prefect_qiskit_runtime import RuntimeBackend, RuntimeClient, arun_sampler
from prefect_qiskit_runtime.artifacts import markdown_table, render_figure

COUPLING, FIELD = 0.4, 0.25
"""Angles of one step of the chain."""

NOISE_FACTORS = (1, 3, 5)
"""How often each two-qubit gate is applied; odd, so that the circuit stays equivalent."""

METHODS = ("raw", "readout", "zero_noise")


@flow
async def error_mitigation(
    *,
    num_qubits: Annotated[int, Field(ge=2, le=10)] = 4,
    steps: Annotated[int, Field(ge=1, le=10)] = 2,
    shots: Annotated[int, Field(ge=100)] = 2000,
    repetitions: Annotated[int, Field(ge=1, le=100)] = 10,
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1,
    backend: RuntimeBackend | str = "fake_manila",
) -> dict[str, Any]:
    """Measure an observable raw and with two kinds of error mitigation.

    Args:
        num_qubits: Length of the spin chain.
        steps: Number of steps that its state evolves; each has one two-qubit gate per pair.
        shots: Shots of each circuit; a repetition has two circuits to calibrate and three to
            extrapolate.
        repetitions: How often everything is measured, each time in one job, with another seed on
            simulators.
        seed: Seed of the first repetition, and of the transpiler.
        backend: A saved backend with noise, or the name of one of the embedded service.

    Returns:
        The exact value, and for each method its values, standard errors and RMS error.
    """
    block = backend if isinstance(backend, RuntimeBackend) else RuntimeBackend(name=backend)
    spins = chain(num_qubits, steps)
    exact = float(Statevector(spins).expectation_value(correlation(num_qubits)).real)
    circuits = prepare(spins, await read_target(block), seed)
    results: Any = await asyncio.gather(
        *(
            arun_sampler(
                circuits, backend=block, shots=shots, seed=measurement_seed(seed + number, block)
            )
            for number in range(repetitions)
        )
    )
    measured = [
        mitigate([np.asarray(pub.data.bits.to_bool_array("little")) for pub in result])
        for result in results
    ]
    summary = summarise(measured, exact)
    await publish(summary)
    return summary


async def read_target(block: RuntimeBackend) -> Target:
    """Return the target that circuits are transpiled for."""
    credentials = block.credentials
    client = RuntimeClient() if credentials is None else credentials.get_client()
    async with client:
        return await (await client.backend(block.name)).target()


def chain(num_qubits: int, steps: int) -> QuantumCircuit:
    """Return the evolution of an Ising chain in a transverse field, with all spins up first."""
    circuit = QuantumCircuit(num_qubits)
    for _ in range(steps):
        circuit.rx(2 * FIELD, range(num_qubits))
        for qubit in range(num_qubits - 1):
            circuit.rzz(-2 * COUPLING, qubit, qubit + 1)
    circuit.rx(FIELD, range(num_qubits))
    return circuit


def correlation(num_qubits: int) -> SparsePauliOp:
    """Return the mean of ZZ over all neighbours."""
    pairs = num_qubits - 1
    terms = [("ZZ", [qubit, qubit + 1], 1 / pairs) for qubit in range(pairs)]
    return SparsePauliOp.from_sparse_list(terms, num_qubits)


def prepare(spins: QuantumCircuit, target: Target, seed: int) -> list[QuantumCircuit]:
    """Return all circuits of a repetition, in the instruction set of the backend.

    The first two prepare zeros and ones on the same qubits of the device, to calibrate their
    readout. The others are the chain with its noise applied once, three times and five times.
    """
    from qiskit import ClassicalRegister

    chain_with_bits = spins.copy()
    chain_with_bits.add_register(ClassicalRegister(spins.num_qubits, "bits"))
    chain_with_bits.measure(range(spins.num_qubits), range(spins.num_qubits))
    pass_manager = generate_preset_pass_manager(3, target=target, seed_transpiler=seed)
    circuit = pass_manager.run(chain_with_bits)
    assert circuit.layout is not None  # noqa: S101 - it was just transpiled
    places = circuit.layout.final_index_layout(filter_ancillas=True)
    calibrations = []
    for prepared in (0, 1):
        calibration = circuit.copy_empty_like()
        if prepared:
            calibration.x(places)
        calibration.measure(places, range(len(places)))
        calibrations.append(calibration)
    return [*calibrations, *(fold(circuit, factor) for factor in NOISE_FACTORS)]


def fold(circuit: QuantumCircuit, factor: int) -> QuantumCircuit:
    """Apply each two-qubit gate several times. The circuit must not be optimized afterwards.

    Raises:
        ValueError: A gate is not its own inverse, so that repeating it changes the circuit.
    """
    folded = circuit.copy_empty_like()
    for instruction in circuit.data:
        gate = instruction.operation
        times = 1
        if len(instruction.qubits) == 2 and gate.name != "barrier":
            if gate.inverse() != gate:
                raise ValueError(
                    f"{gate.name} is not its own inverse: choose a backend with cx, cz or ecr."
                )
            times = factor
        for _ in range(times):
            folded.append(instruction)
    return folded


def mitigate(bits: list[np.ndarray]) -> dict[str, tuple[float, float]]:
    """Turn the bits of one repetition into values with standard errors, by method.

    Args:
        bits: For each circuit of `prepare` an array (shot, qubit).
    """
    zeros, ones, *chains = bits
    plain = np.tile([1.0, -1.0], (zeros.shape[1], 1))
    corrected = readout_weights(zeros.mean(axis=0), ones.mean(axis=0))
    contrasts = ones.mean(axis=0) - zeros.mean(axis=0)
    by_factor = [estimate(chain_bits, corrected) for chain_bits in chains]
    # All chains are corrected with one calibration, so its errors extrapolate as the values do.
    slopes = np.array([calibration_slopes(one, corrected, contrasts) for one in chains])
    extrapolated = np.tensordot(at_zero_noise(), slopes, axes=1)
    noise = [np.cov(read, rowvar=False) / len(read) for read in (zeros, ones)]
    return {
        "raw": estimate(chains[0], plain),
        "readout": with_calibration(by_factor[0], slopes[0], noise),
        "zero_noise": with_calibration(extrapolate(by_factor), extrapolated, noise),
    }


def readout_weights(wrong_zeros: np.ndarray, right_ones: np.ndarray) -> np.ndarray:
    """Return the weights of a read 0 and a read 1 for Z, array (qubit, read).

    With them, the mean over many shots is +1 for a qubit prepared in 0, and -1 for one in 1.

    Args:
        wrong_zeros: For each qubit, how often 1 is read where 0 was prepared.
        right_ones: For each qubit, how often 1 is read where 1 was prepared.
    """
    assignment = np.array([[1 - wrong_zeros, wrong_zeros], [1 - right_ones, right_ones]])
    signs = np.tile([[1.0], [-1.0]], (len(wrong_zeros), 1, 1))
    return np.linalg.solve(assignment.transpose(2, 0, 1), signs)[:, :, 0]


def estimate(bits: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return the mean correlation of neighbours and its standard error over the shots."""
    spins = np.where(bits, weights[:, 1], weights[:, 0])
    by_shot = np.mean(spins[:, :-1] * spins[:, 1:], axis=1)
    return float(by_shot.mean()), float(by_shot.std(ddof=1) / np.sqrt(len(by_shot)))


def calibration_slopes(bits: np.ndarray, weights: np.ndarray, contrasts: np.ndarray) -> np.ndarray:
    """Return how the mean correlation changes with the calibration's fractions of ones.

    Args:
        bits: Array (shot, qubit).
        weights: The weights of `readout_weights`.
        contrasts: For each qubit, how much more often 1 is read where 1 was prepared than where 0
            was.

    Returns:
        Derivatives, array (prepared state, qubit).
    """
    spins = np.where(bits, weights[:, 1], weights[:, 0])
    products = np.pad(spins[:, :-1] * spins[:, 1:], ((0, 0), (1, 1)))
    of_qubit = (products[:, :-1] + products[:, 1:]) / (spins.shape[1] - 1)
    # A weight w changes by (1 + w) / contrast and (1 - w) / contrast; it is never below 1 in size.
    changes = np.array([1 + spins, 1 - spins]) / (contrasts * spins)
    return (of_qubit * changes).mean(axis=1)


def with_calibration(
    value: tuple[float, float], slopes: np.ndarray, noise: list[np.ndarray]
) -> tuple[float, float]:
    """Add the shot noise of the calibration, a covariance matrix for each state, to an error."""
    variances = [slope @ matrix @ slope for slope, matrix in zip(slopes, noise, strict=True)]
    return value[0], float(np.sqrt(value[1] ** 2 + sum(variances)))


def at_zero_noise() -> np.ndarray:
    """Return the share that each noise factor's value has in the value extrapolated to zero."""
    design = np.vander(np.array(NOISE_FACTORS, dtype=float), 2)
    return np.linalg.pinv(design)[1]


def extrapolate(values: list[tuple[float, float]]) -> tuple[float, float]:
    """Fit a line to the values by noise factor; return its value at zero, and the error."""
    means, errors = np.array(values).T
    at_zero = at_zero_noise()
    return float(at_zero @ means), float(np.sqrt(at_zero**2 @ errors**2))


def summarise(measured: list[dict[str, tuple[float, float]]], exact: float) -> dict[str, Any]:
    """Compare each method with the exact value, over all repetitions."""
    summary: dict[str, Any] = {"exact": exact, "repetitions": len(measured)}
    for method in METHODS:
        values, errors = np.array([one[method] for one in measured]).T
        squares = (values - exact) ** 2
        rms = float(np.sqrt(squares.mean()))
        spread = squares.std(ddof=1) / np.sqrt(len(squares)) if len(squares) > 1 else np.nan
        summary[method] = {
            "values": values.tolist(),
            "standard_errors": errors.tolist(),
            "rms_error": rms,
            # The error of the root of a mean, by the derivative of the root.
            "rms_error_uncertainty": float(spread / (2 * rms)),
        }
    return summary


async def publish(summary: dict[str, Any]) -> None:
    """Create a picture of all values and a table as artifacts of the flow run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    for number, method in enumerate(METHODS):
        of_method = summary[method]
        places = np.arange(summary["repetitions"]) + 0.15 * (number - 1)
        style: dict[str, Any] = {"fmt": "o", "capsize": 2, "label": method.replace("_", " ")}
        axes.errorbar(places, of_method["values"], of_method["standard_errors"], **style)
    axes.axhline(summary["exact"], linestyle="--", color="black", label="exact")
    axes.set(xlabel="repetition", ylabel="mean correlation of neighbours")
    axes.legend()
    await acreate_markdown_artifact(
        render_figure(figure, "Values by method"),
        key="error-mitigation-values",
        description="Each repetition with its standard error",
    )
    rows = {
        f"RMS error, {method.replace('_', ' ')}": (
            f"{summary[method]['rms_error']:.4f} ± {summary[method]['rms_error_uncertainty']:.4f}"
        )
        for method in METHODS
    }
    await acreate_markdown_artifact(
        markdown_table({"Exact": f"{summary['exact']:.4f}", **rows}, header=("Quantity", "Value")),
        key="error-mitigation-summary",
        description="Distance of each method from the exact value",
    )


if __name__ == "__main__":
    outcome = asyncio.run(error_mitigation())
    print({name: outcome[name]["rms_error"] for name in METHODS})
