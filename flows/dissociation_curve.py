"""The energy of a molecule against the distance of its atoms, each point by the program `vqe`.

    python flows/dissociation_curve.py

First, every second point runs, all at once, from Hartree-Fock. Then the points between them start
from their neighbours' parameters. Finally the first points run again; the lower energy is used.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from molecules import Molecule, load_molecule, molecule_names
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.utilities.annotations import unmapped
from pydantic import Field

from prefect_qiskit_runtime import RuntimeBackend, run_program, upload_program
from prefect_qiskit_runtime.artifacts import render_figure

CurveName = Literal["H2", "LiH"]
FILES: dict[CurveName, tuple[str, str]] = {"H2": ("h2_", ""), "LiH": ("lih_", "_4q")}
"""Prefix and suffix of the names of a curve's molecules; the distance is between them."""


@flow
def dissociation_curve(
    molecule: CurveName = "H2",
    *,
    maxiter: Annotated[int, Field(ge=1)] = 100,
    shots: Annotated[int, Field(ge=1)] | None = None,
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1,
    backend: RuntimeBackend | str = "aer_simulator",
) -> dict[str, Any]:
    """Compute the energy of a molecule at several distances, and compare it with the exact one.

    Args:
        molecule: H2 at 14 distances with two qubits, or LiH at four with four qubits.
        maxiter: Maximum number of iterations for each point.
        shots: Shots per group of observables; if empty, exact on aer_simulator, and the
            backend's default on one with noise.
        seed: Makes the run reproducible.
        backend: A saved backend, or the name of a backend of the embedded service.

    Returns:
        The points, from short to long, and the largest error in millihartree.
    """
    curve = read_curve(molecule)
    distances = sorted(curve)
    program_id = upload_program("programs/vqe.py", metadata="programs/vqe.json", backend=backend)

    def run(starts: dict[float, list[float] | None]) -> dict[float, Any]:
        settings = {"maxiter": maxiter, "shots": shots, "seed": seed}
        inputs = [
            {**problem(curve[distance]), "initial_point": start, **settings}
            for distance, start in starts.items()
        ]
        jobs = run_program.map(unmapped(program_id), inputs, backend=unmapped(backend))
        return dict(zip(starts, jobs.result(), strict=True))

    results = run(dict.fromkeys(distances[::2]))
    get_run_logger().info("%d of %d points, from Hartree-Fock", len(results), len(distances))
    between = [distance for distance in distances if distance not in results]
    results |= run({distance: from_neighbours(distance, results) for distance in between})
    for distance, again in run(
        {distance: from_neighbours(distance, results) for distance in distances[::2]}
    ).items():
        results[distance] = min(results[distance], again, key=lambda result: result["energy"])
    points = [point(distance, curve[distance], results[distance]) for distance in distances]
    publish(molecule, points)
    worst = max(points, key=lambda one: abs(one["error_millihartree"]))
    return {
        "molecule": molecule,
        "points": points,
        "largest_error_millihartree": worst["error_millihartree"],
    }


def read_curve(molecule: CurveName) -> dict[float, Molecule]:
    """Read the included geometries of a molecule, by the distance of its atoms in angstrom."""
    prefix, suffix = FILES[molecule]
    return {
        float(name.removeprefix(prefix).removesuffix(suffix)): load_molecule(name)
        for name in molecule_names()
        if name.startswith(prefix) and name.endswith(suffix)
    }


def problem(molecule: Molecule) -> dict[str, Any]:
    """Return the program inputs that define the problem."""
    return {
        "hamiltonian": molecule.paulis,
        "constant_energy": molecule.constant_energy,
        "ansatz": {
            "hartree_fock_bitstring": molecule.hartree_fock_bitstring,
            "excitation_generators": molecule.excitation_generators,
        },
    }


def from_neighbours(distance: float, results: dict[float, Any]) -> list[float]:
    """Interpolate the parameters of the nearest shorter and longer known point."""
    shorter = max((other for other in results if other < distance), default=-math.inf)
    longer = min((other for other in results if other > distance), default=math.inf)
    known = [other for other in (shorter, longer) if math.isfinite(other)]
    parameters = np.array([results[other]["parameters"] for other in known])
    if len(known) == 1:
        return parameters[0].tolist()
    part = (distance - shorter) / (longer - shorter)
    return ((1 - part) * parameters[0] + part * parameters[1]).tolist()


def point(distance: float, molecule: Molecule, result: Any) -> dict[str, Any]:
    """Compare a result with the exact energy."""
    return {
        "distance_angstrom": distance,
        "energy": result["energy"],
        "standard_error_millihartree": 1000 * result["std"],
        "exact_energy": molecule.exact_ground_energy,
        "hartree_fock_energy": molecule.hartree_fock_energy,
        "error_millihartree": molecule.error_millihartree(result["energy"]),
        "iterations": result["iterations"],
        "evaluations": result["evaluations"],
    }


def publish(molecule: CurveName, points: list[dict[str, Any]]) -> None:
    """Create the curve and the table of its points as artifacts of the flow run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), dpi=110, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    distances = [one["distance_angstrom"] for one in points]
    errors = [one["standard_error_millihartree"] for one in points]
    above.plot(distances, [one["exact_energy"] for one in points], label="exact")
    above.plot(
        distances, [one["hartree_fock_energy"] for one in points], "--", label="Hartree-Fock"
    )
    above.errorbar(
        distances,
        [one["energy"] for one in points],
        [error / 1000 for error in errors],
        fmt="o",
        label="VQE",
    )
    above.set(title=f"Dissociation of {molecule}", ylabel="energy (hartree)")
    above.legend()
    below.errorbar(distances, [one["error_millihartree"] for one in points], errors, fmt="o")
    below.set(xlabel="distance (angstrom)", ylabel="error (millihartree)")
    key = f"dissociation-{molecule.lower()}"
    create_markdown_artifact(
        render_figure(figure, f"Dissociation of {molecule}"),
        key=f"{key}-curve",
        description=f"Energy of {molecule} against the distance of its atoms",
    )
    create_table_artifact(points, key=f"{key}-points", description=f"Points of {molecule}")


if __name__ == "__main__":
    for name in FILES:
        outcome = dissociation_curve(molecule=name)
        print(f"{name}: at most {outcome['largest_error_millihartree']:+.2e} millihartree off")
