"""PUBs that are too many or too large for one job go in several, and come back as from one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect.settings import PREFECT_API_URL
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_ibm_runtime import QuantumProgram

from prefect_qiskit_runtime import (
    ConfigurationError,
    InvalidInputError,
    JobError,
    RuntimeBackend,
    jobs,
    primitives,
    programs,
)
from prefect_qiskit_runtime.testing import OfflineService
from tests.simulated_ibm import ibm_backend

ROOT = Path(__file__).parent.parent.parent
run_sampler, submit_sampler = primitives.run_sampler.fn, primitives.submit_sampler.fn
run_estimator, submit_estimator = primitives.run_estimator.fn, primitives.submit_estimator.fn
run_executor = primitives.run_executor.fn


def at_ibm(cloud: OfflineService, name: str = "aer_simulator") -> RuntimeBackend:
    return ibm_backend(cloud.url, cloud.token, name)


def rotation(index: int = 0) -> QuantumCircuit:
    circuit = QuantumCircuit(1, name=f"rotation-{index}")
    circuit.ry(Parameter("angle"), 0)
    return circuit


def estimator_pubs(count: int) -> list[Any]:
    angles = np.random.default_rng(0).random((count, 50))  # compressed, all are about as large
    return [(rotation(i), [["Z"], ["X"]], angles[i]) for i in range(count)]


def coin(qubits: int = 3) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits, name="coin")
    circuit.h(range(qubits))
    circuit.measure_all()
    return circuit


def quantum_program(items: int) -> QuantumProgram:
    program = QuantumProgram(shots=100)
    for index in range(items):
        program.append_circuit_item(coin(index + 1))
    return program


def payload_bytes(pubs: list[Any], service: OfflineService) -> int:
    dry_run: Any = run_estimator(pubs, backend=service.backend(), dry_run=True)
    return dry_run.payload_bytes


def num_jobs(service: OfflineService, tag: str) -> int:
    """How many jobs were made; a key that is known makes none."""
    return len(jobs.list_jobs.fn(backend=service.backend(), limit=None, tags=[tag]))


def num_posts(service: OfflineService) -> int:
    return len(service.requests("POST", "/jobs"))


# --- what goes into which job ------------------------------------------------------------------


def test_a_number_says_how_many_pubs_each_job_has(offline: OfflineService) -> None:
    pubs = estimator_pubs(5)
    result: Any = run_estimator(pubs, backend=offline.backend(), split=2)
    assert num_posts(offline) == 3
    assert [part["pubs"] for part in result.metadata["parts"]] == [[0, 2], [2, 4], [4, 5]]
    with_ids = {part["job_id"] for part in result.metadata["parts"]}
    assert len(with_ids) == 3
    for (_, _, angles), pub in zip(pubs, result, strict=True):
        np.testing.assert_allclose(pub.data.evs[0], np.cos(angles), atol=0.15)


def test_by_size_each_job_has_as_many_pubs_as_fit(offline: OfflineService) -> None:
    pubs = estimator_pubs(5)
    two = payload_bytes(pubs[:2], offline)
    dry_run: Any = run_estimator(
        pubs, backend=offline.backend(max_payload_bytes=two + 100), split="size", dry_run=True
    )
    assert dry_run.num_jobs == 3
    assert dry_run.is_accepted
    assert dry_run.payload_bytes <= 3 * (two + 100)
    result: Any = run_estimator(
        pubs, backend=offline.backend(max_payload_bytes=two + 100), split="size", shots=10
    )
    assert num_posts(offline) == 3
    sizes = [request["body_bytes"] for request in offline.requests("POST", "/jobs")]
    assert max(sizes) < two + 1000
    assert [part["pubs"] for part in result.metadata["parts"]] == [[0, 2], [2, 4], [4, 5]]


def test_what_fits_into_one_job_is_the_job_without_splitting(offline: OfflineService) -> None:
    backend = offline.backend(tags=["fits"])
    asked: dict[str, Any] = {"backend": backend, "durable_key": "fits"}
    one: Any = run_estimator(estimator_pubs(2), **asked)
    for split in ("size", 2, 100):
        same: Any = run_estimator(estimator_pubs(2), split=split, **asked)
        np.testing.assert_array_equal(one[0].data.evs, same[0].data.evs)
        assert "parts" not in same.metadata
    assert num_jobs(offline, "fits") == 1


def test_items_of_a_quantum_program_are_split_likewise(offline: OfflineService) -> None:
    result: Any = run_executor(quantum_program(3), backend=offline.backend(), split=2)
    assert [item["meas"].shape for item in result] == [(100, 1), (100, 2), (100, 3)]
    spans = [part.idx_item for span in result.metadata.chunk_timing for part in span.parts]
    assert sorted(spans) == [0, 1, 2]
    dry_run: Any = run_executor(
        quantum_program(3), backend=offline.backend(), split=1, dry_run=True
    )
    assert dry_run.num_jobs == 3
    assert len(dry_run.circuits) == 3


def test_items_are_split_by_size(offline: OfflineService) -> None:
    program = quantum_program(4)
    whole: Any = run_executor(program, backend=offline.backend(), dry_run=True)
    block = offline.backend(max_payload_bytes=whole.payload_bytes - 1)
    dry_run: Any = run_executor(program, backend=block, split="size", dry_run=True)
    assert 1 < dry_run.num_jobs <= 4
    assert dry_run.is_accepted
    assert len(run_executor(program, backend=block, split="size")) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize("split", [0, -1, True, "bytes", 1.5])
def test_another_split_is_refused(offline: OfflineService, split: Any) -> None:
    with pytest.raises(ConfigurationError, match="split must be 'size'"):
        run_sampler([coin()], backend=offline.backend(), split=split)


# --- seeds -------------------------------------------------------------------------------------


def counts_of(result: Any) -> list[dict[str, int]]:
    return [pub.data.meas.get_counts() for pub in result]


@pytest.mark.parametrize("seeded", [{"seed": 3}, {"options": {"simulator": {"seed_simulator": 3}}}])
def test_a_seed_repeats_the_call_and_no_two_pubs_share_samples(
    offline: OfflineService, seeded: dict[str, Any]
) -> None:
    asked: dict[str, Any] = {"backend": offline.backend(), "shots": 200, "split": 2, **seeded}
    first, again = (counts_of(run_sampler([coin()] * 4, **asked)) for _ in range(2))
    assert first == again
    assert len({str(sorted(counts.items())) for counts in first}) == 4


# --- durable -----------------------------------------------------------------------------------


def test_equal_parts_under_one_durable_key_are_each_a_job(offline: OfflineService) -> None:
    backend = offline.backend(tags=["equal"])
    asked: dict[str, Any] = {"backend": backend, "shots": 100, "durable_key": "equal"}
    first: Any = run_sampler([coin()] * 3, split=1, **asked)
    assert len({part["job_id"] for part in first.metadata["parts"]}) == 3
    again: Any = run_sampler([coin()] * 3, split=1, **asked)
    assert counts_of(first) == counts_of(again)
    assert num_jobs(offline, "equal") == 3


KILLED = """
import sys
from tests.pubs import test_splitting
from prefect_qiskit_runtime.testing import OfflineService

service = OfflineService(sys.argv[2], sys.argv[3], None)
test_splitting.in_three(getattr(test_splitting, sys.argv[1])(service))
"""


def at_team(service: OfflineService) -> RuntimeBackend:
    return service.backend()


def in_three(backend: RuntimeBackend) -> Any:
    pubs = [coin(1), coin(2), coin(3)]
    return run_sampler(pubs, backend=backend, split=1, durable_key="killed")


@pytest.mark.parametrize(
    ("place", "at"),
    [("offline", at_team), ("cloud", at_ibm)],
)
@pytest.mark.slow
def test_after_a_kill_between_parts_what_was_sent_is_not_sent_again(
    place: str,
    at: Any,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service: OfflineService = request.getfixturevalue(place)
    service.clear()
    if place == "cloud":  # what is sent there is noted in Prefect's storage
        request.getfixturevalue("prefect_server")
        monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS", "1")
    service.add("silence", when={"method": "POST", "path": "/jobs", "skip": 2})
    arguments = ["-c", KILLED, at.__name__, service.url, service.token]
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT) as process:
        while num_posts(service) < 3:
            assert process.poll() is None
        process.kill()
    service.clear()
    before = {job.id for job in jobs.list_jobs.fn(backend=at(service), limit=None, tags=[])}
    result = in_three(at(service))
    assert num_posts(service) == (3 if place == "offline" else 1)
    found = [part["job_id"] in before for part in result.metadata["parts"]]
    assert sorted(found) == [False, True, True]
    assert [pub.data.meas.num_bits for pub in result] == [1, 2, 3]


def test_where_a_part_fails_the_others_are_cancelled(offline: OfflineService) -> None:
    offline.add("end_job", reason_code=1305)
    offline.add("hold_job", when={"times": None})
    with pytest.raises(JobError, match="ran too long"):
        run_sampler([coin(1), coin(2)], backend=offline.backend(), split=1)
    pending = jobs.list_jobs.fn(backend=offline.backend(), pending=True, limit=None, tags=[])
    assert pending == []
    assert num_posts(offline) == 2


# --- the limit ---------------------------------------------------------------------------------


def test_inputs_that_are_too_large_make_no_job(offline: OfflineService) -> None:
    pubs = estimator_pubs(2)
    size = payload_bytes(pubs, offline)
    small = offline.backend(max_payload_bytes=size - 1)
    with pytest.raises(InvalidInputError, match="split='size'") as caught:
        submit_estimator(pubs, backend=small)
    assert f"{size:,} bytes" in str(caught.value)
    assert f"{size - 1:,} (max_payload_bytes of the backend" in str(caught.value)
    assert num_posts(offline) == 0
    submit_estimator(pubs, backend=offline.backend(max_payload_bytes=size))
    assert num_posts(offline) == 1


def test_a_pub_that_is_too_large_by_itself_is_named(offline: OfflineService) -> None:
    pubs = estimator_pubs(3)
    pubs[1] = (rotation(), ["Z"], np.linspace(0, 1, 5000))
    small = offline.backend(max_payload_bytes=payload_bytes(pubs[:1], offline) + 50)
    with pytest.raises(InvalidInputError, match=r"PUBs 1 to 1,.*cannot be divided"):
        run_estimator(pubs, backend=small, split="size")


def test_a_number_that_is_too_high_for_the_limit_says_so(offline: OfflineService) -> None:
    pubs = estimator_pubs(4)
    small = offline.backend(max_payload_bytes=payload_bytes(pubs[:1], offline) + 50)
    dry_run: Any = run_estimator(pubs, backend=small, split=2, dry_run=True)
    assert [fault.count("a number below 2") for fault in dry_run.faults] == [1, 1]


def test_inputs_of_programs_have_the_limit_too(offline: OfflineService) -> None:
    program_id = programs.upload_program.fn(
        "def main(backend, user_messenger, text=''):\n    return len(text)\n",
        name="measuring",
        backend=offline.backend(),
    )
    small = offline.backend(max_payload_bytes=100)
    with pytest.raises(InvalidInputError, match="Pass smaller inputs"):
        jobs.run_program.fn(program_id, {"text": "x" * 100}, backend=small)
    dry_run: Any = jobs.run_program.fn(program_id, {"text": "x" * 100}, backend=small, dry_run=True)
    assert not dry_run.is_accepted


def test_a_fault_names_the_pub_of_the_call(cloud: OfflineService) -> None:
    backend = at_ibm(cloud, "fake_manila")
    isa = QuantumCircuit(1, 1)
    isa.measure(0, 0)
    with pytest.raises(InvalidInputError, match=r"pubs\[2\]"):
        run_sampler([isa, isa, coin(2)], backend=backend, split=1)
    dry_run: Any = run_sampler([isa, isa, coin(2)], backend=backend, split=1, dry_run=True)
    (fault,) = dry_run.faults
    assert fault.startswith("pubs[2]: ")
    assert len(dry_run.preparation["jobs"]) == 3
    assert dry_run.estimate.overhead_seconds == pytest.approx(6)
