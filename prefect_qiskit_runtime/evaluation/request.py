"""The request of a call: its program, inputs, backend and options."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_qiskit_runtime.backend import LEAST_BUSY, RuntimeBackend, service_identity
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.codec import fingerprint, quantum_program_identity
from prefect_qiskit_runtime.devices.device import Device
from prefect_qiskit_runtime.devices.usage_estimate import UsageEstimate
from prefect_qiskit_runtime.models import RuntimeOptions
from prefect_qiskit_runtime.sessions import RuntimeSession


@dataclass(frozen=True)
class Request:
    """The request of one call.

    Attributes:
        program_id: The program to run.
        inputs: Its inputs, as the user gave them.
        backend: The backend to run it on.
        options: The options of its job; they override those of the backend.
        durable_key: Joins equal calls of several flow runs.
        prepare: Prepares the inputs for a backend; None if they are sent unchanged.
        settings: The settings that `prepare` uses.
        session: The session of its job, if the options do not name it: the session may be a
            different one by the time the job is sent.
        part: Which PUBs of a call, or items of its quantum program, the request contains, if the
            call takes several jobs.
        written_circuits: The circuits of a quantum program as the user wrote them; its inputs have
            them in the form that is sent.
    """

    program_id: str
    inputs: Mapping[str, Any]
    backend: RuntimeBackend
    options: RuntimeOptions
    durable_key: str | None = None
    prepare: Prepare | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    session: RuntimeSession | None = None
    part: range | None = None
    written_circuits: tuple[Any, ...] | None = None

    def fingerprint(self) -> str:
        """Return the fingerprint, which is the same for equal requests.

        It does not contain labels, time limits and log levels, which can be changed between a
        crash and a retry. Nor does it contain the version of the program, which the service knows
        (see `Evaluation`), the name of the least busy backend, or the circuits as transpiled for
        a calibration.
        """
        asked = {
            "service": service_identity(self.backend),
            "backend": self.backend.name,
            "program": self.program_id,
            "image": self.options.image,
            "inputs": self._inputs_as_written(),
        }
        if self.backend.name == LEAST_BUSY:
            asked["filters"] = self.backend.choice_filters()
        if self.settings:
            asked["settings"] = dict(self.settings)
        if self.options.calibration_id is not None:
            asked["calibration"] = self.options.calibration_id
        if self.options.simulation is not None:
            asked["simulation"] = self.options.simulation.model_dump(exclude_defaults=True)
        if self.part is not None:  # two parts with equal contents are still different requests
            asked["part"] = [self.part.start, self.part.stop]
        return fingerprint(asked)

    def _inputs_as_written(self) -> dict[str, Any]:
        if self.program_id != "executor":
            return dict(self.inputs)
        return quantum_program_identity(self.inputs, self.written_circuits)


@dataclass(frozen=True)
class Prepared:
    """Inputs that are prepared for one backend.

    Attributes:
        inputs: The inputs of the job.
        record: The preparation, for the provenance: plain JSON.
        device: The backend, if the preparation read it.
        estimate: How long the job is expected to hold a QPU.
    """

    inputs: Mapping[str, Any]
    record: Mapping[str, Any] = field(default_factory=dict)
    device: Device | None = None
    estimate: UsageEstimate | None = None


Prepare = Callable[[RuntimeApi, str], Awaitable[Prepared]]
"""Called with the service and the name of the chosen backend."""
