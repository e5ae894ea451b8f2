"""Loops in async flows, and loops at the same time: each finds its own records."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from prefect import flow, unmapped

from prefect_qiskit_runtime import LoopResult, aminimize, minimize

pytestmark = pytest.mark.usefixtures("prefect_server")

STARTS = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
NAMES = ["from-a", "from-b", "from-c"]
STEPS = 8


class Counted:
    """A function of two parameters that counts its calls and can fail once at a given point."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.calls = 0
        self._fails_at = fails_at
        self._lock = threading.Lock()

    def __call__(self, point: np.ndarray) -> tuple[float, float]:
        with self._lock:
            if self.calls == self._fails_at:
                self._fails_at = None
                raise RuntimeError("once")
            self.calls += 1
        return float(np.sum((point - 0.5) ** 2)), 0.0

    async def asynchronously(self, point: np.ndarray) -> tuple[float, float]:
        await asyncio.sleep(0)
        return self(point)


def check(results: list[LoopResult], counted: Counted) -> None:
    for start, result in zip(STARTS, results, strict=True):
        np.testing.assert_array_equal(result.history[0].point, start)
        assert len(result.history) == STEPS
    assert counted.calls == len(STARTS) * STEPS


@pytest.mark.parametrize("fails_at", [None, 9, 20])
def test_loops_of_an_async_flow_run_at_once_and_are_found_by_a_retry(fails_at: int | None) -> None:
    counted = Counted(fails_at)

    @flow(retries=1)
    async def gathering() -> list[LoopResult]:
        return await asyncio.gather(
            *(
                aminimize(counted.asynchronously, start, maxiter=STEPS, name=name)
                for start, name in zip(STARTS, NAMES, strict=True)
            )
        )

    check(asyncio.run(gathering()), counted)


@pytest.mark.parametrize("fails_at", [None, 9, 20])
def test_mapped_loops_are_found_by_a_retry(fails_at: int | None) -> None:
    counted = Counted(fails_at)

    @flow(retries=1)
    def mapping() -> list[LoopResult]:
        return minimize.map(unmapped(counted), STARTS, maxiter=STEPS, name=NAMES).result()

    check(mapping(), counted)
