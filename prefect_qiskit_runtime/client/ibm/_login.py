"""Access tokens of IBM Cloud's identity service (IAM), fetched once for all callers.

An API key is exchanged for a token that lasts an hour. The token is cached in this process and
renewed before it expires, or when a service refuses it. Meanwhile all callers, in any thread and
event loop, wait for the same request.
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
from typing import Annotated

import httpx
from pydantic import Field

from prefect_qiskit_runtime.client._answers import (
    Call,
    error_from_fault,
    error_from_response,
    is_page,
)
from prefect_qiskit_runtime.client._calls import read_model
from prefect_qiskit_runtime.client._transport import Authentication, pauses
from prefect_qiskit_runtime.client.ibm._new_jobs import NewJobs
from prefect_qiskit_runtime.errors import (
    AuthenticationError,
    QiskitRuntimeError,
    is_retryable,
)
from prefect_qiskit_runtime.models import Side, Wire

_GRANT_TYPE = "urn:ibm:params:oauth:grant-type:apikey"
_REFUSED = (400, 401, 403)
LOGIN_SECONDS = 30.0
"""How long one login may take, unless the limit of all requests is shorter."""

# Like IBM's SDK, renew a token when a fifth of its lifetime is left.
_RENEW_AT = 0.8
_RENEW_AGAIN_SECONDS = 30.0

Connect = Callable[[], httpx.AsyncClient]
"""Opens a client for the identity service, with the timeout of a login."""


class _Answer(Wire):
    """The identity service's answer to a key. Its tokens last an hour."""

    access_token: str = Field(min_length=1)
    expires_in: Side[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = 3600.0


@dataclass(frozen=True)
class _AccessToken:
    """A token; its times are of `time.monotonic`, so a wrong system clock has no effect."""

    value: str
    renew_at: float
    ends_at: float


class IamLogin:
    """The access tokens of one API key at one identity service.

    Args:
        url: The identity service.
        api_key: The key. It never appears in a message, log or repr.

    Attributes:
        crns: The CRNs of instances that were found with the key, by search criteria.
        new_jobs: The jobs that were submitted with the key and not seen since.
    """

    def __init__(self, url: str, api_key: str) -> None:
        self.crns: dict[object, str] = {}
        self.new_jobs = NewJobs()
        self._url = url
        self._api_key = api_key
        self._lock = threading.Lock()
        self._token: _AccessToken | None = None
        self._flight: Future[str | None] | None = None
        # The loops hold their tasks weakly.
        self._flying: set[asyncio.Task[None]] = set()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that no message may contain: the key and its current token."""
        token = self._token
        return (self._api_key,) if token is None else (self._api_key, token.value)

    async def token(self, connect: Connect, *, refused: str | None = None) -> str:
        """Return an access token.

        Args:
            connect: Opens a client, in case a token has to be fetched.
            refused: A token that a service has refused and that must be replaced.

        Raises:
            AuthenticationError: The key was refused. This is not retried.
            ServiceUnavailableError: The identity service was unreachable after several retries.
        """
        while True:
            with self._lock:
                token, flight = self._token, self._flight
                is_good = token is not None and token.value != refused
                if token is not None and is_good and time.monotonic() < token.renew_at:
                    return token.value
                if flight is None:
                    flight = self._take_off(connect, token if is_good else None)
            value = await _landing(flight)
            if value is not None:
                return value

    def forget(self) -> None:
        """Drop the access token; the next request fetches another."""
        with self._lock:
            self._token = None

    def _take_off(self, connect: Connect, fallback: _AccessToken | None) -> Future[str | None]:
        """Start to fetch a token. The caller holds the lock."""
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
        except Exception as exc:  # noqa: BLE001 - raised in all waiting callers
            failure = exc
        finally:
            with self._lock:
                self._token, self._flight = token, None
            if failure is not None:
                flight.set_exception(failure)
            else:  # None if this loop ends: callers in other loops then retry
                flight.set_result(None if token is None else token.value)

    async def _fetch(self, connect: Connect, fallback: _AccessToken | None) -> _AccessToken:
        try:
            async with connect() as http:
                return await self._ask_repeatedly(http)
        except QiskitRuntimeError as exc:
            now = time.monotonic()
            if fallback is None or now >= fallback.ends_at or not is_retryable(exc):
                raise
            # The early renewal failed, but the token is still valid.
            return _AccessToken(fallback.value, now + _RENEW_AGAIN_SECONDS, fallback.ends_at)

    async def _ask_repeatedly(self, http: httpx.AsyncClient) -> _AccessToken:
        for pause_seconds in pauses():
            try:
                return await self._ask(http)
            except QiskitRuntimeError as error:
                if pause_seconds is None or not is_retryable(error):
                    raise
            await asyncio.sleep(pause_seconds)
        raise AssertionError  # the last pause is None, which ends the loop above

    async def _ask(self, http: httpx.AsyncClient) -> _AccessToken:
        call = Call("POST", "/identity/token", "log in to IBM Cloud")
        form = {"grant_type": _GRANT_TYPE, "apikey": self._api_key, "response_type": "cloud_iam"}
        asked_at = time.monotonic()
        try:
            response = await http.post(self._url + call.path, data=form)
        except httpx.HTTPError as fault:
            raise error_from_fault(call, self._url, fault) from fault
        if response.status_code in _REFUSED and not is_page(response):
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


async def _landing(flight: Future[str | None]) -> str | None:
    """Wait for a request that is shared by several callers; a cancelled caller leaves it alone."""
    waiting = asyncio.wrap_future(flight)
    try:
        await asyncio.wait([waiting])
    finally:
        # Cancelling has no effect on a flight that has started. If it has just failed, its error is
        # retrieved, because a caller that was cancelled meanwhile does not raise it.
        if not waiting.cancel():
            waiting.exception()
    return waiting.result()


class IamAuth(Authentication):
    """Adds the access token of a login and the instance to each request.

    If the service refuses a token, it is renewed and the request is sent once more, because a
    refused request has no effect.
    """

    def __init__(self, login: IamLogin, connect: Connect, instance: str | None = None) -> None:
        self._login = login
        self._connect = connect
        self._instance = instance

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that no message may contain: the key and the token."""
        return self._login.secrets

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the headers to the request; after a 401, retry once with another token."""
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
    """Return the login of an API key, shared by the whole process."""
    key = (url, hashlib.sha256(api_key.encode()).digest())
    return _logins().setdefault(key, IamLogin(url, api_key))


@cache
def _logins() -> dict[tuple[str, bytes], IamLogin]:
    return {}


# A forked child process lacks the threads and loops in which its parent fetched tokens.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_logins.cache_clear)
