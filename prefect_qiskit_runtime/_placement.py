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
from prefect_qiskit_runtime.client import RuntimeApi
from prefect_qiskit_runtime.codec import encode_inputs
from prefect_qiskit_runtime.errors import NotFoundError


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
        """
        placement = cls(api, request)
        if request.prepare is None:
            await placement._encode(request.inputs)
        return placement

    async def settle(self) -> None:
        """Choose the backend and prepare the inputs, unless that is done.

        Raises:
            NotFoundError: No backend fits, or there is none of the name.
            InvalidInputError: The backend cannot run a circuit.
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
        self.inputs = inputs
        self.params_text = await asyncio.to_thread(encode_inputs, inputs)
