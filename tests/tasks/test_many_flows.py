"""Flows in many processes at once on one account of IBM's, with all its limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client

from prefect_qiskit_runtime import _submission_line
from prefect_qiskit_runtime.testing import OfflineService, offline_service
from tests.tasks.many_flows import backend_of

WORKER = Path(__file__).with_name("many_flows.py")
MINUTE = timedelta(seconds=60)


async def let_in_a_minute(cloud: OfflineService, submissions: int) -> None:
    """Let the account submit more or less in a minute, at the service and in the line."""
    (limit,) = (one for one in cloud.scenarios() if one["fault"] == "submission_limit")
    cloud.remove(limit["id"])
    cloud.add("submission_limit", submissions=submissions)
    backend = backend_of({"url": cloud.url, "key": cloud.token})
    async with backend.connect() as api, get_client() as client:
        name = f"{_submission_line.limit_name(api)}-submissions"
        await client.upsert_global_concurrency_limit_by_name(name, submissions)


@contextmanager
def worker(cloud: OfflineService, first: int, count: int) -> Iterator[subprocess.Popen[str]]:
    from prefect.settings import PREFECT_API_URL

    told = json.dumps({"url": cloud.url, "key": cloud.token})
    process = subprocess.Popen(
        [sys.executable, str(WORKER), str(first), str(count)],
        env={
            **os.environ,
            "MANY_FLOWS": told,
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "PREFECT_CLIENT_MAX_RETRIES": "50",  # its SQLite is busy with so many flow runs
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def most_in_a_minute(requests: list[dict[str, Any]]) -> int:
    times = [came_at(request) for request in requests]
    return max(sum(first <= time < first + MINUTE for time in times) for first in times)


def seconds_between(first: dict[str, Any], last: dict[str, Any]) -> float:
    return (came_at(last) - came_at(first)).total_seconds()


def came_at(request: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(request["at"])


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.timeout(3600)
async def test_fifty_flows_at_once_keep_the_limits_of_their_account() -> None:
    """With 15 submissions a minute it takes some six minutes; with IBM's five, some fifteen."""
    in_a_minute = int(os.environ.get("MANY_FLOWS_A_MINUTE", "15"))
    with offline_service(imitate="ibm") as cloud:
        await let_in_a_minute(cloud, in_a_minute)
        die_in_its_turn(cloud)
        cloud.add("pending_limit", jobs=3)
        cloud.add("hold_job", seconds=5, when={"times": None})
        with worker(cloud, 0, 25) as one, worker(cloud, 25, 25) as two:
            for process in (one, two):
                assert process.wait(timeout=3600) == 0, process.stderr and process.stderr.read()
        posts = cloud.requests("POST", "/jobs")
    made = [post for post in posts if post["status"] == 200]
    assert len(made) == len({post["body_sha256"] for post in made}) == 50
    assert most_in_a_minute(posts) <= in_a_minute
    # None is refused, but for the first that each process has too many pending, now and then.
    others = [post["status"] for post in posts[1:] if post["status"] != 200]
    assert others == [400] * len(others)
    assert len(others) <= 2 * (1 + seconds_between(posts[0], posts[-1]) / 300)


def die_in_its_turn(cloud: OfflineService) -> None:
    """Leave behind a turn and a slot of the line: its process is killed as it submits."""
    silence = cloud.add("silence", when={"method": "POST", "path": "/jobs"})
    with worker(cloud, 50, 1) as process:
        while not cloud.requests("POST", "/jobs"):
            assert process.poll() is None, process.stderr and process.stderr.read()
    cloud.remove(silence)
