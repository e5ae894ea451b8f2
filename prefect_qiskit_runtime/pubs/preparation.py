"""Prepare PUBs for their backend: transpile them with the block's settings, and check them.

A request is named by the user's inputs, not by the prepared ones: a call that runs again after a
calibration finds the job that it submitted before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.codec import seams
from prefect_qiskit_runtime.codec.delays import in_dt, with_circuit
from prefect_qiskit_runtime.devices.device import Device, device_of
from prefect_qiskit_runtime.devices.usage_estimate import (
    REP_DELAY_SECONDS,
    estimate_program_usage,
    estimate_usage,
)
from prefect_qiskit_runtime.errors import InvalidInputError
from prefect_qiskit_runtime.evaluation.request import Prepared


@dataclass(frozen=True)
class PubPreparation:
    """How the PUBs of one call of the sampler or the estimator are prepared.

    Attributes:
        primitive: The primitive.
        inputs: The inputs of the user, with PUBs of Qiskit.
        options: Options of the primitive, as the user and the block gave them.
        block: The backend block, with the settings.
        transpile: Whether the circuits are transpiled, here or in the job.
        first_pub: Number of the first PUB within the whole call.
    """

    primitive: Literal["sampler", "estimator"]
    inputs: Mapping[str, Any]
    options: Mapping[str, Any]
    block: RuntimeBackend
    transpile: bool
    first_pub: int = 0

    @property
    def transpiles_here(self) -> bool:
        """Whether circuits are transpiled before they are sent.

        Our services transpile in the job, unless the block has transpilation settings.
        """
        always = self.block.kind.transpiles_here
        return self.transpile and (always or bool(self.block.transpilation()))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that distinguish requests with equal PUBs."""
        return self.block.transpilation() | {"transpile": True} if self.transpiles_here else {}

    async def __call__(self, api: RuntimeApi, name: str) -> Prepared:
        """Prepare the PUBs for a backend; our own services are only queried if necessary.

        Raises:
            InvalidInputError: A circuit is not in the instruction set of the backend.
        """
        if not self.block.kind.transpiles_here and not self.transpiles_here:
            return Prepared(self.inputs)
        return await self.for_device(await device_of(api, self.block, name), check=True)

    async def for_device(self, device: Device, *, check: bool) -> Prepared:
        """Prepare the PUBs for a device, and estimate their QPU time."""
        return await asyncio.to_thread(self._for_device, device, check=check)

    def _for_device(self, device: Device, *, check: bool) -> Prepared:
        inputs, record = dict(self.inputs), {}
        if self.transpiles_here:
            inputs["pubs"], record["transpilation"] = self._transpile(device)
            if "transpile" in inputs:  # done
                inputs["transpile"] = False
        if not self.block.kind.reads_our_forms:
            inputs["pubs"] = self._schedule(inputs["pubs"], device)
        if check and not device.is_simulator:
            for index, pub in enumerate(inputs["pubs"], self.first_pub):
                with naming_pub(index):
                    require_isa_pub(pub, device)
        estimate = estimate_usage(
            self.primitive,
            inputs["pubs"],
            self.options,
            target=None if device.is_simulator else device.target,
            default_rep_delay_seconds=device.rep_delay_seconds or REP_DELAY_SECONDS,
        )
        record["estimate"] = {
            "quantum_seconds": estimate.seconds,
            "executions": estimate.executions,
        }
        return Prepared(inputs, record, device, estimate)

    def _schedule(self, pubs: Iterable[Any], device: Device) -> list[Any]:
        """Return the PUBs with delays in the device's dt, which is all that IBM reads."""
        dt = None if device.is_simulator else device.target.dt
        scheduled = []
        for index, pub in enumerate(pubs, self.first_pub):
            with naming_pub(index):
                scheduled.append(with_circuit(pub, in_dt(pub.circuit, dt)))
        return scheduled

    def _transpile(self, device: Device) -> tuple[list[Any], dict[str, Any]]:
        """Return the PUBs in the instruction set of a device, and a record of the transpilation."""
        if device.is_simulator:
            return list(self.inputs["pubs"]), {"ideal": True}
        from prefect_qiskit_runtime.program.transpiled import PubTranspiler

        block, layout = self.block, self.block.initial_layout
        target = device.target if block.calibration_aware else device.target_without_errors
        transpiler = PubTranspiler(
            level=block.optimization_level,
            seed=block.seed_transpiler,
            passes={} if layout is None else {"initial_layout": layout},
            device={"target": target},
        )
        pubs = []
        for index, pub in enumerate(self.inputs["pubs"], self.first_pub):
            with naming_pub(index):
                pubs.append(transpiler.transpiled(pub))
        record = {
            "optimization_level": block.optimization_level,
            "seed_transpiler": block.seed_transpiler,
            "calibration_aware": block.calibration_aware,
            "calibration": device.calibration,
            "layouts": [transpiler.layout_of(pub) for pub in pubs],
        }
        return pubs, record


@dataclass(frozen=True)
class ProgramPreparation:
    """How a quantum program is prepared: it is sent unchanged, and its QPU time is estimated."""

    program: Any
    inputs: Mapping[str, Any]
    options: Mapping[str, Any]
    block: RuntimeBackend

    async def __call__(self, api: RuntimeApi, name: str) -> Prepared:
        """Estimate what the program takes on a device of IBM."""
        if not self.block.kind.is_billed:
            return Prepared(self.inputs)
        return await self.for_device(await device_of(api, self.block, name))

    async def for_device(self, device: Device) -> Prepared:
        """Estimate the QPU time of the program on a device."""
        estimate = await asyncio.to_thread(
            estimate_program_usage,
            self.program,
            self.options,
            target=None if device.is_simulator else device.target,
            default_rep_delay_seconds=device.rep_delay_seconds or REP_DELAY_SECONDS,
        )
        times = {"quantum_seconds": estimate.seconds, "executions": estimate.executions}
        return Prepared(self.inputs, {"estimate": times}, device, estimate)


def require_isa_circuit(circuit: Any, device: Device) -> None:
    """Refuse a circuit that a device could not run.

    Raises:
        InvalidInputError: The circuit is too wide, or has an instruction that the device lacks.
    """
    from prefect_qiskit_runtime.program.isa import require_isa

    try:
        require_isa(circuit, device.target, device.name)
    except InvalidInputError as exc:
        raise InvalidInputError(
            f"{exc} Or set transpile=True on the call or the RuntimeBackend, which does both.",
            rule=exc.rule,
        ) from exc


def require_isa_pub(pub: Any, device: Device) -> None:
    """Refuse a PUB that a device could not run.

    Raises:
        InvalidInputError: Its circuit is too wide, or has an instruction that the device lacks or
            has for other angles only.
    """
    require_isa_circuit(pub.circuit, device)
    if device.fractional_gates and (fault := seams.rzz_fault(pub)) is not None:
        raise InvalidInputError(
            f"{fault.rstrip('.')}. transpile=True on the call or the RuntimeBackend brings"
            " constant angles into the range. Parameter values must be in the range; otherwise"
            " leave out fractional_gates=True.",
            rule="angles of rzz are from 0 to pi/2",
        )


@contextmanager
def naming_pub(index: int) -> Iterator[None]:
    """Name the PUB in errors that are raised in the block."""
    from qiskit.exceptions import QiskitError

    try:
        yield
    except (InvalidInputError, QiskitError) as exc:
        text = getattr(exc, "message", None) or str(exc)
        raise InvalidInputError(
            f"pubs[{index}]: {text}", path=f"$.pubs[{index}]", rule=getattr(exc, "rule", None)
        ) from exc
