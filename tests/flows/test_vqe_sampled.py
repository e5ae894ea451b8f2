"""The VQE program where energies have statistical errors, and under a device's noise."""

from __future__ import annotations

import pytest


def test_spsa_with_shots_finds_the_energy_within_its_errors(
    vqe, ideal, messenger, molecules, inputs_for
):
    molecule = molecules.load_molecule("h2_0.735")

    result = vqe.main(ideal, messenger, **inputs_for("h2_0.735", shots=8192, seed=5, maxiter=60))

    assert result["optimizer"] == "SPSA"
    assert result["estimation"] == "sampled"
    assert result["shots"] == 8192
    assert result["converged"] is None
    assert 0 < result["std"] < 5e-3
    # Five standard errors, and what sixty noisy steps leave over.
    assert abs(result["energy"] - molecule.exact_ground_energy) < 5 * result["std"] + 2e-3


def test_both_points_of_an_spsa_step_are_one_estimator_call(vqe, ideal, messenger, inputs_for):
    result = vqe.main(ideal, messenger, **inputs_for("h2_0.735", shots=64, seed=5, maxiter=10))

    start, calibration, final = 1, 21, 1
    assert result["estimator_calls"] == 13
    assert result["evaluations"] == start + calibration + 10 * 3 + final


def test_the_seed_makes_a_sampled_run_reproducible(vqe, ideal, messenger, inputs_for):
    inputs = inputs_for("h2_0.735", shots=256, maxiter=5)
    first = vqe.main(ideal, messenger, **inputs, seed=11)

    assert vqe.main(ideal, messenger, **inputs, seed=11) == first
    assert vqe.main(ideal, messenger, **inputs, seed=12)["energies"] != first["energies"]


def test_a_drawn_seed_is_named_and_repeats_the_run(vqe, ideal, messenger, inputs_for):
    inputs = inputs_for("h2_0.735", shots=256, maxiter=5)
    first = vqe.main(ideal, messenger, **inputs)

    assert vqe.main(ideal, messenger, **inputs, seed=first["seed"]) == first


@pytest.mark.parametrize("optimizer", ["COBYLA", "L-BFGS-B"])
def test_other_optimizers_come_near_it_with_shots(
    vqe, ideal, messenger, molecules, inputs_for, optimizer
):
    molecule = molecules.load_molecule("h2_0.735")

    result = vqe.main(
        ideal,
        messenger,
        **inputs_for("h2_0.735", optimizer=optimizer, shots=16384, seed=2, maxiter=40),
    )

    assert result["optimizer"] == optimizer
    assert abs(molecule.error_millihartree(result["energy"])) < 20


def test_spsa_without_noise_reaches_the_exact_energy(vqe, ideal, messenger, molecules, inputs_for):
    molecule = molecules.load_molecule("lih_1.595_4q")

    result = vqe.main(
        ideal, messenger, **inputs_for("lih_1.595_4q", optimizer="SPSA", seed=1, maxiter=300)
    )

    assert molecule.correlation_recovered(result["energy"]) > 0.98


def test_a_noisy_backend_reports_the_error_it_has(vqe, noisy, messenger, molecules, inputs_for):
    molecule = molecules.load_molecule("h2_0.735")

    result = vqe.main(noisy, messenger, **inputs_for("h2_0.735", seed=3, maxiter=10))

    assert result["estimation"] == "sampled"
    assert result["shots"] == 4096
    assert result["std"] > 0
    # Readout and gate errors of this device lift the energy by tens of millihartree.
    assert 5 < molecule.error_millihartree(result["energy"]) < 150
