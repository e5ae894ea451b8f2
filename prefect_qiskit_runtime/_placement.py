"""Where the job of a request goes, and what is sent there.

Both are settled when a job is about to be submitted, not before: a call that finds its job again
asks for neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from prefect_qiskit_runtime._backend_fields import LEAST_BUSY
from prefect_qiskit_runtime._choosing import choose_backend
from prefect_qiskit_runtime._identity import Request
from prefect_qiskit_runtime._watching import logger_here
from prefect_qiskit_runtime.backend import RuntimeBackend
from prefect_qiskit_runtime.client import LARGEST_BODY_BYTES, PRIMITIVES, RuntimeApi
from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.errors import InvalidInputError, NotFoundError

# Labels and options of a job, which its request has beside the inputs.
_HEAD_BYTES = 64 * 1024


def largest_payload(block: RuntimeBackend) -> int:
    """Return how many bytes the inputs of a job may have, encoded."""
    return block.max_payload_bytes or LARGEST_BODY_BYTES - _HEAD_BYTES


def payload_fault(request: Request, payload_bytes: int) -> str | None:
    """Say why inputs are too large, and what to do; None if they are not."""
    largest = largest_payload(request.backend)
    if payload_bytes <= largest:
        return None
    of = "max_payload_bytes of the backend" if request.backend.max_payload_bytes else "300 MB"
    return (
        f"The inputs {_whose(request)} are {payload_bytes:,} bytes, encoded; a job may have"
        f" {largest:,} ({of}, with what else is sent). Nothing was sent. {_way_out(request)}"
    )


def _whose(request: Request) -> str:
    part = request.part
    if part is None:
        return f"of {request.program_id}"
    things = "items" if request.program_id == "executor" else "PUBs"
    return f"of {request.program_id}, {things} {part.start} to {part.stop - 1},"


def _way_out(request: Request) -> str:
    if request.program_id not in PRIMITIVES:
        return "Give the program less, or something to find the rest by."
    if request.part is None:
        return (
            f"Call run_{request.program_id} with split='size', which sends several jobs and joins"
            " their results, or ask for less."
        )
    if len(request.part) == 1:
        return "One cannot be divided here: give it fewer parameter values, or ask for less."
    return f"Call it with split= a number below {len(request.part)}, or ask for less."


class Placement:
    """The backend of a request, and its inputs as they are sent.

    Attributes:
        name: The backend; "least_busy" until one is chosen.
        inputs: Of the job, once they are settled.
        params_text: The same, encoded.
        record: What was chosen and done, for the provenance: plain JSON.
    """

    def __init__(self, api: RuntimeApi, request: Request) -> None:
        self.name = request.backend.name
        self.inputs: Mapping[str, Any] | None = None
        self.params_text = ""
        self.record: dict[str, Any] = {}
        self._api = api
        self._request = request
        self._over: list[str] = []  # the backends that cannot run it

    @classmethod
    async def of(cls, api: RuntimeApi, request: Request) -> Placement:
        """Encode what is sent as it is.

        Raises:
            EncodingError: An input cannot be encoded; the error names its path.
            InvalidInputError: The inputs are too large for a job.
        """
        placement = cls(api, request)
        if request.prepare is None:
            await placement._encode(request.inputs)
        return placement

    async def settle(self) -> None:
        """Choose the backend and prepare the inputs, unless that is done.

        Raises:
            NotFoundError: No backend fits, or there is none of the name.
            InvalidInputError: The backend cannot run a circuit, or the inputs are too large.
        """
        await self.choose()
        prepare = self._request.prepare
        if prepare is not None and not self.params_text:
            prepared = await prepare(self._api, self.name)
            await self._encode(prepared.inputs)
            self.record.update(prepared.record)

    async def choose(self) -> None:
        """Choose the backend, if that is open.

        Raises:
            NotFoundError: No backend fits.
        """
        if self.name == LEAST_BUSY:
            await self._choose()

    async def leave(self, unable: str) -> bool:
        """Go on from a backend that cannot run the job; return whether there is another one."""
        request = self._request
        if request.options.session_id is not None:
            return False  # a session is of one backend
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
        logger_here().warning("Backend %s cannot run the job: it goes to %s.", unable, self.name)
        return True

    async def _choose(self) -> None:
        session_id = self._request.options.session_id
        if session_id is not None:
            self.name = (await self._api.get_session(session_id)).backend_name
            return
        choice = await choose_backend(self._api, self._request.backend, over=self._over)
        self.name = choice.name
        self.record["backend_choice"] = {"name": choice.name, "why": choice.why}

    async def _encode(self, inputs: Mapping[str, Any]) -> None:
        params_text = await asyncio.to_thread(
            encode_inputs, inputs, is_for_ibm=not self._api.reads_our_forms
        )
        fault = payload_fault(self._request, len(params_text))
        if fault is not None:
            raise InvalidInputError(fault, path="$", rule="largest inputs of a job")
        self.inputs, self.params_text = inputs, params_text
