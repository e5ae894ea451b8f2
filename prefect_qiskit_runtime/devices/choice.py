"""The choice of a backend for a job, if the block leaves it open."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import cast

from prefect import get_client

from prefect_qiskit_runtime.backend import LEAST_BUSY, RuntimeBackend
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.devices.device import Device, device_of
from prefect_qiskit_runtime.errors import NotFoundError
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.models import BackendStatus

HEALTH = "qiskit_runtime_backend_health"
"""Name of the variable in which `flows/backend_health.py` keeps its latest verdict per backend."""


@dataclass(frozen=True)
class BackendChoice:
    """The backend that was chosen.

    Attributes:
        name: Its name.
        why: The reason for the choice.
    """

    name: str
    why: str


async def choose_backend(
    api: RuntimeApi,
    block: RuntimeBackend,
    *,
    over: Collection[str] = (),
    filters: Callable[[BackendStatus], bool] | None = None,
) -> BackendChoice:
    """Choose the backend that meets a block's requirements and has the fewest jobs waiting.

    Calibrations are checked in the order of the queue lengths, until one fits.

    Args:
        api: The service.
        block: The requirements.
        over: Names of backends that are no longer eligible.
        filters: Called with the status of each backend; returns whether the backend is eligible.

    Raises:
        NotFoundError: No backend fits; the message has the reason for each.
    """
    listed = await api.list_backends()
    verdicts = await _verdicts() if block.only_healthy else {}
    refused: dict[str, str] = {}
    for one in sorted(listed, key=_queue_key):
        fault = _status_fault(one, block, over)
        if fault is None and filters is not None and not filters(one):
            fault = "the given filters exclude it"
        if fault is None and verdicts.get(one.name) == "degraded":
            fault = f"it is degraded according to the variable {HEALTH}"
        if fault is None and _asks_for_device(block):
            fault = _device_fault(await device_of(api, block, one.name), block)
        if fault is None:
            why = f"the least busy that fits, of {len(listed)} backends; {_describe_queue(one)}"
            logger_here().info("Backend %s was chosen: %s.", one.name, why)
            return BackendChoice(one.name, why)
        refused[one.name] = fault
    raise _none_fits(block, refused)


async def chosen_name(api: RuntimeApi, block: RuntimeBackend) -> str:
    """Return the name of a block's backend; choose one if the block leaves it open."""
    if block.name != LEAST_BUSY:
        return block.name
    return (await choose_backend(api, block)).name


async def _verdicts() -> dict[str, str]:
    """Return the latest verdict on each backend."""
    async with get_client() as client:  # not `Variable.aget`, which leaves its client open
        variable = await client.read_variable_by_name(HEALTH)
    return {} if variable is None else cast("dict[str, str]", variable.value)


def _status_fault(one: BackendStatus, block: RuntimeBackend, over: Collection[str]) -> str | None:
    """Return why a backend does not fit according to its status; None if it fits."""
    longest = block.max_queue_length
    if one.name in over:
        return "it was tried before"
    if not one.operational:
        return "it accepts no jobs"
    if block.min_num_qubits is not None and (one.qubits or 0) < block.min_num_qubits:
        return f"it has {'an unknown number of' if one.qubits is None else one.qubits} qubits"
    if block.simulators != "any" and one.simulator is not (block.simulators == "only"):
        return "it is a simulator" if one.simulator else "it is not a simulator"
    if longest is not None and _queue_key(one) > longest:
        return _describe_queue(one)
    return None


def _queue_key(one: BackendStatus) -> float:
    """Return the key that sorts backends by their queues, unknown ones last."""
    return math.inf if one.queue_length is None else one.queue_length


def _describe_queue(one: BackendStatus) -> str:
    if one.queue_length is None:
        return "the service does not report how many jobs wait for it"
    return f"{one.queue_length} jobs wait for it"


def _asks_for_device(block: RuntimeBackend) -> bool:
    return any((block.processor, block.max_two_qubit_error, block.max_readout_error))


def _device_fault(device: Device, block: RuntimeBackend) -> str | None:
    """Return why a backend does not fit by its processor or calibration; None if it fits."""
    wanted, given = (block.processor or "").lower().split(), device.processor.lower().split()
    if wanted != given[: len(wanted)]:
        return f"its processor is {device.processor or 'unknown'}"
    for kind, error, largest in (
        ("two-qubit", device.two_qubit_error, block.max_two_qubit_error),
        ("readout", device.readout_error, block.max_readout_error),
    ):
        if largest is not None and (error is None or error > largest):
            shown = "unknown" if error is None else f"{error:.3g}"
            return f"its median {kind} error is {shown}"
    return None


def _none_fits(block: RuntimeBackend, refused: dict[str, str]) -> NotFoundError:
    asked = ", ".join(f"{name}={value!r}" for name, value in block.choice_filters().items())
    shown = list(refused.items())[:5]
    reasons = "; ".join(f"{name}: {fault}" for name, fault in shown)
    more = f"; and {len(refused) - len(shown)} more" if len(refused) > len(shown) else ""
    return NotFoundError(
        f"None of the {len(refused)} backends of the {block.service} service accepts jobs and fits"
        f" ({asked or 'no requirements'}): {reasons or 'there are none'}{more}. list_backends shows"
        " them; relax the requirements of the RuntimeBackend.",
        kind="backend",
    )
