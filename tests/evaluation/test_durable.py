"""A run that is repeated finds its billed jobs again, through a real Prefect server."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from prefect import flow, runtime, task
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister

from prefect_qiskit_runtime import (
    ConfigurationError,
    JobCancelledError,
    NotFoundError,
    ProgramFailedError,
    RuntimeBackend,
    attach_job,
    cancel_job,
    delete_job,
    list_jobs,
    run_program,
    run_sampler,
    submit_program,
    upload_program,
)
from prefect_qiskit_runtime.flow_run.claims import Claims
from prefect_qiskit_runtime.flow_run.lineage import Lineage, Run, flow_tag
from prefect_qiskit_runtime.models import JobInfo
from prefect_qiskit_runtime.records.records import Records
from prefect_qiskit_runtime.twins.sync import run_sync

pytestmark = pytest.mark.usefixtures("prefect_server")

BACKEND = "aer_simulator"

RANDOM = """
import random

def main(backend, user_messenger, **kwargs):
    user_messenger.publish("here")
    return random.random()
"""

FAILING = """
import os

def main(backend, user_messenger, path):
    if not os.path.exists(path):
        raise RuntimeError("no file yet")
    return "done"
"""


class Stop(Exception):
    """Raised to stop a run, so that it is repeated."""


class Once:
    """Raises the first time."""

    def __init__(self) -> None:
        self.again = False

    def __call__(self) -> None:
        if not self.again:
            self.again = True
            raise Stop


@pytest.fixture(scope="module")
def program(service_home: object) -> str:
    """Id of a program that returns a different number in each run."""
    return upload_program.fn(RANDOM, name="random")


def jobs_of_this_flow() -> list[JobInfo]:
    tag = flow_tag(runtime.flow_run.root_flow_run_id)
    return list_jobs.fn(backend=BACKEND, limit=None, tags=[tag])


def test_a_task_that_is_retried_attaches_to_its_job(program: str) -> None:
    stop, results = Once(), []

    @task(retries=1)
    def evaluating() -> None:
        results.append(run_program(program, backend=BACKEND))
        stop()

    @flow
    def retrying() -> int:
        evaluating()
        return len(jobs_of_this_flow())

    assert retrying() == 1
    assert results[0] == results[1]


def test_a_flow_run_that_is_retried_attaches_to_its_jobs_in_order(program: str) -> None:
    stop, results = Once(), []

    @flow(retries=1)
    def retrying() -> int:
        results.append([run_program(program, backend=BACKEND) for _ in range(3)])
        stop()
        return len(jobs_of_this_flow())

    assert retrying() == 3
    assert results[0] == results[1]
    assert len(set(results[0])) == 3


def test_mapped_calls_attach_each_to_a_job_of_its_own(program: str) -> None:
    stop, results = Once(), []

    @flow(retries=1)
    def mapping() -> int:
        mapped = run_program.map([program] * 8, backend=BACKEND)
        results.append(mapped.result())
        stop()
        return len(jobs_of_this_flow())

    assert mapping() == 8
    assert sorted(results[0]) == sorted(results[1])
    assert len(set(results[0])) == 8


def test_a_subflow_of_a_rerun_parent_attaches(program: str) -> None:
    stop, results = Once(), []

    @flow
    def child() -> None:
        results.append(run_program(program, backend=BACKEND))
        stop()

    @flow(retries=1)
    def parent() -> int:
        child()
        return len(jobs_of_this_flow())

    assert parent() == 1
    assert results[0] == results[1]


def test_two_subflows_of_one_name_have_jobs_of_their_own(program: str) -> None:
    stop, results = Once(), []

    @flow(persist_result=False)
    def child() -> None:
        results.append(run_program(program, backend=BACKEND))

    @flow(retries=1)
    def parent() -> int:
        child()
        child()
        stop()
        return len(jobs_of_this_flow())

    assert parent() == 2
    assert len(set(results)) == 2


def test_a_remembered_task_leaves_its_job_to_no_other_task(program: str) -> None:
    stop, results = Once(), []

    @task(persist_result=True)
    def sampled(number: int) -> float:
        value = run_program(program, backend=BACKEND)
        if number == 1:
            stop()
        return value

    @flow(retries=1)
    def remembering() -> int:
        results[:] = [sampled(0), sampled(1)]
        return len(jobs_of_this_flow())

    assert remembering() == 2
    assert len(set(results)) == 2


def test_a_durable_key_joins_flow_runs_and_calls_outside_of_them(program: str) -> None:
    key = f"mine-{uuid4()}"

    @flow
    def joining() -> float:
        return run_program(program, backend=BACKEND, durable_key=key)

    first = joining()
    assert joining() == first
    assert run_program.fn(program, backend=BACKEND, durable_key=key) == first
    job = submit_program.fn(program, backend=BACKEND, durable_key=key)
    assert job.result() == first
    other = run_program.fn(program, {"other": 1}, backend=BACKEND, durable_key=key)
    assert other != first


def test_each_caller_of_a_durable_key_gets_all_interim_results(program: str) -> None:
    key, heard = f"mine-{uuid4()}", []

    @flow
    def joining() -> float:
        return run_program(
            program, backend=BACKEND, durable_key=key, callback=lambda *got: heard.append(got)
        )

    assert joining() == joining()
    assert [interim for _, interim in heard] == ["here", "here"]


@pytest.mark.parametrize("key", ["", 3])
def test_a_durable_key_is_a_text(program: str, key: object) -> None:
    with pytest.raises(ConfigurationError, match="durable_key must be a text"):
        run_program.fn(program, backend=BACKEND, durable_key=key)  # type: ignore[arg-type]


def test_a_flow_that_is_retried_does_not_run_its_deleted_job_again(program: str) -> None:
    deleted: list[str] = []

    @flow(retries=1)
    def deleting() -> None:
        job = submit_program(program, backend=BACKEND)
        job.wait_for_completion()
        deleted.append(job.job_id)
        delete_job(job.job_id, backend=BACKEND)
        raise Stop

    with pytest.raises(NotFoundError, match="not submitted again, in this flow run or") as caught:
        deleting()
    assert (caught.value.kind, [caught.value.identifier]) == ("deleted_job", deleted)


def test_a_flow_that_waits_for_a_deleted_job_ends_and_makes_no_other(program: str) -> None:
    @flow
    def waiting() -> int:
        job = submit_program(program, backend=BACKEND)
        job.wait_for_completion()
        delete_job(job.job_id, backend=BACKEND)
        for question in (job.result, job.wait_for_completion):
            with pytest.raises(NotFoundError, match=f"Job {job.job_id} was deleted in the service"):
                question()
        with pytest.raises(NotFoundError, match=f"Job {job.job_id} was deleted at ") as caught:
            attach_job(job.job_id, backend=BACKEND)
        assert "check backend=" not in str(caught.value)
        return len(jobs_of_this_flow())

    assert waiting() == 0


def test_the_durable_key_of_a_deleted_job_makes_no_other(program: str) -> None:
    key = f"deleted-{uuid4()}"
    job = submit_program.fn(program, backend=BACKEND, durable_key=key)
    job.wait_for_completion()
    delete_job.fn(job.job_id, backend=BACKEND)
    with pytest.raises(NotFoundError, match="another durable_key"):
        run_program.fn(program, backend=BACKEND, durable_key=key)


def test_outside_of_flows_each_call_is_its_own(program: str) -> None:
    assert run_program.fn(program, backend=BACKEND) != run_program.fn(program, backend=BACKEND)


def test_a_circuit_that_is_built_again_is_the_same_circuit(service_home: object) -> None:
    stop, results = Once(), []

    @task(retries=1)
    def sampling() -> None:
        circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(2))
        circuit.h(0)
        circuit.cx(0, 1)
        circuit.measure([0, 1], [0, 1])
        results.append(run_sampler([circuit], shots=1000, backend=BACKEND)[0].join_data())
        stop()

    @flow
    def retrying() -> int:
        sampling()
        return len(jobs_of_this_flow())

    assert retrying() == 1
    assert (results[0].array == results[1].array).all()


def test_what_a_callback_has_seen_it_does_not_see_again(program: str) -> None:
    stop, seen = Once(), []

    @task(retries=1)
    def evaluating() -> None:
        run_program(program, backend=BACKEND, callback=lambda job_id, interim: seen.append(interim))
        stop()

    @flow
    def retrying() -> None:
        evaluating()

    retrying()
    assert seen == ["here"]


def test_a_task_retry_does_not_send_a_program_again_that_raises(
    service_home: object, tmp_path: Path
) -> None:
    program = upload_program.fn(FAILING, name="failing")

    @task(retries=2)
    def evaluating() -> None:
        run_program(program, {"path": str(tmp_path / "never")}, backend=BACKEND)

    @flow
    def failing() -> int:
        with pytest.raises(ProgramFailedError):
            evaluating()
        return len(jobs_of_this_flow())

    assert failing() == 1


def test_a_flow_run_that_runs_again_sends_again_what_had_failed(
    service_home: object, tmp_path: Path
) -> None:
    program, path = upload_program.fn(FAILING, name="failing"), tmp_path / "file"

    @flow(retries=1)
    def failing() -> tuple[str, list[int]]:
        try:
            result = run_program(program, {"path": str(path)}, backend=BACKEND)
        except ProgramFailedError:
            path.touch()
            raise
        return result, [job.attempt for job in jobs_of_this_flow()]

    assert failing() == ("done", [2, 1])


def test_a_flow_run_that_runs_again_sends_again_what_was_cancelled(
    counting: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    @flow(retries=1)
    def cancelled() -> int:
        inputs = {"upto": 1, "wait_for": str(gate)}
        job = submit_program(counting, inputs, backend=BACKEND)
        if not gate.exists():
            cancel_job(job.job_id, backend=BACKEND)
            gate.touch()
        job.result()
        return len(jobs_of_this_flow())

    assert cancelled() == 2


def test_a_task_retry_leaves_a_cancelled_job_cancelled(counting: str, tmp_path: Path) -> None:
    @task(retries=1)
    def evaluating() -> None:
        job = submit_program(
            counting, {"upto": 1, "wait_for": str(tmp_path / "never")}, backend=BACKEND
        )
        if runtime.task_run.run_count == 1:
            cancel_job(job.job_id, backend=BACKEND)
        job.result()

    @flow
    def cancelled() -> int:
        with pytest.raises(JobCancelledError):
            evaluating()
        return len(jobs_of_this_flow())

    assert cancelled() == 1


def test_a_new_version_of_the_program_is_another_evaluation(service_home: object) -> None:
    stop = Once()

    @flow(retries=1)
    def fixing() -> str:
        version = "fixed" if stop.again else "wrong"
        source = f"def main(backend, user_messenger):\n    return {version!r}\n"
        result = run_program(upload_program(source, name="fixing"), backend=BACKEND)
        stop()
        return result

    assert fixing() == "fixed"


def test_labels_and_limits_may_change_between_two_lives(program: str) -> None:
    stop, results = Once(), []

    @flow(retries=1)
    def labelled() -> int:
        backend = RuntimeBackend(
            name=BACKEND, tags=["again" if stop.again else "first"], max_execution_time=60
        )
        results.append(run_program(program, backend=backend, options={"log_level": "INFO"}))
        stop()
        return len(jobs_of_this_flow())

    assert labelled() == 1
    assert results[0] == results[1]


def test_a_record_that_a_crash_has_torn_counts_as_none(tmp_path: Path) -> None:
    def read() -> object:
        return run_sync(Records().read("torn"))

    @flow
    def recording() -> list[object]:
        found = [read()]
        run_sync(Records().write("torn", {"next_seq": 3}))
        found.append(read())
        (path,) = tmp_path.rglob("torn")
        path.write_bytes(path.read_bytes()[:20])
        return [*found, read()]

    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        assert recording() == [None, {"next_seq": 3}, None]


def _lineage(*task_runs: Run, flow_count: int = 1) -> Lineage:
    return Lineage("[]", False, (Run("flow", flow_count),), task_runs, "root")


def _taken(
    claims: Claims, *lineages: Lineage, record: dict[str, object] | None = None
) -> list[int]:
    return [claims.take("group", lineage, record) for lineage in lineages]


@pytest.mark.parametrize(
    ("record", "numbers"),
    [
        (None, [0, 1, 2, 3]),
        ({"count": 3, "delivered": [0, 1]}, [2, 0, 1, 3]),
        ({"count": 2, "delivered": []}, [0, 1, 2, 3]),
    ],
)
def test_evaluations_without_a_result_are_taken_first(
    record: dict[str, object] | None, numbers: list[int]
) -> None:
    assert _taken(Claims(), *[_lineage()] * 4, record=record) == numbers


def test_a_run_that_runs_again_gives_back_what_it_had_taken() -> None:
    claims, first, second = Claims(), Run("task", 1), Run("other", 1)
    assert _taken(claims, _lineage(first), _lineage(second), _lineage(first)) == [0, 1, 2]
    assert _taken(claims, _lineage(Run("task", 2)), _lineage(Run("task", 2))) == [0, 2]
    assert _taken(claims, _lineage(flow_count=2), _lineage(flow_count=2)) == [0, 1]
