"""When a loop ends before its optimizer does: by tolerance, by budget, by somebody's wish.

What has been decided once is decided again when the loop comes back: tolerance and budget are
computed from the records alone, and that somebody has stopped it is on record itself.
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
"""How many steps the rule of tolerance compares with as many before."""

_ASK_SECONDS = 2.0
_NO = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True)
class Limits:
    """What a loop may take.

    Attributes:
        max_evaluations: Values of the objective, shifted points and probes included.
        max_qpu_seconds: Seconds on a device, as the service counts them.
        tol: Ends a method that has no test of convergence of its own.
    """

    max_evaluations: int | None
    max_qpu_seconds: float | None
    tol: float | None

    def reached(
        self, steps: Sequence[LoopStep], next_evaluations: int
    ) -> tuple[EndReason, str] | None:
        """Say why there is no next step; None if there may be one.

        Args:
            steps: Those that are done.
            next_evaluations: How many values the next step would take, with what must be left
                for the end.
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
    """A Prefect variable that ends the loops of a flow run: made in the UI, on "Variables".

    It is named after the flow run, `stop_` and its name with underscores, and asked for every
    few seconds.
    """

    def __init__(self) -> None:
        context = FlowRunContext.get()
        flow_run = None if context is None else context.flow_run
        self.name = None if flow_run is None else f"stop_{flow_run.name}".lower().replace("-", "_")
        self._asked_at = float("-inf")

    async def is_set(self) -> bool:
        """Say whether somebody wants the loop to end."""
        now = time.monotonic()
        if self.name is None or now - self._asked_at < _ASK_SECONDS:
            return False
        self._asked_at = now
        try:
            # Not `Variable.aget`, which leaves its client open (Prefect 3.8).
            async with get_client() as client:
                variable = await client.read_variable_by_name(self.name)
        except Exception:  # noqa: BLE001 - whatever Prefect's client raises: logged
            logger_here().warning("Prefect's API does not say if %s is set.", self.name)
            return False
        value = "" if variable is None else variable.value
        return str(value).strip().lower() not in _NO
