"""The molecules that are shipped, and that they can be made again."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest
from qiskit.quantum_info import SparsePauliOp, Statevector

FOUR_QUBITS = "lih_1.595_4q"


def test_energies_are_total_and_bitstrings_have_qubit_0_rightmost(molecules):
    for name in molecules.molecule_names():
        molecule = molecules.load_molecule(name)
        hamiltonian = SparsePauliOp.from_list([tuple(term) for term in molecule.paulis])
        state = Statevector.from_label(molecule.hartree_fock_bitstring)

        electronic = state.expectation_value(hamiltonian).real

        assert electronic + molecule.constant_energy == pytest.approx(
            molecule.hartree_fock_energy, abs=1e-10
        )


def test_correlation_recovered_is_0_for_hartree_fock_and_1_for_exact(molecules):
    molecule = molecules.load_molecule(FOUR_QUBITS)

    assert molecule.correlation_recovered(molecule.hartree_fock_energy) == 0
    assert molecule.correlation_recovered(molecule.exact_ground_energy) == 1
    assert molecule.error_millihartree(molecule.exact_ground_energy + 1e-3) == pytest.approx(1)


def test_an_unknown_molecule_is_an_error_that_lists_the_known(molecules):
    with pytest.raises(ValueError, match=r"No molecule '\.\./vqe'; there are h2_0.400, h2_0.500"):
        molecules.load_molecule("../vqe")


@pytest.mark.filterwarnings("ignore")  # of PySCF and qiskit-nature
def test_a_molecule_can_be_made_again(molecules):
    pytest.importorskip("qiskit_nature", reason="needs the dependency group chemistry")
    path = molecules.FOLDER.parent / "generate_molecules.py"
    spec = importlib.util.spec_from_file_location("generate_molecules", path)
    generate_molecules = importlib.util.module_from_spec(spec)
    sys.modules["generate_molecules"] = generate_molecules
    spec.loader.exec_module(generate_molecules)
    recipes = {recipe.name: recipe for recipe in generate_molecules.RECIPES}
    assert sorted(recipes) == molecules.molecule_names()

    made = generate_molecules.generate(recipes[FOUR_QUBITS])

    shipped = json.loads((molecules.FOLDER / f"{FOUR_QUBITS}.json").read_text())
    assert generate_molecules.differences(shipped, made) == []


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"atoms": "H 0 0"}, "symbol and three numbers"),
        ({"atoms": "H 0 0 0; H 0 0 1; "}, "symbol and three numbers"),
        (
            {"atoms": "Li 0 0 0; H 0 0 1.6", "active_electrons": 2},
            "both active_electrons and active_orbitals",
        ),
    ],
)
def test_a_geometry_that_cannot_be_is_refused(molecules, given, wrong):
    with pytest.raises(ValueError, match=wrong):
        molecules.Geometry(**given)


@pytest.mark.filterwarnings("ignore")  # of PySCF and qiskit-nature
def test_a_geometry_says_what_it_needs(molecules, monkeypatch):
    monkeypatch.setitem(sys.modules, "qiskit_nature.second_q.circuit.library", None)
    with pytest.raises(RuntimeError, match="computed with PySCF and qiskit-nature, but qiskit_nat"):
        molecules.compute_molecule(molecules.Geometry(atoms="H 0 0 0; H 0 0 0.735"))


@pytest.mark.filterwarnings("ignore")  # of PySCF and qiskit-nature
def test_a_geometry_is_the_molecule_that_it_describes(molecules):
    pytest.importorskip("qiskit_nature", reason="needs the dependency group chemistry")
    atoms = "Li 0 0 0; H 0 0 1.595"
    given = molecules.Geometry(atoms=atoms, active_electrons=2, active_orbitals=5)
    made, shipped = molecules.compute_molecule(given), molecules.load_molecule("lih_1.595_8q")
    assert made.name == "lih_geometry"
    assert made.num_qubits == shipped.num_qubits == 8
    assert made.exact_ground_energy == pytest.approx(shipped.exact_ground_energy, abs=1e-8)
    assert made.hartree_fock_energy == pytest.approx(shipped.hartree_fock_energy, abs=1e-8)
    with pytest.raises(ValueError, match="Choose an active space"):
        molecules.compute_molecule(molecules.Geometry(atoms="N 0 0 0; N 0 0 1.1"))
