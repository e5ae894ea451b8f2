"""The backend of a request's job, and the inputs that are sent to it.

Both are decided when a job is about to be submitted, not earlier: a call that finds its existing
job needs neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from prefect_qiskit_runtime.backend import LEAST_BUSY, RuntimeBackend
from prefect_qiskit_runtime.client import LARGEST_BODY_BYTES, RuntimeApi
from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.devices.choice import choose_backend
from prefect_qiskit_runtime.devices.device import forget_device
from prefect_qiskit_runtime.errors import InvalidInputError, NotFoundError
from prefect_qiskit_runtime.evaluation.request import Request
from prefect_qiskit_runtime.flow_run.logger import logger_here
from prefect_qiskit_runtime.models import PRIMITIVES

# Room for the tags and options that a request contains besides the inputs.
_HEAD_BYTES = 64 * 1024


def largest_payload(block: RuntimeBackend) -> int:
    """Return the maximum size of a job's encoded inputs, in bytes."""
    return block.max_payload_bytes or LARGEST_BODY_BYTES - _HEAD_BYTES


def payload_fault(request: Request, payload_bytes: int) -> str | None:
    """Return why inputs are too large and what to do; None if they are not."""
    largest = largest_payload(request.backend)
    if payload_bytes <= largest:
        return None
    limit = (
        "max_payload_bytes of the backend"
        if request.backend.max_payload_bytes
        else "300 MB for the whole request"
    )
    return (
        f"The encoded inputs {_whose(request)} are {payload_bytes:,} bytes; a job may have at most"
        f" {largest:,} ({limit}). Nothing was sent. {_way_out(request)}"
    )


def _whose(request: Request) -> str:
    part = request.part
    if part is None:
        return f"of {request.program_id}"
    things = "items" if request.program_id == "executor" else "PUBs"
    return f"of {request.program_id}, {things} {part.start} to {part.stop - 1},"


def _way_out(request: Request) -> str:
    if request.program_id not in PRIMITIVES:
        return "Pass smaller inputs, or a reference from which the program loads the data."
    if request.part is None:
        return (
            f"Call run_{request.program_id} with split='size', which sends several jobs and joins"
            " their results, or pass smaller inputs."
        )
    if len(request.part) == 1:
        return "A single one cannot be divided: give it fewer parameter values."
    return f"Set split= to a number below {len(request.part)}, or pass smaller inputs."


class Placement:
    """The backend of a request, and its inputs in the form in which they are sent.

    Attributes:
        name: The backend; "least_busy" until one is chosen.
        inputs: The inputs of the job, once they are prepared.
        params_text: The encoded inputs.
        record: The choice of backend and the preparation, for the provenance: plain JSON.
    """

    def __init__(self, api: RuntimeApi, request: Request) -> None:
        self.name = request.backend.name
        self.inputs: Mapping[str, Any] | None = None
        self.params_text = ""
        self.record: dict[str, Any] = {}
        self._api = api
        self._request = request
        self._over: list[str] = []  # the backends that cannot run the job
        self._is_transpiled_again = False

    @classmethod
    async def from_request(cls, api: RuntimeApi, request: Request) -> Placement:
        """Return the placement of a request, and encode inputs that need no preparation.

        Raises:
            EncodingError: An input cannot be encoded; the error names its path.
            InvalidInputError: The inputs are too large for a job.
        """
        placement = cls(api, request)
        if request.prepare is None:
            await placement._encode(request.inputs)
        return placement

    async def settle(self) -> None:
        """Choose the backend and prepare the inputs, unless that is already done.

        Raises:
            NotFoundError: No backend fits, or no backend has the name.
            InvalidInputError: The backend cannot run a circuit, or the inputs are too large.
        """
        await self.choose()
        prepare = self._request.prepare
        if prepare is not None and not self.params_text:
            prepared = await prepare(self._api, self.name)
            await self._encode(prepared.inputs)
            self.record.update(prepared.record)

    async def choose(self) -> None:
        """Choose the backend, if the block leaves it open.

        Raises:
            NotFoundError: No backend fits.
        """
        if self.name == LEAST_BUSY:
            await self._choose()

    async def leave(self, unable: str) -> bool:
        """Move on from a backend that cannot run the job; return whether there is another one."""
        request = self._request
        if request.options.session_id is not None:
            return False  # a session belongs to one backend
        self._over.append(unable)
        others = [name for name in request.backend.fallbacks if name not in self._over]
        if others:
            self.name = others[0]
        elif request.backend.name != LEAST_BUSY:
            return False
        else:
            try:
                await self._choose()
            except NotFoundError:
                return False
        if request.prepare is not None:
            self.params_text = ""
        self.record["left_backends"] = list(self._over)
        logger_here().warning("Backend %s cannot run the job; it goes to %s.", unable, self.name)
        return True

    def transpile_again(self, name: str) -> bool:
        """Prepare the inputs again for the backend of today; return whether that may help.

        Args:
            name: The backend, which lacks an instruction of the circuits.
        """
        request = self._request
        is_pinned = request.options.calibration_id is not None
        if self._is_transpiled_again or is_pinned or not request.settings.get("transpile"):
            return False
        self._is_transpiled_again = True
        forget_device(request.backend, name)
        self.params_text = ""
        logger_here().warning(
            "Backend %s lacks an instruction of the circuits: they are transpiled again.", name
        )
        return True

    async def _choose(self) -> None:
        session_id = self._request.options.session_id
        if session_id is not None:
            self.name = await self._api.session_backend(session_id)
            return
        choice = await choose_backend(self._api, self._request.backend, over=self._over)
        self.name = choice.name
        self.record["backend_choice"] = {"name": choice.name, "why": choice.why}

    async def _encode(self, inputs: Mapping[str, Any]) -> None:
        params_text = await asyncio.to_thread(
            encode_inputs, inputs, is_for_ibm=not self._api.kind.reads_our_forms
        )
        fault = payload_fault(self._request, len(params_text))
        if fault is not None:
            raise InvalidInputError(fault, path="$", rule="largest inputs of a job")
        self.inputs, self.params_text = inputs, params_text
