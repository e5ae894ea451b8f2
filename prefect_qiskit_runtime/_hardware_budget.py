"""Programs on hardware whose budget ends: the flow run is paused, and the next attempt has more.

The broker stops such a program, with an error that says which limit it was. The next attempt takes
up what was submitted before, so that nothing is paid for twice.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace

from prefect_qiskit_runtime._approval import grant, granted_seconds, is_resumed
from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.errors import JobError
from prefect_qiskit_runtime.flow_run.lineage import root_flow_run_id_here
from prefect_qiskit_runtime.models import ReasonCode

# What the broker says where a limit has ended.
_ENDED = re.compile(
    r"[^\n:]+ has used (?P<used>[\d.]+) s of \S+; its limit \((?P<field>[\w ]+)\) is \S+ s"
)
_OWN = "hardware_max_seconds or max_qpu_seconds_per_call"
# By the fields that it names: those of `HardwareAccess`, and whose limit that is.
_LIMITS = {
    _OWN: ("max_seconds", "program"),
    "max_qpu_seconds_per_flow_run": ("max_seconds_per_flow_run", "flow run"),
    "max_qpu_seconds_per_day": ("max_seconds_per_day", "day"),
    "max_qpu_seconds_of_instance": ("max_seconds_of_instance", "instance"),
}


@dataclass(frozen=True)
class HardwareBudget:
    """What the program of one evaluation may use, with what was granted to its flow run.

    Attributes:
        api: The service that runs the program.
        backend: The block, with the limits.
        evaluation: Name of it, for what is granted to it alone.
    """

    api: RuntimeApi
    backend: RuntimeBackend
    evaluation: str

    async def apply(self) -> None:
        """Let what is submitted from now on have what was granted."""
        if self.backend.hardware_credentials is not None:
            self._apply(await root_flow_run_id_here())

    async def is_extended(self, error: JobError) -> bool:
        """Ask for approval after a program that had used up its time; say whether it has more."""
        told = _ENDED.search(str(error))
        access = self.backend.hardware_access()
        if (
            error.reason_code != ReasonCode.HARDWARE_BUDGET
            or self.backend.at_budget != "pause"
            or access is None
            or told is None
        ):
            return False
        root_id = await root_flow_run_id_here()
        why = f"Job {error.job_id} has ended: {told[0].strip()}."
        if root_id is None or not await is_resumed(root_id, why):
            return False
        name, whose = _LIMITS[told["field"]]
        used_seconds = float(told["used"])
        limit_seconds = getattr(access, name) or used_seconds
        grant(root_id, self._whose(whose), limit_seconds, at_least_seconds=used_seconds)
        self._apply(root_id)
        return True

    def _apply(self, root_id: uuid.UUID | None) -> None:
        access = self.backend.hardware_access()
        assert access is not None  # noqa: S101 - who calls has looked
        raised = {
            name: limit + granted_seconds(root_id, self._whose(whose))
            for name, whose in _LIMITS.values()
            if (limit := getattr(access, name)) is not None
        }
        self.api.with_hardware(replace(access, **raised))

    def _whose(self, whose: str) -> str:
        return f"program {self.evaluation}" if whose == "program" else whose
