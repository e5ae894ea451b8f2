"""Authentication: the only place that maps a request's headers to a user and an instance."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection

from prefect_qiskit_runtime.errors import AuthenticationError, ServiceUnavailableError
from prefect_qiskit_runtime.service.access_tokens import Authenticator
from prefect_qiskit_runtime.service.context import ServiceContext
from prefect_qiskit_runtime.service.http.connections import mark_known
from prefect_qiskit_runtime.service.store.records import Owner

_SCHEMES = ("bearer", "apikey")


def get_context(connection: HTTPConnection) -> ServiceContext:
    """Return the running service that received a request."""
    return connection.app.state.context


def token_of(connection: HTTPConnection) -> str | None:
    """Return the token of a request, in any form that IBM's clients use."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() in _SCHEMES and token.strip():
        return token.strip()
    return connection.headers.get("x-access-token")


def user_of(authenticator: Authenticator, connection: HTTPConnection) -> str | None:
    """Return the user of a request; None if its token is missing or invalid."""
    token = token_of(connection)
    try:
        return None if token is None else authenticator.identify(token).user
    except AuthenticationError:
        return None


def observer(connection: HTTPConnection) -> Owner:
    """Return the caller, without counting the request as use of the service.

    Raises:
        AuthenticationError: The token is missing or invalid.
    """
    token = token_of(connection)
    if token is None:
        raise AuthenticationError("This request needs a token: `Authorization: Bearer <token>`.")
    owner = get_context(connection).authenticator.identify(token)
    mark_known(connection)
    return owner


async def caller(connection: HTTPConnection) -> Owner:
    """Return the caller, and record that the service is in use.

    Raises:
        AuthenticationError: The token is missing or invalid.
        ServiceUnavailableError: The service is ending; nothing was done.
    """
    owner = observer(connection)
    context = get_context(connection)
    if context.activity.ending:
        raise ServiceUnavailableError("The service is ending. Connect again; nothing was done.")
    context.activity.touch()
    return owner


# These two only appear in the OpenAPI document: `token_of` reads every form of token.
_Bearer = Annotated[object, Depends(HTTPBearer(auto_error=False))]
_AccessToken = Annotated[object, Depends(APIKeyHeader(name="X-Access-Token", auto_error=False))]


async def _caller(connection: HTTPConnection, _bearer: _Bearer, _access: _AccessToken) -> Owner:
    return await caller(connection)


async def _observer(connection: HTTPConnection, _bearer: _Bearer, _access: _AccessToken) -> Owner:
    return observer(connection)


async def _context(connection: HTTPConnection) -> ServiceContext:
    return get_context(connection)


Caller = Annotated[Owner, Depends(_caller)]
Observer = Annotated[Owner, Depends(_observer)]
Context = Annotated[ServiceContext, Depends(_context)]
