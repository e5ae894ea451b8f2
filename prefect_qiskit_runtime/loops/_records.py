"""What a loop writes down, so that it is not bought again: each step before and after its job.

What is asked stands in one record, written before the job is submitted, what was told in another:
a process that is killed while it writes leaves half a record, and nothing that was there before
may be lost with that. A loop that comes back asks for exactly what is on record, to the last bit,
and so finds its job even where the answer was not written any more.
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
from prefect_qiskit_runtime.loops._models import Ask, LoopStep, Told


@dataclass(frozen=True)
class LoopName:
    """What tells a loop from others.

    Attributes:
        given: By the user: within a flow run, equal names are one loop; None tells equal loops
            apart by the order of their calls.
        durable_key: Joins the loops of all flow runs.
        problem: What is minimised, less what rounding may change.
    """

    given: str | None
    durable_key: str | None
    problem: Any

    @property
    def shown(self) -> str:
        """The loop, in messages."""
        return repr(self.given or self.durable_key or "minimize")


class LoopRecords:
    """The records of one loop; of one that nothing comes back to, none.

    Args:
        identity: Names the loop; None outside of flows.
        name: As the user named it.
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

    @property
    def are_kept(self) -> bool:
        """Whether the loop is found again."""
        return self._identity is not None

    def scope(self, label: str) -> LoopScope:
        """Return the place of the jobs of a step."""
        if self._identity is None:  # they have no names that last
            return LoopScope(())
        return LoopScope((self._key, label), self._name.durable_key)

    def give_back(self) -> None:
        """Let the next equal loop take up the records of this one, which did not end."""
        if self._identity is not None and self._name.given is None:
            self._identity.give_back()

    # -- the loop ----------------------------------------------------------------------------

    async def check_header(self, header: dict[str, Any]) -> None:
        """Write down how the loop is run, or compare with what is written.

        Raises:
            LoopDivergedError: It was run otherwise before.
        """
        earlier = await self.read("loop")
        if earlier is None:
            await self.write("loop", header)
            return
        for what, now in header.items():
            if earlier.get(what) != now:
                raise LoopDivergedError(
                    f"Loop {self._name.shown} has records of steps with {what}"
                    f" {earlier.get(what)!r:.80}, and is now called with {now!r:.80}. They do not"
                    " fit: call it as before, or give it another name (name=…, or durable_key=…)"
                    " to begin a new one.",
                    index=None,
                )

    # -- its steps ---------------------------------------------------------------------------

    async def asked(self, label: str) -> Ask | None:
        """Return what a step has asked for; None if it has not."""
        record = await self.read(f"{label}-asked")
        return None if record is None else Ask.of(record["points"], gradient=record["gradient"])

    async def note_asked(self, label: str, ask: Ask) -> None:
        """Write down what a step is going to ask for."""
        points = ask.points.tolist()
        await self.write(f"{label}-asked", {"points": points, "gradient": ask.gradient})

    async def told(self, label: str, index: int, ask: Ask) -> LoopStep | None:
        """Return a step with its answer; None if that is not on record."""
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

    async def note_told(self, label: str, told: Told, **about: Any) -> None:
        """Write down the answer of a step, with its cost."""
        values = {
            name: None if value is None else value.tolist() for name, value in vars(told).items()
        }
        await self.write(f"{label}-told", {**values, **about})

    def check(self, index: int, now: Ask, recorded: Ask, tolerance: float) -> None:
        """Compare what a step asks for with what it has asked for before.

        Raises:
            LoopDivergedError: It is something else.
        """
        same_shape = now.points.shape == recorded.points.shape and now.gradient == recorded.gradient
        if same_shape and np.allclose(now.points, recorded.points, rtol=0, atol=tolerance):
            return
        distance = (
            f"its points are up to {np.max(np.abs(now.points - recorded.points)):.3g} away from"
            f" those on record (tolerance {tolerance:g})"
            if same_shape
            else f"it asks for {_described(now)}, on record are {_described(recorded)}"
        )
        raise LoopDivergedError(
            f"Step {index} of loop {self._name.shown} does not repeat what is on record:"
            f" {distance}. Nothing was submitted. Something that the loop depends on has"
            " changed since: the start, the seed, the optimizer or its version, or the function."
            " Undo that to go on"
            " from the records, or give the loop another name (name=…, or durable_key=…) to begin"
            " a new one.",
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
        """Write a record of the loop; a storage that fails costs a warning, not the loop."""
        if self._identity is None:
            return
        try:
            await self._identity.records.write(f"{self._key}/{name}", record)
        except Exception:  # noqa: BLE001 - whatever a storage raises: logged
            if not self._complained:
                logger_here().warning(
                    "Prefect's result storage does not keep the records of loop %s. If this flow"
                    " crashes now, its jobs are found by their names only, one after the other.",
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
