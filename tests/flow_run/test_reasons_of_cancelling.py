"""The log of a call that was cancelled says why, and its job keeps its page in Prefect's UI."""

from __future__ import annotations

import logging
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.exceptions import Abort
from prefect.runtime import flow_run
from prefect.states import Cancelling

from prefect_qiskit_runtime import arun_program, run_program

pytestmark = pytest.mark.usefixtures("service_home", "prefect_server")

BACKEND = "aer_simulator"
NEVER = {"upto": 1, "wait_for": "/never/there"}


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return why jobs were cancelled, according to the log."""
    messages = [record.getMessage() for record in caplog.records]
    return [
        text.partition("because ")[2]
        for text in messages
        if text.startswith("Job ") and " was cancelled, because " in text
    ]


def pages(flow_run_id: str) -> list[str]:
    """Return the artifacts of a flow run."""
    which = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(flow_run_id)]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=which)
    return [str(artifact.data) for artifact in found]


@pytest.mark.parametrize("in_thread", [False, True], ids=["called", "submitted"])
def test_the_time_limit_of_a_task_is_the_reason(
    counting: str, caplog: pytest.LogCaptureFixture, in_thread: bool
) -> None:
    limited = run_program.with_options(timeout_seconds=2)

    @flow
    def impatient() -> str:
        if in_thread:
            future = limited.submit(counting, NEVER, backend=BACKEND)
            future.wait()
            return str(future.state.name)
        return str(limited(counting, NEVER, backend=BACKEND, return_state=True).name)

    with caplog.at_level(logging.WARNING):
        assert impatient() == "TimedOut"
    assert reasons(caplog) == ["the time limit of task 'run_program' (2 s) has passed."]


async def test_the_time_limit_of_an_async_flow_is_the_reason(
    counting: str, caplog: pytest.LogCaptureFixture
) -> None:
    @flow(timeout_seconds=4)
    async def impatient() -> None:
        await arun_program(counting, NEVER, backend=BACKEND)

    with caplog.at_level(logging.WARNING):
        assert (await impatient(return_state=True)).name == "TimedOut"
    assert reasons(caplog) == ["the time limit of flow 'impatient' (4 s) has passed."]


def test_a_caller_that_was_interrupted_before_its_time_limit_is_the_reason(
    counting: str, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(job_id: str, interim: object) -> None:
        raise KeyboardInterrupt

    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        run_program.with_options(timeout_seconds=60)(
            counting, NEVER, backend=BACKEND, callback=interrupt
        )
    assert reasons(caplog) == ["its caller was cancelled."]


@pytest.mark.parametrize(
    ("end", "error"),
    [pytest.param("interrupted", SystemExit, id="interrupted"), pytest.param("ui", Abort, id="ui")],
)
def test_a_cancelled_flow_run_keeps_the_page_of_its_job(
    counting: str, monkeypatch: pytest.MonkeyPatch, end: str, error: type[BaseException]
) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_FLOW_STATE_INTERVAL_SECONDS", "0.2")
    seen: dict[str, str] = {}

    @flow
    def waiting() -> None:
        seen["flow"] = flow_run.id

        def stop(job_id: str, interim: object) -> None:
            seen["job"] = job_id
            if end == "interrupted":
                raise SystemExit
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(UUID(seen["flow"]), Cancelling())

        run_program(counting, NEVER, backend=BACKEND, callback=stop)

    with pytest.raises(error):
        waiting()
    (page,) = pages(seen["flow"])
    assert f"### Job {seen['job']}" in page
    assert "| Status | Cancelled |" in page
