"""One submission line for all workers of an account, so that together they keep its limits.

IBM accepts five submissions a minute, and as many pending jobs as the plan allows; it refuses any
more. For flows, Prefect's API keeps the line with global concurrency limits of a single slot each:
one limit per instance holds the turn, and one limit for each submission of a minute is occupied for
that minute. Slots decay, so a process that dies in line leaves it. Outside of flows, and where
Prefect keeps no limits, only the service enforces its limits.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from prefect_qiskit_runtime.client import (
    KNOWN_SECONDS,
    TOO_MANY_PENDING,
    RuntimeApi,
    instance_name,
    wait_for_room,
)
from prefect_qiskit_runtime.errors import QiskitRuntimeError
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.submission.retrying import RetryPolicy
from prefect_qiskit_runtime.twins.clean_up import cleaned_up

_MINUTE_SECONDS = 61.0  # from the reply to a submission, which the service received before it
_TURN_SECONDS = 90.0  # how long the turn of a dead process is kept
_HOLD_SECONDS = 20.0
_GIVE_BACK_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 20.0
_LONGEST_PACE_PAUSE_SECONDS = 5.0  # only one caller at a time waits for it
_AWAY_SECONDS = 60.0  # how long Prefect's API may be down before a call skips the line

# How many jobs may be pending, as the service has shown, and until when that is assumed to hold.
_most_pending: dict[str, tuple[int, float]] = {}


@dataclass(frozen=True)
class _Slot:
    """A global concurrency limit of Prefect with one slot, which becomes free after a time.

    The slot decays in the database of Prefect's server. Prefect's leases are not used: by default a
    restarted server forgets the leases but not the slots, and a server that a flow started for
    itself does not check for expired leases. Prefect's own `rate_limit` is not used either, because
    each refused request restarts the time. So a slot is requested only when it is free.
    """

    client: PrefectClient
    name: str
    seconds: float

    async def try_take(self) -> bool:
        """Take the slot if it is free; return whether it was."""
        try:
            limit = await self.client.read_global_concurrency_limit_by_name(self.name)
        except ObjectNotFound:
            await self._create()
        else:
            if limit.active and limit.active_slots >= limit.limit:
                return False
        try:
            await self.client.increment_concurrency_slots([self.name], 1, "rate_limit")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == HTTPStatus.LOCKED:  # another process was faster
                return False
            raise
        return True

    async def hold(self) -> None:
        """Restart the time of the slot."""
        with suppress(httpx.HTTPError, ObjectNotFound):
            await self.client.update_global_concurrency_limit(
                self.name, GlobalConcurrencyLimitUpdate(active_slots=1)
            )

    async def give_back(self) -> None:
        """Free the slot; if that fails, it becomes free when its time runs out."""
        with suppress(httpx.HTTPError):
            await self.client.release_concurrency_slots([self.name], 1, occupancy_seconds=1.0)

    async def _create(self) -> None:
        with suppress(ObjectAlreadyExists):
            await self.client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(
                    name=self.name, limit=1, slot_decay_per_second=1 / self.seconds
                )
            )


async def _take_one(
    slots: Sequence[_Slot], longest_pause_seconds: float, on_wait: Callable[[bool], object]
) -> _Slot:
    """Wait until one of the slots is free, take it and return it.

    Args:
        slots: The slots to choose from.
        longest_pause_seconds: Longest pause between two attempts.
        on_wait: Called before each pause, with whether it is the first.

    Raises:
        httpx.HTTPError: Prefect's API has been down for too long.
    """
    pause_seconds, heard_at, is_first = 0.5, time.monotonic(), True
    while True:
        try:
            for slot in slots:
                if await slot.try_take():
                    return slot
            heard_at = time.monotonic()
        except httpx.HTTPError:
            if time.monotonic() - heard_at > _AWAY_SECONDS:
                raise
        on_wait(is_first)
        await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause_seconds, is_first = min(longest_pause_seconds, 1.5 * pause_seconds), False


class SubmissionLine:
    """The line of an instance, for one call that submits a job to it.

    Args:
        api: The service.
        policy: How requests to the service are retried.

    Attributes:
        waits: Increases while the call waits in line, rather than for a reply.
    """

    def __init__(self, api: RuntimeApi, policy: RetryPolicy) -> None:
        self.waits = 0
        self._api = api
        self._policy = policy
        self._pace: list[_Slot] = []
        self._is_full = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for this call's turn, which lasts as long as the block."""
        per_minute = self._api.submissions_per_minute
        async with AsyncExitStack() as stack:
            if per_minute is not None and _is_in_run():
                try:
                    await self._wait_in_line(stack, per_minute)
                except Exception as error:  # noqa: BLE001 - Prefect's client raises any error
                    self._skip_line(error)
            yield

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait until one more submission is within the limits; the block sends it."""
        await self._wait_for_room()
        slot = await self._take_pace()
        try:
            yield
        except QiskitRuntimeError as error:
            self._is_full = error.code == TOO_MANY_PENDING
            raise
        finally:
            if slot is not None:
                # The minute begins when the service has received the submission, which may be long
                # after the slot was taken.
                await cleaned_up(slot.hold(), _GIVE_BACK_SECONDS)

    async def _wait_in_line(self, stack: AsyncExitStack, per_minute: int) -> None:
        client = await stack.enter_async_context(get_client())
        name = limit_name(self._api)
        turn = _Slot(client, f"{name}-turn", _TURN_SECONDS)
        await _take_one([turn], _LONGEST_PAUSE_SECONDS, _waiting_for_turn)
        stack.push_async_callback(lambda: cleaned_up(turn.give_back(), _GIVE_BACK_SECONDS))
        holding = asyncio.create_task(_hold_turn(turn))
        stack.callback(holding.cancel)
        self._pace = [
            _Slot(client, f"{name}-submission-{number}", _MINUTE_SECONDS)
            for number in range(1, per_minute + 1)
        ]

    async def _take_pace(self) -> _Slot | None:
        if not self._pace:
            return None
        try:
            return await _take_one(self._pace, _LONGEST_PACE_PAUSE_SECONDS, self._waiting_for_pace)
        except Exception as error:  # noqa: BLE001 - Prefect's client raises any error
            self._skip_line(error)
            return None

    def _waiting_for_pace(self, is_first: bool) -> None:
        self.waits += 1
        if is_first:
            logger_here().info(
                "The submissions of this minute are used up: waiting for the next minute."
            )

    async def _wait_for_room(self) -> None:
        """Wait until fewer jobs are pending than when the service last refused one."""
        name = limit_name(self._api)
        if self._is_full:
            most = max(1, await self._pending(), _known_most_pending(name))
            _most_pending[name] = most, time.monotonic() + KNOWN_SECONDS
            self._is_full = False
        await wait_for_room(
            lambda: _known_most_pending(name), self._pending, self._waiting_for_room
        )

    def _waiting_for_room(self, is_first: bool) -> None:
        self.waits += 1
        if is_first:
            logger_here().info(
                "The account has reached its limit of pending jobs: waiting until one has ended."
            )

    async def _pending(self) -> int:
        return len(await self._policy.ask(lambda: self._api.list_jobs(pending=True)))

    def _skip_line(self, error: Exception) -> None:
        self._pace = []
        logger_here().warning(
            "Prefect's API keeps no concurrency limits for this account (%s): this call does not "
            "wait for other flows; only the service enforces its limits.",
            error,
        )


def _is_in_run() -> bool:
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def limit_name(api: RuntimeApi) -> str:
    """Return the prefix of the names of an instance's limits, which does not show the account."""
    return f"qiskit-runtime-{instance_name(api)}"


def _known_most_pending(name: str) -> int:
    """Return the limit of pending jobs if this process has reached it recently, otherwise 0."""
    most, until = _most_pending.get(name, (0, 0.0))
    return most if time.monotonic() < until else 0


def _waiting_for_turn(is_first: bool) -> None:
    if is_first:
        logger_here().info("Other submissions to this instance are under way: waiting in line.")


async def _hold_turn(turn: _Slot) -> None:
    """Keep the turn until cancelled; losing it only disturbs the order of the line."""
    while True:
        await asyncio.sleep(_HOLD_SECONDS)
        await turn.hold()
