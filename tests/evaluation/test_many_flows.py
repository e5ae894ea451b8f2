"""Flows in many processes at once on one IBM account, with all its limits."""

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

from prefect_qiskit_runtime.testing import OfflineService, offline_service
from tests.evaluation.line import set_pace
from tests.simulated_ibm import ibm_backend

WORKER = Path(__file__).with_name("many_flows.py")


@contextmanager
def worker(cloud: OfflineService, first: int, count: int) -> Iterator[subprocess.Popen[str]]:
    from prefect.settings import PREFECT_API_URL

    account = json.dumps({"url": cloud.url, "api_key": cloud.token})
    process = subprocess.Popen(
        [sys.executable, str(WORKER), str(first), str(count)],
        env={
            **os.environ,
            "MANY_FLOWS": account,
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


def most_within(seconds: float, requests: list[dict[str, Any]]) -> int:
    times = [datetime.fromisoformat(request["at"]) for request in requests]
    window = timedelta(seconds=seconds)
    return max(sum(first <= time < first + window for time in times) for first in times)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.timeout(3600)
async def test_fifty_flows_at_once_keep_the_limits_of_their_account() -> None:
    """With five submissions in 20 s it takes some four minutes; in IBM's 60 s, some eleven."""
    seconds = float(os.environ.get("MANY_FLOWS_SECONDS", "20"))
    with offline_service(imitate="ibm") as cloud:
        cloud.clear()
        cloud.add("submission_limit", submissions=5, seconds=seconds)
        cloud.add("pending_limit", jobs=3)
        await set_pace(ibm_backend(cloud.url, cloud.token), seconds + 1)
        die_in_its_turn(cloud)
        cloud.add("hold_job", seconds=2, when={"times": None})
        with worker(cloud, 0, 25) as one, worker(cloud, 25, 25) as two:
            for process in (one, two):
                assert process.wait(timeout=3600) == 0, process.stderr and process.stderr.read()
        posts = cloud.requests("POST", "/jobs")
    made = [post for post in posts if post["status"] == 200]
    assert len(made) == len({post["body_sha256"] for post in made}) == 50
    assert most_within(seconds, posts) <= 5
    # Submissions are not refused, except occasionally the first beyond the limit of pending jobs.
    others = [post["status"] for post in posts[1:] if post["status"] != 200]
    assert others == [400] * len(others)
    assert len(others) < 10


def die_in_its_turn(cloud: OfflineService) -> None:
    """Leave behind a turn and a slot of the line: its process is killed as it submits."""
    silence = cloud.add("silence", when={"method": "POST", "path": "/jobs"})
    with worker(cloud, 50, 1) as process:
        while not cloud.requests("POST", "/jobs"):
            assert process.poll() is None, process.stderr and process.stderr.read()
    cloud.remove(silence)
