"""Under a cancelled flow run nothing is submitted, and the runs below it end as Cancelled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, get_client, task
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import Abort
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from prefect_qiskit_runtime import (
    FlowRunCancelledError,
    JobCancelledError,
    JobStatus,
    cancel_job,
    list_jobs,
    run_program,
    runtime_session,
    submit_program,
)
from prefect_qiskit_runtime.flow_run.lineage import flow_tag

pytestmark = pytest.mark.usefixtures("service_home", "prefect_server")

BACKEND = "aer_simulator"
NEVER = {"upto": 1, "wait_for": "/never/there"}


def set_state(flow_run_id: str, state: Any) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(flow_run_id), state, force=True)


def state_name(flow_run_id: str) -> str | None:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(flow_run_id)).state_name


def statuses(root_id: str) -> list[JobStatus]:
    """Return the statuses of all jobs of a root flow run."""
    jobs = list_jobs.fn(backend=BACKEND, tags=[flow_tag(root_id)])
    return [job.state.status for job in jobs]


def notice_every(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_FLOW_STATE_INTERVAL_SECONDS", str(seconds))


class CancelRoot:
    """A callback that cancels a flow run, and perhaps the job as the hook of the flow run does."""

    def __init__(self, *, like_a_hook: bool) -> None:
        self.flow_run_id = flow_run.id
        self._like_a_hook = like_a_hook

    def __call__(self, job_id: str, interim: object) -> None:
        set_state(self.flow_run_id, Cancelling())
        if self._like_a_hook:
            cancel_job.fn(job_id, backend=BACKEND)


@pytest.mark.parametrize(
    ("like_a_hook", "seconds"),
    [pytest.param(True, 600, id="by-a-hook"), pytest.param(False, 0.2, id="by-the-call")],
)
def test_a_subflow_with_retries_does_not_submit_its_cancelled_job_again(
    counting: str, monkeypatch: pytest.MonkeyPatch, like_a_hook: bool, seconds: float
) -> None:
    notice_every(seconds, monkeypatch)
    runs: dict[str, str] = {}

    @flow(retries=2)
    def child(callback: Any) -> None:
        runs["child"] = flow_run.id
        run_program(counting, NEVER, backend=BACKEND, callback=callback)

    @flow
    def parent() -> None:
        runs["parent"] = flow_run.id
        child(CancelRoot(like_a_hook=like_a_hook))

    with pytest.raises(Abort, match="was cancelled"):
        parent()
    assert statuses(runs["parent"]) == [JobStatus.CANCELLED]
    assert state_name(runs["child"]) == "Cancelled"
    assert state_name(runs["parent"]) == "Cancelled"


def test_a_task_with_retries_does_not_submit_its_cancelled_job_again(
    counting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice_every(600, monkeypatch)
    runs: list[str] = []

    @task(retries=2)
    def patient(callback: Any) -> None:
        run_program.with_options(retries=2)(counting, NEVER, backend=BACKEND, callback=callback)

    @flow(retries=2)
    def parent() -> None:
        runs.append(flow_run.id)
        patient(CancelRoot(like_a_hook=True))

    with pytest.raises(Abort, match="was cancelled"):
        parent()
    assert len(runs) == 1
    assert statuses(runs[0]) == [JobStatus.CANCELLED]
    assert state_name(runs[0]) == "Cancelled"


@pytest.mark.parametrize(
    ("task_runner", "error", "end"),
    [
        pytest.param(ThreadPoolTaskRunner(max_workers=1), Abort, "Cancelled", id="threads"),
        pytest.param(
            ProcessPoolTaskRunner(max_workers=1),
            FlowRunCancelledError,
            "Cancelling",
            id="processes",
        ),
    ],
)
def test_calls_that_wait_for_a_worker_submit_nothing_after_a_cancellation(
    counting: str,
    monkeypatch: pytest.MonkeyPatch,
    task_runner: TaskRunner[Any],
    error: type[BaseException],
    end: str,
) -> None:
    notice_every(0.2, monkeypatch)
    runs: list[str] = []

    @flow(task_runner=task_runner)
    def fan_out() -> None:
        runs.append(flow_run.id)
        inputs = [{**NEVER, "upto": number} for number in range(1, 5)]
        callback = CancelRoot(like_a_hook=False)
        futures = run_program.map(counting, inputs, backend=BACKEND, callback=callback)
        futures.wait()
        futures.result()

    with pytest.raises(error, match="was cancelled"):
        fan_out()
    assert statuses(runs[0]) == [JobStatus.CANCELLED]
    assert state_name(runs[0]) == end


@pytest.mark.parametrize("state", [Cancelling, Cancelled])
@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda program: run_program(program, {"upto": 1}, backend=BACKEND), id="run"),
        pytest.param(
            lambda program: submit_program(program, {"upto": 1}, backend=BACKEND), id="submit"
        ),
        pytest.param(lambda _: runtime_session(BACKEND).__enter__(), id="session"),
    ],
)
def test_the_first_call_of_a_subflow_submits_nothing_below_a_cancelled_flow_run(
    counting: str, state: Callable[[], Any], use: Callable[[str], Any]
) -> None:
    runs: dict[str, str] = {}

    @flow
    def child() -> None:
        runs["child"] = flow_run.id
        use(counting)

    @flow
    def parent() -> None:
        runs["parent"] = flow_run.id
        set_state(flow_run.id, state())
        child()

    with pytest.raises(Abort, match="Nothing is submitted, because flow run"):
        parent()
    assert statuses(runs["parent"]) == []
    assert state_name(runs["child"]) == "Cancelled"


def test_a_job_that_was_cancelled_alone_raises_its_error_and_is_retried(counting: str) -> None:
    runs: list[str] = []

    @flow(retries=1)
    def parent() -> str:
        runs.append(flow_run.id)
        if len(runs) == 2:
            return str(run_program(counting, {"upto": 1}, backend=BACKEND)["upto"])
        job = submit_program(counting, NEVER, backend=BACKEND)
        job.cancel()
        with pytest.raises(JobCancelledError):
            job.result()
        raise ValueError

    assert parent() == "1"
    assert sorted(statuses(runs[0])) == [JobStatus.CANCELLED, JobStatus.COMPLETED]


@pytest.mark.parametrize(
    ("below", "looks"), [pytest.param(False, 0, id="root"), pytest.param(True, 1, id="subflow")]
)
def test_prefect_is_asked_at_most_once_per_interval(
    counting: str, monkeypatch: pytest.MonkeyPatch, below: bool, looks: int
) -> None:
    notice_every(600, monkeypatch)
    asked: list[object] = []
    read_flow_runs = PrefectClient.read_flow_runs

    async def counted(self: PrefectClient, **arguments: Any) -> Any:
        asked.append(arguments)
        return await read_flow_runs(self, **arguments)

    monkeypatch.setattr(PrefectClient, "read_flow_runs", counted)

    @flow
    def calls() -> None:
        for number in range(1, 4):
            run_program(counting, {"upto": number}, backend=BACKEND)

    @flow
    def parent() -> None:
        calls()

    (parent if below else calls)()
    assert len(asked) == looks


def test_a_time_limit_in_a_thread_does_not_bury_the_log_of_our_tasks(
    counting: str, caplog: pytest.LogCaptureFixture
) -> None:
    @task(timeout_seconds=60)
    def of_the_user() -> None: ...

    @flow
    def limited() -> None:
        ours = run_program.with_options(timeout_seconds=60)
        ours.submit(counting, {"upto": 1}, backend=BACKEND).result()
        of_the_user.submit().result()

    with caplog.at_level(logging.WARNING):
        limited()
    warned = [record for record in caplog.records if "worker thread" in record.getMessage()]
    assert [record.task_name for record in warned] == ["of_the_user"]  # type: ignore[attr-defined]
