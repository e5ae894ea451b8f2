"""`RuntimeClient` and its synchronous twin, without Prefect, against the real service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from prefect_qiskit_runtime.client import (
    RuntimeClient,
    SyncRuntimeClient,
    embedded_status,
    stop_embedded,
)
from prefect_qiskit_runtime.errors import (
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    JobCancelledError,
    JobInterruptedError,
    JobTimedOutError,
    NotFoundError,
    ProgramFailedError,
    is_retryable,
)
from prefect_qiskit_runtime.models import JobStatus
from prefect_qiskit_runtime.settings import Settings

COUNTER = """
import time

def main(backend, user_messenger, count=3, fail=False, wait=0.0):
    print("counting to", count)
    for number in range(count):
        user_messenger.publish({"number": number})
    if fail:
        raise ValueError("asked to fail")
    time.sleep(wait)
    return {"total": count, "backend": backend.name}
"""

SPEC = {
    "parameters": {
        "type": "object",
        "properties": {"count": {"type": "integer", "minimum": 0}},
    }
}


class NumberDecoder:
    """Decodes an interim result of the counter to its number."""

    @classmethod
    def decode(cls, data: str) -> int:
        return json.loads(data)["number"]


class TotalDecoder:
    """Decodes the result of the counter to its total."""

    @classmethod
    def decode(cls, data: str) -> int:
        return json.loads(data)["total"]


@pytest.fixture
async def client(service_home: Path) -> AsyncIterator[RuntimeClient]:
    async with RuntimeClient() as client:
        yield client


@pytest.fixture
async def counter(client: RuntimeClient) -> str:
    return await client.upload_program(COUNTER, name="counter", spec=SPEC)


async def test_interim_results_reach_the_callback_before_the_result(
    client: RuntimeClient, counter: str
) -> None:
    seen: list[tuple[str, Any]] = []
    job = await client.run(
        counter,
        {"count": 3},
        backend="aer_simulator",
        callback=lambda job_id, interim: seen.append((job_id, interim)),
    )
    assert await job.result() == {"total": 3, "backend": "aer_simulator"}
    assert seen == [(job.job_id, {"number": number}) for number in range(3)]
    assert await job.status() is JobStatus.COMPLETED
    assert await job.error_message() is None
    assert "counting to 3" in await job.logs()
    assert await job.inputs() == {"count": 3}
    assert (await job.metrics()).usage["seconds"] > 0


async def test_a_stream_after_the_end_gives_all_again(client: RuntimeClient, counter: str) -> None:
    job = await client.run(counter, {"count": 5})
    assert await job.wait_for_final_state() is JobStatus.COMPLETED
    again = await client.job(job.job_id)
    assert [interim["number"] async for interim in again.stream(from_=3)] == [3, 4]
    assert [interim["number"] for interim in await again.interim_results()] == [0, 1, 2, 3, 4]


async def test_a_job_that_ran_before_the_client_is_found(
    client: RuntimeClient, counter: str
) -> None:
    tag = uuid.uuid4().hex
    job = await client.run(counter, options={"tags": [tag, "other"]})
    assert [found.job_id for found in await client.jobs(job_tags=[tag])] == [job.job_id]
    await job.update_tags(["changed"])
    assert await client.jobs(job_tags=[tag]) == []
    await job.wait_for_final_state()
    await client.delete_job(job.job_id)
    with pytest.raises(NotFoundError) as caught:
        await client.job(job.job_id)
    assert (caught.value.kind, caught.value.identifier) == ("deleted_job", job.job_id)


async def test_a_callback_may_be_a_coroutine_and_may_fail(
    client: RuntimeClient, counter: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    async def callback(job_id: str, interim: dict[str, int]) -> None:
        if interim["number"] == 1:
            raise RuntimeError("mine")
        seen.append(interim["number"])

    job = await client.run(counter, {"count": 3}, callback=callback)
    assert (await job.result())["total"] == 3
    assert seen == [0, 2]
    assert "failed on interim result 1 of job" in caplog.text


async def test_a_decoder_is_one_class_or_a_pair(client: RuntimeClient, counter: str) -> None:
    job = await client.run(counter, {"count": 2}, result_decoder=(NumberDecoder, TotalDecoder))
    assert await job.result() == 2
    assert [number async for number in job.stream()] == [0, 1]
    assert await job.result(decoder=TotalDecoder) == 2
    assert await (await client.job(job.job_id)).interim_results(NumberDecoder) == [0, 1]


async def test_a_wrong_decoder_or_option_costs_no_job(client: RuntimeClient, counter: str) -> None:
    tag = uuid.uuid4().hex
    for options in ({"shots": 1}, {"log_level": "LOUD"}):
        with pytest.raises(ConfigurationError, match="The options of a job are"):
            await client.run(counter, options={"tags": [tag], **options})
    with pytest.raises(ConfigurationError, match="result_decoder"):
        await client.run(counter, options={"tags": [tag]}, result_decoder=int)
    assert await client.jobs(job_tags=[tag]) == []


async def test_options_have_the_names_of_the_runtime_clients(
    client: RuntimeClient, counter: str
) -> None:
    options = {"backend_name": "fake_manila", "job_tags": ["a"], "max_execution_time": 50}
    job = await client.run(counter, options=options)
    info = await job.info()
    assert (info.backend, info.tags, info.cost) == ("fake_manila", ["a"], 50)
    await job.wait_for_final_state()


async def test_a_program_that_raises_shows_its_own_traceback(
    client: RuntimeClient, counter: str
) -> None:
    job = await client.run(counter, {"fail": True})
    with pytest.raises(ProgramFailedError) as caught:
        await job.result()
    assert caught.value.job_id == job.job_id
    assert caught.value.traceback is not None
    assert caught.value.traceback.endswith("ValueError: asked to fail")
    assert "counting to 3" in (caught.value.log_tail or "")
    assert "ValueError: asked to fail" in (await job.error_message() or "")


async def test_a_running_job_is_cancelled_and_deleted(client: RuntimeClient, counter: str) -> None:
    job = await client.run(counter, {"wait": 600})
    await client.delete_job(job.job_id)
    with pytest.raises(NotFoundError, match=job.job_id):
        await job.status()


async def test_a_cancelled_job_says_so_and_cannot_be_cancelled_twice(
    client: RuntimeClient, counter: str
) -> None:
    job = await client.run(counter, {"wait": 600})
    with pytest.raises(TimeoutError, match=job.job_id):
        await job.result(timeout=0.2)
    assert not (await job.status()).is_terminal
    await job.cancel()
    with pytest.raises(JobCancelledError):
        await job.result()
    with pytest.raises(ConflictError):
        await job.cancel()


async def test_a_job_that_takes_too_long_is_ended(client: RuntimeClient, counter: str) -> None:
    job = await client.run(counter, {"wait": 600}, options={"max_execution_time": 1})
    with pytest.raises(JobTimedOutError):
        await job.result()


async def test_inputs_that_break_the_schema_name_place_and_rule(
    client: RuntimeClient, counter: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await client.run(counter, {"count": -1})
    assert (caught.value.path, caught.value.rule) == ("$.count", "minimum: 0")


async def test_the_same_key_is_the_same_job(client: RuntimeClient, counter: str) -> None:
    key = uuid.uuid4().hex
    jobs = await asyncio.gather(*(client.run(counter, idempotency_key=key) for _ in range(5)))
    assert len({job.job_id for job in jobs}) == 1
    with pytest.raises(InvalidInputError):
        await client.run(counter, {"count": 1}, idempotency_key=key)


async def test_a_job_runs_in_the_environment_of_its_caller(client: RuntimeClient) -> None:
    source = "import sys\ndef main(backend, user_messenger):\n    return sys.prefix\n"
    job = await client.run(await client.upload_program(source, name="prefix"))
    assert await job.result() == sys.prefix


async def test_what_is_not_there_is_named(client: RuntimeClient, counter: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        await client.run("nothing")
    assert (caught.value.kind, caught.value.identifier) == ("program", "nothing")
    with pytest.raises(NotFoundError, match="nowhere"):
        await client.run(counter, backend="nowhere")
    with pytest.raises(NotFoundError, match="no backend 'nowhere'"):
        await client.backend("nowhere")


async def test_backends_can_be_chosen(client: RuntimeClient) -> None:
    assert (await client.backend("aer_simulator")).simulator
    large = await client.backends(min_num_qubits=100, simulator=False, operational=True)
    assert all(backend.num_qubits >= 100 for backend in large)
    assert "fake_manila" not in {backend.name for backend in large}


async def test_a_program_is_updated_shown_and_deleted(
    client: RuntimeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"own-{uuid.uuid4().hex[:8]}"
    program_id = await client.upload_program(COUNTER, {"name": name, "cost": 60})
    assert await client.upload_program(COUNTER, {"name": name, "cost": 60}) == program_id
    with pytest.raises(ConflictError):
        await client.upload_program(COUNTER + "#\n", name=name, if_exists="error")
    await client.update_program(program_id, COUNTER + "# new\n", description="Counts.")
    await client.set_program_visibility(program_id, True)
    program = await client.program(program_id)
    assert (program.name, program.cost, program.description) == (name, 60, "Counts.")
    assert program.is_public
    assert program.data == COUNTER + "# new\n"
    assert program.version > 1
    with pytest.raises(ConfigurationError, match="Nothing to change"):
        await client.update_program(program_id)
    await client.pprint_programs(detailed=True, limit=None)
    printed = capsys.readouterr().out
    assert f"{program_id}:\n  Name: {name}\n  Description: Counts.\n" in printed
    assert "  Max execution time: 60\n" in printed
    assert program_id in {found.id for found in await client.programs(limit=None)}
    await client.delete_program(program_id)
    with pytest.raises(NotFoundError):
        await client.program(program_id)


async def test_a_client_that_closes_ends_its_callbacks_and_not_its_jobs(
    service_home: Path,
) -> None:
    first = asyncio.Event()
    async with RuntimeClient() as client:
        program_id = await client.upload_program(COUNTER, name="counter", spec=SPEC)
        job = await client.run(program_id, {"wait": 600}, callback=lambda *_: first.set())
        await asyncio.wait_for(first.wait(), 60)
    async with RuntimeClient() as client:
        again = await client.job(job.job_id)
        assert await again.status() is JobStatus.RUNNING
        await again.cancel()


async def test_a_service_that_is_killed_interrupts_its_jobs_and_loses_none(
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path / "runtime")
    seen: list[int] = []
    async with RuntimeClient(settings=settings) as client:
        try:
            program_id = await client.upload_program(COUNTER, name="counter")
            done = await client.run(program_id, {"count": 2})
            await done.result()
            lost = await client.run(
                program_id,
                {"count": 2, "wait": 600},
                callback=lambda _, interim: seen.append(interim["number"]),
            )
            async with aclosing(lost.stream(1)) as interim_results:
                assert await anext(interim_results) == {"number": 1}
                running = await embedded_status(settings)
                assert running is not None
                os.kill(running.discovery.pid, signal.SIGKILL)
                # The stream goes on with the service that is started in its place.
                assert [interim async for interim in interim_results] == []
            with pytest.raises(JobInterruptedError) as caught:
                await lost.result()
            assert is_retryable(caught.value)
            assert seen == [0, 1]
            assert (await done.result())["total"] == 2
            assert len(await done.interim_results()) == 2
        finally:
            await stop_embedded(settings, only_if_idle=False)


# The synchronous twin ---------------------------------------------------------------------


@pytest.fixture
def blocking(service_home: Path) -> Iterator[SyncRuntimeClient]:
    with SyncRuntimeClient() as client:
        yield client


def test_the_blocking_client_runs_a_program(blocking: SyncRuntimeClient) -> None:
    seen = []
    program_id = blocking.upload_program(COUNTER, name="counter", spec=SPEC)
    job = blocking.run(
        program_id, {"count": 3}, callback=lambda _, interim: seen.append(interim["number"])
    )
    assert job.result()["total"] == 3
    assert seen == [0, 1, 2]
    assert [interim["number"] for interim in job.stream(1)] == [1, 2]
    assert job.job_id in {found.job_id for found in blocking.jobs(program_id=program_id)}
    assert blocking.job(job.job_id).status() is JobStatus.COMPLETED


def test_a_slow_callback_does_not_hold_up_the_blocking_client(
    blocking: SyncRuntimeClient,
) -> None:
    called, go_on = threading.Event(), threading.Event()

    def callback(job_id: str, interim: dict[str, int]) -> None:
        called.set()
        assert go_on.wait(60)

    program_id = blocking.upload_program(COUNTER, name="counter", spec=SPEC)
    job = blocking.run(program_id, {"count": 1}, callback=callback)
    assert called.wait(60)
    assert blocking.backend("aer_simulator").operational
    go_on.set()
    assert job.result()["total"] == 1


def test_a_stream_that_is_left_early_can_be_taken_up_again(blocking: SyncRuntimeClient) -> None:
    program_id = blocking.upload_program(COUNTER, name="counter", spec=SPEC)
    job = blocking.run(program_id, {"count": 3, "wait": 600})
    stream = job.stream()
    assert next(stream) == {"number": 0}
    stream.close()
    assert next(job.stream(2)) == {"number": 2}
    job.cancel()
    assert job.wait_for_final_state() is JobStatus.CANCELLED


INTERRUPTED = """
import sys
from prefect_qiskit_runtime.client import SyncRuntimeClient

with SyncRuntimeClient() as client:
    job = client.run(sys.argv[1], {"wait": 600})
    for interim in job.stream():
        print(job.job_id, flush=True)
"""


def test_ctrl_c_leaves_a_waiting_call_and_not_the_job(blocking: SyncRuntimeClient) -> None:
    program_id = blocking.upload_program(COUNTER, name="counter", spec=SPEC)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", INTERRUPTED, program_id],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    job = blocking.job(lines[0].strip())
    assert job.status() is JobStatus.RUNNING
    job.cancel()
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "Exception ignored" not in err
    assert "asynchronous generator" not in err


def test_the_blocking_client_says_what_a_job_is_and_streams_it_to_a_callback(
    blocking: SyncRuntimeClient,
) -> None:
    seen: list[int] = []
    streamed = threading.Event()

    def callback(job_id: str, interim: dict[str, int]) -> None:
        seen.append(interim["number"])
        if len(seen) == 2:
            streamed.set()

    program_id = blocking.upload_program(COUNTER, name="counter", spec=SPEC)
    inputs = {"count": 2, "wait": 600}
    job = blocking.run(program_id, inputs, job_tags=["a"])
    job.stream_results(callback)
    assert streamed.wait(60)
    job.cancel_result_streaming()
    again = blocking.job(job.job_id)
    facts = ("backend", "program_id", "primitive_id", "tags", "image", "session_id", "private")
    facts += ("creation_date", "instance")
    assert [getattr(again, fact) for fact in facts] == [getattr(job, fact) for fact in facts]
    assert (job.tags, job.session_id, job.primitive_id) == (["a"], None, program_id)
    job.cancel()
    assert (job.cancelled(), seen) == (True, [0, 1])


async def test_the_blocking_client_works_inside_a_running_loop(service_home: Path) -> None:
    with SyncRuntimeClient() as client:
        assert client.backend("aer_simulator").name == "aer_simulator"
