"""When a loop ends before its optimizer does: by tolerance, by budget, or by the user.

A loop that runs again makes the same decisions: tolerance and budget are computed from the
records alone, and a stop by the user is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.loops._models import EndReason, LoopStep

WINDOW = 10
"""Number of steps whose mean is compared with that of the same number of steps before."""

_ASK_SECONDS = 2.0
_NO = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True)
class Limits:
    """The limits of a loop.

    Attributes:
        max_evaluations: Values of the objective, including shifted points and probes.
        max_qpu_seconds: Seconds on a device, as the service counts them.
        tol: Tolerance for methods without a convergence test.
    """

    max_evaluations: int | None
    max_qpu_seconds: float | None
    tol: float | None

    def reached(
        self, steps: Sequence[LoopStep], next_evaluations: int
    ) -> tuple[EndReason, str] | None:
        """Return the reason to end the loop before the next step, or None to go on.

        Args:
            steps: The completed steps.
            next_evaluations: How many values the next step would measure, plus those reserved
                for the final measurement.
        """
        used = sum(step.evaluations for step in steps)
        if self.max_evaluations is not None and used + next_evaluations > self.max_evaluations:
            return "max_evaluations", (
                f"{used} evaluations done; the next step would go above {self.max_evaluations}"
            )
        seconds = sum(step.qpu_seconds or 0.0 for step in steps)
        if self.max_qpu_seconds is not None and seconds >= self.max_qpu_seconds:
            return "max_qpu_seconds", f"{seconds:g} s on a device, of {self.max_qpu_seconds:g}"
        if self.tol is not None and len(steps) >= 2 * WINDOW:
            values = [step.value for step in steps[-2 * WINDOW :]]
            change = abs(sum(values[WINDOW:]) - sum(values[:WINDOW])) / WINDOW
            if change < self.tol:
                return "tolerance", (
                    f"the mean of {WINDOW} steps changed by {change:.3g}, less than {self.tol:g}"
                )
        return None


class StopVariable:
    """A Prefect variable that ends the loops of a flow run, created on the UI's "Variables" page.

    Its name is `stop_` and the name of the flow run with underscores. It is read at most once
    every few seconds.
    """

    def __init__(self) -> None:
        context = FlowRunContext.get()
        flow_run = None if context is None else context.flow_run
        self.name = None if flow_run is None else f"stop_{flow_run.name}".lower().replace("-", "_")
        self._asked_at = float("-inf")

    async def is_set(self) -> bool:
        """Return whether the user has asked the loop to end."""
        now = time.monotonic()
        if self.name is None or now - self._asked_at < _ASK_SECONDS:
            return False
        self._asked_at = now
        try:
            # Not `Variable.aget`, which leaves its client open (Prefect 3.8).
            async with get_client() as client:
                variable = await client.read_variable_by_name(self.name)
        except Exception:  # noqa: BLE001 - any error of Prefect's client is logged
            logger_here().warning(
                "Could not read the Prefect variable %s; the loop continues.", self.name
            )
            return False
        value = "" if variable is None else variable.value
        return str(value).strip().lower() not in _NO
