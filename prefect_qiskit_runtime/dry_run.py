"""What a call would send, without sending it: sizes, checks and an estimate of QPU time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_qiskit_runtime._devices import Device, device_of
from prefect_qiskit_runtime._identity import Request
from prefect_qiskit_runtime._placement import Placement, payload_fault
from prefect_qiskit_runtime._preparation import (
    Prepared,
    ProgramPreparation,
    PubPreparation,
    naming_pub,
    require_isa_circuit,
    require_isa_pub,
)
from prefect_qiskit_runtime._schemas import check_inputs, compile_schema
from prefect_qiskit_runtime._usage_estimate import SOURCE, PubUsage, UsageEstimate
from prefect_qiskit_runtime.client import PRIMITIVES, RuntimeApi
from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.codec.circuit_walk import walk
from prefect_qiskit_runtime.errors import InvalidInputError

__all__ = ["DryRun", "DryRunCircuit", "PubUsage", "UsageEstimate", "looked_at"]


@dataclass(frozen=True)
class DryRunCircuit:
    """The circuit of one PUB, or of one item of a quantum program, as it would be sent.

    Attributes:
        num_qubits: Its width: that of the device, once it is transpiled.
        depth: How many instructions follow each other.
        two_qubit_gates: Instructions on two qubits.
        usage: What it makes a QPU do; None where that is not known.
        fault: Why the backend would refuse it; None if it would not.
    """

    num_qubits: int
    depth: int
    two_qubit_gates: int
    usage: PubUsage | None = None
    fault: str | None = None


@dataclass(frozen=True)
class DryRun:
    """What a call with `dry_run=True` would have sent. Nothing was submitted.

    Printing it shows a table.

    Attributes:
        program_id: The program or primitive.
        backend: The backend that was meant, or chosen.
        service: Which service has it.
        num_jobs: How many jobs it would be.
        payload_bytes: Of the inputs of all jobs together, encoded.
        circuits: Those of a primitive; empty for programs.
        faults: Why it would be refused, in sentences; empty if nothing was found.
        estimate: How long a QPU is held, by IBM's documented formula; None for simulators and
            programs. What is billed may differ.
        preparation: What was chosen and done: the backend and why, how circuits were transpiled;
            under "jobs" for each of several jobs.
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
        """Whether nothing was found for which it would be refused."""
        return not self.faults

    @property
    def shots(self) -> int | None:
        """How often circuits are executed; None where that is not known."""
        return None if self.estimate is None else self.estimate.executions

    def __str__(self) -> str:
        """Show it as a text of several lines."""
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
                f"Estimate, not a promise: {self.estimate.seconds:.1f} s of QPU time for"
                f" {self.estimate.executions:,} executions ({SOURCE})."
            )
            lines += [f"  {said}" for said in self.estimate.assumptions]
        lines += [f"It would be refused: {fault}" for fault in self.faults]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Job:
    """What one job would send."""

    payload_bytes: int
    circuits: list[DryRunCircuit]
    faults: list[str]
    prepared: Prepared


async def looked_at(requests: Sequence[Request]) -> DryRun:
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
        estimate=UsageEstimate.of_jobs(estimates) if estimates else None,
        preparation=placement.record | (records[0] if len(jobs) == 1 else {"jobs": records}),
    )


async def _job_of(api: RuntimeApi, request: Request, name: str) -> _Job:
    if request.program_id in PRIMITIVES:
        prepared, faults = await _prepared(api, request, name)
    else:
        prepared, faults = Prepared(request.inputs), await _schema_faults(api, request)
    payload_bytes = len(await asyncio.to_thread(encode_inputs, prepared.inputs))
    too_large = payload_fault(request, payload_bytes)
    if too_large is not None:
        faults.append(too_large)
    circuits = await asyncio.to_thread(_circuits_of, request, prepared)
    faults += [one.fault for one in circuits if one.fault is not None]
    return _Job(payload_bytes, circuits, faults, prepared)


async def _prepared(api: RuntimeApi, request: Request, name: str) -> tuple[Prepared, list[str]]:
    """Return what would be sent, as for a device, and why it cannot be prepared."""
    prepare = request.prepare
    if not isinstance(prepare, PubPreparation | ProgramPreparation):
        return Prepared(request.inputs), []
    device = await device_of(api, request.backend, name)
    if device.is_simulator and request.backend.service != "ibm":
        return Prepared(request.inputs, device=device), []
    try:
        if isinstance(prepare, PubPreparation):
            return await prepare.for_device(device, check=False), []
        return await prepare.for_device(device), []
    except InvalidInputError as error:  # the transpiler cannot do it
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
        # What is transpiled in the job is checked there; what cannot be transpiled is told already.
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
