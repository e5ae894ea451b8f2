"""The ground-state energy of a molecule, by a VQE that runs as a runtime program.

    python flows/vqe.py

This runs hydrogen and lithium hydride on the embedded service, which starts automatically. For a
deployment, the entrypoint is `flows/vqe.py:vqe`; Prefect's UI shows its parameters as a form.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from molecules import Geometry, Molecule, compute_molecule, load_molecule
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from pydantic import Field
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from seeds import measurement_seed
from shots import estimator_shots

from prefect_qiskit_runtime import (
    Provenance,
    RuntimeBackend,
    attach_job,
    run_program,
    run_sampler,
    upload_program,
)
from prefect_qiskit_runtime.artifacts import LoopReporter, markdown_table, plot_distribution

MoleculeName = Literal[
    "h2_0.400",
    "h2_0.500",
    "h2_0.600",
    "h2_0.700",
    "h2_0.735",
    "h2_0.800",
    "h2_1.000",
    "h2_1.200",
    "h2_1.400",
    "h2_1.600",
    "h2_1.800",
    "h2_2.000",
    "h2_2.250",
    "h2_2.500",
    "lih_1.200_4q",
    "lih_1.595_4q",
    "lih_1.595_8q",
    "lih_2.000_4q",
    "lih_2.600_4q",
]
AnsatzName = Literal["uccsd", "efficient_su2"]
OptimizerName = Literal["auto", "L-BFGS-B", "SLSQP", "COBYLA", "SPSA"]


@flow
def vqe(
    molecule: MoleculeName = "h2_0.735",
    *,
    geometry: Geometry | None = None,
    ansatz: AnsatzName = "uccsd",
    optimizer: OptimizerName = "auto",
    maxiter: Annotated[int, Field(ge=1)] = 100,
    shots: Annotated[int, Field(ge=1)] | None = None,
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1,
    backend: RuntimeBackend | str = "aer_simulator",
) -> dict[str, Any]:
    """Find the ground-state energy of a molecule and compare it with the exact one.

    Args:
        molecule: Molecule, distance of its atoms in angstrom, and number of qubits if not 2.
        geometry: Your own molecule instead; it needs PySCF and qiskit-nature.
        ansatz: uccsd varies excitations of the Hartree-Fock state; efficient_su2 varies
            rotations of every qubit between layers of CNOT gates.
        optimizer: auto is L-BFGS-B if energies are exact, SPSA if they are sampled.
        maxiter: Maximum number of iterations; for COBYLA, of evaluated points.
        shots: Shots per group of observables; if empty, those of the saved backend. If it has
            none, exact on aer_simulator, and the default of a backend with noise.
        seed: Makes the run reproducible.
        backend: A saved backend, or the name of a backend of the embedded service, such as
            aer_simulator or fake_manila.

    Returns:
        The summary that is shown as an artifact, and the program's result.
    """
    chosen = load_molecule(molecule) if geometry is None else compute_molecule(geometry)
    program_id = upload_program(
        "programs/vqe.py",
        metadata="programs/vqe.json",
        backend=backend,
    )
    inputs = {
        "hamiltonian": chosen.paulis,
        "constant_energy": chosen.constant_energy,
        "ansatz": build_ansatz(chosen, ansatz),
        "optimizer": optimizer,
        "maxiter": maxiter,
        "shots": estimator_shots(backend, shots),
        "seed": seed,
    }
    watcher = Watcher(chosen, maxiter)
    started = time.monotonic()
    result = run_program(program_id, inputs, backend=backend, callback=watcher)
    seconds = time.monotonic() - started
    watcher.finish(result["evaluations"])
    provenance = attach_job(watcher.job_id, backend=backend).provenance()
    summary = summarise(chosen, ansatz, result, provenance)
    summary["seconds"] = round(seconds, 2)
    circuit = inputs["ansatz"] if ansatz == "efficient_su2" else chosen.ansatz()
    state = circuit.assign_parameters(result["parameters"])
    show_state(artifact_key(chosen, "state"), state, backend, shots=shots, seed=seed)
    publish(chosen, result, summary, provenance)
    return {**summary, "result": result}


def build_ansatz(molecule: Molecule, name: AnsatzName) -> Any:
    """Return the ansatz in the form that the program expects: generators, or a circuit."""
    if name == "uccsd":
        return {
            "hartree_fock_bitstring": molecule.hartree_fock_bitstring,
            "excitation_generators": molecule.excitation_generators,
        }
    # Rotations about y keep the state real, like the ground state. This needs half the parameters
    # of the general form, and has fewer local minima on the way (measured for LiH).
    rotations = efficient_su2(molecule.num_qubits, su2_gates=["ry"], reps=2)
    circuit = QuantumCircuit(molecule.num_qubits)
    bits = reversed(molecule.hartree_fock_bitstring)
    circuit.x([qubit for qubit, bit in enumerate(bits) if bit == "1"])
    return circuit.compose(rotations)


class Watcher:
    """The callback of the job: logs each iteration, and shows it in Prefect's UI."""

    def __init__(self, molecule: Molecule, maxiter: int) -> None:
        self.job_id = ""
        self._molecule = molecule
        self._logger = get_run_logger()
        self._reporter = LoopReporter(
            key=artifact_key(molecule),
            title=f"VQE of {molecule.name}, in a program",
            maxiter=maxiter,
            references={
                "Hartree-Fock": molecule.hartree_fock_energy,
                "exact": molecule.exact_ground_energy,
            },
            target="exact",
        )

    def __call__(self, job_id: str, interim: dict[str, Any]) -> None:
        """Log one iteration and add it to the artifacts."""
        self.job_id = job_id
        self._logger.info(
            "%s iteration %d: %.8f hartree, %+.4f millihartree from exact",
            self._molecule.name,
            interim["iteration"],
            interim["energy"],
            self._molecule.error_millihartree(interim["energy"]),
        )
        self._reporter.add(
            interim["energy"],
            std=interim["std"],
            parameters=interim["parameters"],
            iteration=interim["iteration"],
            energies=interim["evaluations"],
        )

    def finish(self, energies: int) -> None:
        """Report the end of the job, and its energies with the final one."""
        self._reporter.finish(energies=energies)


def show_state(
    key: str, state: QuantumCircuit, backend: RuntimeBackend | str, *, shots: int | None, seed: int
) -> None:
    """Measure all qubits of a state in a job, and plot the frequency of each outcome."""
    circuit = state.copy()
    circuit.measure_all()
    result = run_sampler(
        [circuit],
        backend=backend,
        shots=shots,
        seed=measurement_seed(seed, backend),
        transpile=True,
    )
    bits: Any = result[0].join_data()
    plot = plot_distribution(bits.get_counts(), title="Final state, measured")
    create_markdown_artifact(plot, key=key, description="Outcomes of the final state")


def summarise(
    molecule: Molecule, ansatz: AnsatzName, result: Any, provenance: Provenance
) -> dict[str, Any]:
    """Compare a result with the exact energy, and add its provenance."""
    energy = result["energy"]
    return {
        "molecule": molecule.name,
        "ansatz": ansatz,
        "energy": energy,
        "standard_error_millihartree": 1000 * result["std"],
        "exact_energy": molecule.exact_ground_energy,
        "hartree_fock_energy": molecule.hartree_fock_energy,
        "error_millihartree": molecule.error_millihartree(energy),
        "correlation_recovered": molecule.correlation_recovered(energy),
        "iterations": result["iterations"],
        "evaluations": result["evaluations"],
        "optimizer": result["optimizer"],
        "estimation": result["estimation"],
        "shots": result["shots"],
        "seed": result["seed"],
        "job_id": provenance.job_id,
        "backend": provenance.backend,
        "program_id": provenance.program_id,
        "program_version": provenance.program_version,
    }


def publish(
    molecule: Molecule, result: Any, summary: dict[str, Any], provenance: Provenance
) -> None:
    """Create the summary as an artifact of the flow run."""
    sampled = result["estimation"] == "sampled"
    rows = {
        "Molecule": f"{molecule.name} ({molecule.geometry}; {molecule.basis})",
        "Energy": _hartree(result["energy"]),
        "Standard error": f"{1000 * result['std']:.3f} millihartree" if sampled else "none (exact)",
        "Exact energy": _hartree(molecule.exact_ground_energy),
        "Error": f"{summary['error_millihartree']:+.6f} millihartree",
        "Correlation energy recovered": f"{summary['correlation_recovered']:.4%}",
        "Iterations": f"{result['iterations']} ({result['evaluations']} energies measured)",
        "Optimizer": f"{result['optimizer']}: {result['message']}",
        "Shots": result["shots"],
        "Seed": result["seed"],
        "Job": f"`{summary['job_id']}`, {summary['seconds']} s",
        "Backend": summary["backend"],
        "Program": f"`{summary['program_id']}`, version {summary['program_version']}",
        **{f"Version of {name}": number for name, number in provenance.job_versions.items()},
    }
    create_markdown_artifact(
        f"## VQE of {molecule.name}\n\n{markdown_table(rows, header=('Quantity', 'Value'))}",
        key=artifact_key(molecule, "summary"),
        description=f"Result of the VQE of {molecule.name}",
    )


def artifact_key(molecule: Molecule, *what: str) -> str:
    """Name an artifact: Prefect accepts lower-case letters, digits and dashes."""
    return "-".join(["vqe", molecule.name, *what]).replace("_", "-").replace(".", "-")


def _hartree(energy: float) -> str:
    return f"{energy:.9f} hartree"


def main() -> None:
    """Run the two molecules of the tutorial and print their energies."""
    summaries = [vqe(molecule="h2_0.735"), vqe(molecule="lih_1.595_4q")]
    titles = "Energy (hartree)  Error (millihartree)  Correlation  Iterations  Seconds  Job"
    print(f"\n{'Molecule':<14}{titles}")
    for summary in summaries:
        print(
            f"{summary['molecule']:<14}{summary['energy']:<18.9f}"
            f"{summary['error_millihartree']:<+22.6f}{summary['correlation_recovered']:<13.4%}"
            f"{summary['iterations']:<12}{summary['seconds']:<9.1f}{summary['job_id']}"
        )


if __name__ == "__main__":
    main()
