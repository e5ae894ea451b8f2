"""Submissions of all workers of an account in one line, so that together they keep its limits.

IBM takes five submissions a minute, and as many pending jobs as the plan allows; what comes beyond
is refused. Where flows run, Prefect's API keeps the line, by global concurrency limits of a single
slot each: one for each instance says whose turn it is, and one for each submission of a minute is
taken for that long. A slot comes free by decay, so that what dies in line leaves it. The rest is
the service's to say: outside of flows, and where Prefect keeps no limits, that is all there is.
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

_MINUTE_SECONDS = 61.0  # from the answer to a submission, which has come in before that
_TURN_SECONDS = 90.0  # how long the turn of one that died is kept
_HOLD_SECONDS = 20.0
_GIVE_BACK_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 20.0
_LONGEST_PACE_PAUSE_SECONDS = 5.0  # only one at a time waits for that
_AWAY_SECONDS = 60.0  # how long Prefect's API may be away before one goes on without the line

# How many jobs may be pending, as the service has shown, and until when that is taken as known.
_most_pending: dict[str, tuple[int, float]] = {}


@dataclass(frozen=True)
class _Slot:
    """A global concurrency limit of Prefect's with one slot, which comes free after a time.

    It decays, in the database of Prefect's server. Its leases are not used: by default they are
    forgotten when the server restarts, but not the slots; and a server that a flow has started for
    itself looks for no leases that have run out. Prefect's own `rate_limit` is not used either:
    each that it refuses starts the time anew. So here a slot is asked for only where it is free.
    """

    client: PrefectClient
    name: str
    seconds: float

    async def try_take(self) -> bool:
        """Take it if it is free; say whether it was."""
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
            if error.response.status_code == HTTPStatus.LOCKED:  # another was faster
                return False
            raise
        return True

    async def hold(self) -> None:
        """Let its time begin anew."""
        with suppress(httpx.HTTPError, ObjectNotFound):
            await self.client.update_global_concurrency_limit(
                self.name, GlobalConcurrencyLimitUpdate(active_slots=1)
            )

    async def give_back(self) -> None:
        """Free it; where that fails, its time runs out."""
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
        slots: Any of them will do.
        longest_pause_seconds: Between two looks.
        on_wait: Told, before each pause, whether it is the first.

    Raises:
        httpx.HTTPError: Prefect's API has been away for long.
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
        self._pace: list[_Slot] = []
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
        slot = await self._take_pace()
        try:
            yield
        except QiskitRuntimeError as error:
            self._is_full = error.code == TOO_MANY_PENDING
            raise
        finally:
            if slot is not None:
                # Its minute begins when it has come in, which may be long after the slot was taken.
                await cleaned_up(slot.hold(), _GIVE_BACK_SECONDS)

    async def _stand_in_line(self, stack: AsyncExitStack, per_minute: int) -> None:
        client = await stack.enter_async_context(get_client())
        name = limit_name(self._api)
        turn = _Slot(client, f"{name}-turn", _TURN_SECONDS)
        await _take_one([turn], _LONGEST_PAUSE_SECONDS, _waiting_for_turn)
        stack.push_async_callback(lambda: cleaned_up(turn.give_back(), _GIVE_BACK_SECONDS))
        holding = asyncio.create_task(_keep(turn))
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
        except Exception as error:  # noqa: BLE001 - whatever Prefect's client raises
            self._go_without(error)
            return None

    def _waiting_for_pace(self, is_first: bool) -> None:
        self.waits += 1
        if is_first:
            logger_here().info("The submissions of this minute are used up: waiting for the next.")

    async def _wait_for_room(self) -> None:
        """Wait until there are less pending jobs than when the service has refused one more."""
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
                "The account has as many pending jobs as it may: waiting until one has ended."
            )

    async def _pending(self) -> int:
        return len(await self._policy.ask(lambda: self._api.list_jobs(pending=True)))

    def _go_without(self, error: Exception) -> None:
        self._pace = []
        logger_here().warning(
            "Prefect's API keeps no concurrency limits for this account (%s): other flows are not "
            "waited for, but for what the service says.",
            error,
        )


def _is_in_run() -> bool:
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def limit_name(api: RuntimeApi) -> str:
    """Return what the names of an instance's limits begin with; it tells no account."""
    return f"qiskit-runtime-{instance_name(api)}"


def _known_most_pending(name: str) -> int:
    """Return how many jobs may be pending, as far as this process has met it; 0 if it has not."""
    most, until = _most_pending.get(name, (0, 0.0))
    return most if time.monotonic() < until else 0


def _waiting_for_turn(is_first: bool) -> None:
    if is_first:
        logger_here().info("Other submissions to this instance are under way: waiting in line.")


async def _keep(turn: _Slot) -> None:
    """Keep the turn; one that is lost costs a little order in the line, no more."""
    while True:
        await asyncio.sleep(_HOLD_SECONDS)
        await turn.hold()
