"""Who asks: what is put on each request."""

from __future__ import annotations

from collections.abc import Generator

import httpx


class Authentication(httpx.Auth):
    """Puts on each request who asks."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show, should the service echo it."""
        raise NotImplementedError


class TokenAuth(Authentication):
    """Says who asks: the token and, for a service that has several, the instance."""

    def __init__(self, token: str, instance: str | None = None) -> None:
        self._token = token
        self._instance = instance

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show, should the service echo it."""
        return (self._token,)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Put the headers on the request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        if self._instance:
            request.headers["Service-CRN"] = self._instance
        yield request
