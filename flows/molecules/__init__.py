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
# In the order of their atomic numbers: those that the basis STO-3G has.
_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br"
    " Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I"
)
_ELEMENTS: tuple[str, ...] = tuple(_SYMBOLS.split())
# Number of orbitals of an atom in STO-3G, by the largest atomic number with that number.
_ORBITALS = {2: 1, 10: 5, 18: 9, 20: 13, 36: 18, 38: 22, 53: 27}
BASIS = "sto-3g"
MOST_QUBITS = 12


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
    charge: int = Field(
        default=0, description="Charge of the molecule, such as 1 for the cation HeH+."
    )
    multiplicity: int = Field(
        default=1, ge=1, description="Spin multiplicity; only 1, all electrons paired, is computed."
    )
    active_electrons: int | None = Field(
        default=None,
        ge=1,
        description="Electrons of the active space; empty for all, or for those of named orbitals.",
    )
    active_orbitals: int | list[int] | None = Field(
        default=None,
        description="Spatial orbitals of the active space: their number, counted around the gap"
        " between occupied and empty ones, or a list of orbitals, of which 0 has the lowest energy;"
        " empty for all.",
    )

    @model_validator(mode="after")
    def _can_be_computed(self) -> Geometry:
        if not all(_ATOM.fullmatch(atom) for atom in self.atoms.split(";")):
            raise ValueError(
                "atoms: symbol and three numbers for each, as in 'H 0 0 0; H 0 0 0.7'."
            )
        positions = [tuple(map(float, atom.split()[1:])) for atom in self.atoms.split(";")]
        if len(set(positions)) < len(positions):
            raise ValueError("atoms: two atoms have the same position.")
        self._require_closed_shell()
        self._require_active_space()
        if self.num_qubits > MOST_QUBITS:
            raise ValueError(
                f"{self.atoms!r} needs {self.num_qubits} qubits, but the exact energy is computed"
                f" for at most {MOST_QUBITS}. Choose an active space with fewer orbitals."
            )
        return self

    def _require_closed_shell(self) -> None:
        electrons, charge = self.num_electrons, self.charge
        of_charge = f" with charge {charge:+d}" if charge else ""
        if electrons < 1:
            raise ValueError(f"{self.atoms!r}{of_charge} has no electrons.")
        if electrons % 2:
            raise ValueError(
                f"{self.atoms!r}{of_charge} has {electrons} electrons, an odd number, so one is"
                " unpaired. Only closed shells are computed: choose another charge or other atoms."
            )
        if self.multiplicity != 1:
            raise ValueError(
                f"Multiplicity {self.multiplicity} is an open shell with unpaired electrons. Only"
                " closed shells, multiplicity 1, are computed."
            )

    def _require_active_space(self) -> None:
        active, orbitals = self.active_electrons, self.active_orbitals
        if (active is None) != (orbitals is None) and not isinstance(orbitals, list):
            raise ValueError(
                "An active space needs both active_electrons and active_orbitals, or a list of its"
                " orbitals."
            )
        if active is not None and (active % 2 or active > self.num_electrons):
            raise ValueError(
                f"active_electrons: an even number up to the {self.num_electrons} electrons of the"
                f" molecule, not {active}."
            )
        indices = self.active_indices
        if not indices:
            raise ValueError("active_orbitals: a number from 1, or a list of one or more orbitals.")
        unknown = [index for index in indices if not 0 <= index < self.num_orbitals]
        if unknown or len(set(indices)) < len(indices):
            fault = f"{unknown[0]} is not one of them" if unknown else "an orbital is named twice"
            raise ValueError(
                f"active_orbitals: {self.atoms!r} has the orbitals 0 to {self.num_orbitals - 1} in"
                f" {BASIS}, and {fault}."
            )
        self._require_excitations(indices)

    def _require_excitations(self, indices: list[int]) -> None:
        occupied = sum(index < self.num_electrons // 2 for index in indices)
        active = self.active_electrons
        if active is not None and active != 2 * occupied:
            raise ValueError(
                f"active_electrons: the active orbitals {indices} hold {2 * occupied} electrons,"
                f" not {active}; 0 to {self.num_electrons // 2 - 1} are occupied by two each."
            )
        if occupied in (0, len(indices)):
            raise ValueError(
                f"The orbitals {indices} are all {'occupied' if occupied else 'empty'}, so no"
                " electron can be excited. Choose orbitals of both kinds."
            )

    @property
    def num_electrons(self) -> int:
        """Number of electrons of the molecule."""
        return sum(self._atomic_numbers) - self.charge

    @property
    def num_orbitals(self) -> int:
        """Number of spatial orbitals of the molecule in the minimal basis."""
        return sum(
            next(count for largest, count in _ORBITALS.items() if number <= largest)
            for number in self._atomic_numbers
        )

    @property
    def num_qubits(self) -> int:
        """Number of qubits: two for each active orbital, less the two that symmetries save."""
        return 2 * len(self.active_indices) - 2

    @property
    def active_indices(self) -> list[int]:
        """The orbitals that are not frozen, lowest energy first."""
        orbitals = self.active_orbitals
        if isinstance(orbitals, list):
            return sorted(orbitals)
        if orbitals is None:
            return list(range(self.num_orbitals))
        frozen = (self.num_electrons - (self.active_electrons or 0)) // 2
        return list(range(frozen, frozen + orbitals))

    @property
    def active_space(self) -> dict[str, Any] | None:
        """The active space in the form of a molecule's file; None for all orbitals."""
        if self.active_orbitals is None:
            return None
        indices = self.active_indices
        occupied = sum(index < self.num_electrons // 2 for index in indices)
        return {"electrons": 2 * occupied, "orbitals": len(indices), "indices": indices}

    @property
    def _atomic_numbers(self) -> list[int]:
        symbols = [atom.split()[0] for atom in self.atoms.split(";")]
        unknown = [symbol for symbol in symbols if symbol not in _ELEMENTS]
        if unknown:
            raise ValueError(
                f"atoms: {unknown[0]!r} is not an element of the basis {BASIS}, which has"
                f" {_ELEMENTS[0]} to {_ELEMENTS[-1]}."
            )
        return [_ELEMENTS.index(symbol) + 1 for symbol in symbols]

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
    document = chemistry.compute(
        geometry.name, geometry.atoms, geometry.active_space, charge=geometry.charge
    )
    return Molecule(**{field.name: document[field.name] for field in fields(Molecule)})
