"""One call as a request: its program, its inputs, where and how it is to run."""

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
    """What one call asks for.

    Attributes:
        program_id: The program to run.
        inputs: Its inputs, as the user gave them.
        backend: Where.
        options: How, laid over those of the backend.
        durable_key: Joins equal calls of several flow runs.
        prepare: What makes the inputs ready for a backend; None where they are sent as they are.
        settings: What `prepare` goes by.
        session: The session of its job, where the options do not name it: it may be another one
            by the time that the job is sent.
        part: Which PUBs of a call, or items of its quantum program, these are, where it takes
            several jobs.
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

    def fingerprint(self) -> str:
        """Return what makes two requests the same.

        Labels, time limits and log levels do not: they can be changed between a crash and a
        retry. Nor does the version of the program, which the service knows (see
        `Evaluation`), nor which backend is the least busy, nor what its calibration makes of a
        circuit.
        """
        is_executor = self.program_id == "executor"
        inputs = quantum_program_identity(self.inputs) if is_executor else dict(self.inputs)
        asked = {
            "service": service_identity(self.backend),
            "backend": self.backend.name,
            "program": self.program_id,
            "image": self.options.image,
            "inputs": inputs,
        }
        if self.backend.name == LEAST_BUSY:
            asked["filters"] = self.backend.choice_filters()
        if self.settings:
            asked["settings"] = dict(self.settings)
        if self.options.calibration_id is not None:
            asked["calibration"] = self.options.calibration_id
        if self.part is not None:  # two parts may be equal, and are not the same
            asked["part"] = [self.part.start, self.part.stop]
        return fingerprint(asked)


@dataclass(frozen=True)
class Prepared:
    """What is sent to one backend.

    Attributes:
        inputs: Of the job.
        record: What was done, for the provenance: plain JSON.
        device: The backend, where it was looked at.
        estimate: How long the job is expected to hold a QPU.
    """

    inputs: Mapping[str, Any]
    record: Mapping[str, Any] = field(default_factory=dict)
    device: Device | None = None
    estimate: UsageEstimate | None = None


Prepare = Callable[[RuntimeApi, str], Awaitable[Prepared]]
"""Called with the service and the name of the backend that was chosen."""
