"""Submissions of all workers of an account in one line, so that together they keep its limits.

IBM takes five submissions a minute, and as many pending jobs as the plan allows; what comes beyond
is refused. Where flows run, Prefect's API keeps the line, by two global concurrency limits for
each instance: one has a single slot, for whose turn it is; the other as many slots as there are
submissions in a minute, each taken for that long. The slots are leases, so that what dies in
line leaves it. The rest is the service's to say: outside of flows, and where Prefect keeps no
limits, that is all there is.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from prefect_qiskit_runtime._retrying import RetryPolicy
from prefect_qiskit_runtime._watching import logger_here
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.errors import QiskitRuntimeError

_TOO_MANY_PENDING = 1012
_MINUTE_SECONDS = 61.0  # from the answer to a submission, which has come in before that
_LEASE_SECONDS = 60.0  # the shortest that Prefect has
_RENEW_SECONDS = 20.0
# Prefect forgets leases when its server restarts, unless told otherwise, but not the slots. A slot
# of a submission that is not free after this time was left so; that of a turn comes back by decay.
_LEFT_AFTER_SECONDS = 150.0
_DECAY_PER_SECOND = 1 / 900
_LONGEST_PAUSE_SECONDS = 20.0
_LONGEST_PACE_PAUSE_SECONDS = 5.0  # only one at a time waits for that
_AWAY_SECONDS = 60.0  # how long Prefect's API may be away before one goes on without the line
_KNOWN_SECONDS = 300.0

# How many jobs may be pending, as the service has shown, and until when that is taken as known:
# not for long, since some may have ended between its answer and the look at them.
_most_pending: dict[str, tuple[int, float]] = {}


@dataclass(frozen=True)
class _Limit:
    """One of Prefect's global concurrency limits; what is changed in its UI counts.

    Prefect's own `concurrency` counts those that wait against those that hold: each that is
    refused starts the time anew after which slots decay. So here a slot is asked for only where
    there is one.
    """

    client: PrefectClient
    name: str
    slots: int
    decay_per_second: float = 0.0
    longest_pause_seconds: float = _LONGEST_PAUSE_SECONDS

    async def take(self, lease_seconds: float, on_wait: Callable[[float], Awaitable[None]]) -> UUID:
        """Wait for a slot and take it; return the lease.

        Args:
            lease_seconds: How long it is taken for, unless renewed.
            on_wait: Told, before each pause, how long this has waited already.

        Raises:
            httpx.HTTPError: Prefect's API has been away for long.
        """
        pause_seconds, waited_seconds = 0.5, 0.0
        heard_at = time.monotonic()
        while True:
            try:
                lease_id = await self._try_take(lease_seconds)
            except httpx.HTTPError:
                if time.monotonic() - heard_at > _AWAY_SECONDS:
                    raise
                lease_id = None
            else:
                heard_at = time.monotonic()
            if lease_id is not None:
                return lease_id
            await on_wait(waited_seconds)
            jittered = pause_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            await asyncio.sleep(jittered)
            waited_seconds += jittered
            pause_seconds = min(self.longest_pause_seconds, 1.5 * pause_seconds)

    async def free(self) -> None:
        """Free all slots."""
        await self.client.update_global_concurrency_limit(
            self.name, GlobalConcurrencyLimitUpdate(active_slots=0)
        )

    async def _try_take(self, lease_seconds: float) -> UUID | None:
        try:
            limit = await self.client.read_global_concurrency_limit_by_name(self.name)
        except ObjectNotFound:
            await self._create()
        else:
            if limit.active and limit.active_slots >= limit.limit:
                return None
        try:
            answer = await self.client.increment_concurrency_slots_with_lease(
                [self.name], 1, "concurrency", lease_seconds
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == HTTPStatus.LOCKED:  # another was faster
                return None
            raise
        return UUID(answer.json()["lease_id"])

    async def _create(self) -> None:
        with suppress(ObjectAlreadyExists):
            await self.client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(
                    name=self.name,
                    limit=self.slots,
                    slot_decay_per_second=self.decay_per_second,
                )
            )


class SubmissionLine:
    """The line of an instance, for one call that submits there.

    Args:
        api: The service.
        policy: How it is asked.

    Attributes:
        waits: Grows while it waits here, rather than for an answer.
    """

    def __init__(self, api: RuntimeApi, policy: RetryPolicy) -> None:
        self.waits = 0
        self._api = api
        self._policy = policy
        self._pace: _Limit | None = None
        self._is_full = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until it is this call's turn, which lasts as long as the block."""
        per_minute = self._api.submissions_per_minute
        async with AsyncExitStack() as stack:
            if per_minute is not None and _is_in_run():
                try:
                    await self._stand_in_line(stack, per_minute)
                except Exception as error:  # noqa: BLE001 - whatever Prefect's client raises
                    self._go_without(error)
            yield

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait until one submission more is within the limits; the block sends it."""
        await self._wait_for_room()
        lease_id = await self._take_pace()
        try:
            yield
        except QiskitRuntimeError as error:
            self._is_full = error.code == _TOO_MANY_PENDING
            raise
        finally:
            if self._pace is not None and lease_id is not None:
                # Its minute begins when it has come in, which may be long after the slot was taken.
                await _renew(self._pace.client, lease_id, _MINUTE_SECONDS)

    async def _take_pace(self) -> UUID | None:
        if self._pace is None:
            return None
        try:
            return await self._pace.take(_MINUTE_SECONDS, self._waiting_for_pace)
        except Exception as error:  # noqa: BLE001 - whatever Prefect's client raises
            self._go_without(error)
            return None

    async def _stand_in_line(self, stack: AsyncExitStack, per_minute: int) -> None:
        client = await stack.enter_async_context(get_client())
        name = limit_name(self._api)
        turn = _Limit(client, f"{name}-turn", 1, _DECAY_PER_SECOND)
        lease_id = await turn.take(_LEASE_SECONDS, self._waiting_for_turn)
        stack.push_async_callback(_release, client, lease_id)
        renewing = asyncio.create_task(_keep(client, lease_id))
        stack.callback(renewing.cancel)
        self._pace = _Limit(
            client,
            f"{name}-submissions",
            per_minute,
            longest_pause_seconds=_LONGEST_PACE_PAUSE_SECONDS,
        )

    async def _waiting_for_turn(self, waited_seconds: float) -> None:
        if waited_seconds == 0:
            logger_here().info("Other submissions to this instance are under way: waiting in line.")

    async def _waiting_for_pace(self, waited_seconds: float) -> None:
        assert self._pace is not None  # noqa: S101 - for the type checker: it is what waits
        self.waits += 1
        if waited_seconds == 0:
            logger_here().info("The submissions of this minute are used up: waiting for the next.")
        elif waited_seconds > _LEFT_AFTER_SECONDS:
            # Nobody else takes any while it is this call's turn.
            await self._pace.free()

    async def _wait_for_room(self) -> None:
        """Wait until there are less pending jobs than when the service has refused one more."""
        name, pause_seconds = limit_name(self._api), 1.0
        if self._is_full:
            most = max(1, await self._pending(), _known_most_pending(name))
            _most_pending[name] = most, time.monotonic() + _KNOWN_SECONDS
            self._is_full = False
        while 0 < _known_most_pending(name) <= await self._pending():
            if pause_seconds == 1.0:
                logger_here().info(
                    "The account has as many pending jobs as it may: waiting until one has ended."
                )
            self.waits += 1
            await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, 1.5 * pause_seconds)

    async def _pending(self) -> int:
        return len(await self._policy.ask(lambda: self._api.list_jobs(pending=True)))

    def _go_without(self, error: Exception) -> None:
        self._pace = None
        logger_here().warning(
            "Prefect's API keeps no concurrency limits for this account (%s): other flows are not "
            "waited for, but for what the service says.",
            error,
        )


def _is_in_run() -> bool:
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def limit_name(api: RuntimeApi) -> str:
    """Return what the names of an instance's limits begin with; it tells no account."""
    whole = json.dumps([api.url, api.instance])
    return f"qiskit-runtime-{hashlib.sha256(whole.encode()).hexdigest()[:12]}"


def _known_most_pending(name: str) -> int:
    """Return how many jobs may be pending, as far as this process has met it; 0 if it has not."""
    most, until = _most_pending.get(name, (0, 0.0))
    return most if time.monotonic() < until else 0


async def _keep(client: PrefectClient, lease_id: UUID) -> None:
    """Keep a lease; one that is lost costs a little order in the line, no more."""
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        await _renew(client, lease_id, _LEASE_SECONDS)


async def _renew(client: PrefectClient, lease_id: UUID, seconds: float) -> None:
    with suppress(httpx.HTTPError):
        await client.renew_concurrency_lease(lease_id, seconds)


async def _release(client: PrefectClient, lease_id: UUID) -> None:
    """Give a slot back; where that fails its lease runs out."""
    with suppress(httpx.HTTPError):
        await client.release_concurrency_slots_with_lease(lease_id)
