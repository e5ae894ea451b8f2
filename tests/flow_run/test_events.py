"""Events report the states of jobs to Prefect's automations, through a real Prefect server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from prefect import flow, runtime, task
from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import EventTrigger, Posture

from prefect_qiskit_runtime import (
    JobCancelledError,
    ProgramFailedError,
    cancel_job,
    run_program,
    upload_program,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("prefect_server")

BACKEND = "aer_simulator"
RAISING = "def main(backend, user_messenger):\n    raise ValueError('a secret of the inputs')\n"
DEADLINE_SECONDS = 30


def events_of(flow_run_id: str, count: int) -> list[dict[str, Any]]:
    """The events of the jobs of a flow run; they reach the server a while later."""
    # The server gives fifty at most, so those of other tests are left out there.
    of_this_run = {"id": [f"prefect.flow-run.{flow_run_id}"]}
    query = {
        "filter": {
            "event": {"prefix": ["qiskit-runtime.job."]},
            "related": of_this_run,
            "order": "ASC",
        }
    }
    with get_client(sync_client=True) as client:

        def enough() -> list[dict[str, Any]] | None:
            found = client._client.post("/events/filter", json=query).json()["events"]
            return found if len(found) >= count else None

        return wait_until(enough, f"{count} events on the server", seconds=DEADLINE_SECONDS)


def test_the_life_of_a_job_is_reported_with_its_flow_run(counting: str) -> None:
    @flow
    def evaluating() -> str:
        run_program(counting, {"upto": 1}, backend=BACKEND)
        return str(runtime.flow_run.id)

    events = events_of(evaluating(), 3)
    assert {one["event"].rpartition(".")[2] for one in events} >= {"submitted", "completed"}
    (job_id,) = {one["resource"]["prefect.resource.name"] for one in events}
    for one in events:
        assert one["resource"]["prefect.resource.id"] == f"qiskit-runtime.job.{job_id}"
        assert one["resource"]["qiskit-runtime.backend"] == BACKEND
        assert one["payload"]["program-id"] == counting


def test_a_failure_is_reported_by_its_code_alone(service_home: object) -> None:
    program = upload_program.fn(RAISING, name="raising")

    @flow
    def failing() -> str:
        with pytest.raises(ProgramFailedError):
            run_program(program, backend=BACKEND)
        return str(runtime.flow_run.id)

    events = events_of(failing(), 3)
    (failed,) = [one for one in events if one["event"].endswith(".failed")]
    assert failed["payload"]["reason-code"] == "90001"
    assert "secret" not in str(events)


@pytest.fixture
def alarms() -> Iterator[tuple[str, SimpleQueue[str]]]:
    """Where a webhook can be sent to, and what has come there."""
    came: SimpleQueue[str] = SimpleQueue()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", came
        server.shutdown()
        thread.join()


def test_an_automation_acts_on_a_job_that_has_failed(
    service_home: object, alarms: tuple[str, SimpleQueue[str]]
) -> None:
    url, came = alarms
    program = upload_program.fn(RAISING, name="raising")
    alarm = Webhook(url=url, allow_private_urls=True)
    alarm.save("job-alarm", overwrite=True)
    Automation(
        name="a quantum job has failed",
        trigger=EventTrigger(
            expect={"qiskit-runtime.job.failed"},
            match={"prefect.resource.id": "qiskit-runtime.job.*"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            CallWebhook(
                block_document_id=alarm._block_document_id,
                payload="Job {{ event.resource.name }}: {{ event.payload['reason-code'] }}",
            )
        ],
    ).create()
    jobs: list[str] = []

    @flow
    def failing() -> None:
        with pytest.raises(ProgramFailedError) as caught:
            run_program(program, backend=BACKEND)
        jobs.append(caught.value.job_id)

    deadline = time.monotonic() + 2 * DEADLINE_SECONDS
    while came.empty() and time.monotonic() < deadline:  # the server takes it up a while later
        failing()
    assert came.get(timeout=DEADLINE_SECONDS) in {f"Job {job_id}: 90001" for job_id in jobs}


def test_a_call_that_comes_back_tells_that_it_has_adopted_its_job(counting: str) -> None:
    results: list[object] = []

    @task(retries=1)
    def evaluate() -> None:
        results.append(run_program(counting, {"upto": 1}, backend=BACKEND))
        if len(results) == 1:
            raise ConnectionError("of the flow, not of the job")

    @flow
    def evaluating() -> str:
        evaluate()
        return str(runtime.flow_run.id)

    events = events_of(evaluating(), 4)
    assert "adopted" in {one["event"].rpartition(".")[2] for one in events}
    assert len({one["resource"]["prefect.resource.id"] for one in events}) == 1


def test_a_job_that_runs_and_is_cancelled_tells_both(counting: str, tmp_path: Path) -> None:
    inputs = {"upto": 1, "wait_for": str(tmp_path / "never")}

    def cancel(job_id: str, interim: object) -> None:
        cancel_job.fn(job_id, backend=BACKEND)

    @flow
    def evaluating() -> str:
        with pytest.raises(JobCancelledError):
            run_program(counting, inputs, backend=BACKEND, callback=cancel)
        return str(runtime.flow_run.id)

    events = events_of(evaluating(), 3)
    assert [one["event"].rpartition(".")[2] for one in events] == [
        "submitted",
        "running",
        "cancelled",
    ]
