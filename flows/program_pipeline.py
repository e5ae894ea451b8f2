"""Programs in a chain: a quick search, a second one if needed, then many devices at once.

    python flows/program_pipeline.py

Every step is a submitted task, so the flow's task runner decides where it runs: in threads, or
with `program_pipeline.with_options(task_runner=…)` in the workers of Dask or Ray.
"""

from __future__ import annotations

from typing import Annotated, Any

from molecules import load_molecule
from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from pydantic import Field
from qiskit.quantum_info import SparsePauliOp
from vqe import MoleculeName, build_ansatz

from prefect_qiskit_runtime import RuntimeBackend, run_estimator, run_program, upload_program


@flow
def program_pipeline(
    molecule: MoleculeName = "h2_0.735",
    *,
    search_iterations: Annotated[int, Field(ge=1)] = 1,
    tolerance_millihartree: Annotated[float, Field(gt=0)] = 0.1,
    devices: Annotated[list[str], Field(min_length=1)] = ["fake_manila", "fake_lima"],  # noqa: B006
    shots: Annotated[int, Field(ge=1)] = 4000,
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1,
    backend: RuntimeBackend | str = "aer_simulator",
) -> dict[str, Any]:
    """Find a state of low energy on one backend, and measure it on several others.

    Args:
        molecule: The molecule whose ground state is searched for.
        search_iterations: Iterations of the first search.
        tolerance_millihartree: If the search ends further than this above the exact energy, a
            second one continues from its parameters.
        devices: Names of backends of the same service; the state is measured on each.
        shots: Shots per group of observables on the devices.
        seed: Makes the run reproducible.
        backend: The backend of the search: a saved backend, or the name of one of the embedded
            service.

    Returns:
        The energies, in hartree, and whether there was a second search.
    """
    block = backend if isinstance(backend, RuntimeBackend) else RuntimeBackend(name=backend)
    chosen = load_molecule(molecule)
    ansatz = build_ansatz(chosen, "efficient_su2")
    program_id = upload_program("programs/vqe.py", metadata="programs/vqe.json", backend=block)
    inputs: dict[str, Any] = {
        "hamiltonian": chosen.paulis,
        "constant_energy": chosen.constant_energy,
        "ansatz": ansatz,
        "seed": seed,
    }
    first = {**inputs, "maxiter": search_iterations}
    found = run_program.submit(program_id, first, backend=block).result()
    searched = found["energy"]

    # The branch: the result of the first program decides whether there is a second job.
    refined = chosen.error_millihartree(searched) > tolerance_millihartree
    if refined:
        second = {**inputs, "initial_point": found["parameters"]}
        found = run_program.submit(program_id, second, backend=block).result()

    # The fan-out: one job on each device, at the same time.
    pub = (
        ansatz.assign_parameters(found["parameters"]),
        SparsePauliOp.from_list([(pauli, value) for pauli, value in chosen.paulis]),
    )
    jobs = {
        device: run_estimator.submit(
            [pub],
            backend=block.model_copy(update={"name": device}),
            shots=shots,
            seed=seed,
            transpile=True,
        )
        for device in devices
    }
    rows = [row(device, job.result(), chosen.constant_energy) for device, job in jobs.items()]
    create_table_artifact(rows, key="pipeline-devices", description=f"{molecule} on each device")
    get_run_logger().info(
        "%s: %.6f hartree, measured on %d devices", molecule, found["energy"], len(rows)
    )
    return {
        "searched_energy": searched,
        "refined": refined,
        "energy": found["energy"],
        "exact_energy": chosen.exact_ground_energy,
        "devices": rows,
    }


def row(device: str, result: Any, constant_energy: float) -> dict[str, Any]:
    """Return the measurement of one device."""
    data = result[0].data
    return {
        "device": device,
        "energy": float(data.evs) + constant_energy,
        "standard_error": float(data.stds),
    }


if __name__ == "__main__":
    print(program_pipeline())
