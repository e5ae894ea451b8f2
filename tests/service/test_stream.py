"""The result stream: in order, from any number, during the job and long after its end."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from pydantic import TypeAdapter

from prefect_qiskit_runtime.models import EndEvent, Heartbeat, InterimEvent, StatusEvent
from prefect_qiskit_runtime.service.execution.executor import Exited, Interim, Result
from prefect_qiskit_runtime.service.http.routes.stream import StreamSource, event_lines, follow

EVENT = TypeAdapter(InterimEvent | StatusEvent | EndEvent | Heartbeat)


class Reader:
    """A stream that is read event by event."""

    def __init__(self, local: Any, job_id: str, from_seq: int = 0) -> None:
        source = StreamSource(local.context.store, local.context.feed, job_id)
        share = partial(local.context.answers.share, "alice", lambda: None)
        self._chunks = event_lines(source, from_seq, share)
        self._lines: list[bytes] = []

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while not self._lines:
                self._lines = (await anext(self._chunks)).splitlines()
            event = json.loads(self._lines.pop(0))
        EVENT.validate_python(event)
        return event

    async def rest(self) -> list[dict[str, Any]]:
        events = []
        while not events or events[-1]["type"] != "end":
            events.append(await self.next())
        with pytest.raises(StopAsyncIteration):
            await anext(self._chunks)
        return events


async def test_each_state_and_result_is_reported_as_it_happens(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        blockers = [await local.job(client, program_id) for _ in range(2)]
        executions = [await local.executor.next() for _ in blockers]
        reader = Reader(local, await local.job(client, program_id))
        assert await reader.next() == {"type": "status", "status": "Queued"}
        executions[0].exit()
        assert await reader.next() == {"type": "status", "status": "Running"}
        execution = await local.executor.next()
        for seq in range(3):
            execution.send(Interim(f'{{"x": {seq}}}'))
            assert await reader.next() == {
                "type": "interim",
                "seq": seq,
                "data": f'{{"x": {seq}}}',
            }
        execution.send(Result("1"), Exited(0, None, False))
        assert await reader.rest() == [
            {"type": "status", "status": "Completed"},
            {"type": "end", "state": {"status": "Completed"}, "interim_count": 3},
        ]


async def test_a_late_stream_tells_the_same_from_any_number(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        execution.send(*(Interim(str(number)) for number in range(5)), Exited(0, None, False))
        await local.ended(job_id)
        for from_seq in (0, 3, 5, 2**31):
            first, *interim, end = await Reader(local, job_id, from_seq).rest()
            assert first == {"type": "status", "status": "Failed"}
            assert [event["seq"] for event in interim] == list(range(from_seq, 5))
            assert (end["type"], end["interim_count"]) == ("end", 5)


async def test_two_streams_at_once_get_everything_each(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        early = asyncio.create_task(Reader(local, job_id).rest())
        middle = asyncio.create_task(Reader(local, job_id, 500).rest())
        for number in range(2000):
            execution.send(Interim(str(number)))
            if number % 100 == 0:
                await asyncio.sleep(0)
        execution.exit()
        for task, first in ((early, 0), (middle, 500)):
            seqs = [event["seq"] for event in await task if event["type"] == "interim"]
            assert seqs == list(range(first, 2000))


async def test_a_reader_that_does_not_read_holds_up_no_other_reader(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        stuck = Reader(local, job_id)
        assert (await stuck.next())["type"] == "status"
        execution.send(*[Interim('"' + "x" * 100_000 + '"')] * 100, Exited(0, None, False))
        await local.ended(job_id)  # with the first reader still where it was
        seqs = [event["seq"] for event in await stuck.rest() if event["type"] == "interim"]
    assert seqs == list(range(100))


async def test_a_page_is_bounded_by_its_size(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        execution = await local.executor.next()
        texts = [Interim('"' + "x" * size + '"') for size in (70_000,) * 4 + (700_000, 1)]
        execution.send(*texts, Exited(0, None, False))
        await local.ended(job_id)
    source = StreamSource(local.context.store, local.context.feed, job_id)
    pages = [page async for page in follow(source, 0)]
    sizes = [[text and len(text) for _, text in page.results] for page in pages]
    # A large result ends its page, without its text.
    assert sizes == [[70_002] * 2, [70_002] * 2, [None], [3]]
    assert [page.complete for page in pages] == [False, False, False, True]


async def test_a_quiet_stream_shows_that_it_lives(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
    source = StreamSource(local.context.store, local.context.feed, job_id)
    pages = follow(source, 0, heartbeat_seconds=0.01)
    assert (await anext(pages)) is not None
    while (page := await anext(pages)) is not None:
        assert page.results == []
    await pages.aclose()
    assert local.context.feed.open_streams == 0


async def test_nothing_is_lost_between_reading_and_waiting(local, monkeypatch) -> None:
    """A result that is stored right after a read, before the wait begins, wakes the stream."""
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
    execution = await local.executor.next()
    source = StreamSource(local.context.store, local.context.feed, job_id)
    seqs = []
    async with asyncio.timeout(60):
        async for page in follow(source, 0, heartbeat_seconds=3600):
            seqs += [seq for seq, _ in page.results]
            if len(seqs) == 3:
                execution.exit()
                await local.ended(job_id)
            elif not page.job.state.is_terminal:
                execution.send(Interim("0"))
                await _stored(local, job_id, len(seqs) + 1)  # before the stream waits
    assert seqs == [0, 1, 2]


async def _stored(local: Any, job_id: str, count: int) -> None:
    from prefect_qiskit_runtime.service.store.jobs import get_job

    while (await local.context.store.read(get_job, job_id)).interim_count < count:
        await asyncio.sleep(0)


async def test_streams_end_without_an_end_when_the_service_goes(local) -> None:
    async with local.client() as client:
        program_id = await local.program(client)
        for _ in range(2):
            await local.job(client, program_id)
            await local.executor.next()
        queued = Reader(local, await local.job(client, program_id))
    assert (await queued.next())["status"] == "Queued"
    local.context.feed.close()
    with pytest.raises(StopAsyncIteration):
        await queued.next()


@pytest.mark.parametrize("query", ["from=-1", "from=x", f"from={2**63}"])
async def test_a_wrong_number_is_refused(local, query) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        assert (await client.get(f"/jobs/{job_id}/stream?{query}")).status_code == 400


def test_a_stream_over_the_wire_resumes_where_it_was_cut(api, counting, tmp_path) -> None:
    gate = tmp_path / "gate"
    job_id = api.submit(counting, params={"n": 10, "wait_at": 5, "wait_for": str(gate)})
    seen = []
    for event in api.events(job_id):  # the connection is closed in the middle of the job
        if event["type"] == "interim":
            seen.append(event["seq"])
        if len(seen) == 5:
            break
    gate.touch()
    seen += [e["seq"] for e in api.events(job_id, from_seq=5) if e["type"] == "interim"]
    assert seen == list(range(10))
