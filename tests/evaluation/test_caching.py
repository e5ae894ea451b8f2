"""Results that are kept: an equal call is answered without a job, in any flow run and process."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from pydantic import ValidationError
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from prefect_qiskit_runtime import (
    ConfigurationError,
    ProgramFailedError,
    RuntimeBackend,
    arun_program,
    delete_job,
    list_jobs,
    run_estimator,
    run_program,
    run_sampler,
    update_program,
    upload_program,
)
from tests.evaluation.random_value import PUBLISHED
from tests.flow_processes import flow_environment

pytestmark = pytest.mark.usefixtures("prefect_server")

CACHED = RuntimeBackend(cache_results=True)
CALLER = Path(__file__).with_name("cached_call.py")
PROGRAM = Path(__file__).with_name("random_value.py")


@pytest.fixture(autouse=True)
def storage(tmp_path: Path) -> Iterator[Path]:
    """A separate result storage for each test."""
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path / "storage"}):
        yield tmp_path / "storage"


@pytest.fixture
def program(service_home: object, request: pytest.FixtureRequest) -> str:
    """Id of a program that returns a different number in each run; a new program for each test."""
    source = f"# for {request.node.name}\n{PROGRAM.read_text()}"
    return upload_program.fn(source, name=request.node.name, if_exists="new")


def jobs_of(program_id: str) -> int:
    return len(list_jobs.fn(backend="aer_simulator", program_id=program_id, limit=None))


def test_an_equal_call_takes_the_result_without_a_job(program: str) -> None:
    first = run_program.fn(program, {"x": 1}, backend=CACHED)
    assert run_program.fn(program, {"x": 1}, backend=CACHED) == first
    assert run_program.fn(program, {"x": 2}, backend=CACHED) != first
    assert jobs_of(program) == 2


def test_nothing_is_kept_unless_asked_for(program: str, storage: Path) -> None:
    first = run_program.fn(program, backend="aer_simulator")
    assert run_program.fn(program, backend="aer_simulator") != first
    assert run_program.fn(program, backend=CACHED, cache=False) != first
    assert not list(storage.rglob("*"))


def test_one_call_can_ask_for_it(program: str) -> None:
    first = run_program.fn(program, backend="aer_simulator", cache=True)
    assert run_program.fn(program, backend="aer_simulator", cache=True) == first


def test_flow_runs_share_results(program: str) -> None:
    @flow
    def measuring() -> Any:
        return run_program(program, backend=CACHED)

    assert measuring() == measuring()
    assert jobs_of(program) == 1


def test_a_flow_whose_results_are_not_kept_by_prefect_shares_them_too(program: str) -> None:
    @flow(persist_result=False)
    def measuring() -> Any:
        return run_program(program, backend=CACHED)

    assert measuring() == measuring()


def test_the_service_finds_the_job_where_the_storage_is_another(
    program: str, tmp_path: Path
) -> None:
    first = run_program.fn(program, backend=CACHED)
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path / "of another machine"}):
        assert run_program.fn(program, backend=CACHED) == first


def test_a_result_outlives_its_job(program: str) -> None:
    first = run_program.fn(program, backend=CACHED)
    (job,) = list_jobs.fn(backend="aer_simulator", program_id=program)
    delete_job.fn(job.id, backend="aer_simulator")
    seen: list[Any] = []
    again = run_program.fn(program, backend=CACHED, callback=lambda *call: seen.append(call))
    assert (again, seen) == (first, [])


def test_a_hit_gives_the_callback_what_the_job_published(program: str) -> None:
    calls: list[list[tuple[str, Any]]] = [[], []]
    for seen in calls:
        run_program.fn(program, backend=CACHED, callback=lambda *call, seen=seen: seen.append(call))
    assert calls[0] == calls[1]
    assert [interim for _, interim in calls[1]] == list(range(PUBLISHED))


def test_a_hit_says_where_it_comes_from(program: str, caplog: pytest.LogCaptureFixture) -> None:
    run_program.fn(program, backend=CACHED)
    (job,) = list_jobs.fn(backend="aer_simulator", program_id=program)
    with caplog.at_level(logging.INFO):
        run_program.fn(program, backend=CACHED)
    assert f"From the cache: job {job.id} of 20" in caplog.text
    assert f"aer_simulator (embedded service), program {program}." in caplog.text


def test_what_is_stored_is_json_that_tells_its_origin(program: str, storage: Path) -> None:
    result = run_program.fn(program, backend=CACHED)
    (job,) = list_jobs.fn(backend="aer_simulator", program_id=program)
    (file,) = (path for path in storage.rglob("*") if path.is_file())
    record = json.loads(file.read_text())
    assert record["metadata"]["serializer"] == {"type": "qiskit-runtime"}
    kept = json.loads(record["result"])["value"]
    assert kept["job_id"] == job.id
    assert kept["key"] == file.name
    assert kept["program_version"] == 1
    assert {"prefect-qiskit-runtime", "qiskit"} <= set(kept["versions"])
    assert json.loads(kept["result"]) == result


def test_refresh_runs_a_job_and_keeps_its_result(program: str) -> None:
    first = run_program.fn(program, backend=CACHED)
    second = run_program.fn(program, backend=CACHED, cache="refresh")
    assert second != first
    assert run_program.fn(program, backend=CACHED) == second


def test_a_refresh_in_a_flow_run_that_runs_again_is_paid_once(program: str) -> None:
    results: list[Any] = []

    @flow(retries=1)
    def refreshing() -> None:
        results.append(run_program(program, backend=CACHED, cache="refresh"))
        if len(results) == 1:
            raise ConnectionError

    refreshing()
    assert results[0] == results[1]
    assert jobs_of(program) == 1


def test_an_expired_result_is_measured_again(program: str) -> None:
    hours = CACHED.model_copy(update={"cache_expiration_seconds": 7200})
    nothing = CACHED.model_copy(update={"cache_expiration_seconds": 0.001})
    first = run_program.fn(program, backend=CACHED)
    assert run_program.fn(program, backend=hours) == first
    second = run_program.fn(program, backend=nothing)
    assert second != first
    assert run_program.fn(program, backend=CACHED) == second


def test_an_expired_job_is_not_taken_up_where_the_storage_is_lost(
    program: str, tmp_path: Path
) -> None:
    first = run_program.fn(program, backend=CACHED)
    nothing = CACHED.model_copy(update={"cache_expiration_seconds": 0.001})
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path / "of another machine"}):
        assert run_program.fn(program, backend=nothing) != first


def test_another_version_of_the_program_is_another_key(program: str) -> None:
    first = run_program.fn(program, backend=CACHED)
    update_program.fn(program, description="measures")
    assert run_program.fn(program, backend=CACHED) != first


def test_a_copy_of_the_program_is_the_same_key(program: str) -> None:
    from prefect_qiskit_runtime import get_program

    first = run_program.fn(program, backend=CACHED)
    original = get_program.fn(program)
    copy = upload_program.fn(original.data, name=original.name, if_exists="new")
    assert copy != program
    assert run_program.fn(copy, backend=CACHED) == first


def test_backends_have_keys_of_their_own(program: str) -> None:
    first = run_program.fn(program, backend=CACHED)
    other = CACHED.model_copy(update={"name": "fake_manila"})
    assert run_program.fn(program, backend=other) != first


def test_the_calibration_counts_if_asked_for(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect_qiskit_runtime.client import RuntimeApi

    device = RuntimeBackend(
        name="fake_manila", cache_results=True, cache_calibration="same calibration"
    )
    first = run_program.fn(program, backend=device)
    assert run_program.fn(program, backend=device) == first

    async def calibrated_again(self: RuntimeApi, name: str, **_: Any) -> dict[str, Any]:
        return {"last_update_date": "2026-11-21T00:00:00Z", "backend_version": "2"}

    monkeypatch.setattr(RuntimeApi, "backend_properties", calibrated_again)
    assert run_program.fn(program, backend=device) != first


def test_failures_are_not_kept(program: str) -> None:
    for _ in range(2):
        with pytest.raises(ProgramFailedError):
            run_program.fn(program, {"fail": True}, backend=CACHED)
    assert jobs_of(program) == 2


def test_results_of_private_jobs_are_not_kept(program: str) -> None:
    with pytest.raises(ConfigurationError, match="cache cannot be used with private jobs"):
        run_program.fn(program, backend="aer_simulator", options={"private": True}, cache=True)
    for _ in range(2):
        run_program.fn(program, backend=CACHED, options={"private": True})
    assert jobs_of(program) == 2
    with pytest.raises(ValidationError, match="exclude each other"):
        RuntimeBackend(private=True, cache_results=True)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cache": "yes"}, "cache must be True, False or 'refresh'"),
        ({"cache": "refresh", "durable_key": "mine"}, "Leave out one of the two"),
    ],
)
def test_what_contradicts_itself_is_refused(program: str, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        run_program.fn(program, backend="aer_simulator", **wrong)
    assert jobs_of(program) == 0


def test_half_a_record_is_none(program: str, storage: Path) -> None:
    first = run_program.fn(program, backend=CACHED)
    (file,) = (path for path in storage.rglob("*") if path.is_file())
    file.write_text(file.read_text()[:200])
    assert run_program.fn(program, backend=CACHED) == first
    assert json.loads(file.read_text())


def test_a_storage_that_fails_costs_a_warning(
    program: str, storage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage.write_text("no folder")
    assert "value" in run_program.fn(program, backend=CACHED)
    assert "could not be kept. The call still returns it." in caplog.text


def ansatz(name: str) -> QuantumCircuit:
    angle = Parameter("angle")
    circuit = QuantumCircuit(2, name=name)
    circuit.rx(2 * angle, 0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def test_circuits_built_again_are_equal_and_stay_as_they_are(service_home: object) -> None:
    circuits = [ansatz("first"), ansatz("second")]
    parameters = [circuit.parameters[0].uuid for circuit in circuits]
    results = [
        run_sampler.fn([(circuit, [0.3], 64)], backend=CACHED)[0].data.meas for circuit in circuits
    ]
    assert results[0] == results[1]
    assert [circuit.name for circuit in circuits] == ["first", "second"]
    assert [circuit.parameters[0].uuid for circuit in circuits] == parameters


def test_primitives_can_refresh(service_home: object) -> None:
    circuit = ansatz("any").remove_final_measurements(inplace=False)
    calls = [
        run_estimator.fn(
            [(circuit, "ZI", [1.0])], backend="fake_manila", shots=50, transpile=True, cache=cache
        )[0].data.evs
        for cache in (True, True, "refresh", True)
    ]
    assert calls[0] == calls[1]
    assert calls[2] == calls[3]


async def test_a_caller_that_is_cancelled_takes_its_job_along_but_not_the_others(
    counting: str, tmp_path: Path
) -> None:
    go_on = tmp_path / "go-on"
    inputs = {"upto": 1, "wait_for": str(go_on)}
    seen: asyncio.Queue[str] = asyncio.Queue()

    def call() -> asyncio.Task[Any]:
        return asyncio.create_task(
            arun_program.fn(
                counting,
                inputs,
                backend=CACHED,
                callback=lambda job_id, interim: seen.put_nowait(job_id),
            )
        )

    first = call()
    job_id = await seen.get()
    second = call()
    assert await seen.get() == job_id
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    assert await seen.get() != job_id
    go_on.touch()
    assert (await second)["upto"] == 1


def results_of_two_processes(program_id: str, go_on: Path, block: dict[str, Any]) -> set[str]:
    """The values that two processes get if they make the same call at the same time."""
    call = json.dumps([program_id, {"wait_for": str(go_on)}, block])
    processes = [
        subprocess.Popen(
            [sys.executable, str(CALLER), call],
            env=flow_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # an interim result: it has its job
        go_on.touch()
        return {process.communicate(timeout=120)[0].split()[-1] for process in processes}
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_two_processes_at_the_same_time_make_one_job(program: str, tmp_path: Path) -> None:
    values = results_of_two_processes(program, tmp_path / "go-on", {"cache_results": True})
    assert len(values) == 1
    assert jobs_of(program) == 1


def test_two_processes_that_find_an_expired_result_make_one_job_more(
    program: str, tmp_path: Path
) -> None:
    go_on = tmp_path / "go-on"
    go_on.touch()
    first = run_program.fn(program, {"wait_for": str(go_on)}, backend=CACHED)["value"]
    go_on.unlink()
    values = results_of_two_processes(
        program, go_on, {"cache_results": True, "cache_expiration_seconds": 0.001}
    )
    assert len(values) == 1
    assert values != {str(first)}
    assert jobs_of(program) == 2
