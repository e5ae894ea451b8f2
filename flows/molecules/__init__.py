"""The molecules of the example flows: Hamiltonians on qubits, and their known properties.

Each JSON file holds one molecule at one geometry, in hartree:

- `paulis`: the electronic Hamiltonian, a list of [Pauli string, coefficient], qubit 0 rightmost;
- `constant_energy`: nuclear repulsion and, with an active space, the frozen electrons;
- `hartree_fock_energy`, `exact_ground_energy`: total energies, with `constant_energy`; the exact
  one is the lowest eigenvalue of `paulis`;
- `hartree_fock_bitstring`: the Hartree-Fock state, qubit 0 rightmost;
- `excitation_generators`: Hermitian operators G = i (T - T^dagger) of the excitations T, which
  create the spin orbitals `to` after annihilating `from`, each in the order of its list:
  exp(-i x G) = exp(x (T - T^dagger)).

`generate_molecules.py` generates the files.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, model_validator

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

FOLDER = Path(__file__).parent
_ATOM = re.compile(r"\s*[A-Z][a-z]?(\s+-?\d+(\.\d*)?){3}\s*")


@dataclass(frozen=True)
class Molecule:
    """A molecule at one geometry; energies are in hartree. See the module for the conventions."""

    name: str
    geometry: str
    basis: str
    num_qubits: int
    paulis: list[list[Any]]
    hartree_fock_bitstring: str
    excitation_generators: list[dict[str, Any]]
    constant_energy: float
    hartree_fock_energy: float
    exact_ground_energy: float

    def ansatz(self) -> QuantumCircuit:
        """Return the product of all excitations of the Hartree-Fock state, as a circuit."""
        from qiskit.circuit import ParameterVector, QuantumCircuit
        from qiskit.circuit.library import PauliEvolutionGate
        from qiskit.quantum_info import SparsePauliOp

        circuit = QuantumCircuit(self.num_qubits)
        bits = reversed(self.hartree_fock_bitstring)
        circuit.x([qubit for qubit, bit in enumerate(bits) if bit == "1"])
        angles = ParameterVector("x", len(self.excitation_generators))
        for angle, generator in zip(angles, self.excitation_generators, strict=True):
            paulis = [(label, value) for label, value in generator["paulis"]]
            evolution = PauliEvolutionGate(SparsePauliOp.from_list(paulis), time=angle)
            circuit.append(evolution, circuit.qubits)
        return circuit

    def error_millihartree(self, energy: float) -> float:
        """Return how far an energy is above the exact one, in millihartree."""
        return 1000 * (energy - self.exact_ground_energy)

    def correlation_recovered(self, energy: float) -> float:
        """Return the share of the correlation energy: 0 is Hartree-Fock, 1 is exact."""
        correlation = self.hartree_fock_energy - self.exact_ground_energy
        return (self.hartree_fock_energy - energy) / correlation


def molecule_names() -> list[str]:
    """List the molecules."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_molecule(name: str) -> Molecule:
    """Read a molecule.

    Raises:
        ValueError: No molecule has this name.
    """
    if name not in molecule_names():
        raise ValueError(f"No molecule {name!r}; there are {', '.join(molecule_names())}")
    document = json.loads((FOLDER / f"{name}.json").read_text())
    return Molecule(**{field.name: document[field.name] for field in fields(Molecule)})


class Geometry(BaseModel):
    """Your own molecule, computed when the flow runs; it needs PySCF and qiskit-nature.

    It must have a closed shell: all its electrons are paired.
    """

    atoms: str = Field(
        description="Atoms with their positions in angstrom, as in 'H 0 0 0; H 0 0 0.735'."
    )
    active_electrons: int | None = Field(
        default=None, ge=1, description="Electrons of the active space; empty for all."
    )
    active_orbitals: int | None = Field(
        default=None, ge=1, le=7, description="Spatial orbitals of the active space; empty for all."
    )

    @model_validator(mode="after")
    def _can_be_read(self) -> Geometry:
        if not all(_ATOM.fullmatch(atom) for atom in self.atoms.split(";")):
            raise ValueError(
                "atoms: symbol and three numbers for each, as in 'H 0 0 0; H 0 0 0.7'."
            )
        if (self.active_electrons is None) != (self.active_orbitals is None):
            raise ValueError("An active space needs both active_electrons and active_orbitals.")
        return self

    @property
    def name(self) -> str:
        """The formula, such as `lih_geometry`."""
        counts = Counter(atom.split()[0].lower() for atom in self.atoms.split(";"))
        formula = (f"{symbol}{count if count > 1 else ''}" for symbol, count in counts.items())
        return f"{''.join(formula)}_geometry"


def compute_molecule(geometry: Geometry) -> Molecule:
    """Compute a molecule with PySCF, in the minimal basis of the included molecules.

    Raises:
        RuntimeError: PySCF or qiskit-nature is not installed.
    """
    path = FOLDER.parent / "generate_molecules.py"
    spec = importlib.util.spec_from_file_location("generate_molecules", path)
    assert spec is not None  # noqa: S101 - for the type checker
    assert spec.loader is not None  # noqa: S101
    chemistry = importlib.util.module_from_spec(spec)
    try:
        # By its path: a deployment's folder is on `sys.path` only while the flow is loaded.
        sys.modules["generate_molecules"] = chemistry
        spec.loader.exec_module(chemistry)
    except ImportError as error:
        raise RuntimeError(
            f"A geometry is computed with PySCF and qiskit-nature, but {error.name} is not"
            " installed: pip install pyscf qiskit-nature (the dependency group `chemistry`), or"
            " choose one of the included molecules."
        ) from error
    space = None
    if geometry.active_electrons and geometry.active_orbitals:
        space = {"electrons": geometry.active_electrons, "orbitals": geometry.active_orbitals}
    document = chemistry.compute(geometry.name, geometry.atoms, space)
    return Molecule(**{field.name: document[field.name] for field in fields(Molecule)})
