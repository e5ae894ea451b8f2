"""Dry runs of a call, without submitting it: sizes, checks and an estimate of QPU time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from prefect import Task

from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.codec.circuit_walk import walk
from prefect_qiskit_runtime.devices.device import Device, device_of
from prefect_qiskit_runtime.devices.usage_estimate import SOURCE, PubUsage, UsageEstimate
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.evaluation.placement import Placement, payload_fault
from prefect_qiskit_runtime.evaluation.request import Prepared, Request
from prefect_qiskit_runtime.flow_run.tasks import async_task, sync_task
from prefect_qiskit_runtime.models import PRIMITIVES, check_inputs, compile_schema
from prefect_qiskit_runtime.pubs.preparation import (
    ProgramPreparation,
    PubPreparation,
    naming_pub,
    require_isa_circuit,
    require_isa_pub,
)

__all__ = ["DryRun", "DryRunCircuit", "PubUsage", "UsageEstimate"]

R = TypeVar("R")
D = TypeVar("D")
P = ParamSpec("P")


@dataclass(frozen=True)
class DryRunCircuit:
    """The circuit of one PUB, or of one item of a quantum program, as it would be sent.

    Attributes:
        num_qubits: Its width; after transpilation, the width of the device.
        depth: Its depth, in instructions.
        two_qubit_gates: Number of instructions on two or more qubits.
        usage: Its QPU work; None if unknown.
        fault: Why the backend would refuse it; None if it would not.
    """

    num_qubits: int
    depth: int
    two_qubit_gates: int
    usage: PubUsage | None = None
    fault: str | None = None


@dataclass(frozen=True)
class DryRun:
    """The result of a call with `dry_run=True`: the jobs that the call would submit.

    Nothing was submitted. Printing the dry run shows a table.

    Attributes:
        program_id: The program or primitive.
        backend: The named or chosen backend.
        service: The service of the backend.
        num_jobs: Number of jobs.
        payload_bytes: Total size of the encoded inputs of all jobs.
        circuits: The circuits of a primitive; empty for programs.
        faults: Why the call would be refused, in sentences; empty if no fault was found.
        estimate: How long a QPU is held, by IBM's documented formula; None for simulators and
            programs. The billed time may differ.
        preparation: The choice of the backend with its reason, and the transpilation of the
            circuits; under "jobs" for each of several jobs.
    """

    program_id: str
    backend: str
    service: str
    num_jobs: int
    payload_bytes: int
    circuits: tuple[DryRunCircuit, ...]
    faults: tuple[str, ...]
    estimate: UsageEstimate | None
    preparation: dict[str, Any]

    @property
    def is_accepted(self) -> bool:
        """Whether no fault was found for which the call would be refused."""
        return not self.faults

    @property
    def shots(self) -> int | None:
        """Number of circuit executions; None if unknown."""
        return None if self.estimate is None else self.estimate.executions

    def __str__(self) -> str:
        """Return the dry run as text with several lines."""
        jobs = "1 job" if self.num_jobs == 1 else f"{self.num_jobs} jobs"
        head = (
            f"Dry run of {self.program_id} on {self.backend} ({self.service} service): nothing was"
            f" submitted. {jobs}, {self.payload_bytes:,} bytes of inputs."
        )
        lines = [head]
        if self.circuits:
            lines.append(f"{'PUB':>5} {'qubits':>7} {'depth':>7} {'2-qubit':>8} {'executions':>11}")
        for index, one in enumerate(self.circuits):
            executions = "-" if one.usage is None else f"{one.usage.executions:,}"
            lines.append(
                f"{index:>5} {one.num_qubits:>7} {one.depth:>7} {one.two_qubit_gates:>8}"
                f" {executions:>11}"
            )
        if self.estimate is not None:
            lines.append(
                f"Estimate, not a guarantee: {self.estimate.seconds:.1f} s of QPU time for"
                f" {self.estimate.executions:,} executions ({SOURCE})."
            )
            lines += [f"  {assumption}" for assumption in self.estimate.assumptions]
        lines += [f"The call would be refused: {fault}" for fault in self.faults]
        return "\n".join(lines)


if TYPE_CHECKING:

    class DryRunTask(Task[P, R], Generic[P, R, D]):
        """A task whose argument `dry_run` says what it returns; for type checkers only.

        A call without `dry_run` is checked against the signature of the function. Of a call with
        it only the kind of its result is known: no signature can be extended by a keyword.
        """

        @overload
        def __call__(self, *args: Any, dry_run: Literal[True], **kwargs: Any) -> D: ...
        @overload
        def __call__(self, *args: Any, dry_run: Literal[False], **kwargs: Any) -> R: ...
        @overload
        def __call__(self, *args: Any, dry_run: bool, **kwargs: Any) -> R | D: ...
        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            """Run the task and return what its function returns."""


def async_dry_run_task(
    function: Callable[P, Coroutine[Any, Any, R | DryRun]],
) -> DryRunTask[P, Coroutine[Any, Any, R], Coroutine[Any, Any, DryRun]]:
    """Make a task, as `async_task`, of a function with the argument `dry_run`."""
    return cast("Any", async_task(function))


def sync_dry_run_task(
    twin: DryRunTask[P, Coroutine[Any, Any, R], Any],
) -> DryRunTask[P, R, DryRun]:
    """Make the synchronous task that belongs to one with the argument `dry_run`."""
    return cast("Any", sync_task(twin))


@dataclass(frozen=True)
class _PlannedJob:
    """The content of one job that would be submitted."""

    payload_bytes: int
    circuits: list[DryRunCircuit]
    faults: list[str]
    prepared: Prepared


async def dry_run_of(requests: Sequence[Request]) -> DryRun:
    """Return what the jobs of a call would send. The service is asked, and nothing submitted."""
    first = requests[0]
    async with first.backend.connect() as api:
        placement = Placement(api, first)
        await placement.choose()
        jobs = [await _job_of(api, request, placement.name) for request in requests]
    estimates = [job.prepared.estimate for job in jobs if job.prepared.estimate is not None]
    records = [dict(job.prepared.record) for job in jobs]
    return DryRun(
        program_id=first.program_id,
        backend=placement.name,
        service=first.backend.service,
        num_jobs=len(jobs),
        payload_bytes=sum(job.payload_bytes for job in jobs),
        circuits=tuple(circuit for job in jobs for circuit in job.circuits),
        faults=tuple(fault for job in jobs for fault in job.faults),
        estimate=UsageEstimate.combine(estimates) if estimates else None,
        preparation=placement.record | (records[0] if len(jobs) == 1 else {"jobs": records}),
    )


async def _job_of(api: RuntimeApi, request: Request, name: str) -> _PlannedJob:
    if request.program_id in PRIMITIVES:
        prepared, faults = await _prepare(api, request, name)
    else:
        prepared, faults = Prepared(request.inputs), await _schema_faults(api, request)
    payload_bytes = len(await asyncio.to_thread(encode_inputs, prepared.inputs))
    too_large = payload_fault(request, payload_bytes)
    if too_large is not None:
        faults.append(too_large)
    circuits = await asyncio.to_thread(_circuits_of, request, prepared)
    faults += [one.fault for one in circuits if one.fault is not None]
    return _PlannedJob(payload_bytes, circuits, faults, prepared)


async def _prepare(api: RuntimeApi, request: Request, name: str) -> tuple[Prepared, list[str]]:
    """Return the prepared inputs, as for a device, and the faults found in the preparation."""
    prepare = request.prepare
    if not isinstance(prepare, PubPreparation | ProgramPreparation):
        return Prepared(request.inputs), []
    device = await device_of(api, request.backend, name)
    if device.is_simulator and not request.backend.kind.transpiles_here:
        return Prepared(request.inputs, device=device), []
    try:
        if isinstance(prepare, PubPreparation):
            return await prepare.for_device(device, check=False), []
        return await prepare.for_device(device), []
    except InvalidInputError as error:  # the transpiler cannot handle it
        return Prepared(request.inputs, device=device), [str(error)]


async def _schema_faults(api: RuntimeApi, request: Request) -> list[str]:
    """Check the inputs of a program against its schema, as the service would."""
    program = await api.get_program(request.program_id)
    schema = program.spec.parameters
    if not schema:
        return []

    def check() -> list[str]:
        sent = json.loads(encode_inputs(request.inputs))
        try:
            check_inputs(compile_schema(schema), sent, f"program {request.program_id}")
        except InvalidInputError as error:
            return [str(error)]
        return []

    return await asyncio.to_thread(check)


def _circuits_of(request: Request, prepared: Prepared) -> list[DryRunCircuit]:
    prepare, device = request.prepare, prepared.device
    if isinstance(prepare, ProgramPreparation):
        things, check = list(prepare.program.items), _require_isa_item
    elif isinstance(prepare, PubPreparation):
        things, check = list(prepared.inputs["pubs"]), require_isa_pub
    else:
        return []
    estimate = prepared.estimate
    usages = [None] * len(things) if estimate is None else estimate.pubs
    first = 0 if request.part is None else request.part.start
    is_checked = device is not None and not device.is_simulator
    if isinstance(prepare, PubPreparation) and prepare.transpile:
        # A circuit that is transpiled in the job is checked there, and the fault of a circuit that
        # cannot be transpiled has been reported already.
        is_checked = is_checked and prepare.transpiles_here and estimate is not None
    return [
        DryRunCircuit(
            num_qubits=thing.circuit.num_qubits,
            depth=thing.circuit.depth(),
            two_qubit_gates=_num_two_qubit_gates(thing.circuit),
            usage=usage,
            fault=_fault(index, check, thing, device) if is_checked else None,
        )
        for index, (thing, usage) in enumerate(zip(things, usages, strict=True), first)
    ]


def _num_two_qubit_gates(circuit: Any) -> int:
    """Count the instructions on two qubits, those in blocks and boxes once each."""
    return sum(
        1
        for visit in walk(circuit)
        if len(visit.instruction.qubits) == 2
        and not visit.instruction.is_control_flow()
        and not visit.instruction.is_directive()
    )


def _require_isa_item(item: Any, device: Device) -> None:
    require_isa_circuit(item.circuit, device)


def _fault(
    index: int, check: Callable[[Any, Device], None], thing: Any, device: Device | None
) -> str | None:
    assert device is not None  # noqa: S101 - nothing is checked without one
    try:
        with naming_pub(index):
            check(thing, device)
    except InvalidInputError as error:
        return str(error)
    return None
