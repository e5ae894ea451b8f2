"""Trying again: how often, after how long, until when. What may be tried again is in `errors`.

Two things are tried again, and never confused: a question to the service, which costs nothing,
and a job, which is sent again only after one that has ended for a passing reason.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from prefect_qiskit_runtime.client import RuntimeApi, was_sent
from prefect_qiskit_runtime.errors import JobError, QiskitRuntimeError, is_retryable
from prefect_qiskit_runtime.models import NextStep, RuntimeOptions, next_step

T = TypeVar("T")

_LONGEST_PAUSE_SECONDS = 60.0
_FIRST_QUESTION_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class RetryPolicy:
    """How one call tries again.

    Attributes:
        attempts: How many jobs it may submit.
        delay_seconds: Wait before the second one; doubled for each further one.
        deadline_seconds: How long one question may go without an answer.
    """

    attempts: int = 3
    delay_seconds: float = 2.0
    deadline_seconds: float = 600.0

    @classmethod
    def of(cls, options: RuntimeOptions) -> RetryPolicy:
        """Read it from the options of a job; what they leave out has its default."""
        given = {
            "attempts": options.attempts,
            "delay_seconds": options.retry_delay_seconds,
            "deadline_seconds": options.retry_deadline_seconds,
        }
        return cls(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]

    def sends_again(self, error: JobError, submitted: int) -> bool:
        """Say whether a job is to be sent again after this many were."""
        step = next_step(error.reason_code)
        attempts = min(2, self.attempts) if step is NextStep.SEND_AGAIN_ONCE else self.attempts
        return is_retryable(error) and submitted < attempts

    def pause_seconds(self, submitted: int) -> float:
        """Return the wait before the next job."""
        return _jittered(self.delay_seconds * 2 ** (submitted - 1))

    async def ask(
        self,
        question: Callable[[], Awaitable[T]],
        *,
        may_ask_again: Callable[[QiskitRuntimeError], bool] = is_retryable,
        progress: Callable[[], object] = lambda: None,
    ) -> T:
        """Ask until there is an answer, or the deadline has passed.

        Args:
            question: Asked again as it is.
            may_ask_again: Which errors are a reason to.
            progress: What changes while an answer comes in parts: the deadline counts from the
                last change.

        Raises:
            QiskitRuntimeError: The last one, or the first that is no reason to ask again.
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
                is_job = isinstance(error, JobError)  # the answer, and no fault of the question
                if (
                    is_job
                    or not may_ask_again(error)
                    or now + pause_seconds - since > self.deadline_seconds
                ):
                    raise
                tries += 1
            await asyncio.sleep(pause_seconds)


def is_met(api: RuntimeApi) -> Callable[[QiskitRuntimeError], bool]:
    """Return whether an error is a passing one of a service that there is.

    Where nobody listens, and nobody has answered yet, the address may be wrong, which no patience
    mends.
    """
    return lambda error: is_retryable(error) and (was_sent(error) or api.has_answered)


def _question_pause_seconds(error: QiskitRuntimeError, tries: int) -> float:
    pause_seconds = _jittered(_FIRST_QUESTION_PAUSE_SECONDS * 2**tries)
    return max(pause_seconds, error.retry_after_seconds or 0.0)


def _jittered(pause_seconds: float) -> float:
    return min(pause_seconds, _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311
