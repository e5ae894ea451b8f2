"""Loops over expectation values, on the embedded service."""

from __future__ import annotations

import numpy as np
import pytest
from prefect import flow

from prefect_qiskit_runtime import (
    DurableLoop,
    InvalidInputError,
    LoopResult,
    RuntimeBackend,
    RuntimeSession,
    attach_job,
    minimize,
    run_estimator,
)
from tests.loops.flows import exact_energy, objective

pytestmark = pytest.mark.usefixtures("prefect_server", "service_home")

START = [0.05, 0.05, 0.05]


@pytest.fixture(scope="module")
def exact(prefect_server: None, service_home: object) -> LoopResult:
    options = {"backend": "aer_simulator", "method": "L-BFGS-B"}
    return minimize.fn(objective("h2_0.735"), START, **options)


def test_a_vqe_finds_the_exact_energy(exact: LoopResult) -> None:
    assert exact.value == pytest.approx(exact_energy("h2_0.735"), abs=1e-6)
    assert (exact.std, exact.reason) == (0.0, "converged")


def test_energy_and_gradient_of_a_step_are_one_job(exact: LoopResult) -> None:
    jobs = [step.job_ids for step in exact.history]
    assert all(len(job_ids) == 1 for job_ids in jobs)
    assert exact.jobs == len(set(jobs)) == len(exact.history)
    # The point, two shifts for each of two single excitations, four for the double one.
    assert {step.evaluations for step in exact.history} == {1 + 2 + 2 + 4}


def test_the_gradient_is_that_of_finite_differences() -> None:
    point, step = np.array([0.3, -0.2, 0.4]), 1e-4
    around = np.concatenate([point + step * np.eye(3), point - step * np.eye(3)])
    with DurableLoop(objective("h2_0.735"), backend="aer_simulator", gradients=True) as loop:
        shifted = loop.evaluate(point, gradient=True)
        above, below = np.split(loop.evaluate(around).values, 2)
    np.testing.assert_allclose(shifted.gradient, (above - below) / (2 * step), atol=1e-6)


def test_shots_give_standard_errors_of_energy_and_gradient() -> None:
    noisy = objective("h2_0.735", shots=400)
    with DurableLoop(noisy, backend="aer_simulator", gradients=True) as loop:
        few = loop.evaluate(START, gradient=True)
    noisy = objective("h2_0.735", shots=40_000)
    with DurableLoop(noisy, backend="aer_simulator", gradients=True) as loop:
        many = loop.evaluate(START, gradient=True)
    assert few.std / many.std == pytest.approx(10, rel=0.2)
    assert few.gradient_stds is not None
    assert many.gradient_stds is not None
    np.testing.assert_allclose(few.gradient_stds / many.gradient_stds, 10, rtol=0.3)


def test_a_device_gets_its_own_gates_and_the_observable_their_layout() -> None:
    with DurableLoop(objective("h2_0.735", shots=20_000), backend="fake_manila") as loop:
        step = loop.evaluate([0.0, 0.0, 0.0])
    (job_id,) = step.job_ids
    circuit, *_ = attach_job.fn(job_id, backend="fake_manila").inputs()["pubs"][0]
    assert circuit.num_qubits == 5
    assert set(circuit.count_ops()) <= {"rz", "sx", "x", "cx"}
    # Near the Hartree-Fock energy, as far as the noise of the device allows.
    assert step.value == pytest.approx(-1.117, abs=0.15)


def test_a_loop_has_one_session_and_closes_it() -> None:
    seen: list[RuntimeSession] = []

    def value(point: np.ndarray, session: RuntimeSession) -> tuple[float, float]:
        seen.append(session)
        return float(point @ point), 0.0

    minimize.fn(value, [0.1], backend="aer_simulator", maxiter=5, session="session")
    assert len(seen) > 1
    assert len({session.session_id for session in seen}) == 1
    assert not seen[0].details().accepting_jobs


def test_a_function_that_runs_jobs_finds_them_again() -> None:
    energy = objective("h2_0.735")
    failures = [True]  # once

    @flow(retries=1)
    def looping() -> list[tuple[str, ...]]:
        def value(point: np.ndarray, seed: int) -> float:
            pub = (energy.ansatz, energy.observable, [point])
            result = run_estimator([pub], backend="aer_simulator", shots=50, seed=seed)
            if len(seen) == 1 and failures:
                failures.clear()
                raise RuntimeError("after the job, before the record")
            seen.append(seed)
            return float(result[0].data.evs[0])

        seen: list[int] = []
        result = minimize(value, START, method="COBYLA", maxiter=5)
        return [step.job_ids for step in result.history]

    jobs = looping()
    assert len({job_id for (job_id,) in jobs}) == len(jobs)


def test_an_observable_of_another_size_is_refused() -> None:
    small, large = objective("h2_0.735"), objective("lih_1.595_4q")
    with pytest.raises(InvalidInputError, match="2 qubits, the observable 4"):
        type(small)(small.ansatz, large.observable)


def test_a_loop_transpiles_once_by_the_settings_of_its_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import qiskit.transpiler

    made: list[dict[str, object]] = []
    passes_of = qiskit.transpiler.generate_preset_pass_manager

    def counted(**options: object) -> object:
        made.append(options)
        return passes_of(**options)  # type: ignore[arg-type]

    monkeypatch.setattr(qiskit.transpiler, "generate_preset_pass_manager", counted)
    device = RuntimeBackend(
        name="fake_manila", transpile=True, initial_layout=[3, 2], seed_transpiler=9
    )
    with DurableLoop(objective("h2_0.735", shots=100), backend=device) as loop:
        steps = [loop.evaluate([angle, 0.0, 0.0]) for angle in (0.0, 0.1)]
    assert [(options["initial_layout"], options["seed_transpiler"]) for options in made] == [
        ([3, 2], 9)
    ]
    for (job_id,) in (step.job_ids for step in steps):
        inputs = attach_job.fn(job_id, backend=device).inputs()
        circuit = inputs["pubs"][0][0]
        used = {circuit.find_bit(qubit).index for gate in circuit for qubit in gate.qubits}
        assert (used, inputs.get("transpile", False)) == ({2, 3}, False)


def test_the_least_busy_backend_is_chosen_once_for_a_loop() -> None:
    device = RuntimeBackend(name="least_busy", min_num_qubits=5, simulators="never")
    with DurableLoop(objective("h2_0.735", shots=100), backend=device) as loop:
        steps = [loop.evaluate([angle, 0.0, 0.0]) for angle in (0.0, 0.1)]
    jobs = [attach_job.fn(job_id, backend=device) for step in steps for job_id in step.job_ids]
    (name,) = {job.backend.name for job in jobs}
    assert name.startswith("fake_")
