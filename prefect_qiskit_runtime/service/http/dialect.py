"""Detect the client generation of a request: some answers have changed their form over time."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

VERSION_HEADER = "ibm-api-version"
_APPLICATION = "x-qx-client-application"
# The start of qiskit-ibmq-provider's application name, without and with the package `qiskit`
# installed.
_PROVIDER = ("qiskit-ibmq-provider", "qiskit/")


async def _is_legacy(connection: HTTPConnection) -> bool:
    headers = connection.headers
    return _APPLICATION in headers and VERSION_HEADER not in headers


async def _is_ibms(connection: HTTPConnection) -> bool:
    return _APPLICATION in connection.headers or VERSION_HEADER in connection.headers


async def _api_version(connection: HTTPConnection) -> str:
    return connection.headers.get(VERSION_HEADER, "")


async def _is_provider(connection: HTTPConnection) -> bool:
    application = connection.headers.get(_APPLICATION, "")
    return await _is_legacy(connection) and application.startswith(_PROVIDER)


async def _follows_links(connection: HTTPConnection) -> bool:
    return await _is_legacy(connection) and not await _is_provider(connection)


IsLegacy = Annotated[bool, Depends(_is_legacy)]
"""Whether the client is one of IBM's that supported programs: qiskit-ibmq-provider, or
qiskit-ibm-runtime up to 0.15. Later ones send the API version, and other clients, including ours,
do not identify themselves as IBM's."""

ApiVersion = Annotated[str, Depends(_api_version)]
"""The version of IBM's API that the client names, as in "2026-04-15"; empty if it names none."""

IsIbms = Annotated[bool, Depends(_is_ibms)]
"""Whether the client is one of IBM's, of any generation."""

ReadsListedInputs = Annotated[bool, Depends(_is_provider)]
"""Whether the client is qiskit-ibmq-provider, which reads the inputs of jobs from the listing."""

FollowsLinks = Annotated[bool, Depends(_follows_links)]
"""Whether the client is qiskit-ibm-runtime up to 0.15, which looks for a link in every result."""
