"""Write the files of `flows/molecules` from PySCF and qiskit-nature, or compare them.

It needs the dependency group `chemistry`:

    uv run --group chemistry python flows/generate_molecules.py --check
"""

# pyright: reportMissingImports=false
# (qiskit-nature is only in that group)

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from molecules import BASIS, FOLDER
from qiskit.quantum_info import SparsePauliOp
from qiskit_nature.second_q.circuit.library import UCCSD
from qiskit_nature.second_q.circuit.library.initial_states.hartree_fock import (
    hartree_fock_bitstring_mapped,
)
from qiskit_nature.second_q.drivers import PySCFDriver
from qiskit_nature.second_q.mappers import ParityMapper
from qiskit_nature.second_q.operators import FermionicOp
from qiskit_nature.second_q.problems import ElectronicStructureProblem
from qiskit_nature.second_q.transformers import ActiveSpaceTransformer

TOLERANCE = 1e-8


@dataclass(frozen=True)
class Recipe:
    """The computation for one file. Distances are in angstrom."""

    name: str
    atoms: tuple[str, str]
    distance: float
    active_space: dict[str, Any] | None = field(default=None)

    @property
    def geometry(self) -> str:
        """The atoms with their positions, as PySCF reads them."""
        first, second = self.atoms
        return f"{first} 0 0 0; {second} 0 0 {self.distance}"


H2_DISTANCES = (0.4, 0.5, 0.6, 0.7, 0.735, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.25, 2.5)
LIH_DISTANCES = (1.2, 1.595, 2.0, 2.6)
# The sigma orbitals of the valence shell; the two pi orbitals mix little with them.
SIGMA_ORBITALS = {"electrons": 2, "orbitals": 3, "indices": [1, 2, 5]}
RECIPES = (
    *(Recipe(f"h2_{distance:.3f}", ("H", "H"), distance) for distance in H2_DISTANCES),
    *(
        Recipe(f"lih_{distance:.3f}_4q", ("Li", "H"), distance, SIGMA_ORBITALS)
        for distance in LIH_DISTANCES
    ),
    Recipe("lih_1.595_8q", ("Li", "H"), 1.595, {"electrons": 2, "orbitals": 5}),
)


def generate(recipe: Recipe) -> dict[str, Any]:
    """Compute one of the included molecules."""
    return compute(recipe.name, recipe.geometry, recipe.active_space)


def compute(
    name: str, geometry: str, space: dict[str, Any] | None, *, charge: int = 0
) -> dict[str, Any]:
    """Compute a molecule, with all its orbitals or those of an active space."""
    problem = PySCFDriver(atom=geometry, basis=BASIS, charge=charge).run()
    hartree_fock_energy = problem.reference_energy
    if space:
        problem = ActiveSpaceTransformer(
            space["electrons"], space["orbitals"], active_orbitals=space.get("indices")
        ).transform(problem)
    mapper = ParityMapper(num_particles=problem.num_particles)
    hamiltonian = mapper.map(problem.hamiltonian.second_q_op())
    constant_energy = float(sum(problem.hamiltonian.constants.values()))
    bits = hartree_fock_bitstring_mapped(
        problem.num_spatial_orbitals, problem.num_particles, mapper
    )
    return {
        "name": name,
        "geometry": geometry,
        "basis": BASIS,
        "active_space": space,
        "mapping": "parity, two-qubit reduction",
        "num_qubits": hamiltonian.num_qubits,
        "num_particles": [int(number) for number in problem.num_particles],
        "num_spatial_orbitals": problem.num_spatial_orbitals,
        "paulis": real_terms(hamiltonian),
        "hartree_fock_bitstring": "".join("1" if bit else "0" for bit in reversed(bits)),
        "excitation_generators": generators(problem, mapper),
        "constant_energy": constant_energy,
        "hartree_fock_energy": float(hartree_fock_energy),
        "exact_ground_energy": float(spectrum(real_terms(hamiltonian))[0]) + constant_energy,
        "units": "hartree",
        "source": f"PySCF {version('pyscf')} integrals, "
        f"qiskit-nature {version('qiskit-nature')} mapping",
    }


def generators(problem: ElectronicStructureProblem, mapper: ParityMapper) -> list[dict[str, Any]]:
    """Return i (T - T^dagger) of each single and double excitation T, in the order of UCCSD."""
    excitations = UCCSD(problem.num_spatial_orbitals, problem.num_particles, mapper).excitation_list
    found = []
    for holes, particles in excitations:
        ladder = [f"+_{orbital}" for orbital in particles]
        ladder += [f"-_{orbital}" for orbital in holes]
        excitation = FermionicOp({" ".join(ladder): 1.0}, 2 * problem.num_spatial_orbitals)
        generator = mapper.map(1j * (excitation - excitation.adjoint()))
        found.append(
            {
                "order": len(holes),
                "from": list(holes),
                "to": list(particles),
                "paulis": real_terms(generator),
            }
        )
    return found


def real_terms(operator: SparsePauliOp) -> list[list[Any]]:
    """Write a Hermitian operator as `[Pauli string, coefficient]`."""
    return [[label, float(coefficient.real)] for label, coefficient in operator.to_list()]


def spectrum(paulis: list[list[Any]]) -> np.ndarray:
    """Return the eigenvalues of an operator, lowest first."""
    operator = SparsePauliOp.from_list([(label, value) for label, value in paulis])
    return np.linalg.eigvalsh(operator.to_matrix())


def differences(shipped: dict[str, Any], made: dict[str, Any]) -> list[str]:
    """List the keys in which two documents of one molecule differ.

    Hamiltonians are compared by their spectra: the signs of orbitals, and rotations among
    degenerate ones, are PySCF's choice and may change with the machine.
    """
    found = []
    for key in shipped.keys() | made.keys():
        old, new = shipped.get(key), made.get(key)
        if key == "paulis":
            same = np.allclose(spectrum(old or []), spectrum(new or []), rtol=0, atol=TOLERANCE)
        elif key == "excitation_generators":
            same = list(map(_comparable, old or [])) == list(map(_comparable, new or []))
        elif isinstance(old, float) and isinstance(new, float):
            same = abs(old - new) <= TOLERANCE
        else:
            same = old == new or key == "source"
        if not same:
            found.append(key)
    return sorted(found)


def _comparable(generator: dict[str, Any]) -> dict[str, Any]:
    terms = {label: round(value, 8) for label, value in generator["paulis"]}
    return {**generator, "paulis": terms}


def main() -> int:
    """Write all files, or with `--check` compare them; return the number of differing ones."""
    check = "--check" in sys.argv[1:]
    num_different = 0
    for recipe in RECIPES:
        path = FOLDER / f"{recipe.name}.json"
        made = generate(recipe)
        if not check:
            path.write_text(json.dumps(made, indent=1))
            print(f"{path.name}: written")
            continue
        found = differences(json.loads(path.read_text()), made)
        num_different += bool(found)
        print(f"{path.name}: {'differs in ' + ', '.join(found) if found else 'the same'}")
    return num_different


if __name__ == "__main__":
    sys.exit(main())
