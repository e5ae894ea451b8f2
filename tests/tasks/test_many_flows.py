"""Flows in many processes at once on one account of IBM's, with all its limits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from prefect_qiskit_runtime.testing import OfflineService, offline_service

WORKER = Path(__file__).with_name("many_flows.py")
MINUTE = timedelta(seconds=60)


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
    times = [datetime.fromisoformat(request["at"]) for request in requests]
    return max(sum(first <= time < first + MINUTE for time in times) for first in times)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.timeout(3600)
def test_flows_of_many_processes_keep_the_limits_of_their_account() -> None:
    """It takes as long as the limits ask for: some 13 minutes for 50."""
    flows = int(os.environ.get("MANY_FLOWS_COUNT", "8"))
    with offline_service(imitate="ibm") as cloud:
        cloud.add("pending_limit", jobs=3)
        cloud.add("hold_job", seconds=5, when={"times": None})
        half = flows // 2
        with (
            worker(cloud, 0, half) as one,
            worker(cloud, half, flows - half) as two,
            worker(cloud, flows, 4) as killed,
        ):
            while not cloud.requests("POST", "/jobs"):
                assert killed.poll() is None, killed.stderr and killed.stderr.read()
            killed.send_signal(signal.SIGKILL)
            for process in (one, two):
                assert process.wait(timeout=3600) == 0, process.stderr and process.stderr.read()
        posts = cloud.requests("POST", "/jobs")
        made = [post for post in posts if post["status"] == 200]
        assert most_in_a_minute(posts) <= 5
        assert {post["status"] for post in posts} <= {200, 400, None}
        assert flows <= len(made) <= flows + 4
        assert len({post["body_sha256"] for post in made}) == len(made)
