"""Which generation of clients a request comes from: some answers have had several forms."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

_APPLICATION = "x-qx-client-application"
# How qiskit-ibmq-provider begins its application's name; with the package `qiskit` beside it, or
# without.
_PROVIDER = ("qiskit-ibmq-provider", "qiskit/")


async def _is_legacy(connection: HTTPConnection) -> bool:
    headers = connection.headers
    return _APPLICATION in headers and "ibm-api-version" not in headers


async def _follows_links(connection: HTTPConnection) -> bool:
    application = connection.headers.get(_APPLICATION, "")
    return await _is_legacy(connection) and not application.startswith(_PROVIDER)


IsLegacy = Annotated[bool, Depends(_is_legacy)]
"""Whether it is one of IBM's clients that knew programs: qiskit-ibmq-provider, or
qiskit-ibm-runtime up to 0.15. Later ones say which version of the API they speak, and other
clients, ours included, do not say that they are IBM's."""

FollowsLinks = Annotated[bool, Depends(_follows_links)]
"""Whether it is a qiskit-ibm-runtime up to 0.15, which looks for a link in every result."""
