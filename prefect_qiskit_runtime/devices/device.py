"""Backends as the transpiler and the estimates see them, cached for a while in each process.

A loop submits many times a minute, while a device changes only with its calibration, a few times a
day.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prefect_qiskit_runtime.backend import RuntimeBackend, service_identity
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.codec import seams
from prefect_qiskit_runtime.errors import NotFoundError, ProtocolError

if TYPE_CHECKING:
    from qiskit.transpiler import Target

_KEPT_SECONDS = 600.0
_MICROSECONDS = 1e-6


@dataclass(frozen=True)
class Device:
    """One backend with one calibration.

    Attributes:
        name: Its name.
        configuration: The configuration, as the service sends it.
        properties: The calibration, as the service sends it; empty for an ideal backend.
        fractional_gates: Whether its gates with arbitrary angles are used.
        calibration_id: Id of the requested calibration; None for the newest.
    """

    name: str
    configuration: Mapping[str, Any]
    properties: Mapping[str, Any]
    fractional_gates: bool = False
    calibration_id: str | None = None

    @property
    def is_simulator(self) -> bool:
        """Whether it is a simulator, for which all gates and qubits are equal."""
        return bool(self.configuration.get("simulator"))

    @property
    def processor(self) -> str:
        """Family and revision of the processor, such as "Heron r2"; empty if not reported."""
        reported = self.configuration.get("processor_type") or {}
        family, revision = reported.get("family", ""), reported.get("revision")
        return family if revision is None else f"{family} r{revision}"

    @property
    def rep_delay_seconds(self) -> float | None:
        """The delay before each execution if options name none; None if not reported."""
        delay = self.configuration.get("default_rep_delay")
        return None if delay is None else float(delay) * _MICROSECONDS

    @property
    def calibration(self) -> dict[str, Any]:
        """Identifies its calibration."""
        known = {
            "last_update_date": self.properties.get("last_update_date"),
            "calibration_id": self.calibration_id or self.properties.get("calibration_id"),
        }
        return {name: value for name, value in known.items() if value is not None}

    @property
    def two_qubit_error(self) -> float | None:
        """Median error of the two-qubit gates; None if not reported."""
        return _median(
            parameter["value"]
            for gate in self.properties.get("gates") or ()
            if len(gate["qubits"]) == 2
            for parameter in gate["parameters"]
            if parameter["name"] == "gate_error"
        )

    @property
    def readout_error(self) -> float | None:
        """Median readout error; None if not reported."""
        return _median(
            parameter["value"]
            for qubit in self.properties.get("qubits") or ()
            for parameter in qubit
            if parameter["name"] == "readout_error"
        )

    @cached_property
    def target(self) -> Target:
        """The transpiler's target, with the errors of the calibration."""
        return self._target(self.properties)

    @cached_property
    def target_without_errors(self) -> Target:
        """The transpiler's target for a layout that ignores errors."""
        return self._target({})

    def _target(self, properties: Mapping[str, Any]) -> Target:
        fractional = self.fractional_gates
        configuration = seams.backend_configuration(self.configuration, fractional=fractional)
        if configuration is None:
            raise ProtocolError(f"The configuration of backend {self.name} cannot be read.")
        calibration = seams.backend_properties(
            properties, self.configuration, fractional=fractional
        )
        return seams.backend_target(configuration, calibration)


def _median(values: Any) -> float | None:
    known = list(values)
    return statistics.median(known) if known else None


_kept: dict[tuple[Any, ...], tuple[float, Device]] = {}


def _key(block: RuntimeBackend, name: str) -> tuple[Any, ...]:
    return (*service_identity(block), name, block.calibration_id, block.fractional_gates)


def forget_device(block: RuntimeBackend, name: str) -> None:
    """Forget what is known of a backend: the service has refused a job that was made for it."""
    _kept.pop(_key(block, name), None)


async def device_of(api: RuntimeApi, block: RuntimeBackend, name: str) -> Device:
    """Return a backend of the service of a block, as it was at most ten minutes ago.

    Raises:
        NotFoundError: The service has no backend of this name, or no such calibration.
    """
    asked, key = block.calibration_id, _key(block, name)
    until, device = _kept.get(key, (0.0, None))
    if device is None or time.monotonic() >= until:
        try:
            configuration, properties = await asyncio.gather(
                api.backend_configuration(name, calibration_id=asked),
                api.backend_properties(name, calibration_id=asked),
            )
        except NotFoundError as error:
            if asked is None:
                raise NotFoundError(
                    f"{str(error).rstrip('.')}. Check the backend's name (list_backends shows all"
                    f" names) and the instance ({api.instance or 'the default one'}).",
                    kind=error.kind,
                    identifier=name,
                ) from error
            raise NotFoundError(
                f"{str(error).rstrip('.')}. Either the backend does not exist, or it has no"
                " calibration with this id (calibration_id of the RuntimeBackend): leave the id"
                " empty for the newest calibration.",
                kind="calibration",
                identifier=asked,
            ) from error
        device = Device(name, configuration, properties, block.fractional_gates, asked)
        _kept[key] = (time.monotonic() + _KEPT_SECONDS, device)
    return device
