"""A loop in a program, whose service is killed: same trajectory, and nothing measured twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefect_qiskit_runtime import list_jobs, run_program, upload_program
from tests.crashes.test_service_killed import Restarted

FLOWS = Path(__file__).parents[2] / "flows"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Restarted]:
    service = Restarted(tmp_path / "home")
    yield service
    service.kill()


def inputs_of(molecule: str, **others: Any) -> dict[str, Any]:
    known = json.loads((FLOWS / "molecules" / f"{molecule}.json").read_text())
    ansatz = {name: known[name] for name in ("hartree_fock_bitstring", "excitation_generators")}
    constant = known["constant_energy"]
    return {
        "hamiltonian": known["paulis"], "ansatz": ansatz, "constant_energy": constant, **others
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_vqe_goes_on_after_its_service_was_killed_twice_as_if_it_had_not(
    service: Restarted,
) -> None:
    backend = service.backend()
    program_id = upload_program.fn(FLOWS / "programs" / "vqe.py", backend=backend)
    inputs = inputs_of("lih_1.595_4q", optimizer="SPSA", shots=1000, maxiter=100, seed=7)
    calm: list[Any] = []
    expected = run_program.fn(
        program_id, inputs, backend=backend, callback=lambda _, interim: calm.append(interim)
    )
    heard: list[Any] = []

    def hear(_: str, interim: Any) -> None:
        heard.append(interim)
        if len(heard) in (8, 30):
            service.kill()
            service.start_again()

    result = run_program.fn(program_id, inputs, backend=backend, callback=hear)
    assert result == expected
    assert heard == calm
    lost = [job.state.reason_code for job in list_jobs.fn(backend=backend, descending=False)]
    assert lost == [None, 1500, 1500, None]
