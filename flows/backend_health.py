"""The health of an account's backends: measured, from their calibration, and over time.

    python flows/backend_health.py

On a schedule it keeps a history, and emits an event for a backend that falls behind its own.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Sequence
from typing import Annotated, Any, cast

import numpy as np
from prefect import flow, get_client, get_run_logger
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.events import emit_event
from pydantic import Field
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.transpiler import Target, generate_preset_pass_manager

from prefect_qiskit_runtime import (
    QiskitRuntimeError,
    RuntimeBackend,
    RuntimeClient,
    alist_backends,
    arun_sampler,
)
from prefect_qiskit_runtime.artifacts import render_figure
from prefect_qiskit_runtime.models import BackendStatus

VERDICTS = "qiskit_runtime_backend_health"
"""Name of the variable with the latest verdict on each backend."""

AT_ONCE = 4
"""Maximum number of backends that are measured at the same time."""

Row = dict[str, Any]


@flow
async def backend_health(
    *,
    backend: RuntimeBackend | str = "aer_simulator",
    only: list[str] | None = None,
    ghz_qubits: Annotated[int, Field(ge=2, le=10)] = 3,
    shots: Annotated[int, Field(ge=100)] = 1000,
    tolerated_fall: Annotated[float, Field(gt=0, lt=1)] = 0.05,
    history: Annotated[int, Field(ge=1, le=200)] = 24,
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None,
) -> list[Row]:
    """Measure every backend of an account, and report those that degrade.

    Args:
        backend: A saved backend, or the name of one of the embedded service; all backends of its
            service are checked.
        only: Names of the backends to check; empty for all. Each one takes a job.
        ghz_qubits: Size of the GHZ state that is prepared.
        shots: Shots of each circuit; there are three more circuits than qubits.
        tolerated_fall: A backend is degraded if its GHZ fidelity is below the median of its
            history by more than this and by more than noise explains.
        history: Number of earlier runs that form the history.
        seed: Makes simulators reproducible; leave it empty for devices.

    Returns:
        A row for each backend, the worst first.
    """
    block = backend if isinstance(backend, RuntimeBackend) else RuntimeBackend(name=backend)
    listed = [one for one in await alist_backends(backend=block) if not only or one.name in only]
    turn = asyncio.Semaphore(AT_ONCE)

    async def check(status: BackendStatus) -> Row:
        async with turn:
            return await examine(status, block, ghz_qubits, shots, seed)

    key = f"backend-health-{block.service}"
    before = await read_history(key, history)
    rows = await asyncio.gather(*(check(status) for status in listed))
    for row in rows:
        row["verdict"] = judge(row, before, tolerated_fall)
        if row["verdict"] == "degraded":
            report_degraded(row, block)
    rows.sort(key=lambda row: (row["verdict"] == "healthy", row["ghz_fidelity"] or 0))
    await publish(key, rows, before)
    return rows


async def examine(
    status: BackendStatus, block: RuntimeBackend, size: int, shots: int, seed: int | None
) -> Row:
    """Return the data of one backend. If it fails, that is reported and the others continue."""
    row: Row = {
        "backend": status.name,
        "qubits": status.qubits,
        "operational": status.operational,
        "queue_length": status.queue_length,
        **dict.fromkeys(MEASURED),
    }
    if not status.operational:
        return row
    chosen = block.model_copy(update={"name": status.name})
    try:
        target = await read_target(chosen)
        row |= calibration(target)
        if status.qubits is not None and status.qubits >= size:
            circuits = prepare(target, size)
            results: Any = await arun_sampler(circuits, backend=chosen, shots=shots, seed=seed)
            row |= fidelities(
                [np.asarray(one.data.bits.to_bool_array("little")) for one in results]
            )
    except QiskitRuntimeError as error:
        get_run_logger().warning("Backend %s could not be measured: %s", status.name, error)
        row["problem"] = str(error)
    return row


MEASURED = (
    "ghz_fidelity",
    "ghz_standard_error",
    "readout_fidelity",
    "t1_median_us",
    "t2_median_us",
    "one_qubit_error_median",
    "two_qubit_error_median",
    "readout_error_median",
    "problem",
)


async def read_target(block: RuntimeBackend) -> Target:
    """Return the backend's target: its gates and their errors."""
    credentials = block.credentials
    client = RuntimeClient() if credentials is None else credentials.get_client()
    async with client:
        return await (await client.backend(block.name)).target()


def calibration(target: Target) -> Row:
    """Return the medians of the calibration; None without values, as for an ideal backend."""
    qubits = target.qubit_properties or []
    errors: dict[int, list[float]] = {1: [], 2: []}
    for name in target.operation_names:
        for places, properties in (target[name] or {}).items():
            # Errors of zero belong to gates without pulses, such as rz.
            error = getattr(properties, "error", None)
            if error and name not in ("measure", "reset") and len(places or ()) in errors:
                errors[len(places)].append(error)
    measured = (target["measure"] or {}).values() if "measure" in target.operation_names else ()
    readout = [one.error for one in measured if one is not None and one.error is not None]
    return {
        "t1_median_us": _median([1e6 * one.t1 for one in qubits if one and one.t1]),
        "t2_median_us": _median([1e6 * one.t2 for one in qubits if one and one.t2]),
        "one_qubit_error_median": _median(errors[1]),
        "two_qubit_error_median": _median(errors[2]),
        "readout_error_median": _median(readout),
    }


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def prepare(target: Target, size: int) -> list[QuantumCircuit]:
    """Return the circuits of one examination, in the instruction set of the backend.

    Zeros; ones; a GHZ state; and that state measured in `size` bases of the equator.
    """
    zeros = QuantumCircuit(size)
    ones = QuantumCircuit(size)
    ones.x(range(size))
    ghz = QuantumCircuit(size)
    ghz.h(0)
    for qubit in range(1, size):
        ghz.cx(qubit - 1, qubit)
    turned = []
    for number in range(size):
        circuit = ghz.copy()
        circuit.rz(-number * np.pi / size, range(size))
        circuit.h(range(size))
        turned.append(circuit)
    pass_manager = generate_preset_pass_manager(1, target=target, seed_transpiler=1)
    circuits = [zeros, ones, ghz, *turned]
    for circuit in circuits:
        circuit.add_register(ClassicalRegister(size, "bits"))
        circuit.measure(range(size), range(size))
    return pass_manager.run(circuits)


def fidelities(bits: Sequence[np.ndarray]) -> Row:
    """Return readout and GHZ fidelity from the bits of `prepare`, arrays (shot, qubit).

    The GHZ fidelity is half the sum of the populations of zeros and ones and of their coherence,
    from the parity at `size` phases (Monz et al. 2011).
    """
    zeros, ones, ghz, *turned = bits
    shots = len(ghz)
    populations = np.all(ghz == ghz[:, :1], axis=1)
    parities = [1 - 2.0 * (one.sum(axis=1) % 2) for one in turned]
    signs = (-1.0) ** np.arange(len(turned))
    coherence = np.mean([sign * one.mean() for sign, one in zip(signs, parities, strict=True)])
    variance = populations.var() + np.mean([one.var() for one in parities]) / len(turned)
    return {
        "ghz_fidelity": float((populations.mean() + coherence) / 2),
        "ghz_standard_error": float(np.sqrt(variance / shots) / 2),
        "readout_fidelity": float((1 - zeros.mean() + ones.mean()) / 2),
    }


def judge(row: Row, before: Sequence[Sequence[Row]], tolerated_fall: float) -> str:
    """Return `healthy`, `degraded`, `offline` or `unknown`, by the backend's own history."""
    if not row["operational"]:
        return "offline"
    if row["ghz_fidelity"] is None:
        return "unknown"
    known = _fidelities_of(row["backend"], before)
    allowed = max(tolerated_fall, 3 * row["ghz_standard_error"])
    if known and row["ghz_fidelity"] < statistics.median(known) - allowed:
        return "degraded"
    return "healthy"


def _fidelities_of(name: str, runs: Sequence[Sequence[Row]]) -> list[float]:
    rows = [row for rows in runs for row in rows if row["backend"] == name]
    return [row["ghz_fidelity"] for row in rows if row["ghz_fidelity"] is not None]


def report_degraded(row: Row, block: RuntimeBackend) -> None:
    """Emit the event that automations may react to."""
    emit_event(
        "qiskit-runtime.backend.degraded",
        resource={
            "prefect.resource.id": f"qiskit-runtime.backend.{block.service}.{row['backend']}",
            "prefect.resource.name": row["backend"],
        },
        payload={name: value for name, value in row.items() if value is not None},
    )


async def read_history(key: str, limit: int) -> list[list[Row]]:
    """Return the tables of earlier runs, newest first."""
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
            sort=ArtifactSort.CREATED_DESC,
            limit=limit,
        )
    return [json.loads(str(one.data)) for one in found]


async def publish(key: str, rows: list[Row], before: Sequence[Sequence[Row]]) -> None:
    """Create the table and the trend as artifacts, and store the verdicts in a variable."""
    from matplotlib.figure import Figure

    await acreate_table_artifact(rows, key=key, description="Health of the backends")
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    for row in rows:
        values = _fidelities_of(row["backend"], [rows, *before])[::-1]
        axes.plot(range(1 - len(values), 1), values, marker=".", label=row["backend"])
    axes.set(xlabel="run (0 is this one)", ylabel="GHZ fidelity")
    figure.legend(loc="outside right upper", fontsize="small")
    await acreate_markdown_artifact(
        render_figure(figure, "GHZ fidelity of each backend"),
        key=f"{key}-trend",
        description="GHZ fidelity of each backend over the runs",
    )
    await keep_verdicts({row["backend"]: row["verdict"] for row in rows})


async def keep_verdicts(verdicts: dict[str, Any]) -> None:
    """Merge the latest verdicts into those of the variable."""
    async with get_client() as client:
        known = await client.read_variable_by_name(VERDICTS)
        if known is None:
            await client.create_variable(VariableCreate(name=VERDICTS, value=verdicts))
        else:
            value = {**cast("dict[str, Any]", known.value), **verdicts}
            await client.update_variable(VariableUpdate(name=VERDICTS, value=value))


if __name__ == "__main__":
    for found in asyncio.run(backend_health(only=["fake_manila", "fake_lima"])):
        print(found["backend"], found["verdict"], found["ghz_fidelity"])
