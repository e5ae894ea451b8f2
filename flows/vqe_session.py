"""The ground-state energy of a molecule, by a VQE whose optimizer runs in the flow.

    python flows/vqe_session.py

The counterpart of `vqe.py`: every step of the loop is one estimator job, in a session, and is
recorded. A flow run that is killed continues where it was when it is retried. For a deployment, the
entrypoint is `flows/vqe_session.py:vqe_session`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from molecules import Geometry, Molecule, compute_molecule, load_molecule
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from pydantic import Field
from qiskit.quantum_info import SparsePauliOp
from shots import are_exact
from vqe import MoleculeName, show_state

from prefect_qiskit_runtime import (
    EstimatorObjective,
    LoopResult,
    LoopStep,
    RuntimeBackend,
    minimize,
)
from prefect_qiskit_runtime.artifacts import LoopReporter, markdown_table

MethodName = Literal["auto", "L-BFGS-B", "SLSQP", "COBYLA", "SPSA"]


@flow
def vqe_session(
    molecule: MoleculeName = "h2_0.735",
    *,
    geometry: Geometry | None = None,
    method: MethodName = "auto",
    maxiter: Annotated[int, Field(ge=1)] = 100,
    max_evaluations: Annotated[int, Field(ge=2)] | None = None,
    shots: Annotated[int, Field(ge=1)] | None = None,
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1,
    session: Literal["session", "batch"] | None = "session",
    backend: RuntimeBackend | str = "aer_simulator",
) -> dict[str, Any]:
    """Find the ground-state energy of a molecule, step by step, and compare it with the exact one.

    Args:
        molecule: Molecule, distance of its atoms in angstrom, and number of qubits if not 2.
        geometry: Your own molecule instead; it needs PySCF and qiskit-nature.
        method: auto is L-BFGS-B if energies are exact, SPSA if they are sampled.
        maxiter: Maximum number of iterations; for COBYLA, of evaluated points.
        max_evaluations: Maximum number of measured energies, including those of gradients.
        shots: Shots per group of observables; if empty, those of the saved backend. If it has
            none, exact on aer_simulator, and the default of a backend with noise.
        seed: Makes the run reproducible.
        session: Groups the jobs in a session or a batch; if empty, they are independent.
        backend: A saved backend, or the name of a backend of the embedded service, such as
            aer_simulator or fake_manila.

    Returns:
        The summary that is shown as an artifact.
    """
    chosen = load_molecule(molecule) if geometry is None else compute_molecule(geometry)
    objective = energy_of(chosen, shots)
    if method == "auto":
        method = "L-BFGS-B" if are_exact(backend, shots) else "SPSA"
    watcher = Watcher(chosen, maxiter)
    result = minimize(
        objective,
        [0.0] * objective.num_parameters,
        backend=backend,
        method=method,
        maxiter=maxiter,
        max_evaluations=max_evaluations,
        seed=seed,
        session=session,
        callback=watcher,
    )
    watcher.finish(result)
    show_state(
        artifact_key(chosen, "state"),
        objective.ansatz.assign_parameters(result.parameters),
        backend,
        shots=shots,
        seed=seed,
    )
    summary = summarise(chosen, method, result)
    publish(chosen, summary)
    return summary


def energy_of(molecule: Molecule, shots: int | None) -> EstimatorObjective:
    """Return the energy of a molecule, over the excitations of its Hartree-Fock state."""
    hamiltonian = SparsePauliOp.from_list([(label, value) for label, value in molecule.paulis])
    constant = molecule.constant_energy
    return EstimatorObjective(molecule.ansatz(), hamiltonian, shots=shots, offset=constant)


class Watcher:
    """The callback of the loop: logs each step, and shows it in Prefect's UI.

    The callback also receives steps that are replayed from the records, so the plot of a flow run
    that was killed is complete again.
    """

    def __init__(self, molecule: Molecule, maxiter: int) -> None:
        self._molecule = molecule
        self._jobs = 0
        self._evaluations = 0
        self._qpu_seconds = 0.0
        self._logger = get_run_logger()
        self._reporter = LoopReporter(
            key=artifact_key(molecule),
            title=f"VQE of {molecule.name}, step by step",
            maxiter=maxiter,
            references={
                "Hartree-Fock": molecule.hartree_fock_energy,
                "exact": molecule.exact_ground_energy,
            },
            target="exact",
        )

    def __call__(self, step: LoopStep) -> None:
        """Log one step and add it to the artifacts."""
        self._jobs += len(step.job_ids)
        self._evaluations += step.evaluations
        self._qpu_seconds += step.qpu_seconds or 0.0
        self._logger.info(
            "%s step %d: %.8f hartree, %+.4f millihartree from exact; %d energies measured so far",
            self._molecule.name,
            step.index,
            step.value,
            self._molecule.error_millihartree(step.value),
            self._evaluations,
        )
        self._reporter.add(
            step.value,
            std=step.std,
            parameters=step.point,
            iteration=step.index,
            jobs=self._jobs,
            energies=self._evaluations,
            **({} if step.qpu_seconds is None else {"QPU seconds": self._qpu_seconds}),
        )

    def finish(self, result: LoopResult) -> None:
        """Report the end of the loop, and its cost with the final measurement."""
        qpu = {} if result.qpu_seconds is None else {"QPU seconds": result.qpu_seconds}
        self._reporter.finish(jobs=result.jobs, energies=result.evaluations, **qpu)


def summarise(molecule: Molecule, method: str, result: LoopResult) -> dict[str, Any]:
    """Compare a result with the exact energy."""
    return {
        "molecule": molecule.name,
        "energy": result.value,
        "standard_error_millihartree": 1000 * result.std,
        "exact_energy": molecule.exact_ground_energy,
        "error_millihartree": molecule.error_millihartree(result.value),
        "correlation_recovered": molecule.correlation_recovered(result.value),
        "parameters": result.parameters.tolist(),
        "method": method,
        "reason": result.reason,
        "message": result.message,
        "iterations": result.iterations,
        "evaluations": result.evaluations,
        "jobs": result.jobs,
        "replayed": sum(step.replayed for step in result.history),
    }


def publish(molecule: Molecule, summary: dict[str, Any]) -> None:
    """Create the summary as an artifact of the flow run."""
    std = summary["standard_error_millihartree"]
    rows = {
        "Molecule": f"{molecule.name} ({molecule.geometry}; {molecule.basis})",
        "Energy": f"{summary['energy']:.9f} hartree",
        "Standard error": "none (exact)" if math.isclose(std, 0) else f"{std:.3f} millihartree",
        "Exact energy": f"{summary['exact_energy']:.9f} hartree",
        "Error": f"{summary['error_millihartree']:+.6f} millihartree",
        "Correlation energy recovered": f"{summary['correlation_recovered']:.4%}",
        "Best parameters": ", ".join(f"{value:.6f}" for value in summary["parameters"]),
        "Method": f"{summary['method']}: {summary['message']}",
        "Cost": f"{summary['jobs']} jobs, {summary['evaluations']} energies",
        "Steps from records": summary["replayed"],
    }
    create_markdown_artifact(
        f"## VQE of {molecule.name}\n\n{markdown_table(rows, header=('Quantity', 'Value'))}",
        key=artifact_key(molecule, "summary"),
        description=f"Result of the VQE of {molecule.name}",
    )


def artifact_key(molecule: Molecule, *what: str) -> str:
    """Name an artifact: Prefect accepts lower-case letters, digits and dashes."""
    return "-".join(["vqe-session", molecule.name, *what]).replace("_", "-").replace(".", "-")


if __name__ == "__main__":
    for found in (vqe_session(molecule="h2_0.735"), vqe_session(molecule="lih_1.595_4q")):
        print(
            f"{found['molecule']}: {found['energy']:.9f} hartree, "
            f"{found['error_millihartree']:+.6f} millihartree from exact, {found['jobs']} jobs"
        )
