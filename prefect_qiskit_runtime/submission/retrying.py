"""Retries: how often, after how long and until when. Which errors may be retried is in `errors`.

There are two separate kinds of retries: a request to the service, which costs nothing, and a job,
which is sent again only after the previous job has ended for a temporary reason.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from prefect_qiskit_runtime.client import RuntimeApi, was_connected
from prefect_qiskit_runtime.errors import JobError, QiskitRuntimeError, is_retryable
from prefect_qiskit_runtime.models import NextStep, RuntimeOptions, next_step

T = TypeVar("T")

_LONGEST_PAUSE_SECONDS = 60.0
_FIRST_QUESTION_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class RetryPolicy:
    """How one call retries.

    Attributes:
        attempts: Maximum number of jobs that it submits.
        delay_seconds: Wait before the second job; doubled for each further job.
        deadline_seconds: Maximum time for which one request is retried without a reply.
    """

    attempts: int = 3
    delay_seconds: float = 2.0
    deadline_seconds: float = 600.0

    @classmethod
    def from_options(cls, options: RuntimeOptions) -> RetryPolicy:
        """Read the policy from the options of a job; options that are not set have defaults."""
        given = {
            "attempts": options.attempts,
            "delay_seconds": options.retry_delay_seconds,
            "deadline_seconds": options.retry_deadline_seconds,
        }
        return cls(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]

    def sends_again(self, error: JobError, submitted: int) -> bool:
        """Return whether a failed job is to be sent again after this many jobs."""
        step = next_step(error.reason_code)
        attempts = min(2, self.attempts) if step is NextStep.SEND_AGAIN_ONCE else self.attempts
        return is_retryable(error) and submitted < attempts

    def pause_seconds(self, submitted: int) -> float:
        """Return the wait before the next job."""
        return _add_jitter(self.delay_seconds * 2 ** (submitted - 1))

    async def ask(
        self,
        question: Callable[[], Awaitable[T]],
        *,
        may_ask_again: Callable[[QiskitRuntimeError], bool] = is_retryable,
        progress: Callable[[], object] = lambda: None,
    ) -> T:
        """Repeat a request until there is a reply or the deadline has passed.

        Args:
            question: Sends the request; called again for each retry.
            may_ask_again: Returns whether an error allows a retry.
            progress: Returns a value that changes while a reply arrives in parts: the deadline is
                measured from the last change.

        Raises:
            QiskitRuntimeError: The last error, or the first one that does not allow a retry.
        """
        since, seen, tries = time.monotonic(), progress(), 0
        while True:
            try:
                return await question()
            except QiskitRuntimeError as error:
                now, reached = time.monotonic(), progress()
                if reached != seen:
                    since, seen, tries = now, reached, 0
                pause_seconds = _question_pause_seconds(error, tries)
                is_job = isinstance(error, JobError)  # a valid reply: the request did not fail
                if (
                    is_job
                    or not may_ask_again(error)
                    or now + pause_seconds - since > self.deadline_seconds
                ):
                    raise
                tries += 1
            await asyncio.sleep(pause_seconds)


def is_met(api: RuntimeApi) -> Callable[[QiskitRuntimeError], bool]:
    """Return a check whether an error is temporary and comes from a service that exists.

    If the connection is refused and the service has never replied, the address may be wrong, and
    retries do not help.
    """
    return lambda error: is_retryable(error) and (was_connected(error) or api.has_answered)


def _question_pause_seconds(error: QiskitRuntimeError, tries: int) -> float:
    pause_seconds = _add_jitter(_FIRST_QUESTION_PAUSE_SECONDS * 2**tries)
    return max(pause_seconds, error.retry_after_seconds or 0.0)


def _add_jitter(pause_seconds: float) -> float:
    return min(pause_seconds, _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311
