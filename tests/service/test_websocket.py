"""IBM's form of the result stream, with the client of `websockets`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from prefect_qiskit_runtime.service.replay import ReplayGuard
from prefect_qiskit_runtime.service.store.records import Owner


@contextmanager
def stream(
    service, job_id: str, headers: dict[str, str] | None = None
) -> Iterator[ClientConnection]:
    url = service.discovery.url.replace("http", "ws") + f"/stream/jobs/{job_id}"
    headers = {"Authorization": f"apikey {service.token}"} if headers is None else headers
    with connect(url, additional_headers=headers, proxy=None, open_timeout=60) as websocket:
        yield websocket


def frames(service, job_id: str) -> list[str]:
    """All frames after the ACK, up to a clean close."""
    with stream(service, job_id) as websocket:
        assert json.loads(websocket.recv(60)) == {"type": "ack"}
        received = []
        with pytest.raises(ConnectionClosedOK) as closed:
            while True:
                received.append(websocket.recv(60))
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000
    return received


def test_interim_results_come_first_and_the_final_result_last(service, api, counting) -> None:
    job_id = api.submit(counting, params={"n": 3, "result": {"x": 1}})
    expected = ['{"i": 0}', '{"i": 1}', '{"i": 2}', '{"x": 1}']
    assert frames(service, job_id) == expected
    assert frames(service, job_id) == expected  # again, after the end


def test_results_come_while_the_job_runs(service, api, counting, tmp_path) -> None:
    gate = tmp_path / "gate"
    job_id = api.submit(counting, params={"n": 2, "wait_at": 1, "wait_for": str(gate)})
    with stream(service, job_id) as websocket:
        websocket.recv(60)
        assert websocket.recv(60) == '{"i": 0}'
        assert api.state(job_id)["status"] == "Running"
        gate.touch()
        assert websocket.recv(60) == '{"i": 1}'
        assert websocket.recv(60) == '"done"'


def test_a_failed_job_has_no_final_frame(service, api) -> None:
    source = "def main(backend, user_messenger):\n    user_messenger.publish(1)\n    1 / 0\n"
    job_id = api.submit(api.upload(source, name="raises late"))
    assert frames(service, job_id) == ["1"]


def test_a_client_that_replays_a_finished_job_for_ever_gets_no_more(service, api, counting) -> None:
    job_id, other = (api.submit(counting, params={"n": 1}) for _ in range(2))
    api.finish(job_id)
    api.finish(other)
    full = ['{"i": 0}', '"done"']
    assert [frames(service, job_id) for _ in range(5)] == [full, full, full, [], []]
    assert frames(service, other) == full


def test_the_replay_guard_forgets_after_ten_seconds() -> None:
    now = 0.0
    guard, reader = ReplayGuard(lambda: now), Owner("u", "")
    for _ in range(3):
        assert not guard.refuses(reader, "job")
        guard.record(reader, "job")
    now = 9.0
    assert guard.refuses(reader, "job")  # which counts itself
    assert not guard.refuses(Owner("other", ""), "job")
    now = 19.5
    assert not guard.refuses(reader, "job")


@pytest.mark.parametrize(
    ("headers", "job", "status"),
    [({}, None, 401), ({"Authorization": "Bearer wrong"}, None, 401), (None, "nojob", 404)],
)
def test_who_may_not_read_is_refused_before_the_stream(
    service, api, counting, headers, job, status
) -> None:
    job_id = job or api.submit(counting, params={"n": 0})
    with pytest.raises(InvalidStatus) as refused, stream(service, job_id, headers):
        pass
    assert refused.value.response.status_code == status


def test_a_client_that_goes_away_leaves_no_stream_open(service, api, counting, tmp_path) -> None:
    gate = tmp_path / "gate"
    job_id = api.submit(counting, params={"wait_for": str(gate)})
    with stream(service, job_id) as websocket:
        websocket.recv(60)
        while api.http.get("/service/status").json()["streams_open"] != 1:
            pass
    while api.http.get("/service/status").json()["streams_open"] != 0:
        pass
    gate.touch()
    assert api.finish(job_id) == {"status": "Completed"}


async def test_a_cancellation_is_answered_once_the_streams_are_closed(local) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        await local.executor.next()
        with local.context.feed.reader(job_id):
            cancelling = asyncio.create_task(client.post(f"/jobs/{job_id}/cancel"))
            await local.ended(job_id)
            for _ in range(5):
                assert (await client.get(f"/jobs/{job_id}")).status_code == 200
            assert not cancelling.done()
        assert (await cancelling).status_code == 204


async def test_a_reader_that_does_not_close_its_stream_delays_the_answer_for_a_second(
    local,
) -> None:
    async with local.client() as client:
        job_id = await local.job(client, await local.program(client))
        await local.executor.next()
        with local.context.feed.reader(job_id):
            assert (await client.post(f"/jobs/{job_id}/cancel")).status_code == 204


def test_a_stream_ends_cleanly_when_its_job_is_cancelled(service, api, counting, tmp_path) -> None:
    job_id = api.submit(counting, params={"n": 1, "wait_for": str(tmp_path / "never")})
    with stream(service, job_id) as websocket:
        assert json.loads(websocket.recv(60)) == {"type": "ack"}
        assert api.http.post(f"/jobs/{job_id}/cancel").status_code == 204
        with pytest.raises(ConnectionClosedOK):
            websocket.recv(60)
