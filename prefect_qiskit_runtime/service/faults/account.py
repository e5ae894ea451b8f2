"""Scenarios for an account: limits reached, backends offline, tags found late."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.responses import JSONResponse, Response
from starlette.types import Message, Scope

from prefect_qiskit_runtime.models import JobStatus
from prefect_qiskit_runtime.service.clock import Clock
from prefect_qiskit_runtime.service.faults.book import FaultBook, RequestFacts
from prefect_qiskit_runtime.service.faults.requests import Exchange
from prefect_qiskit_runtime.service.faults.scenarios import (
    BackendOffline,
    JobUsage,
    LateTags,
    PendingLimit,
    SubmissionLimit,
    UsageLimit,
    matches,
)
from prefect_qiskit_runtime.service.http.views import CHARGED
from prefect_qiskit_runtime.service.problem import problem_response
from prefect_qiskit_runtime.service.store import Store
from prefect_qiskit_runtime.service.store.jobs import page_jobs
from prefect_qiskit_runtime.service.store.records import JobFilter, Owner


class AccountFaults:
    """Refuses submissions beyond a limit, and changes answers about limits and backends."""

    def __init__(self, book: FaultBook, store: Store, clock: Clock) -> None:
        self._book = book
        self._store = store
        self._clock = clock
        self._submitted: dict[str, deque[float]] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def serialize(self, facts: RequestFacts) -> AsyncIterator[None]:
        """Answer a user's submissions one at a time while their pending jobs are limited.

        Two simultaneous submissions would both find room for a job that only one may create.
        """
        is_limited = _is_submission(facts) and any(self._book.entries_of(PendingLimit, facts.user))
        if not is_limited or facts.user is None:
            yield
            return
        async with self._turns.setdefault(facts.user, asyncio.Lock()):
            yield

    async def refusal(self, facts: RequestFacts) -> tuple[str, Response] | None:
        """Return the scenario and the answer that refuse a submission beyond a limit, if any."""
        if not _is_submission(facts) or facts.user is None:
            return None
        for entry, limit in self._book.entries_of(SubmissionLimit, facts.user):
            wait_seconds = self._wait_seconds(entry.id + facts.user, limit)
            if wait_seconds > 0:
                entry.used += 1
                return entry.id, _too_many(limit, wait_seconds)
        for entry, usage in self._book.entries_of(UsageLimit, facts.user):
            entry.used += 1
            message = f"The instance has reached its usage limit of {usage.seconds} s."
            return entry.id, problem_response(409, message, code=4317)
        for entry, cap in self._book.entries_of(PendingLimit, facts.user):
            pending = JobFilter(limit=1, pending=True)
            _, count = await self._store.read(page_jobs, Owner(facts.user, ""), pending)
            if count >= cap.jobs:
                entry.used += 1
                return entry.id, problem_response(
                    400,
                    f"You have reached the limit of {cap.jobs} pending jobs.",
                    code=1012,
                    solution="Wait until a job has ended, or cancel one.",
                )
        return None

    def narrow_search(self, facts: RequestFacts, scope: Scope) -> tuple[str | None, Scope]:
        """Exclude jobs that are too recent from a search by tags."""
        if (facts.method, facts.path) != ("GET", "/jobs"):
            return None, scope
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tags = [value for name, value in query if name == "tags"]
        for entry, late in self._book.entries_of(LateTags, facts.user):
            if any(matches(late.tag, tag) for tag in tags):
                entry.used += 1
                horizon = self._clock.now() - timedelta(seconds=late.seconds)
                return entry.id, {**scope, "query_string": _created_before(query, horizon)}
        return None, scope

    async def answer(self, exchange: Exchange, facts: RequestFacts) -> None:
        """Let the app answer, and insert offline backends and used time into its answer."""
        change = self._change(facts)
        if change is None:
            await exchange.forward()
            return
        messages = await exchange.collect()
        for message in _change_body(messages, change):
            await exchange.send(message)

    def _change(self, facts: RequestFacts) -> Callable[[Any], Any] | None:
        if facts.method != "GET":
            return None
        if facts.path == "/instances/usage":
            for entry, usage in self._book.entries_of(UsageLimit, facts.user):
                entry.used += 1
                return lambda body: {
                    **body,
                    "usage_consumed_seconds": usage.seconds,
                    "usage_limit_seconds": usage.seconds,
                    "usage_limit_reached": True,
                }
        if any(matches(path, facts.path) for path in ("/jobs", "/jobs/*", "/jobs/*/metrics")):
            for entry, job_usage in self._book.entries_of(JobUsage, facts.user):
                entry.used += 1
                return lambda body: _set_usage(body, job_usage)
        offline = [scenario.backend for _, scenario in self._book.entries_of(BackendOffline)]
        if offline and facts.path == "/backends":
            return lambda body: {
                "devices": [_mark_offline(device, offline) for device in body["devices"]]
            }
        if offline and matches("/backends/*/status", facts.path):
            return lambda body: _status(body, facts.path.split("/")[2], offline)
        return None

    def _wait_seconds(self, key: str, limit: SubmissionLimit) -> float:
        """Count a submission; return how long to wait if it exceeds the limit."""
        times, now = self._submitted.setdefault(key, deque()), self._clock.monotonic()
        while times and times[0] <= now - limit.seconds:
            times.popleft()
        if len(times) >= limit.submissions:
            return times[0] + limit.seconds - now
        times.append(now)
        return 0.0


def _is_submission(facts: RequestFacts) -> bool:
    return (facts.method, facts.path) == ("POST", "/jobs")


def _too_many(limit: SubmissionLimit, wait_seconds: float) -> Response:
    message = f"At most {limit.submissions} jobs can be submitted every {limit.seconds:g} s."
    response = problem_response(429, message, code=1202)
    response.headers["Retry-After"] = str(int(wait_seconds) + 1)
    return response


def _created_before(query: list[tuple[str, str]], horizon: datetime) -> bytes:
    given = [datetime.fromisoformat(value) for name, value in query if name == "created_before"]
    earliest = min(
        [horizon, *(moment.replace(tzinfo=moment.tzinfo or horizon.tzinfo) for moment in given)]
    )
    rest = [(name, value) for name, value in query if name != "created_before"]
    return urlencode([*rest, ("created_before", earliest.isoformat())]).encode()


def _mark_offline(device: Any, offline: list[str]) -> Any:
    # IBM's older clients get only names, and request the status of each.
    if isinstance(device, dict) and any(matches(name, device["name"]) for name in offline):
        return {**device, "status": {"name": "offline"}}
    return device


def _set_usage(body: Any, how: JobUsage) -> Any:
    """Set the QPU time in jobs, a job or its metrics, once the job has started."""
    if "jobs" in body:
        return {**body, "jobs": [_set_usage(job, how) for job in body["jobs"]]}
    if not _has_started(body):
        return body
    usage = dict(body["usage"])
    if CHARGED not in usage:
        usage["quantum_seconds"] = how.seconds
        if how.pending:
            del usage["quantum_seconds"]
    elif how.pending:
        usage = {CHARGED: 0, "status": "pending"}
    elif usage["status"] == "complete":
        usage[CHARGED] = how.seconds
    return {**body, "usage": usage}


def _has_started(body: Any) -> bool:
    """Return whether a job has started, by its metrics or by itself in our form or IBM's."""
    if "timestamps" in body:
        return body["timestamps"]["running"] is not None
    if "started" in body:
        return body["started"] is not None
    return body["state"]["status"] not in (JobStatus.QUEUED, JobStatus.CANCELLED)


def _status(body: Any, backend: str, offline: list[str]) -> Any:
    if not any(matches(name, backend) for name in offline):
        return body
    message = {"message": "The backend is offline."} if "message" in body else {}
    return {**body, "state": False, "status": "internal", **message}


def _change_body(messages: list[Message], change: Callable[[Any], Any]) -> list[Message]:
    """Return a JSON answer with its content changed; an error stays unchanged."""
    status = messages[0]["status"]
    if status != 200:
        return messages
    body = b"".join(message.get("body", b"") for message in messages[1:])
    response = JSONResponse(change(json.loads(body)), status_code=status)
    start = {"type": "http.response.start", "status": status, "headers": response.raw_headers}
    return [start, {"type": "http.response.body", "body": response.body}]
