"""Jobs of qiskit-ibm-runtime 0.11 and 0.15: filters, streams, ends."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from qiskit_ibm_runtime import QiskitRuntimeService, RuntimeJob, RuntimeOptions
from qiskit_ibm_runtime.exceptions import (
    RuntimeInvalidStateError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
    RuntimeJobTimeoutError,
)
from qiskit_ibm_runtime.program import ResultDecoder

SOURCE = """
import sys, time, warnings

def main(backend, user_messenger, n=2, forever=False):
    print("to the log")
    print("to the error stream", file=sys.stderr)
    for i in range(n):
        user_messenger.publish({"iteration": i})
    while forever:
        time.sleep(0.01)
    user_messenger.publish({"total": n}, final=True)
"""
SECONDS = 60
Submit = Callable[..., RuntimeJob]


@pytest.fixture(scope="session")
def program_id(service: QiskitRuntimeService) -> Iterator[str]:
    metadata = {"name": "jobs", "description": "", "max_execution_time": 600}
    program_id = service.upload_program(data=SOURCE, metadata=metadata)
    yield program_id
    service.delete_program(program_id)


@pytest.fixture
def submit(service: QiskitRuntimeService, program_id: str) -> Submit:
    def submit(options: dict | RuntimeOptions | None = None, **given: object) -> RuntimeJob:
        inputs = given.pop("inputs", {})
        options = options or {"backend": "aer_simulator"}
        return service.run(program_id, inputs=inputs, options=options, **given)

    return submit


@pytest.fixture
def running(submit: Submit) -> Iterator[RuntimeJob]:
    """A job that runs until it is asked to end."""
    seen: queue.Queue[object] = queue.Queue()
    job = submit(
        inputs={"n": 1, "forever": True}, callback=lambda _job_id, message: seen.put(message)
    )
    assert seen.get(timeout=SECONDS) == {"iteration": 0}
    yield job
    if not job.in_final_state():
        job.cancel()


def test_a_job_tells_all_that_it_is(
    service: QiskitRuntimeService, submit: Submit, program_id: str
) -> None:
    before = datetime.now(UTC)
    job = submit(
        RuntimeOptions(
            backend="fake_manila", log_level="INFO", job_tags=["a", "b"], max_execution_time=300
        ),
        inputs={"n": 3},
    )
    assert job.result(timeout=SECONDS) == {"total": 3}
    assert (job.program_id, job.inputs, job.image) == (program_id, {"n": 3}, None)
    assert (service.job(job.job_id()).tags, job.session_id) == (["a", "b"], None)
    assert job.backend().name == "fake_manila"
    assert abs(job.creation_date - before) < timedelta(minutes=1)
    assert job.usage_estimation == {"quantum_seconds": 300}
    assert (job.done(), job.cancelled(), job.running(), job.in_final_state()) == (
        *(True, False, False, True),
    )
    assert job.error_message() is None
    metrics = job.metrics()
    assert metrics["timestamps"]["created"] <= metrics["timestamps"]["running"]
    assert metrics["usage"]["seconds"] > 0
    assert job.logs() == "to the log\nto the error stream\n"
    with pytest.raises(NotImplementedError):
        job.submit()


def test_a_running_job_streams_until_that_is_cancelled(
    submit: Submit, service: QiskitRuntimeService, running: RuntimeJob
) -> None:
    assert running.running()
    with pytest.raises(RuntimeInvalidStateError, match="already streaming"):
        running.stream_results(print)
    running.cancel_result_streaming()
    with pytest.raises(RuntimeJobTimeoutError):
        service.job(running.job_id()).wait_for_final_state(timeout=0.1)
    running.cancel()
    assert running.cancelled()
    with pytest.raises(RuntimeInvalidStateError):
        running.result(timeout=SECONDS)


def test_a_late_stream_gets_everything_and_a_known_end_is_refused(
    submit: Submit, service: QiskitRuntimeService
) -> None:
    job = submit(inputs={"n": 2})
    assert job.result(timeout=SECONDS) == {"total": 2}
    with pytest.raises(RuntimeInvalidStateError, match="already finished"):
        job.stream_results(print)
    seen: queue.Queue[object] = queue.Queue()
    service.job(job.job_id()).stream_results(lambda job_id, message: seen.put((job_id, message)))
    expected = [{"iteration": 0}, {"iteration": 1}, {"total": 2}]
    found = [seen.get(timeout=SECONDS) for _ in expected]
    assert found == [(job.job_id(), message) for message in expected]


def test_decoders_are_the_callers(submit: Submit) -> None:
    class Words(ResultDecoder):
        @classmethod
        def decode(cls, data: str) -> str:
            return f"words: {data}"

    job = submit(inputs={"n": 1}, result_decoder=Words)
    assert job.result(timeout=SECONDS) == 'words: {"total": 1}'
    assert job.result(decoder=ResultDecoder) == {"total": 1}
    assert len(job.interim_results(decoder=ResultDecoder)) == 1
    two = submit(inputs={"n": 1}, result_decoder=[ResultDecoder, Words])
    assert two.result(timeout=SECONDS) == 'words: {"total": 1}'


def test_a_job_that_runs_too_long_says_so(service: QiskitRuntimeService) -> None:
    program_id = service.upload_program(
        data=SOURCE, metadata={"name": "limited", "description": "", "max_execution_time": 1}
    )
    job = service.run(program_id, inputs={"forever": True}, options={"backend": "aer_simulator"})
    with pytest.raises(RuntimeJobMaxTimeoutError):
        job.result(timeout=SECONDS)
    assert job.status().name == "ERROR"
    assert "ran longer than maximum execution time" in job.error_message()
    service.delete_program(program_id)


def test_jobs_are_filtered(service: QiskitRuntimeService, submit: Submit, program_id: str) -> None:
    tagged = {"backend": "fake_manila", "job_tags": ["sweep"]}
    first, second = submit(tagged), submit({**tagged, "job_tags": ["sweep", "second"]})
    for job in (first, second):
        job.wait_for_final_state(timeout=SECONDS)

    def found(**wanted: object) -> list[str]:
        return [job.job_id() for job in service.jobs(program_id=program_id, **wanted)]

    both = [second.job_id(), first.job_id()]
    assert found(job_tags=["sweep"]) == both
    assert found(job_tags=["sweep"], descending=False) == both[::-1]
    assert found(job_tags=["sweep", "second"]) == both[:1]
    assert found(job_tags=["sweep"], backend_name="fake_manila") == both
    assert found(job_tags=["sweep"], backend_name="fake_vigo") == []
    assert found(job_tags=["sweep"], pending=False) == both
    assert found(job_tags=["sweep"], pending=True) == []
    assert found(job_tags=["sweep"], limit=1, skip=1) == both[1:]
    assert found(job_tags=["sweep"], session_id="none") == []
    assert found(job_tags=["sweep"], created_before=first.creation_date) == both[1:]
    assert found(job_tags=["sweep"], created_after=datetime(2099, 1, 1)) == []
    if service.channel == "ibm_quantum":
        assert found(job_tags=["sweep"], instance="ibm-q/open/main") == both
    for job_id in both:
        service.delete_job(job_id)
    assert found(job_tags=["sweep"]) == []


def test_tags_are_changed(submit: Submit, service: QiskitRuntimeService) -> None:
    job = submit()
    assert set(job.update_tags(["new", "other"])) == {"new", "other"}
    assert set(service.job(job.job_id()).tags) == {"new", "other"}
    job.wait_for_final_state(timeout=SECONDS)


def test_a_running_job_is_deleted(service: QiskitRuntimeService, submit: Submit) -> None:
    job = submit(inputs={"forever": True})
    service.delete_job(job.job_id())
    with pytest.raises(RuntimeJobNotFound):
        service.job(job.job_id())


def test_a_job_that_is_not_there(service: QiskitRuntimeService) -> None:
    with pytest.raises(RuntimeJobNotFound):
        service.job("nothing")
    with pytest.raises(RuntimeJobNotFound):
        service.delete_job("nothing")
