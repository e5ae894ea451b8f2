"""Jobs as `RuntimeClient` handles them, with the arguments of the four clients of IBM."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from prefect_qiskit_runtime.client import RuntimeClient, RuntimeClientJob
from prefect_qiskit_runtime.errors import ConfigurationError, ConflictError
from prefect_qiskit_runtime.models import JobStatus, RuntimeOptions

from .conftest import TOKEN, Wire, answer, end, interim, stream

SOURCE = """
import logging, os, time

def main(backend, user_messenger, count=2, wait_for=None, fail=False):
    logging.getLogger("program").info("a line at INFO")
    for number in range(count):
        user_messenger.publish(number)
    while wait_for is not None and not os.path.exists(wait_for):
        time.sleep(0.01)
    if fail:
        raise ValueError("asked to fail")
    return "done"
"""


@pytest.fixture
async def client(service_home: Path) -> AsyncIterator[RuntimeClient]:
    async with RuntimeClient() as client:
        yield client


@pytest.fixture
async def program_id(client: RuntimeClient) -> str:
    return await client.upload_program(SOURCE, name="jobs-of-a-client")


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "fake_manila", "tags": ["a"]},
        {"backend_name": "fake_manila", "job_tags": ["a"]},
        RuntimeOptions(backend="fake_manila", tags=("a",)),
        RuntimeOptions.read({"backend_name": "fake_manila", "job_tags": ["a"]}),
    ],
)
async def test_options_are_an_object_or_a_mapping_by_our_names_or_ibms(
    client: RuntimeClient, program_id: str, options: Any
) -> None:
    job = await client.run(program_id, {}, options)
    assert (job.backend, job.tags) == ("fake_manila", ["a"])
    await job.result()


async def test_a_keyword_wins_over_the_same_option(client: RuntimeClient, program_id: str) -> None:
    options = {
        "backend": "nowhere",
        "image": "nothing",
        "log_level": "ERROR",
        "job_tags": ["b"],
        "max_execution_time": 1,
    }
    job = await client.run(
        program_id,
        options=options,
        backend="aer_simulator",
        image=f"python:{sys.executable}",
        log_level="info",
        job_tags=["a"],
        max_execution_time=50,
    )
    await job.result()
    info = await job.info()
    assert (info.backend, info.tags, info.cost) == ("aer_simulator", ["a"], 50)
    assert "a line at INFO" in await job.logs()


async def test_one_option_under_two_names_is_refused(
    client: RuntimeClient, program_id: str
) -> None:
    with pytest.raises(ConfigurationError, match="backend is given twice"):
        await client.run(program_id, {}, {"backend": "a", "backend_name": "b"})


async def test_the_order_of_the_oldest_client_is_refused_with_a_hint(
    client: RuntimeClient, program_id: str
) -> None:
    namespace = (await client.program(program_id)).parameters()
    options = {"backend_name": "aer_simulator"}
    for first, second in (
        (options, {"count": 1}),
        (options, {}),
        (options, namespace),
        (RuntimeOptions(backend="aer_simulator"), {"count": 1}),
    ):
        with pytest.raises(ConfigurationError, match="inputs and options are exchanged"):
            await client.run(program_id, first, second)  # type: ignore[arg-type]


async def test_the_arguments_of_the_oldest_client_work_by_name(
    client: RuntimeClient, program_id: str
) -> None:
    job = await client.run(
        program_id=program_id, options={"backend_name": "fake_manila"}, inputs={"count": 1}
    )
    assert await job.result() == "done"
    assert job.backend == "fake_manila"


async def test_another_instance_than_the_clients_is_refused(
    client: RuntimeClient, program_id: str
) -> None:
    with pytest.raises(ConfigurationError, match="make another client with instance='crn:other'"):
        await client.run(program_id, instance="crn:other")
    with pytest.raises(ConfigurationError, match="not in 'hub/group/project'"):
        await client.jobs(instance="hub/group/project")


async def test_the_callback_gets_the_final_result_if_asked_to(
    client: RuntimeClient, program_id: str
) -> None:
    without: list[Any] = []
    with_it: list[Any] = []
    await (
        await client.run(program_id, callback=lambda _, result: without.append(result))
    ).wait_for_final_state()
    await (
        await client.run(
            program_id, callback=lambda _, result: with_it.append(result), include_final=True
        )
    ).wait_for_final_state()
    assert without == [0, 1]
    assert with_it == [0, 1, "done"]


async def test_a_job_that_failed_has_no_final_result_for_the_callback(
    client: RuntimeClient, program_id: str
) -> None:
    seen: list[Any] = []
    job = await client.run(
        program_id,
        {"fail": True},
        callback=lambda _, result: seen.append(result),
        include_final=True,
    )
    assert await job.wait_for_final_state() is JobStatus.ERROR
    assert seen == [0, 1]


async def test_a_running_job_streams_to_a_callback_until_that_is_cancelled(
    client: RuntimeClient, program_id: str, tmp_path: Path
) -> None:
    go_on = tmp_path / "go-on"
    seen: list[int] = []
    all_seen = asyncio.Event()

    def callback(job_id: str, number: int) -> None:
        seen.append(number)
        if number == 1:
            all_seen.set()

    submitted = await client.run(program_id, {"wait_for": str(go_on)})
    job = await client.job(submitted.job_id)
    await job.stream_results(callback)
    await asyncio.wait_for(all_seen.wait(), 60)
    with pytest.raises(ConflictError, match=r"already receives the results of job"):
        await job.stream_results(callback)
    waiting = asyncio.create_task(job.wait_for_final_state())
    await job.cancel_result_streaming()
    await job.cancel_result_streaming()
    assert await job.running()
    go_on.touch()
    assert await waiting is JobStatus.DONE
    assert seen == [0, 1]
    with pytest.raises(ConflictError, match=r"has ended \(Completed\)"):
        await job.stream_results(callback)


async def test_a_stream_may_have_a_decoder_of_its_own(
    client: RuntimeClient, program_id: str, tmp_path: Path
) -> None:
    class Shouting:
        @staticmethod
        def decode(data: str) -> str:
            return f"{data}!"

    go_on = tmp_path / "go-on"
    seen: list[str] = []
    job = await client.run(program_id, {"wait_for": str(go_on)})
    await job.stream_results(lambda _, text: seen.append(text), Shouting, include_final=True)
    go_on.touch()
    assert await job.result() == "done"
    assert seen == ["0!", "1!", '"done"!']


async def test_what_a_job_says_of_itself_needs_no_question(
    client: RuntimeClient, program_id: str
) -> None:
    before = datetime.now(UTC)
    job = await client.run(program_id, options={"job_tags": ["a", "b"]})
    created = job.creation_date
    assert created is not None
    assert created.utcoffset() == datetime.now().astimezone().utcoffset()
    assert before - timedelta(seconds=1) <= created <= datetime.now(UTC) + timedelta(seconds=1)
    assert (job.program_id, job.primitive_id) == (program_id, program_id)
    assert (job.tags, job.private, job.instance) == (["a", "b"], False, None)
    assert job.session_id is None
    assert job.image is not None
    again = await client.job(job.job_id)
    facts = ("tags", "image", "session_id", "private", "creation_date", "backend", "program_id")
    assert [getattr(again, fact) for fact in facts] == [getattr(job, fact) for fact in facts]
    await job.result()


async def test_a_service_that_says_little_at_submission_is_made_do_with(wire: Wire) -> None:
    wire.on("POST /jobs", answer({"id": "j1", "backend": "b"}))
    made = "2024-01-02T03:04:05Z"
    answered = {"id": "j1", "backend": "b", "state": {"status": "Queued"}, "program": {"id": "p"}}
    wire.on("GET /jobs/j1", answer({**answered, "created": made, "tags": ["new"]}))
    async with RuntimeClient(wire.url, TOKEN) as client:
        job = await client.run("p", options={"tags": ["a"], "image": "i"}, session_id="s")
        assert (job.tags, job.image, job.session_id, job.creation_date) == (["a"], "i", "s", None)
        await job.info()
        assert job.creation_date == datetime.fromisoformat(made)
        assert job.tags == ["new"]
    assert wire.calls("POST /jobs")[0].json == {
        "program_id": "p",
        "runtime": "i",
        "tags": ["a"],
        "attempt": 1,
        "session_id": "s",
        "params": {},
    }


async def test_a_session_is_asked_for_with_its_length(wire: Wire) -> None:
    wire.on("POST /jobs", answer({"id": "j1", "backend": "b"}))
    async with RuntimeClient(wire.url, TOKEN) as client:
        await client.run("p", options={"session_time": 600}, start_session=True)
    sent = wire.calls("POST /jobs")[0].json
    assert (sent["start_session"], sent["session_time"]) == (True, 600)


async def test_a_status_has_qiskits_names_beside_ours(
    client: RuntimeClient, program_id: str
) -> None:
    job = await client.run(program_id)
    await job.wait_for_final_state()
    assert await job.status() is JobStatus.DONE is JobStatus.COMPLETED
    names = [status.qiskit_name for status in JobStatus]
    assert names == ["QUEUED", "RUNNING", "DONE", "ERROR", "CANCELLED"]
    assert all(JobStatus[name] for name in ["INITIALIZING", *names])


async def states(job: RuntimeClientJob) -> list[str]:
    return [
        name
        for name in ("running", "done", "errored", "cancelled", "in_final_state")
        if await getattr(job, name)()
    ]


async def test_questions_about_the_state_are_answered(
    client: RuntimeClient, program_id: str
) -> None:
    done = await client.run(program_id)
    failed = await client.run(program_id, {"fail": True})
    cancelled = await client.run(program_id, {"wait_for": "/nowhere"})
    too_long = await client.run(program_id, {"wait_for": "/nowhere"}, max_execution_time=1)
    async for _ in cancelled.stream():
        break
    assert await states(cancelled) == ["running"]
    await cancelled.cancel()
    for job in (done, failed, too_long):
        await job.wait_for_final_state()
    assert await states(done) == ["done", "in_final_state"]
    assert await states(failed) == ["errored", "in_final_state"]
    assert await states(cancelled) == ["cancelled", "in_final_state"]
    # As with IBM's clients, a job that ran too long is one that failed.
    assert await states(too_long) == ["errored", "in_final_state"]


async def test_usage_and_estimate_are_seconds_on_a_device(
    client: RuntimeClient, program_id: str
) -> None:
    job = await client.run(program_id, max_execution_time=77)
    assert await job.usage_estimation() == {"quantum_seconds": 77}
    await job.wait_for_final_state()
    assert await job.usage() == 0
    assert await job.usage(partial=True) == 0


async def test_usage_is_zero_until_the_job_has_ended(wire: Wire) -> None:
    answered = {
        "id": "j1",
        "backend": "b",
        "program": {"id": "p"},
        "created": "2024-01-02T03:04:05Z",
    }
    states = [answer({**answered, "state": {"status": word}}) for word in ("Running",) * 2]
    wire.on("GET /jobs/j1", *states, answer({**answered, "state": {"status": "Completed"}}))
    wire.on("GET /jobs/j1/metrics", answer({"usage": {"seconds": 9, "quantum_seconds": 4}}))
    async with RuntimeClient(wire.url, TOKEN) as client:
        job = await client.job("j1")
        assert await job.usage() == 0
        assert await job.usage(partial=True) == 4
        assert await job.usage() == 4


async def test_the_properties_are_those_of_the_jobs_backend(
    client: RuntimeClient, program_id: str
) -> None:
    job = await client.run(program_id, backend="fake_manila")
    assert (await job.properties())["backend_name"] == "fake_manila"
    await job.result()


async def test_new_tags_are_returned_and_kept(client: RuntimeClient, program_id: str) -> None:
    job = await client.run(program_id, job_tags=["old"])
    assert await job.update_tags(["new", "newer", "new"]) == ["new", "newer"]
    assert job.tags == (await client.job(job.job_id)).tags == ["new", "newer"]
    await job.result()


async def test_jobs_are_found_by_every_filter(client: RuntimeClient, program_id: str) -> None:
    tag = uuid.uuid4().hex
    first = await client.run(program_id, backend="fake_manila", job_tags=[tag])
    await first.wait_for_final_state()
    second = await client.run(program_id, {"wait_for": "/nowhere"}, job_tags=[tag])
    assert first.creation_date is not None and second.creation_date is not None
    # Without a zone a time is local, as IBM's clients have it.
    first_made = first.creation_date.replace(tzinfo=None)
    second_made = second.creation_date.replace(tzinfo=None)

    async def found(**filters: Any) -> list[str]:
        return [job.job_id for job in await client.jobs(job_tags=[tag], **filters)]

    both = [second.job_id, first.job_id]
    assert await found() == both
    assert await found(limit=None, descending=False) == both[::-1]
    assert await found(limit=1) == [second.job_id]
    assert await found(skip=1) == [first.job_id]
    assert await found(backend_name="fake_manila") == [first.job_id]
    assert await found(pending=True) == [second.job_id]
    assert await found(pending=False) == [first.job_id]
    assert await found(session_id=second.job_id) == []
    assert await found(program_id=program_id) == both
    assert await found(created_after=second_made) == [second.job_id]
    assert await found(created_before=first_made) == [first.job_id]
    await second.cancel()


async def test_jobs_of_a_session_are_asked_for(wire: Wire) -> None:
    wire.on("GET /jobs", answer({"jobs": [], "count": 0}))
    async with RuntimeClient(wire.url, TOKEN) as client:
        await client.jobs(session_id="s")
    assert wire.seen[0].query["session_id"] == ["s"]


async def test_ten_jobs_are_listed_by_default(wire: Wire) -> None:
    wire.on("GET /jobs", answer({"jobs": [], "count": 0}))
    async with RuntimeClient(wire.url, TOKEN) as client:
        await client.jobs()
        await client.jobs(limit=None)
    assert [seen.query["limit"] for seen in wire.seen] == [["10"], ["200"]]


async def test_a_callback_that_ended_early_does_not_end_the_waiting(wire: Wire) -> None:
    answered = {
        "id": "j1",
        "backend": "b",
        "program": {"id": "p"},
        "created": "2024-01-02T03:04:05Z",
    }
    wire.on("POST /jobs", answer({"id": "j1", "backend": "b"}))
    wire.on("GET /jobs/j1/stream", answer("gone", 404), stream(interim(0), end(1)))
    wire.on("GET /jobs/j1", answer({**answered, "state": {"status": "Completed"}}))
    async with RuntimeClient(wire.url, TOKEN) as client:
        job = await client.run("p", callback=lambda *_: None)
        assert await job.wait_for_final_state() is JobStatus.COMPLETED


async def test_a_logout_is_sent_to_the_service(wire: Wire) -> None:
    wire.on("POST /logout", answer(b"", 204))
    async with RuntimeClient(wire.url, TOKEN) as client:
        await client.logout()
    assert [(seen.method, seen.path) for seen in wire.seen] == [("POST", "/logout")]


async def test_a_private_job_is_asked_for(wire: Wire) -> None:
    wire.on("POST /jobs", answer({"id": "j1", "backend": "b"}))
    async with RuntimeClient(wire.url, TOKEN) as client:
        assert (await client.run("p", options={"private": True})).private
    assert wire.calls("POST /jobs")[0].json["private"] is True
