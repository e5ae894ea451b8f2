"""Waiting for jobs of IBM's: what it costs, in requests that a service has seen."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any

import httpx
import pytest

from prefect_qiskit_runtime.client import IbmAccount, IbmApi
from prefect_qiskit_runtime.client.ibm import _polling
from prefect_qiskit_runtime.models import EndEvent, JobStatus, StatusEvent
from prefect_qiskit_runtime.testing import OfflineService
from tests.waiting import wait_until


@pytest.fixture
def cloud(cloud: OfflineService) -> Iterator[OfflineService]:
    """A service like IBM's where submitted jobs stay queued. Each test has its own poller."""
    cloud.add("hold_job", when={"times": None})
    yield cloud
    with _connection(cloud) as http:
        for job in http.get("/jobs", params={"pending": True, "limit": 1000}).json()["jobs"]:
            http.post(f"/jobs/{job['id']}/cancel").raise_for_status()


@contextmanager
def _connection(cloud: OfflineService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{cloud.url}/api/v1", timeout=60, trust_env=False) as http:
        http.headers["Authorization"] = f"apikey {cloud.token}"
        found = http.post(f"{cloud.url}/v3/resources/search").json()
        http.headers["Service-CRN"] = found["items"][0]["crn"]
        yield http


def submit(cloud: OfflineService, count: int) -> list[str]:
    body = json.dumps({"program_id": "sampler", "backend": "aer_simulator", "params": {"pubs": []}})
    with _connection(cloud) as http:
        answers = [http.post("/jobs", content=body).raise_for_status() for _ in range(count)]
        return [answer.json()["id"] for answer in answers]


def cancel(cloud: OfflineService, job_id: str) -> None:
    with _connection(cloud) as http:
        http.post(f"/jobs/{job_id}/cancel").raise_for_status()


def api(cloud: OfflineService) -> IbmApi:
    return IbmApi(IbmAccount(cloud.token, url=f"{cloud.url}/api/v1"))


async def statuses(opened: IbmApi, job_id: str) -> AsyncIterator[JobStatus]:
    async with aclosing(opened.stream(job_id)) as events:
        async for event in events:
            if isinstance(event, StatusEvent):
                yield event.status


async def end(opened: IbmApi, job_id: str) -> JobStatus:
    return (await opened.wait_for_job(job_id)).status


def seconds_between(requests: list[dict[str, Any]]) -> list[float]:
    moments = [datetime.fromisoformat(request["at"]).timestamp() for request in requests]
    return [later - earlier for earlier, later in pairwise(moments)]


async def test_all_jobs_are_asked_for_at_once_from_all_loops(cloud: OfflineService) -> None:
    ids = submit(cloud, 6)
    queued = threading.Barrier(3)

    async def wait(own: list[str]) -> list[JobStatus]:
        async with api(cloud) as opened:
            streams = [statuses(opened, job_id) for job_id in own]
            first = [await anext(stream) for stream in streams]
            assert set(first) == {JobStatus.QUEUED}
            await asyncio.to_thread(queued.wait)
            return [await anext(stream) for stream in streams]

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(asyncio.run, wait(ids[first::2])) for first in (0, 1)]
        await asyncio.to_thread(queued.wait)
        alone = cloud.requests("GET", "/jobs/*")
        for job_id in ids:
            await asyncio.to_thread(cancel, cloud, job_id)
        ended = [await asyncio.wrap_future(one) for one in waiting]
    assert len(alone) <= 1  # the first, as long as it is the only one
    assert ended == [[JobStatus.CANCELLED] * 3] * 2
    assert min(seconds_between(cloud.requests("GET", "/jobs"))) > 0.9
    # A job that is no longer in the list is asked for separately, once.
    asked = [request["path"] for request in cloud.requests("GET", "/jobs/*")][len(alone) :]
    assert sorted(asked) == sorted(f"/jobs/{job_id}" for job_id in ids)


async def test_three_hours_in_a_queue_cost_few_requests(
    cloud: OfflineService, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = submit(cloud, 2)
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] >= 3 * 3600 and now[0] - seconds < 3 * 3600:
            for job_id in ids:
                await asyncio.to_thread(cancel, cloud, job_id)

    monkeypatch.setattr(_polling, "_sleep", sleep)
    monkeypatch.setattr(_polling, "_now", lambda: now[0])
    async with api(cloud) as opened:
        ended = await asyncio.gather(*(end(opened, job_id) for job_id in ids))
    assert ended == [JobStatus.CANCELLED] * 2
    assert 3 * 3600 <= now[0] <= 3 * 3600 + 60
    assert 200 < len(cloud.requests("GET", "/jobs*")) < 400


def _has_requests(cloud: OfflineService, count: int) -> bool:
    return len(cloud.requests("GET", "/jobs")) >= count


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_thousand_jobs_are_waited_for_with_a_request_a_second(
    cloud: OfflineService,
) -> None:
    ids = await asyncio.to_thread(submit, cloud, 1000)
    async with api(cloud) as opened:
        streams = [statuses(opened, job_id) for job_id in ids]
        first = await asyncio.gather(*(anext(stream) for stream in streams))
        assert set(first) == {JobStatus.QUEUED}
        three_times_all_pages = partial(_has_requests, cloud, 15)
        await asyncio.to_thread(wait_until, three_times_all_pages, "15 requests", seconds=500)
        for stream in streams:
            await stream.aclose()
    assert cloud.requests("GET", "/jobs/*") == []
    assert min(seconds_between(cloud.requests("GET", "/jobs"))) > 0.9


@pytest.mark.parametrize("fault", [{"fault": "refuse", "status": 503}, {"fault": "cut"}])
async def test_a_question_that_fails_is_asked_again(
    cloud: OfflineService, fault: dict[str, Any]
) -> None:
    ids = submit(cloud, 2)
    cloud.add(**fault, when={"method": "GET", "path": "/jobs"})
    async with (
        api(cloud) as opened,
        aclosing(opened.stream(ids[0])) as first,
        aclosing(opened.stream(ids[1])) as second,
    ):
        queued = await asyncio.gather(anext(first), anext(second))
        assert queued == [StatusEvent(status=JobStatus.QUEUED)] * 2
        await asyncio.to_thread(cancel, cloud, ids[0])
        *_, last = [event async for event in first]
    assert isinstance(last, EndEvent) and last.state.status is JobStatus.CANCELLED
