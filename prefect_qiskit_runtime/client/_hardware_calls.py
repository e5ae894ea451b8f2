"""Credentials for the hardware of programs, handed to the service that runs them."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass
from typing import Any, Self

from prefect_qiskit_runtime.client._account import IbmAccount
from prefect_qiskit_runtime.client._calls import job_call
from prefect_qiskit_runtime.client._saved_accounts import SavedAccount
from prefect_qiskit_runtime.client._transport import Transport
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import HardwareMode

_PRIMITIVES = ("sampler", "estimator", "executor", "noise-learner")


@dataclass(frozen=True)
class HardwareAccess:
    """What programs use of IBM Quantum.

    Attributes:
        account: Whose credentials; a saved account is read here, not at the service.
        mode: How the jobs of a program belong together there.
        max_seconds: How much of the device's time one evaluation may use; None for no limit of
            its own.
        max_seconds_per_flow_run: How much all that have the label of a submission may use.
        max_seconds_per_day: How much the account may use in one day (UTC).
        max_seconds_of_instance: How much the instance may use in its period.
    """

    account: IbmAccount | SavedAccount
    mode: HardwareMode = "session"
    max_seconds: float | None = None
    max_seconds_per_flow_run: float | None = None
    max_seconds_per_day: float | None = None
    max_seconds_of_instance: float | None = None


class HardwareCalls(Transport):
    """The part of a service's protocol that is about quantum hardware."""

    _hardware: HardwareAccess | None = None

    def with_hardware(self, access: HardwareAccess) -> Self:
        """Let the programs of jobs that are submitted from here use IBM Quantum.

        Their backend is then one of IBM's. The credentials are handed to the service for each
        job, and again when it has lost them: it keeps them in memory only.
        """
        self._hardware = access
        return self

    async def hand_over_credentials(self, job_id: str) -> None:
        """Give the service the credentials that a queued job waits for.

        Raises:
            ConfigurationError: A saved account cannot be read.
            NotFoundError: There is no such job.
        """
        if self._hardware is None:
            return
        account = await asyncio.to_thread(self._hardware.account.read)
        call = job_call(
            "PUT",
            job_id,
            "hand over the hardware credentials of",
            "/hardware-credentials",
            repeatable=True,
        )
        await self.request(call, content=json.dumps(account.to_fields()))

    def _hardware_fields(
        self, program_id: str, key: str | None, label: str | None
    ) -> dict[str, Any] | None:
        """Return what a submission says of its hardware.

        Raises:
            ConfigurationError: A primitive was asked for, which IBM runs itself.
        """
        if self._hardware is None:
            return None
        if program_id in _PRIMITIVES:
            raise ConfigurationError(
                f"The {program_id} runs at IBM Quantum itself: use RuntimeBackend(service='ibm',"
                " credentials=...) for it. hardware_credentials are for programs, which run on the"
                " embedded service or a team's and send circuits to IBM from there."
            )
        fields = {name: value for name, value in vars(self._hardware).items() if name != "account"}
        return {"key": key or f"once-{secrets.token_hex(12)}", "label": label, **fields}
