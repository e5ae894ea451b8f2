"""Access tokens of IBM Cloud's identity service (IAM): fetched once for all who need one.

An API key is changed for a token that lasts an hour. The token is kept for this process and
renewed before it ends, or when a service refuses it. Whoever asks meanwhile, in whichever thread
and event loop, waits for the one request that is under way.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache

import httpx
from pydantic import BaseModel, Field

from prefect_qiskit_runtime.client._answers import Call, error_from_fault, error_from_response
from prefect_qiskit_runtime.client._calls import read_model
from prefect_qiskit_runtime.client._transport import Authentication, pauses
from prefect_qiskit_runtime.errors import (
    AuthenticationError,
    QiskitRuntimeError,
    ServiceUnavailableError,
    is_retryable,
)

_GRANT_TYPE = "urn:ibm:params:oauth:grant-type:apikey"
_REFUSED = (400, 401, 403)
_TIMEOUT_SECONDS = 30.0
# As IBM's own SDK: a token is renewed when a fifth of its life is left.
_RENEW_AT = 0.8
_RENEW_AGAIN_SECONDS = 30.0

Connect = Callable[[], httpx.AsyncClient]
"""Makes the connections to the identity service."""


class _Answer(BaseModel):
    """What the identity service gives for a key."""

    access_token: str = Field(min_length=1)
    expires_in: float = Field(gt=0)


@dataclass(frozen=True)
class _AccessToken:
    """A token, with moments of `time.monotonic`: a wrong clock on this machine does no harm."""

    value: str
    renew_at: float
    ends_at: float


class IamLogin:
    """The access tokens of one API key at one identity service.

    Args:
        url: The identity service.
        api_key: The key. It stands in no message, log or repr.

    Attributes:
        crns: The instances that were found with it, by what was asked for.
    """

    def __init__(self, url: str, api_key: str) -> None:
        self.crns: dict[object, str] = {}
        self._url = url
        self._api_key = api_key
        self._lock = threading.Lock()
        self._token: _AccessToken | None = None
        self._flight: Future[str | None] | None = None
        # The loops hold their tasks weakly.
        self._flying: set[asyncio.Task[None]] = set()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show: the key, and the token that it was changed for."""
        token = self._token
        return (self._api_key,) if token is None else (self._api_key, token.value)

    async def token(self, connect: Connect, *, refused: str | None = None) -> str:
        """Return an access token.

        Args:
            connect: Makes the connections, should one have to be fetched.
            refused: A token that a service has refused, so that another is needed.

        Raises:
            AuthenticationError: The key was refused. It is not tried again.
            ServiceUnavailableError: The identity service could not be reached in several tries.
        """
        while True:
            with self._lock:
                token, flight = self._token, self._flight
                is_good = token is not None and token.value != refused
                if token is not None and is_good and time.monotonic() < token.renew_at:
                    return token.value
                if flight is None:
                    flight = self._take_off(connect, token if is_good else None)
            # Shielded: who goes away must not take the token from the others that wait for it.
            value = await asyncio.shield(asyncio.wrap_future(flight))
            if value is not None:
                return value

    def forget(self) -> None:
        """Keep the access token no longer; the next request fetches another."""
        with self._lock:
            self._token = None

    def _take_off(self, connect: Connect, fallback: _AccessToken | None) -> Future[str | None]:
        """Start to fetch a token; the lock is held."""
        flight = self._flight = Future()
        flight.set_running_or_notify_cancel()
        task = asyncio.create_task(self._fly(flight, connect, fallback), name="iam-token")
        self._flying.add(task)
        task.add_done_callback(self._flying.discard)
        return flight

    async def _fly(
        self, flight: Future[str | None], connect: Connect, fallback: _AccessToken | None
    ) -> None:
        token: _AccessToken | None = None
        failure: Exception | None = None
        try:
            token = await self._fetch(connect, fallback)
        except Exception as exc:  # noqa: BLE001 - handed to those who wait
            failure = exc
        finally:
            with self._lock:
                self._token, self._flight = token, None
            if failure is not None:
                flight.set_exception(failure)
            else:  # None if this loop ends: whoever waits in another one fetches it there
                flight.set_result(None if token is None else token.value)

    async def _fetch(self, connect: Connect, fallback: _AccessToken | None) -> _AccessToken:
        try:
            async with connect() as http:
                return await self._ask_repeatedly(http)
        except QiskitRuntimeError as exc:
            now = time.monotonic()
            if fallback is None or now >= fallback.ends_at or not is_retryable(exc):
                raise
            # It could not be renewed early, and is good for a while.
            return _AccessToken(fallback.value, now + _RENEW_AGAIN_SECONDS, fallback.ends_at)

    async def _ask_repeatedly(self, http: httpx.AsyncClient) -> _AccessToken:
        for pause_seconds in pauses():
            try:
                return await self._ask(http)
            except ServiceUnavailableError:
                if pause_seconds is None:
                    raise
            await asyncio.sleep(pause_seconds)
        raise AssertionError  # the last pause is None, which ends the loop above

    async def _ask(self, http: httpx.AsyncClient) -> _AccessToken:
        call = Call("POST", "/identity/token", "log in to IBM Cloud")
        form = {"grant_type": _GRANT_TYPE, "apikey": self._api_key, "response_type": "cloud_iam"}
        asked_at = time.monotonic()
        try:
            response = await http.post(self._url + call.path, data=form, timeout=_TIMEOUT_SECONDS)
        except httpx.HTTPError as fault:
            raise error_from_fault(call, self._url, fault) from fault
        if response.status_code in _REFUSED:
            raise self._refusal(call, response)
        if response.status_code >= 300:
            raise error_from_response(call, response, (self._api_key,))
        answer = read_model(call, response, _Answer)
        return _AccessToken(
            answer.access_token,
            renew_at=asked_at + _RENEW_AT * answer.expires_in,
            ends_at=asked_at + answer.expires_in,
        )

    def _refusal(self, call: Call, response: httpx.Response) -> AuthenticationError:
        said = str(error_from_response(call, response, (self._api_key,)))
        return AuthenticationError(
            f"{said} The identity service {self._url} refused the API key. Put a valid key into"
            " the block, the saved account or QISKIT_IBM_TOKEN; keys are made at"
            " https://cloud.ibm.com/iam/apikeys."
        )


class IamAuth(Authentication):
    """Puts the access token of a login and the instance on each request.

    A token that the service refuses is renewed once, and the request sent again: refused
    requests have no effect.
    """

    def __init__(self, login: IamLogin, connect: Connect, instance: str | None = None) -> None:
        self._login = login
        self._connect = connect
        self._instance = instance

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show: the key and the token."""
        return self._login.secrets

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Put the headers on the request; once more, with another token, after a 401."""
        token = await self._login.token(self._connect)
        response = yield self._signed(request, token)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            token = await self._login.token(self._connect, refused=token)
            yield self._signed(request, token)

    def _signed(self, request: httpx.Request, token: str) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {token}"
        if self._instance is not None:
            request.headers["Service-CRN"] = self._instance
        return request


def iam_login(url: str, api_key: str) -> IamLogin:
    """Return the login of an API key: the same one for everybody in this process."""
    key = (url, hashlib.sha256(api_key.encode()).digest())
    return _logins().setdefault(key, IamLogin(url, api_key))


@cache
def _logins() -> dict[tuple[str, bytes], IamLogin]:
    return {}


# A child process has none of the threads and loops that its parent was fetching tokens in.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_logins.cache_clear)
