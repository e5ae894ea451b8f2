"""The result stream across broken connections: each interim result once and in order."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import pytest

from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.client._stream import ResultStream
from prefect_qiskit_runtime.errors import (
    AuthenticationError,
    NotFoundError,
    ProtocolError,
    ServiceUnavailableError,
)
from prefect_qiskit_runtime.models import (
    EndEvent,
    Heartbeat,
    InterimEvent,
    JobStatus,
    StatusEvent,
    StreamEvent,
)

from .conftest import TOKEN, Wire, cut, end, interim, refuse, stream

STREAM = "GET /jobs/j1/stream"
RUNNING = {"type": "status", "status": "Running"}


async def numbers(api: RuntimeApi, from_seq: int = 0, **options: float) -> list[int]:
    """Follow job j1 to its end; return the numbers of the interim results that came."""
    events = [event async for event in ResultStream(api, "j1", from_seq, **options).events()]
    assert isinstance(events[-1], EndEvent)
    return [event.seq for event in events if isinstance(event, InterimEvent)]


def asked_from(wire: Wire) -> list[int]:
    return [int(seen.query["from"][0]) for seen in wire.calls(STREAM)]


async def test_events_come_in_order_and_end_with_the_end(wire: Wire, api: RuntimeApi) -> None:
    heartbeat = {"type": "heartbeat"}
    wire.on(STREAM, stream(RUNNING, interim(0), heartbeat, interim(1, "x"), end(2, "Failed")))
    events: list[StreamEvent] = [event async for event in api.stream("j1")]
    assert events[:4] == [
        StatusEvent(status=JobStatus.RUNNING),
        InterimEvent(seq=0, data="0"),
        Heartbeat(),
        InterimEvent(seq=1, data="x"),
    ]
    assert isinstance(events[4], EndEvent)
    assert events[4].state.status is JobStatus.FAILED
    assert len(events) == 5
    assert wire.seen[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_an_unknown_status_is_passed_on_and_is_not_an_end(
    wire: Wire, api: RuntimeApi
) -> None:
    new = {"type": "status", "status": "Validating"}
    wire.on(STREAM, stream(new, new, RUNNING, end(0, "completed")))
    events = [event async for event in api.stream("j1")]
    texts = [event.status.value for event in events if isinstance(event, StatusEvent)]
    assert texts == ["Validating", "Running"]
    assert isinstance(events[-1], EndEvent)
    assert events[-1].state.status is JobStatus.COMPLETED


async def test_an_end_with_an_unknown_status_is_not_taken_for_a_success(
    wire: Wire, api: RuntimeApi
) -> None:
    wire.on(STREAM, stream(RUNNING, end(0, "Partially completed")))
    with pytest.raises(ProtocolError, match=r"^Cannot stream job j1: .*'Partially completed'"):
        await api.wait_for_job("j1")
    assert len(wire.calls(STREAM)) == 1


async def test_a_stream_starts_at_the_number_that_is_asked_for(wire: Wire, api: RuntimeApi) -> None:
    wire.on(STREAM, stream(interim(7), interim(8), end(9)))
    assert await numbers(api, 7) == [7, 8]
    assert asked_from(wire) == [7]


@pytest.mark.parametrize("ending", ["cut", "end"])
async def test_a_broken_stream_goes_on_where_it_broke(
    wire: Wire, api: RuntimeApi, ending: str
) -> None:
    wire.on(
        STREAM,
        stream(RUNNING, interim(0), interim(1), then=ending),
        refuse(503, "restarting"),
        cut,
        stream(RUNNING, interim(2), end(3)),
    )
    assert await numbers(api) == [0, 1, 2]
    assert asked_from(wire) == [0, 2, 2, 2]


async def test_half_a_line_is_asked_for_again(wire: Wire, api: RuntimeApi) -> None:
    wire.on(
        STREAM,
        stream(interim(0), b'{"type": "interim", "seq": 1, "da', then="cut"),
        stream(interim(1), end(2)),
    )
    assert await numbers(api) == [0, 1]
    assert asked_from(wire) == [0, 1]


async def test_a_silent_connection_is_taken_for_dead(wire: Wire, api: RuntimeApi) -> None:
    wire.on(STREAM, stream(interim(0), then="hang"), stream(interim(1), end(2)))
    assert await numbers(api, silence_seconds=0.2) == [0, 1]
    await asyncio.wait_for(wire.hung_up.wait(), 10)


async def test_what_comes_twice_is_given_once(wire: Wire, api: RuntimeApi) -> None:
    wire.on(
        STREAM,
        stream(RUNNING, interim(0), interim(1), then="cut"),
        stream(RUNNING, interim(0), interim(1), interim(2), end(3)),
    )
    events = [event async for event in api.stream("j1")]
    assert [event.type for event in events] == ["status", *["interim"] * 3, "end"]


async def test_a_gap_is_asked_for_again(wire: Wire, api: RuntimeApi) -> None:
    wire.on(
        STREAM,
        stream(interim(0), interim(2), end(3)),
        stream(end(3)),
        stream(interim(1), interim(2), end(3)),
    )
    assert await numbers(api) == [0, 1, 2]
    assert asked_from(wire) == [0, 1, 1]


async def test_a_gap_that_stays_is_an_error(wire: Wire, api: RuntimeApi) -> None:
    wire.on(STREAM, stream(interim(0), interim(2), end(3)))
    with pytest.raises(ProtocolError, match="omits interim result 1"):
        await numbers(api)
    assert asked_from(wire) == [0, 1, 1]


async def test_lines_end_at_newlines_only(wire: Wire, api: RuntimeApi) -> None:
    text = "a\u2028b\u0085c\rd é"
    line = json.dumps(interim(0, text), ensure_ascii=False).encode() + b"\n"
    # Cut within the line and within a character.
    wire.on(
        STREAM, stream(line[:45], line[45:-5], line[-5:] + b'{"type": "he', b'artbeat"}\n', end(1))
    )
    events = [event async for event in api.stream("j1")]
    assert events[0] == InterimEvent(seq=0, data=text)
    assert events[1] == Heartbeat()


async def test_an_event_of_a_later_version_is_left_out(wire: Wire, api: RuntimeApi) -> None:
    wire.on(STREAM, stream({"type": "usage", "seconds": 1}, interim(0), end(1)))
    assert await numbers(api) == [0]


async def test_what_is_no_event_is_a_protocol_error(wire: Wire, api: RuntimeApi) -> None:
    wire.on(STREAM, stream(b"<html>secret\n"))
    with pytest.raises(ProtocolError) as caught:
        await numbers(api)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("status", "error"), [(404, NotFoundError), (401, AuthenticationError)])
async def test_a_refused_stream_is_not_asked_for_again(
    wire: Wire, api: RuntimeApi, status: int, error: type[Exception]
) -> None:
    wire.on(STREAM, refuse(status, "no"))
    with pytest.raises(error):
        await numbers(api)
    assert len(wire.seen) == 1


async def test_a_service_that_stays_away_is_given_up(wire: Wire, api: RuntimeApi) -> None:
    wire.on(STREAM, refuse(503, "gone"))
    with pytest.raises(ServiceUnavailableError, match="gone"):
        await numbers(api, give_up_seconds=0.3)
    assert len(wire.seen) >= 2


async def test_a_consumer_that_stops_closes_the_connection(wire: Wire, api: RuntimeApi) -> None:
    wire.on(STREAM, stream(interim(0), interim(1), then="hang"))
    async with aclosing(api.stream("j1")) as events:
        async for _ in events:
            break
    await asyncio.wait_for(wire.hung_up.wait(), 10)


async def test_a_consumer_that_just_breaks_closes_the_connection_too(
    wire: Wire, api: RuntimeApi
) -> None:
    wire.on(STREAM, stream(interim(0), interim(1), then="hang"))
    async for _ in api.stream("j1"):
        break
    await asyncio.wait_for(wire.hung_up.wait(), 10)


async def test_a_cancelled_consumer_closes_the_connection(wire: Wire, api: RuntimeApi) -> None:
    wire.on(STREAM, stream(interim(0), then="hang"))
    first = asyncio.Event()

    async def consume() -> None:
        async for _ in api.stream("j1"):
            first.set()

    consuming = asyncio.create_task(consume())
    await asyncio.wait_for(first.wait(), 10)
    consuming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consuming
    await asyncio.wait_for(wire.hung_up.wait(), 10)


async def test_waiting_transfers_no_interim_results(wire: Wire, api: RuntimeApi) -> None:
    wire.on(STREAM, stream(RUNNING, then="cut"), stream(end(10_000)))
    assert (await api.wait_for_job("j1")).status is JobStatus.COMPLETED
    assert asked_from(wire) == [2**31 - 1, 2**31 - 1]


async def test_many_events_come_quickly_through_one_connection(wire: Wire, api: RuntimeApi) -> None:
    wire.on(STREAM, stream(*(interim(seq) for seq in range(10_000)), end(10_000)))
    assert await numbers(api) == list(range(10_000))
    assert len(wire.seen) == 1
