"""Run an optimizer over a loop until either of them ends."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.loops._models import Ask, EndReason, LoopResult, LoopStep
from prefect_qiskit_runtime.loops._optimizers import Choice, Optimizer
from prefect_qiskit_runtime.loops._running import RunningLoop
from prefect_qiskit_runtime.loops._stopping import Limits, StopVariable
from prefect_qiskit_runtime.twins.sync import deliver

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STOPPED = "stopped"


class Minimization:
    """One run of an optimizer over a loop."""

    def __init__(
        self,
        loop: RunningLoop,
        choice: Choice,
        limits: Limits,
        callback: Callable[[LoopStep], Any] | None,
    ) -> None:
        self._loop = loop
        self._choice = choice
        self._limits = limits
        self._callback = callback
        self._stop = StopVariable()
        self._stopped_at: dict[str, Any] | None = None
        self._logger = logger_here()

    async def run(self, start: NDArray[np.float64]) -> LoopResult:
        """Minimise from a point."""
        optimizer = self._choice.start(start)
        self._stopped_at = await self._loop.records.read(_STOPPED)
        if self._stop.name is not None:
            self._logger.info(
                "To end the loop early, set the Prefect variable %r.", self._stop.name
            )
        try:
            ended = await self._drive(optimizer)
        finally:
            await asyncio.to_thread(optimizer.close)
        return await self._result(optimizer, start, ended)

    async def _drive(self, optimizer: Optimizer) -> tuple[EndReason, str] | None:
        """Run the optimizer to its end; return the reason if the loop ends first."""
        while (ask := await asyncio.to_thread(optimizer.ask)) is not None:
            ended = self._at_maxiter(optimizer) or await self._ended_before(ask)
            if ended is not None:
                return ended
            step = await self._loop.step(ask)
            optimizer.tell(step)
            if self._callback is not None:
                await deliver(self._call, step)
        return None

    def _at_maxiter(self, optimizer: Optimizer) -> tuple[EndReason, str] | None:
        """Return the reason if an optimizer goes on after its last iteration."""
        choice = self._choice
        if optimizer.iterations < choice.maxiter:
            return None
        counted = "measured points" if choice.counts_points else "iterations"
        return "maxiter", f"{choice.name}: ended by the loop after {choice.maxiter} {counted}"

    async def _ended_before(self, ask: Ask) -> tuple[EndReason, str] | None:
        steps = self._loop.steps
        # SciPy ends at a measured point; SPSA and the user's optimizer may end at another.
        ends_at_a_step = self._choice.is_scipy and bool(steps) and _are_exact(steps)
        at_the_end = 0 if ends_at_a_step else 1
        needed = self._loop.evaluations(ask) + at_the_end
        return self._limits.reached(steps, needed) or await self._stopped()

    async def _stopped(self) -> tuple[EndReason, str] | None:
        """Return the reason if the user stops the loop here, or did so in an earlier run."""
        now = {"steps": len(self._loop.steps), "maxiter": self._choice.maxiter}
        message = f"stopped by the variable {self._stop.name} after {now['steps']} steps"
        if self._stopped_at == now:
            return "stopped", message
        if await self._loop.is_on_record() or not await self._stop.is_set():
            return None
        await self._loop.records.write(_STOPPED, now)
        return "stopped", message

    def _call(self, step: LoopStep) -> Any:
        assert self._callback is not None  # noqa: S101 - for the type checker
        try:
            outcome = self._callback(step)
        except Exception:  # noqa: BLE001 - errors of the user's code are logged
            self._complain(step)
            return None
        return self._awaited(outcome, step) if inspect.isawaitable(outcome) else None

    async def _awaited(self, outcome: Any, step: LoopStep) -> None:
        try:
            await outcome
        except Exception:  # noqa: BLE001 - errors of the user's code are logged
            self._complain(step)

    def _complain(self, step: LoopStep) -> None:
        self._logger.error(
            "The callback failed on step %d; the loop continues.", step.index, exc_info=True
        )

    async def _result(
        self,
        optimizer: Optimizer,
        start: NDArray[np.float64],
        ended: tuple[EndReason, str] | None,
    ) -> LoopResult:
        steps = self._loop.steps
        found = optimizer.recommend()
        point = found.point if found.point is not None else _best_point(steps, start)
        known = _exactly_known(steps, point, self._loop.replay_tolerance)
        last = await self._loop.final(point) if known is None else None
        point, value = known or (point, last.value if last is not None else np.nan)
        reason, message = ended or (self._reason(optimizer, found.converged), found.message)
        whole = [*steps, last] if last is not None else steps
        seconds = [step.qpu_seconds for step in whole if step.qpu_seconds is not None]
        return LoopResult(
            parameters=point,
            value=value,
            std=0.0 if last is None else last.std,
            reason=reason,
            message=message,
            evaluations=sum(step.evaluations for step in whole),
            iterations=optimizer.iterations,
            jobs=sum(len(step.job_ids) for step in whole),
            qpu_seconds=sum(seconds) if seconds else None,
            history=tuple(steps),
        )

    def _reason(self, optimizer: Optimizer, converged: bool) -> EndReason:
        if converged:
            return "converged"
        return "maxiter" if optimizer.iterations >= self._choice.maxiter else "gave_up"


def _are_exact(steps: list[LoopStep]) -> bool:
    return all(np.all(step.stds == 0) for step in steps)


def _exactly_known(
    steps: list[LoopStep], point: NDArray[np.float64], tolerance: float
) -> tuple[NDArray[np.float64], float] | None:
    """Return the recorded point that matches, with its exact value; noisy values are ignored."""
    exact = [
        (float(np.max(np.abs(mine - point))), mine, float(value))
        for step in steps
        for mine, value, std in zip(step.points, step.values, step.stds, strict=True)
        if std == 0
    ]
    distance, mine, value = min(exact, key=lambda known: known[0], default=(np.inf, point, 0.0))
    return (mine, value) if distance <= tolerance else None


def _best_point(steps: list[LoopStep], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the measured point with the lowest value."""
    if not steps:
        return start
    best = min(steps, key=lambda step: float(np.min(step.values)))
    return best.points[int(np.argmin(best.values))]
