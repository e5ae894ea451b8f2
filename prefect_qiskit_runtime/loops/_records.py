"""The records of a loop, written before and after each job so that no step is submitted twice.

The points of a step are written to one record before its job is submitted, and the values to
another. A process that is killed while writing leaves half a record, which must not damage an
earlier one. A loop that runs again requests exactly the recorded points, bit for bit, so it finds
its job even if the values were never written.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefect_qiskit_runtime.errors import LoopDivergedError
from prefect_qiskit_runtime.evaluation.identity import Identity
from prefect_qiskit_runtime.flow_run.lineage import LoopScope, lineage_here
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.loops._models import Ask, LoopStep, Measured


@dataclass(frozen=True)
class LoopName:
    """The properties that identify a loop.

    Attributes:
        given: The user's name: within a flow run, loops with the same name are one loop. If None,
            equal loops are distinguished by the order of their calls.
        durable_key: Makes the loops of all flow runs with this key one loop.
        problem: The problem to minimise, without details that rounding may change.
    """

    given: str | None
    durable_key: str | None
    problem: Any

    @property
    def shown(self) -> str:
        """The loop's name in messages."""
        return repr(self.given or self.durable_key or "minimize")


class LoopRecords:
    """The records of one loop; a loop that cannot run again keeps none.

    Args:
        identity: Identifies the loop; None outside of flows.
        name: The name of the loop.
    """

    def __init__(self, identity: Identity | None, name: LoopName) -> None:
        self._identity = identity
        self._name = name
        self._complained = False

    @classmethod
    async def of(cls, name: LoopName) -> LoopRecords:
        """Find the records of the loop that runs here."""
        lineage = await lineage_here(name.durable_key)
        if lineage is None:
            return cls(None, name)
        whole = json.dumps(["loop", name.given, name.problem])
        print_ = hashlib.sha256(whole.encode()).hexdigest()
        if name.given is None:
            return cls(await Identity.in_lineage(lineage, print_), name)
        return cls(Identity.only(lineage, print_), name)

    def scope(self, label: str) -> LoopScope:
        """Return the place of the jobs of a step."""
        if self._identity is None:  # without records, jobs have no lasting names
            return LoopScope(())
        return LoopScope((self._key, label), self._name.durable_key)

    def give_back(self) -> None:
        """Let the next equal loop reuse the records of this one, which did not finish."""
        if self._identity is not None and self._name.given is None:
            self._identity.give_back()

    # -- the loop ----------------------------------------------------------------------------

    async def check_header(self, header: dict[str, Any]) -> None:
        """Record the settings of the loop, or compare them with those on record.

        Raises:
            LoopDivergedError: The loop was run with different settings before.
        """
        earlier = await self.read("loop")
        if earlier is None:
            await self.write("loop", header)
            return
        for setting, now in header.items():
            if earlier.get(setting) != now:
                raise LoopDivergedError(
                    f"The records of loop {self._name.shown} were made with {setting}"
                    f" {earlier.get(setting)!r:.80}, but it is now called with {now!r:.80}. Call it"
                    " as before, or give it another name (name=…, or durable_key=…) to start a"
                    " new loop.",
                    index=None,
                )

    # -- its steps ---------------------------------------------------------------------------

    async def asked(self, label: str) -> Ask | None:
        """Return the recorded points of a step; None if there are none."""
        record = await self.read(f"{label}-asked")
        return None if record is None else Ask.of(record["points"], gradient=record["gradient"])

    async def note_asked(self, label: str, ask: Ask) -> None:
        """Record the points of a step before its job is submitted."""
        points = ask.points.tolist()
        await self.write(f"{label}-asked", {"points": points, "gradient": ask.gradient})

    async def completed(self, label: str, index: int, ask: Ask) -> LoopStep | None:
        """Return a step with its recorded values; None if there are none."""
        record = await self.read(f"{label}-told")
        if record is None:
            return None
        return LoopStep(
            index=index,
            points=ask.points,
            values=np.array(record["values"], dtype=float),
            stds=np.array(record["stds"], dtype=float),
            gradient=_array(record["gradient"]),
            gradient_stds=_array(record["gradient_stds"]),
            evaluations=record["evaluations"],
            job_ids=tuple(record["job_ids"]),
            qpu_seconds=record["qpu_seconds"],
            replayed=True,
        )

    async def note_measured(self, label: str, measured: Measured, **about: Any) -> None:
        """Record the values of a step, with its cost."""
        values = {
            name: None if value is None else value.tolist()
            for name, value in vars(measured).items()
        }
        await self.write(f"{label}-told", {**values, **about})

    def check(self, index: int, now: Ask, recorded: Ask, tolerance: float) -> None:
        """Compare the points that a step requests with its recorded points.

        Raises:
            LoopDivergedError: They differ.
        """
        same_shape = now.points.shape == recorded.points.shape and now.gradient == recorded.gradient
        if same_shape and np.allclose(now.points, recorded.points, rtol=0, atol=tolerance):
            return
        distance = (
            f"its points are up to {np.max(np.abs(now.points - recorded.points)):.3g} away from"
            f" the recorded ones (tolerance {tolerance:g})"
            if same_shape
            else f"it requests {_described(now)}, but the record has {_described(recorded)}"
        )
        raise LoopDivergedError(
            f"Step {index} of loop {self._name.shown} does not repeat its record: {distance}."
            " Nothing was submitted. Something that the loop depends on has changed since then:"
            " the start, the seed, the optimizer or its version, or the function. Undo the change"
            " to continue from the records, or give the loop another name (name=…, or"
            " durable_key=…) to start a new loop.",
            index=index,
        )

    # -- files -------------------------------------------------------------------------------

    @property
    def _key(self) -> str:
        assert self._identity is not None  # noqa: S101 - for the type checker
        return f"loop-{self._identity.key(0)[4:]}"

    async def read(self, name: str) -> dict[str, Any] | None:
        """Return a record of the loop."""
        if self._identity is None:
            return None
        return await self._identity.records.read(f"{self._key}/{name}")

    async def write(self, name: str, record: dict[str, Any]) -> None:
        """Write a record of the loop; if the storage fails, log a warning and continue."""
        if self._identity is None:
            return
        try:
            await self._identity.records.write(f"{self._key}/{name}", record)
        except Exception:  # noqa: BLE001 - any error of the storage is logged
            if not self._complained:
                logger_here().warning(
                    "The records of loop %s could not be written to Prefect's result storage. If"
                    " this flow crashes, its jobs can only be found by their names, one by one.",
                    self._name.shown,
                    exc_info=True,
                )
            self._complained = True


def _array(values: list[float] | None) -> Any:
    return None if values is None else np.array(values, dtype=float)


def _described(ask: Ask) -> str:
    points, parameters = ask.points.shape
    gradient = " and a gradient" if ask.gradient else ""
    return f"{points} points with {parameters} parameters{gradient}"
