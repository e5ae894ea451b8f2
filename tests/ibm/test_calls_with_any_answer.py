"""A whole call, with changed answers from IBM: its result is right, or an error says why not."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from prefect_qiskit_runtime import arun_sampler
from prefect_qiskit_runtime.client import _transport
from prefect_qiskit_runtime.client.ibm import _polling
from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.testing import OfflineService
from tests.circuits import flip
from tests.ibm.tampering import OTHERS, Change, Path, at, changed, is_alike, paths_of
from tests.simulated_ibm import ibm_backend

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "6"))
LONGEST_CALL_SECONDS = 60.0
# The result is data of the job, and a configuration describes a device, not facts about jobs.
UNCHANGED = ("/results", "/configuration", "/properties")
ESSENTIAL = {"id", "state", "status", "jobs"}


class Tampering(httpx.AsyncBaseTransport):
    """Changes answers on their way, a few fields in each, by the numbers of a generator."""

    def __init__(
        self, numbers: random.Random, keep: Callable[[Path], bool], posts: list[int]
    ) -> None:
        self._numbers = numbers
        self._keep = keep
        self._posts = posts
        self._actual = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._actual.handle_async_request(request)
        content = await response.aread()
        path = request.url.path
        if (request.method, path) == ("POST", "/api/v1/jobs"):
            self._posts.append(response.status_code)
        is_json = "json" in response.headers.get("content-type", "")
        if is_json and response.status_code < 300 and not path.endswith(UNCHANGED):
            content = json.dumps(self._changed(json.loads(content))).encode()
        headers = {"Content-Type": response.headers.get("content-type", "")}
        return httpx.Response(response.status_code, content=content, headers=headers)

    async def aclose(self) -> None:
        await self._actual.aclose()

    def _changed(self, body: Any) -> Any:
        return changed(body, [self._change(body) for _ in range(self._numbers.randint(0, 3))])

    def _change(self, body: Any) -> Change:
        path = self._numbers.choice([one for one in paths_of(body) if not self._keep(one)] or [()])
        if self._keep(path) or (isinstance(at(body, path), dict) and self._numbers.random() < 0.5):
            return Change(path, "add", self._numbers.choice(OTHERS))
        if path and isinstance(path[-1], str) and self._numbers.random() < 0.5:
            return Change(path, "remove")
        others = [one for one in OTHERS if not is_alike(one, at(body, path))]
        return Change(path, "replace", self._numbers.choice(others))


def is_essential(path: Path) -> bool:
    return not path or path[-1] in ESSENTIAL or isinstance(path[-1], int)


class Renaming(Tampering):
    """Reports statuses that no version of the client knows, a few times for each job.

    Known statuses arrive in another case.
    """

    def __init__(self, statuses: list[str], posts: list[int]) -> None:
        super().__init__(random.Random(0), lambda _: True, posts)
        self._statuses = statuses

    def _changed(self, body: Any) -> Any:
        for job in [body, *body.get("jobs", [])]:
            if "state" in job and "usage" in job:
                status = job["state"]["status"].upper()
                job["state"]["status"] = job["status"] = (
                    self._statuses.pop() if self._statuses else status
                )
        return body


@pytest.mark.usefixtures("prefect_server")
def test_a_call_waits_through_statuses_that_it_does_not_know(
    cloud: OfflineService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_polling, "_BETWEEN_REQUESTS_SECONDS", 0.01)
    statuses, posts = ["Finished", "Completed - partly", "Initializing"], []

    def renamed(*_args: Any, headers: Any = None, **_kwargs: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=Renaming(statuses, posts), headers=headers)

    monkeypatch.setattr(_transport, "open_http", renamed)
    backend = ibm_backend(cloud.url, cloud.token, max_qpu_seconds_per_day=600)
    (result,) = asyncio.run(called(backend))
    assert result.data.meas.get_counts() == {"1": 5}
    assert (posts, statuses) == ([200], [])
    for status in ("Initializing", "Completed - partly", "Finished"):
        assert f"has the status '{status}', which this version does not know" in caplog.text


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("may_lack_anything", [False, True])
def test_a_call_has_its_result_and_one_job_whatever_ibm_answers(
    cloud: OfflineService, monkeypatch: pytest.MonkeyPatch, may_lack_anything: bool
) -> None:
    monkeypatch.setattr(_polling, "_BETWEEN_REQUESTS_SECONDS", 0.01)
    monkeypatch.setattr(_transport, "pauses", lambda: iter([0.0, None]))
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_SUBMISSION_GRACE_SECONDS", "2")
    backend = ibm_backend(cloud.url, cloud.token, retry_delay_seconds=0)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(seed=st.integers(0, 2**32))
    def check(seed: int) -> None:
        keep = (lambda path: path == ("jobs",)) if may_lack_anything else is_essential
        numbers, posts = random.Random(seed), []

        def tampered(*_args: Any, headers: Any = None, **_kwargs: Any) -> httpx.AsyncClient:
            return httpx.AsyncClient(transport=Tampering(numbers, keep, posts), headers=headers)

        monkeypatch.setattr(_transport, "open_http", tampered)
        try:
            (result,) = asyncio.run(called(backend))
        except QiskitRuntimeError:
            assert may_lack_anything
            assert posts in ([], [200])
        else:
            assert result.data.meas.get_counts() == {"1": 5}
            assert posts == [200]

    check()


async def called(backend: Any) -> Any:
    async with asyncio.timeout(LONGEST_CALL_SECONDS):
        return await arun_sampler.fn([flip()], backend=backend, shots=5)
