"""Send a request to a service, retry it if that is safe, and return the answer."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Self

import httpx
from pydantic import ValidationError

from prefect_qiskit_runtime.client._answers import (
    Call,
    error_from_fault,
    error_from_response,
    known_services,
)
from prefect_qiskit_runtime.client._proxies import CONNECTIONS, Proxies
from prefect_qiskit_runtime.errors import ConfigurationError, QiskitRuntimeError, is_retryable
from prefect_qiskit_runtime.models import is_loopback, package_version
from prefect_qiskit_runtime.settings import Settings
from prefect_qiskit_runtime.twins.clean_up import cleaned_up


class Authentication(httpx.Auth):
    """Adds the credentials to each request."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts to mask in messages, in case the service echoes them."""
        raise NotImplementedError


class TokenAuth(Authentication):
    """Adds the token and, for a service that has several, the instance to each request."""

    def __init__(self, token: str, instance: str | None = None) -> None:
        self._token = token
        self._instance = instance

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts to mask in messages, in case the service echoes them."""
        return (self._token,)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the headers to the request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        if self._instance:
            request.headers["Service-CRN"] = self._instance
        yield request


_RETRIES = 5
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 5.0

# Faults before any byte was sent: every request may be sent again after them.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_SILENT = (httpx.ReadTimeout, httpx.WriteTimeout)
Query = Mapping[str, str | int | bool | list[str] | None]
Verify = bool | str | Path | ssl.SSLContext


def was_connected(error: QiskitRuntimeError) -> bool:
    """Return whether a connection was made, to the service or to its login."""
    return not isinstance(error.__cause__, _NOT_SENT)


def was_sent(error: QiskitRuntimeError) -> bool:
    """Return whether any bytes of the request may have been sent before it failed."""
    return error.is_sent and was_connected(error)


class Transport:
    """A connection to one service. An async context manager: it lives in one event loop."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        instance: str | None = None,
        verify: Verify = True,
        proxies: Proxies | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._instance = instance
        self._verify = verify
        self._proxies = proxies
        self._settings = settings or settings_of_environment()
        self._http: httpx.AsyncClient | None = None

    @property
    def url(self) -> str:
        """Base of the service's API."""
        return self._url

    @property
    def instance(self) -> str | None:
        """The instance (CRN) in use; None lets the service choose."""
        return self._instance

    @property
    def has_answered(self) -> bool:
        """Whether the service has answered in this process before, so its address is correct."""
        return known_services.has_answered(self._url)

    async def __aenter__(self) -> Self:
        self._http = self._open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        http, self._http = self._http, None
        if http is not None:
            await cleaned_up(http.aclose(), _CLOSE_SECONDS)

    async def request(
        self,
        call: Call,
        *,
        query: Query | None = None,
        content: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Return the answer to a call; retry after transient faults if that is safe.

        Raises:
            QiskitRuntimeError: The class that matches the fault (see `errors`); a transient one
                only after several tries within `Settings.request_timeout_seconds`, a limit that
                restarts once if no answer came in time.
        """
        patience_seconds = self._settings.request_timeout_seconds
        deadline, was_silent = time.monotonic() + patience_seconds, False
        for pause_seconds in pauses():
            timeout = max(1.0, deadline - time.monotonic())
            try:
                return await self._send(call, timeout, query, content, headers)
            except QiskitRuntimeError as exc:
                if not call.repeatable and was_sent(exc):
                    raise
                wait_seconds = _wait_seconds(exc, pause_seconds)
                if isinstance(exc.__cause__, _SILENT) and not was_silent:
                    # A single dead connection may have used all of the time.
                    deadline, was_silent = time.monotonic() + patience_seconds, True
                if wait_seconds is None or time.monotonic() + wait_seconds >= deadline:
                    raise
            await asyncio.sleep(wait_seconds)
        raise AssertionError  # the last pause is None, which ends the loop above

    @asynccontextmanager
    async def open_stream(
        self, call: Call, *, query: Query, silence_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the chunks of a long answer as they arrive, without retries.

        Args:
            call: The request.
            query: Its query parameters.
            silence_seconds: The longest silence that is not treated as a fault.
        """
        response = await self._send(call, silence_seconds, query, None, None, stream=True)
        try:
            yield self._chunks(call, response)
        finally:
            await response.aclose()

    async def _before_send(self) -> None:
        """Verify the listener before a request; the embedded service is found and verified here."""

    def _auth(self) -> Authentication:
        """Return the authentication of the requests."""
        return TokenAuth(self._token, self._instance)

    def _headers(self) -> dict[str, str]:
        """Return the headers of each request, without the authentication."""
        return {"User-Agent": f"prefect-qiskit-runtime/{package_version()}"}

    def _lost(self) -> None:
        """Record that nothing listens at the address, or that the service is stopping."""

    async def _send(
        self,
        call: Call,
        timeout_seconds: float,
        query: Query | None,
        content: bytes | str | None,
        headers: Mapping[str, str] | None,
        *,
        stream: bool = False,
    ) -> httpx.Response:
        if self._http is None:
            raise ConfigurationError(
                f"Cannot {call.doing}: the client is not open. Use it inside `async with`."
            )
        await self._before_send()
        request = self._http.build_request(
            call.method,
            self._url + call.path,
            params={name: value for name, value in (query or {}).items() if value is not None},
            content=content,
            headers=headers,
            timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_SECONDS)),
        )
        auth = self._auth()
        try:
            response = await self._http.send(request, auth=auth, stream=stream)
            known_services.record_answer(response.url)
            if response.status_code < 300:
                return response
            await response.aread()
        except QiskitRuntimeError as error:
            error.is_sent = False  # the login failed: the request was not sent, or refused with 401
            raise
        except httpx.HTTPError as fault:
            if isinstance(fault, _NOT_SENT):
                self._lost()
            raise error_from_fault(call, self._url, fault) from fault
        if response.status_code == 503:
            self._lost()
        raise error_from_response(call, response, auth.secrets)

    async def _chunks(self, call: Call, response: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except httpx.HTTPError as fault:
            raise error_from_fault(call, self._url, fault) from fault

    def _open(self) -> httpx.AsyncClient:
        return open_http(self._url, self._verify, self._proxies, headers=self._headers())


def open_http(
    url: str,
    verify: Verify,
    proxies: Proxies | None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = _CONNECT_SECONDS,
) -> httpx.AsyncClient:
    """Open a client for one host.

    Args:
        url: The URL of the host.
        verify: Whether to verify its certificate, or the path of a certificate to trust.
        proxies: The proxies to use, in addition to those of the environment.
        headers: The headers of each request.
        timeout_seconds: The timeout of requests that have none.

    Raises:
        ConfigurationError: The URL or a proxy is invalid, or the certificate cannot be read.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise ConfigurationError(f"{url!r} is not a url: {exc}.") from exc
    trusted = no_tls() if parsed.scheme == "http" else _verification(verify)
    # Requests to this machine must not go through a proxy of the environment.
    trust_env = not is_loopback(parsed.host)
    # httpx also reads them, and NO_PROXY; these add the variable to their error messages.
    mounts = Proxies.of_environment().mounts(trusted) if trust_env else {}
    if proxies is not None:
        mounts |= proxies.mounts(trusted)
    return httpx.AsyncClient(
        headers=headers,
        verify=trusted,
        mounts=mounts,
        trust_env=trust_env,
        limits=CONNECTIONS,
        timeout=timeout_seconds,
    )


def settings_of_environment() -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: An environment variable has an invalid value.
    """
    try:
        return Settings()
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False)[0]
        name = f"PREFECT_QISKIT_RUNTIME_{first['loc'][0]}".upper()
        raise ConfigurationError(f"{name} is wrong: {first['msg']}.") from exc


def pauses() -> Iterator[float | None]:
    """Yield the pause after each try, growing and jittered; None after the last."""
    for number in range(_RETRIES):
        pause_seconds = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**number)
        yield pause_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
    yield None


def _wait_seconds(error: QiskitRuntimeError, pause_seconds: float | None) -> float | None:
    """Return how long to wait before a retry; None if a retry is pointless."""
    if pause_seconds is None or not is_retryable(error):
        return None
    return max(pause_seconds, error.retry_after_seconds or 0.0)


@cache
def no_tls() -> ssl.SSLContext:
    """Return a TLS context that trusts no certificate, for connections without TLS.

    Otherwise httpx makes one for each client, which takes 1 ms, or 20 ms with certificates.
    """
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _verification(verify: Verify) -> bool | ssl.SSLContext:
    if verify is True:
        # Made here, so that SSL_CERT_FILE applies even if the proxies of the environment do not.
        return httpx.create_ssl_context()
    if isinstance(verify, bool | ssl.SSLContext):
        return verify
    try:
        return ssl.create_default_context(cafile=str(verify))
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(
            f"Cannot read a certificate from {verify}: {exc}. Give the path of a PEM file."
        ) from exc
