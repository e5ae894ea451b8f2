"""The molecules that are shipped, and that they can be made again."""

from __future__ import annotations

import importlib.util
import json
import re
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


LIH = "Li 0 0 0; H 0 0 1.6"


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"atoms": "H 0 0"}, "symbol and three numbers"),
        ({"atoms": "H 0 0 0; H 0 0 1; "}, "symbol and three numbers"),
        ({"atoms": "Xx 0 0 0; H 0 0 1"}, "'Xx' is not an element of the basis sto-3g"),
        ({"atoms": "H 0 0 0; H 0 0 0.0"}, "two atoms have the same position"),
        ({"atoms": LIH, "active_electrons": 2}, "both active_electrons and active_orbitals"),
        ({"atoms": LIH, "active_orbitals": 2}, "both active_electrons and active_orbitals"),
        (
            {"atoms": LIH, "active_electrons": 3, "active_orbitals": 3},
            "an even number up to the 4 electrons of the molecule, not 3",
        ),
        (
            {"atoms": LIH, "active_orbitals": [1, 2, 6]},
            "has the orbitals 0 to 5 in sto-3g, and 6 is not one of them",
        ),
        ({"atoms": LIH, "active_orbitals": [1, 2, -1]}, "and -1 is not one of them"),
        ({"atoms": LIH, "active_orbitals": [1, 2, 2]}, "an orbital is named twice"),
        ({"atoms": LIH, "active_orbitals": []}, "a list of one or more orbitals"),
        ({"atoms": LIH, "active_orbitals": [0, 1]}, r"\[0, 1\] are all occupied"),
        ({"atoms": LIH, "active_orbitals": [2, 3]}, r"\[2, 3\] are all empty"),
        (
            {"atoms": LIH, "active_orbitals": [0, 1, 2], "active_electrons": 2},
            r"the active orbitals \[0, 1, 2\] hold 4 electrons, not 2",
        ),
        ({"atoms": "He 0 0 0"}, r"\[0\] are all occupied, so no electron can be excited"),
        ({"atoms": "N 0 0 0; N 0 0 1.1"}, "needs 18 qubits.*Choose an active space"),
    ],
)
def test_a_geometry_that_cannot_be_computed_is_refused(molecules, given, wrong):
    with pytest.raises(ValueError, match=wrong):
        molecules.Geometry(**given)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (
            {"atoms": "O 0 0 0; H 0 0 0.97"},
            (
                "'O 0 0 0; H 0 0 0.97' has 9 electrons, an odd number, so one is unpaired. Only"
                " closed shells are computed: choose another charge or other atoms."
            ),
        ),
        (
            {"atoms": "O 0 0 0; H 0 0 0.97", "active_electrons": 4, "active_orbitals": 4},
            "has 9 electrons, an odd number",
        ),
        (
            {"atoms": LIH, "charge": 1},
            "'Li 0 0 0; H 0 0 1.6' with charge +1 has 3 electrons, an odd number",
        ),
        ({"atoms": "H 0 0 0", "charge": 1}, "'H 0 0 0' with charge +1 has no electrons."),
        (
            {"atoms": LIH, "multiplicity": 3},
            (
                "Multiplicity 3 is an open shell with unpaired electrons. Only closed shells,"
                " multiplicity 1, are computed."
            ),
        ),
    ],
)
def test_open_shells_are_refused_before_any_work(molecules, given, wrong):
    with pytest.raises(ValueError, match=re.escape(wrong)):
        molecules.Geometry(**given)


def test_active_orbitals_are_counted_around_the_gap_or_named(molecules):
    atoms = LIH
    counted = molecules.Geometry(atoms=atoms, active_electrons=2, active_orbitals=3)
    named = molecules.Geometry(atoms=atoms, active_orbitals=[5, 1, 2])

    assert counted.active_space == {"electrons": 2, "orbitals": 3, "indices": [1, 2, 3]}
    assert named.active_space == {"electrons": 2, "orbitals": 3, "indices": [1, 2, 5]}
    assert counted.num_qubits == named.num_qubits == 4
    assert molecules.Geometry(atoms=atoms).active_space is None
    assert molecules.Geometry(atoms="He 0 0 0; H 0 0 0.77", charge=1).num_electrons == 2


def test_geometries_in_the_form_of_a_deployment_are_read_from_json(molecules):
    given = {"atoms": LIH, "active_electrons": 2, "active_orbitals": [1, 2, 5]}

    read = molecules.Geometry.model_validate_json(json.dumps(given))

    assert read.active_indices == [1, 2, 5]


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


@pytest.mark.filterwarnings("ignore")  # of PySCF and qiskit-nature
def test_the_orbitals_that_a_geometry_names_are_those_of_the_molecule(molecules):
    pytest.importorskip("qiskit_nature", reason="needs the dependency group chemistry")
    atoms = "Li 0 0 0; H 0 0 1.595"
    made = molecules.compute_molecule(molecules.Geometry(atoms=atoms, active_orbitals=[5, 1, 2]))
    shipped = molecules.load_molecule("lih_1.595_4q")
    assert made.num_qubits == shipped.num_qubits == 4
    assert made.exact_ground_energy == pytest.approx(shipped.exact_ground_energy, abs=1e-8)


@pytest.mark.filterwarnings("ignore")  # of PySCF and qiskit-nature
def test_the_charge_of_a_geometry_is_that_of_the_molecule(molecules):
    pytest.importorskip("qiskit_nature", reason="needs the dependency group chemistry")
    cation = molecules.Geometry(atoms="He 0 0 0; H 0 0 0.774", charge=1)
    # Full configuration interaction of HeH+ in STO-3G by PySCF.
    assert molecules.compute_molecule(cation).exact_ground_energy == pytest.approx(
        -2.8514104, abs=1e-6
    )
