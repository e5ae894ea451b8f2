"""Ctrl-C while a call changes threads: a real signal meets these moments by chance only."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from prefect_qiskit_runtime.twins.sync import Handover


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class Interrupted:
    """A loop whose caller is interrupted when it hands something over for the first time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, taken: bool) -> None:
        self._loop = loop
        self._taken = taken
        self._handed_over = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_soon_threadsafe(self, callback: Any, *args: Any) -> None:
        self._handed_over += 1
        if self._handed_over > 1 or self._taken:
            self._loop.call_soon_threadsafe(callback, *args)
        if self._handed_over == 1:
            raise KeyboardInterrupt


def test_it_gives_what_the_call_gives(loop: asyncio.AbstractEventLoop) -> None:
    assert Handover(asyncio.sleep(0, "answer"), loop).wait() == "answer"


def test_it_raises_what_the_call_raises(loop: asyncio.AbstractEventLoop) -> None:
    async def fail() -> None:
        raise ValueError("asked to fail")

    with pytest.raises(ValueError, match="asked to fail"):
        Handover(fail(), loop).wait()


def test_a_call_that_was_taken_has_ended_when_the_interrupt_leaves(
    loop: asyncio.AbstractEventLoop,
) -> None:
    events = []

    async def wait() -> None:
        events.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            events.append("ended")

    with pytest.raises(KeyboardInterrupt):
        Handover(wait(), Interrupted(loop, taken=True)).wait()  # type: ignore[arg-type]
    assert events in ([], ["began", "ended"])
    assert not asyncio.all_tasks(loop)


def test_a_call_that_was_not_taken_does_not_begin(loop: asyncio.AbstractEventLoop) -> None:
    called: list[bool] = []

    async def call() -> None:
        called.append(True)

    with pytest.raises(KeyboardInterrupt):
        Handover(call(), Interrupted(loop, taken=False)).wait()  # type: ignore[arg-type]
    assert not called
