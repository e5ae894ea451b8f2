"""Which generation of clients a request comes from: some answers have had several forms."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection


async def _is_legacy(connection: HTTPConnection) -> bool:
    headers = connection.headers
    return "x-qx-client-application" in headers and "ibm-api-version" not in headers


IsLegacy = Annotated[bool, Depends(_is_legacy)]
"""Whether it is one of IBM's clients that knew programs: qiskit-ibmq-provider, or
qiskit-ibm-runtime up to 0.15. Later ones say which version of the API they speak, and other
clients, ours included, do not say that they are IBM's."""
