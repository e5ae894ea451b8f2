"""Flows around one piece of work, in the shapes in which work is taken up again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import Flow, flow, task


def flows_of(work: Callable[[], Any]) -> dict[str, Flow[..., Any]]:
    """Return the flows by their names."""
    has_failed = False

    @flow
    def evaluating() -> Any:
        return work()

    @task(retries=3)
    def evaluation() -> Any:
        nonlocal has_failed
        result = work()
        if not has_failed:
            has_failed = True
            raise ConnectionError("of the flow, not of the job: the task is retried")
        return result

    @flow
    def in_a_task() -> Any:
        return evaluation()

    @flow
    def child() -> Any:
        return work()

    @flow
    def parent() -> Any:
        return child()

    return {"evaluating": evaluating, "in_a_task": in_a_task, "parent": parent}
